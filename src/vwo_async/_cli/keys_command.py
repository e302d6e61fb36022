"""The command about keys: a Python module of them, and unknown ones in source code."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .._wording import count_of
from .exit_code import CommandError, ExitCode
from .key_check import UnknownKey, check_file, list_sources
from .key_names import KnownKeys, read_keys, write_module
from .output import Output
from .source import Source

_SOURCE = Source()
_OUTPUT = Output()


def keys(
    *,
    check: Annotated[tuple[Path, ...] | None, Parameter(consume_multiple=True)] = None,
    file: Annotated[Path | None, Parameter(name="--output", alias="-o")] = None,
    source: Source = _SOURCE,
    output: Output = _OUTPUT,
) -> int:
    """Write the keys of a settings file as a Python module, or find unknown ones in source code.

    Args:
        check: Files or folders of source code; ends with 1 where they name a key that the settings do not have.
        file: Where to write the module; without it, it is printed.
    """
    if check == ():
        raise CommandError("--check needs a file or folder of source code")
    known = read_keys(source.load())
    if check:
        return _check(list_sources(check), known, output)
    text = write_module(known)
    if file is None:
        output.show(dict(known.kinds), text.rstrip("\n"))
    else:
        file.write_text(text, encoding="utf-8")
        output.show({"file": str(file)}, f"written to {file}")
    return ExitCode.OK


def _check(sources: Sequence[Path], known: KnownKeys, output: Output) -> ExitCode:
    """Show the unknown keys in *sources*.

    Raises:
        CommandError: Some cannot be read; what the others have was shown.
    """
    found: list[UnknownKey] = []
    unread: list[CommandError] = []
    for path in sources:
        try:
            found += check_file(path, known)
        except CommandError as error:
            unread.append(error)
    nothing = f"no unknown key in {count_of(len(sources) - len(unread), 'file')}"
    output.show([one.as_json() for one in found], "\n".join(map(str, found)) or nothing)
    if unread:
        first, *others = unread
        more = f" ({count_of(len(others), 'other file')} cannot be read either)" if others else ""
        raise CommandError(f"{first}{more}", first.code)
    return ExitCode.FOUND if found else ExitCode.OK
