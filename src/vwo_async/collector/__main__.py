"""``python -m vwo_async.collector``: the collector as a process, until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from .._collector.gateway import GatewayData
from .._collector.guard import TOKEN_HEADER
from .._collector.rule import CLOCK_WINDOW_S
from .._collector.server import Collector, serve

# Of a process that runs for long. The events of a test are kept for as long as its collector lives.
MAX_EVENTS = 50_000


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the collector with command line arguments until SIGINT or SIGTERM."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    try:
        asyncio.run(run(_make_collector(options), options.host, options.port, announce))
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}")
    except ValueError as error:
        parser.error(f"a file cannot be used: {error}")


def _make_collector(options: argparse.Namespace) -> Collector:
    return Collector(
        [file.read_bytes() for file in options.settings],
        latency_s=options.latency_s,
        ledger_path=options.ledger,
        strict=not options.loose,
        clock_window_s=options.clock_window_s,
        gateway=options.gateway and GatewayData.read(options.gateway.read_bytes()),
        state_path=options.state,
        max_events=options.max_events,
    )


def make_parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    parser = argparse.ArgumentParser(prog="python -m vwo_async.collector", description=__doc__)
    parser.add_argument(
        "--settings",
        action="append",
        default=[],
        type=Path,
        metavar="FILE",
        help="settings file to hand out and to check against, of FullStack or FME; may be given again",
    )
    parser.add_argument(
        "--host", default="127.0.0.1", help="address to listen on (default: %(default)s)"
    )
    parser.add_argument(
        "--port", type=_read_port, default=0, help="port to listen on (default: any free one)"
    )
    parser.add_argument(
        "--ledger", type=Path, metavar="FILE", help="file to append received events to"
    )
    parser.add_argument(
        "--latency-s", type=float, default=0.0, metavar="SECONDS", help="keep each answer back"
    )
    parser.add_argument(
        "--gateway",
        type=Path,
        metavar="FILE",
        help="JSON of what VWO's gateway service knows: lists, locations, user_agents and aliases",
    )
    parser.add_argument(
        "--clock-window-s",
        type=float,
        default=CLOCK_WINDOW_S,
        metavar="SECONDS",
        help="how far times in requests may be from now (default: %(default)g)",
    )
    parser.add_argument(
        "--state", type=Path, metavar="FILE", help="file by which the counts survive a restart"
    )
    parser.add_argument(
        "--max-events",
        type=int,
        default=MAX_EVENTS,
        metavar="N",
        help="how many events to keep one by one; the counts are of all (default: %(default)s)",
    )
    parser.add_argument(
        "--loose", action="store_true", help="accept looser forms of the right facts"
    )
    return parser


def _read_port(text: str) -> int:
    port = int(text)
    if port not in range(2**16):
        raise argparse.ArgumentTypeError(f"{port} is no port")
    return port


def announce(base_url: str, token: str | None) -> None:
    """Print where the collector listens, what who controls it from elsewhere has to show, and its page."""
    print(f"listening on {base_url}", flush=True)
    if token is not None:
        print(f"{TOKEN_HEADER}: {token}", flush=True)
    print(f"page: {find_page(base_url, token)}", flush=True)


def find_page(base_url: str, token: str | None) -> str:
    """Return the address of the page for a browser; what stands behind the ``#`` is sent to nobody."""
    return f"{base_url}/" if token is None else f"{base_url}/#token={token}"


async def run(
    collector: Collector, host: str, port: int, announce: Callable[[str, str | None], object]
) -> None:
    """Run the collector until SIGINT or SIGTERM.

    Args:
        collector: The collector.
        host: The address to listen on.
        port: The port, 0 for any free one.
        announce: Told the URL and the token once it listens; the token is None where none is needed.
    """
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not every platform's loop has signal handlers; there, KeyboardInterrupt ends asyncio.run.
        with contextlib.suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with serve(collector, host=host, port=port) as base_url:
        announce(base_url, collector.token)
        await stop.wait()


if __name__ == "__main__":
    main()
