"""The commands about an outbox: status, drain, purge."""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

from cyclopts import App

from .. import CloseReport, FlushReport, FMEClient, VWOClient
from .exit_code import CommandError, ExitCode
from .outbox_files import FileState, check_files, list_files, list_set_aside, purge, read_state
from .output import Output, make_table, run_quietly
from .source import Source, with_key
from .subject import FMESubject

_SOURCE = Source()
_OUTPUT = Output()

app = App(name="outbox", help="See, deliver or remove the events that wait in an outbox.")


@app.command
def status(path: Path, /, *, output: Output = _OUTPUT) -> int:
    """Show what waits in an outbox, also while a service uses it. Ends with 1 where events wait.

    Args:
        path: The path that the service gives as outbox.
    """
    files = [read_state(one) for one in list_files(path)]
    aside = [str(one) for one in list_set_aside(path)]
    waiting = sum(one.events or 0 for one in files)
    data = {"events": waiting, "files": [_show(one) for one in files], "set_aside": aside}
    notes = [f"set aside, since it was damaged: {one}" for one in aside]
    output.show(data, _make_table(files), f"{waiting:,} events wait", *notes)
    return ExitCode.FOUND if waiting or aside else ExitCode.OK


@app.command
def drain(
    path: Path,
    /,
    *,
    timeout_s: float = 60.0,
    source: Source = _SOURCE,
    output: Output = _OUTPUT,
) -> int:
    """Deliver what waits in an outbox to VWO. Ends with 1 where something is left.

    Args:
        path: The path that the service gave as outbox.
        timeout_s: How long to wait for the delivery.
    """
    check_files(path)
    body = source.read()
    is_fme = isinstance(source.compile(body), FMESubject)
    kind: Any = FMEClient if is_fme else VWOClient
    options = {"outbox": path, "base_url": source.base_url, "wait_timeout_s": timeout_s}
    with run_quietly():
        flushed, closed = asyncio.run(_drain(kind(with_key(body), **options)))
    data = {"flushed": flushed.as_json(), "remaining": closed.remaining}
    text = (
        f"{flushed.events:,} events: {flushed.delivered:,} delivered, {flushed.rejected:,} rejected,"
        f" {flushed.dropped:,} given up; {closed.remaining:,} left"
    )
    output.show(data, text)
    return ExitCode.OK if flushed and closed else ExitCode.FOUND


async def _drain(client: VWOClient | FMEClient) -> tuple[FlushReport, CloseReport]:
    await client.open()
    try:
        flushed = await client.flush_events()
    finally:
        closed = await client.aclose()
    return flushed, closed


@app.command(name="purge")
def purge_all(path: Path, /, *, yes: bool = False, output: Output = _OUTPUT) -> int:
    """Remove all events that wait in an outbox. Files of running processes are left: ends with 1 then.

    Args:
        path: The path that the service gave as outbox.
        yes: Do not ask.
    """
    waiting = sum(one.events or 0 for one in check_files(path))
    if not yes:
        _confirm(f"remove {waiting:,} events of {path} that were never delivered")
    files = list(purge(path))
    removed = sum(one.events or 0 for one in files if not one.is_in_use)
    kept = [one for one in files if one.is_in_use]
    notes = [f"{one.path}: in use: stop the service first" for one in kept]
    data = {"removed": removed, "in_use": [str(one.path) for one in kept]}
    output.show(data, f"{removed:,} events removed", *notes)
    return ExitCode.FOUND if kept else ExitCode.OK


def _confirm(what: str) -> None:
    if not sys.stdin.isatty():
        raise CommandError(f"this would {what}: give --yes")
    sys.stderr.write(f"{what}? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandError("nothing was removed")


def _show(state: FileState) -> dict[str, Any]:
    return {
        "path": str(state.path),
        "events": state.events,
        "accounts": state.accounts,
        "oldest_age_s": _find_age(state),
        "bytes": state.bytes,
        "is_in_use": state.is_in_use,
    }


def _find_age(state: FileState) -> float | None:
    return None if state.oldest_s is None else max(time.time() - state.oldest_s, 0.0)


def _make_table(files: list[FileState]) -> Any:
    rows = [
        (
            str(one.path),
            "unreadable" if one.events is None else f"{one.events:,}",
            str(one.accounts),
            "-" if (age := _find_age(one)) is None else f"{age:,.0f} s",
            f"{one.bytes:,}",
            "in use" if one.is_in_use else "free",
        )
        for one in files
    ]
    return make_table(("file", "events ", "accounts ", "oldest ", "bytes ", "process"), rows)
