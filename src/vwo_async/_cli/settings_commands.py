"""The commands about settings files: check, diff, fetch."""

from __future__ import annotations

import json
import os
from dataclasses import fields
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter
from rich.console import RenderableType

from .._error import SettingsError
from .._settings.change import SettingsChange
from .._settings.comparison import compare_settings
from .exit_code import CommandError, ExitCode
from .output import Output, make_table
from .source import FileName, Source, compile_body, load_file, read_bytes, with_key, without_key

_SOURCE = Source()
_OUTPUT = Output()

app = App(name="settings", help="Check, compare and fetch settings files.")


@app.command
def check(
    file: FileName = "",
    /,
    *,
    strict: bool = False,
    source: Source = _SOURCE,
    output: Output = _OUTPUT,
) -> int:
    """Check a settings file of either product, and show what is in it.

    Args:
        file: The file, '-' for standard input; or use the options.
        strict: End with 1 where parts of the file are not used.
    """
    body = read_bytes(file) if file else source.read()
    try:
        subject = compile_body(body)
    except SettingsError as error:
        output.show({"is_valid": False, "faults": list(error.faults)}, *error.faults)
        return ExitCode.SETTINGS
    data = {
        "is_valid": True,
        "product": subject.product,
        "account_id": subject.settings.account_id,
        "keys": list(subject.keys),
        "warnings": list(subject.notes),
    }
    title = f"a settings file of {subject.product}, account {subject.settings.account_id}"
    warnings = [f"warning: {one}" for one in subject.notes]
    output.show(data, f"{title}: {subject.describe()}", *warnings)
    return ExitCode.FOUND if strict and warnings else ExitCode.OK


@app.command
def diff(old: FileName, new: FileName, /, *, output: Output = _OUTPUT) -> int:
    """Show how two settings files differ in meaning. Ends with 1 where they do.

    Args:
        old: The file before.
        new: The file after; one of the two may be '-'.
    """
    before, after = load_file(old), load_file(new)
    if before.product != after.product:
        raise CommandError(
            f"the files are of {before.product} and {after.product}: give two of one product"
        )
    change = compare_settings(before.settings, after.settings)
    output.show(change.as_json(), _show_change(change))
    return ExitCode.FOUND if change else ExitCode.OK


def _show_change(change: SettingsChange) -> RenderableType:
    if not change:
        return "no change"
    names = [one.name for one in fields(change) if getattr(change, one.name)]
    texts = [str(SettingsChange(**{name: getattr(change, name)})) for name in names]
    rows = [
        (name.replace("_", " "), text.partition(": ")[2])
        for name, text in zip(names, texts, strict=True)
    ]
    return make_table(("what", "of"), rows)


@app.command
def fetch(
    *,
    file: Annotated[Path | None, Parameter(name="--output", alias="-o")] = None,
    keep_key: bool = False,
    source: Source = _SOURCE,
    output: Output = _OUTPUT,
) -> int:
    """Fetch the settings file of an account from VWO, whichever product it is of.

    Args:
        file: Write it here, readable by its owner alone, in place of printing it.
        keep_key: Leave the SDK key in the file that is written.
    """
    if not source.account:
        raise CommandError("there is no account: give --account, and the SDK key in VWO_SDK_KEY")
    if keep_key and file is None:
        raise CommandError("the SDK key is not printed: use --keep-key with --output FILE")
    body = Source(account=source.account, base_url=source.base_url).read()
    text = json.dumps(with_key(body), ensure_ascii=False, indent=2).encode()
    text = text if keep_key else without_key(text)
    subject = compile_body(body)
    if file is None:
        output.show(json.loads(text), text.decode())
        return ExitCode.OK
    _write_private(file, text + b"\n")
    data = {"product": subject.product, "file": str(file), "bytes": len(text) + 1}
    output.show(data, f"{subject.product}: {subject.describe()}, written to {file}")
    return ExitCode.OK


def _write_private(path: Path, body: bytes) -> None:
    """Replace a file as a whole by one that its owner alone can read."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.part")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
    draft.replace(path)
