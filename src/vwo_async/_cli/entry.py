"""The entry point: runs the command, and turns every error into one line and an exit code."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import NoReturn

from .._error import MissingExtraError
from .._extra import check_extra
from .exit_code import ExitCode, find_code

NAME = "vwo-async"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command with its arguments, by default those of the process; ends the process."""
    _open_closed_streams()
    try:
        code = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough. What is left of it must not fail once more at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = ExitCode.OK
    except KeyboardInterrupt:
        code = _fail("interrupted", ExitCode.INTERRUPTED)
    sys.exit(code)


def _open_closed_streams() -> None:
    """Let output go nowhere where the process was started without a place for it."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - to the end


def _run(arguments: Sequence[str]) -> int:
    try:
        check_extra("cli")
    except MissingExtraError as error:
        return _fail(error, ExitCode.USAGE)
    app = import_module(".app", __package__)
    try:
        code: int = app.run(list(arguments))
    except BrokenPipeError:
        raise
    except app.UsageError as error:
        return _fail(error, ExitCode.USAGE)
    except Exception as error:  # noqa: BLE001 - nobody reads a traceback in a terminal
        return _fail(error, find_code(error))
    return code


def _fail(error: object, code: ExitCode) -> ExitCode:
    text = _describe_file(error) if isinstance(error, OSError) else " ".join(str(error).split())
    if code is ExitCode.BUG:
        text = f"a fault of this command ({type(error).__name__}: {text}): please report it"
    sys.stderr.write(f"{NAME}: {text}\n")
    return code


def _describe_file(error: OSError) -> str:
    name = "" if error.filename is None else f"{error.filename}: "
    return f"{name}{error.strerror or error}"
