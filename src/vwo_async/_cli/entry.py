"""The entry point: runs the command, and turns every error into one line and an exit code."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import NoReturn, TextIO

from .._error import MissingExtraError
from .._extra import check_extra
from .control import without_controls
from .exit_code import ExitCode, find_code

NAME = "vwo-async"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command with its arguments, by default those of the process; ends the process."""
    _prepare_streams()
    try:
        with _interrupted_by_sigterm():
            code = _run(sys.argv[1:] if arguments is None else arguments)
            sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read the output has seen enough.
        _abandon(sys.stdout)
        code = ExitCode.OK
    except KeyboardInterrupt:
        code = _fail("interrupted", ExitCode.INTERRUPTED)
    sys.exit(code)


def _prepare_streams() -> None:
    """Let output be written whatever it holds, and wherever the process was started."""
    _open_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            # A file name may be no text, and a terminal may not have the characters of a tree.
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _interrupted_by_sigterm() -> Iterator[None]:
    """Have SIGTERM end the command as Ctrl-C does, unless the process has another use for it."""
    is_main = threading.current_thread() is threading.main_thread()
    is_free = is_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    if is_free:
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        if is_free:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _abandon(stream: TextIO) -> None:
    """Let what a closed pipe has not taken go nowhere: it must not fail once more at the end of the process."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


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
    try:
        sys.stderr.write(f"{NAME}: {without_controls(text)}\n")
        sys.stderr.flush()
    except BrokenPipeError:
        # The exit code says it all the same.
        _abandon(sys.stderr)
    return code


def _describe_file(error: OSError) -> str:
    name = "" if error.filename is None else f"{error.filename}: "
    return f"{name}{error.strerror or error}"
