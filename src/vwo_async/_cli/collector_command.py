"""The command that runs the collector, a stand-in for VWO's servers."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from cyclopts.types import NonNegativeFloat, Port, PositiveInt

from .._collector.rule import CLOCK_WINDOW_S
from ..collector import Collector, GatewayData
from ..collector.__main__ import MAX_EVENTS, announce, find_page, run
from .exit_code import CommandError, ExitCode
from .output import Output

_OUTPUT = Output()
CommandT = TypeVar("CommandT", bound=Callable[..., int])


def _name_faults(command: CommandT) -> CommandT:
    """Make a file that the collector cannot use an error of the settings."""

    @wraps(command)
    def run_command(*given: Any, **options: Any) -> Any:
        try:
            return command(*given, **options)
        except ValueError as error:
            raise CommandError(f"a file cannot be used: {error}", ExitCode.SETTINGS) from None

    return cast("CommandT", run_command)


@_name_faults
def collector(
    *settings: Path,
    host: str = "127.0.0.1",
    port: Port = 0,
    ledger: Path | None = None,
    latency_s: NonNegativeFloat = 0.0,
    gateway: Path | None = None,
    clock_window_s: NonNegativeFloat = CLOCK_WINDOW_S,
    loose: bool = False,
    state: Path | None = None,
    max_events: PositiveInt = MAX_EVENTS,
    output: Output = _OUTPUT,
) -> int:
    """Run a local VWO for the SDKs of both products, until it is told to stop.

    Args:
        settings: Settings files to hand out and to check against, of FullStack or FME.
        host: The address to listen on.
        port: The port to listen on; 0 is any free one.
        ledger: A file to append received events to.
        latency_s: Keep each answer back for so many seconds.
        gateway: JSON of what VWO's gateway service knows: lists, locations, user_agents and aliases.
        clock_window_s: How far times in requests may be from now.
        loose: Accept looser forms of the right facts.
        state: A file by which the counts of the page survive a restart.
        max_events: How many events to keep one by one; the counts are of all.
    """
    server = Collector(
        [one.read_bytes() for one in settings],
        latency_s=latency_s,
        ledger_path=ledger,
        strict=not loose,
        clock_window_s=clock_window_s,
        gateway=GatewayData.read(gateway.read_bytes()) if gateway is not None else None,
        state_path=state,
        max_events=max_events,
    )
    asyncio.run(run(server, host, port, _announce if output.json else announce))
    return ExitCode.OK


def _announce(base_url: str, token: str | None) -> None:
    found = {"base_url": base_url, "token": token, "page": find_page(base_url, token)}
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()
