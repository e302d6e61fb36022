"""The command about keys: a Python module of them, and unknown ones in source code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from .exit_code import ExitCode
from .key_check import check_file, list_sources
from .key_names import read_keys, write_module
from .output import Output
from .source import Source

_SOURCE = Source()
_OUTPUT = Output()


def keys(
    *,
    check: Annotated[tuple[Path, ...], Parameter(consume_multiple=True)] = (),
    file: Annotated[Path | None, Parameter(name="--output", alias="-o")] = None,
    source: Source = _SOURCE,
    output: Output = _OUTPUT,
) -> int:
    """Write the keys of a settings file as a Python module, or find unknown ones in source code.

    Args:
        check: Files or folders of source code; ends with 1 where they name a key that the settings do not have.
        file: Where to write the module; without it, it is printed.
    """
    known = read_keys(source.load())
    if check:
        sources = list_sources(check)
        found = [unknown for path in sources for unknown in check_file(path, known)]
        output.show([one.as_json() for one in found], *map(str, found))
        return ExitCode.FOUND if found else ExitCode.OK
    text = write_module(known)
    if file is None:
        output.show(dict(known.kinds), text.rstrip("\n"))
    else:
        file.write_text(text, encoding="utf-8")
        output.show({"file": str(file)}, f"written to {file}")
    return ExitCode.OK
