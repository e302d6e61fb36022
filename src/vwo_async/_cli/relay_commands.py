"""The commands of a fleet: the relay, and its dead letters."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cyclopts import App
from cyclopts.types import Port, PositiveFloat

from .._error import DeliveryError
from .._extra import check_extra
from .exit_code import CommandError, ExitCode
from .output import Output, make_table

_OUTPUT = Output()
letters_app = App(name="dead-letters", help="See, retry or remove what a relay could not deliver.")


def relay(
    config: Path,
    /,
    *,
    host: str = "127.0.0.1",
    port: Port | None = None,
    close_timeout_s: PositiveFloat = 10.0,
    output: Output = _OUTPUT,
) -> int:
    """Deliver what pods have put into Redis Streams, until it is told to stop. Ends with 1 where some is left.

    Args:
        config: The TOML file that names Redis and the accounts.
        host: Where to answer /health and /metrics.
        port: On which port; 0 is any free one, and without it nothing is answered.
        close_timeout_s: How long to deliver what is held after SIGTERM; the rest goes to other relays.
    """
    given = _read_config(config)
    _show_log()
    done = asyncio.run(_run(given, host, port, close_timeout_s))
    table = make_table(
        ["account", "read ", "taken over ", "delivered ", "dead ", "left "],
        [
            [
                one.account,
                *map(str, (one.read, one.taken_over, one.delivered, one.buried, one.held)),
            ]
            for one in done
        ],
    )
    output.show([asdict(one) for one in done], table)
    return ExitCode.FOUND if any(one.held for one in done) else ExitCode.OK


def _show_log() -> None:
    """Write the log of this package, and of no other, to standard error: other libraries log what they send."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logger = logging.getLogger("vwo_async")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _read_config(path: Path) -> Any:
    check_extra("redis")
    from .._fleet.relay_config import read_config  # noqa: PLC0415 - needs the extra redis

    try:
        return read_config(path.read_text("utf-8"))
    except UnicodeDecodeError:
        raise CommandError(f"{path}: no UTF-8 text") from None


async def _run(config: Any, host: str, port: int | None, close_timeout_s: float) -> Sequence[Any]:
    from ..fleet import Relay  # noqa: PLC0415 - needs the extra redis
    from .relay_pages import serve_pages  # noqa: PLC0415 - the same

    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = Relay.from_url(config.redis_url, config.accounts, **config.options)
    async with AsyncExitStack() as stack:
        if port is not None:
            address = await stack.enter_async_context(serve_pages(running, host, port))
            sys.stderr.write(f"{json.dumps({'address': address})}\n")
            sys.stderr.flush()
        await running.open()
        await stop.wait()
        return await running.aclose(close_timeout_s)


@letters_app.command(name="list")
def list_letters(config: Path, /, *, limit: int = 100, output: Output = _OUTPUT) -> int:
    """Show what could not be delivered, and why. Ends with 1 where there is some.

    Args:
        config: The file of the relay.
        limit: Show at most so many.
    """
    shown, number = asyncio.run(_with_letters(_read_config(config), lambda one: _list(one, limit)))
    rows = [
        [account, letter.id, letter.reason, str(letter.event.get("kind", ""))]
        for account, letter in shown
    ]
    data = [{"account": account, **asdict(letter)} for account, letter in shown]
    table = make_table(["account", "id", "reason", "event"], rows)
    output.show({"number": number, "letters": data}, table, f"{number:,} dead letters")
    return ExitCode.FOUND if number else ExitCode.OK


@letters_app.command
def replay(config: Path, /, *, reason: str = "", output: Output = _OUTPUT) -> int:
    """Have the relays try dead letters again.

    Args:
        config: The file of the relay.
        reason: Only those whose reason begins so, as in 'http 4'.
    """
    number = asyncio.run(_with_letters(_read_config(config), lambda one: _replay(one, reason)))
    output.show({"replayed": number}, f"{number:,} events are tried again")
    return ExitCode.OK


@letters_app.command
def purge(config: Path, /, *, yes: bool = False, output: Output = _OUTPUT) -> int:
    """Throw all dead letters away.

    Args:
        config: The file of the relay.
        yes: Do it.
    """
    if not yes:
        raise CommandError("this throws dead letters away for good: say --yes")
    number = asyncio.run(_with_letters(_read_config(config), _purge))
    output.show({"removed": number}, f"{number:,} dead letters were removed")
    return ExitCode.OK


async def _with_letters(config: Any, work: Any) -> Any:
    """Return what *work* returns for the dead letters of each account."""
    from .._fleet.dead_letters import DeadLetters  # noqa: PLC0415 - needs the extra redis
    from .._fleet.redis_client import REDIS_ERRORS, make_client  # noqa: PLC0415 - the same
    from .._fleet.relay_account import name_accounts  # noqa: PLC0415 - the same
    from .._fleet.stream_keys import StreamKeys  # noqa: PLC0415 - the same

    accounts = name_accounts(config.accounts)
    client = make_client(config.redis_url)
    prefix, shards = config.options.get("prefix", "vwo"), config.options.get("shards", 4)
    try:
        return await work(
            {
                name: DeadLetters(client, StreamKeys(prefix, one.fingerprint, shards))
                for name, one in accounts.items()
            }
        )
    except REDIS_ERRORS as error:
        failure = DeliveryError(f"redis cannot be used: {type(error).__name__}")
    finally:
        await client.aclose()
    raise failure


async def _list(accounts: Any, limit: int) -> tuple[list[Any], int]:
    found: list[Any] = []
    for name, letters in accounts.items():
        async for one in letters.read():
            if len(found) >= limit:
                break
            found.append((name, one))
    return found, sum([await letters.count() for letters in accounts.values()])


async def _replay(accounts: Any, reason: str) -> int:
    number = 0
    for letters in accounts.values():
        wanted = [one async for one in letters.read() if one.reason.startswith(reason)]
        number += await letters.replay(wanted)
    return number


async def _purge(accounts: Any) -> int:
    return sum([await letters.purge() for letters in accounts.values()])
