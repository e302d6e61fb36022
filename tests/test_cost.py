"""What a call costs, counted instead of timed: functions called, which a slow machine does not change.

The bounds are about twice what is needed, so that Python versions fit and a slip by a factor does not.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from counted import SEGMENT, VARIABLES, count_awaited_calls
from sample import campaign, settings
from starlette.applications import Starlette
from starlette.requests import Request

from vwo_async import VWOClient
from vwo_async.integrations.starlette import VWO
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport


def run_counted(body: Callable[[VWOClient], Awaitable[int]], file: Any, **options: Any) -> int:
    """Return what *body* counts with an open client, on a loop without debugging."""

    async def main() -> int:
        async with VWOClient(file, transport=RecordingTransport(), **options) as client:
            return await body(client)

    return asyncio.run(main(), debug=False)


def file_of(number: int, **more: Any) -> dict[str, Any]:
    """Return a settings file of so many campaigns, of which the last is asked for."""
    others = [campaign(100 + one, f"other {one}") for one in range(number - 1)]
    return settings(*others, campaign(11, "checkout", **more))


def count_decision(number: int, variables: dict[str, Any] | None = None, **more: Any) -> int:
    async def body(client: VWOClient) -> int:
        return await count_awaited_calls(
            lambda: client.get_variation_name("checkout", "Ashley", custom_variables=variables)
        )

    return run_counted(body, file_of(number, **more))


def test_a_decision() -> None:
    """A decision runs a handful of functions, as many with 500 campaigns as with one."""
    assert count_decision(1) <= 40
    assert count_decision(500) == count_decision(1)


def test_a_decision_with_a_segment() -> None:
    """A segment of five leaves adds a few calls for each leaf, and nothing is parsed."""
    assert count_decision(1, VARIABLES, segments=SEGMENT) <= 110


def test_a_handle_for_each_request() -> None:
    """A handle costs next to nothing, to make and to ask."""

    async def body(client: VWOClient) -> int:
        async def ask() -> None:
            await client.for_user("Ashley", user_agent="agent/1.0").get_variation_name("checkout")

        return await count_awaited_calls(ask)

    assert run_counted(body, file_of(1)) <= count_decision(1) + 10


@pytest.mark.parametrize(("proxies", "bound"), [(None, 150), (["10.0.0.0/8"], 400)])
def test_the_user_of_a_request(proxies: list[str] | None, bound: int) -> None:
    """The user of a request, its address and its memo cost little beside what a framework does for a request."""
    headers = [(b"user-agent", b"agent/1.0"), (b"x-forwarded-for", b"203.0.113.7, 10.1.2.3")]

    async def body(client: VWOClient) -> int:
        vwo = VWO(lambda: client, user_id=lambda request: "Ashley", trusted_proxies=proxies)
        app = Starlette()
        app.state.vwo = client

        async def serve() -> None:
            scope = {"type": "http", "app": app, "headers": headers, "client": ("10.0.0.1", 5000)}
            user = await vwo.user(Request(scope))
            await user.get_variation_name("checkout")

        return await count_awaited_calls(serve)

    assert run_counted(body, file_of(1)) <= bound


@pytest.mark.parametrize(("options", "bound"), [({}, 100), ({"user_storage": True}, 1000)])
def test_a_conversion(options: dict[str, Any], bound: int) -> None:
    """A conversion in the background does little in its caller's time."""

    async def body(client: VWOClient) -> int:
        return await count_awaited_calls(lambda: client.track("checkout", "Ashley", "often"))

    if options:
        row = {"userId": "Ashley", "campaignKey": "checkout", "variationName": "Control"}
        options = {"user_storage": MemoryUserStorage([row])}
    assert run_counted(body, file_of(1), **options) <= bound


def known(*users: str) -> MemoryUserStorage:
    """Return a storage that knows the users."""
    rows = [
        {"userId": user, "campaignKey": "checkout", "variationName": "Control"} for user in users
    ]
    return MemoryUserStorage(rows)


def test_a_conversion_of_a_known_user() -> None:
    """With a storage in memory, a conversion is read, claimed, marked and put by about a hundred functions."""
    users = [f"u{number}" for number in range(10)]

    async def body(client: VWOClient) -> int:
        waiting = iter(users)
        return await count_awaited_calls(lambda: client.track("checkout", next(waiting), "signup"))

    assert run_counted(body, file_of(1), user_storage=known(*users)) <= 200


def test_a_known_user_who_is_activated() -> None:
    """With a storage in memory, a user who is known is looked up by about a hundred functions."""

    async def body(client: VWOClient) -> int:
        return await count_awaited_calls(lambda: client.activate("checkout", "Ashley"))

    assert run_counted(body, file_of(1), user_storage=known("Ashley")) <= 250


class Rounds:
    """A storage that takes rounds, and has to be waited for."""

    def __init__(self, inner: MemoryUserStorage) -> None:
        self._inner = inner

    async def get(self, user_id: str, campaign_key: str) -> Any:
        raise NotImplementedError

    async def set(self, data: Any) -> None:
        raise NotImplementedError

    async def run_round(self, requests: Any) -> Any:
        await asyncio.sleep(0)
        return [self._inner.answer(one) for one in requests]


def count_sticky(call: Callable[[VWOClient, str], Awaitable[Any]], **options: Any) -> int:
    """Return what one call about a user costs whom a storage knows that has to be waited for."""
    users = [f"u{number}" for number in range(10)]

    async def body(client: VWOClient) -> int:
        waiting = iter(users)
        return await count_awaited_calls(lambda: call(client, next(waiting)))

    return run_counted(body, file_of(1), user_storage=Rounds(known(*users)), **options)


def test_a_conversion_with_a_storage() -> None:
    """A lone caller's read and his claim are a task each, and nothing else is made or waited for."""
    assert count_sticky(lambda client, user: client.track("checkout", user, "signup")) <= 700


def test_a_known_user_with_a_storage() -> None:
    """A lone caller's read is one task."""
    assert count_sticky(lambda client, user: client.activate("checkout", user)) <= 500


def test_a_conversion_with_an_outbox(tmp_path: Path) -> None:
    """Keeping an event adds a row and a future to a conversion; the file is written in another thread."""

    async def body(client: VWOClient) -> int:
        return await count_awaited_calls(lambda: client.track("checkout", "Ashley", "often"))

    assert run_counted(body, file_of(1), outbox=tmp_path / "outbox.db") <= 500


def test_a_conversion_with_storage_and_outbox(tmp_path: Path) -> None:
    """Both together cost what each costs, and no more."""
    path = tmp_path / "outbox.db"
    assert (
        count_sticky(lambda client, user: client.track("checkout", user, "signup"), outbox=path)
        <= 850
    )


def test_a_conversion_of_many_at_once() -> None:
    """Calls that share rounds of a storage have no task each: what they add is about two hundred functions."""
    users = [f"u{number}" for number in range(1000)]

    async def body(client: VWOClient) -> int:
        waiting = iter(users)

        async def track(number: int) -> None:
            calls = [client.track("checkout", next(waiting), "signup") for _ in range(number)]
            await asyncio.gather(*calls)

        few = await count_awaited_calls(lambda: track(50))
        many = await count_awaited_calls(lambda: track(150))
        return (many - few) // 100

    assert run_counted(body, file_of(1), user_storage=Rounds(known(*users))) <= 430


@pytest.mark.parametrize("has_outbox", [False, True])
def test_garbage(has_outbox: bool, tmp_path: Path) -> None:
    """What calls needed is freed when they end: they leave nothing for which garbage must be collected."""
    users = [f"u{number}" for number in range(300)]
    options = {"outbox": tmp_path / "outbox.db"} if has_outbox else {}

    async def body(client: VWOClient) -> int:
        for user in users[:10]:
            await client.track("checkout", user, "signup")
        with saving_garbage() as garbage:
            await asyncio.gather(*(client.track("checkout", user, "signup") for user in users))
            await client.flush_events()
        return sum(type(one).__module__.startswith("vwo_async") for one in garbage)

    assert run_counted(body, file_of(1), user_storage=Rounds(known(*users)), **options) == 0


@contextmanager
def saving_garbage() -> Iterator[list[Any]]:
    """Yield a list that has, in the end, what only the collector of garbage would free."""
    gc.collect()
    before = len(gc.garbage)
    found: list[Any] = []
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
    finally:
        gc.set_debug(0)
        found += gc.garbage[before:]
        del gc.garbage[before:]


def test_delivery() -> None:
    """An event that waits with others adds little to the request that they share."""

    async def count_flush(client: VWOClient, number: int) -> int:
        async def flush() -> None:
            for user in range(number):
                await client.track("checkout", f"u{user}", "often")
            await client.flush_events()

        return await count_awaited_calls(flush)

    few = run_counted(lambda client: count_flush(client, 50), file_of(1))
    many = run_counted(lambda client: count_flush(client, 150), file_of(1))
    assert (many - few) / 100 <= 180


def test_opening() -> None:
    """Reading and compiling a file takes time in proportion to its campaigns."""

    def count(number: int) -> int:
        async def open_client() -> None:
            VWOClient(file_of(number, segments=SEGMENT), transport=RecordingTransport())

        return asyncio.run(count_awaited_calls(open_client))

    few, many = count(20), count(200)
    assert (many - few) / 180 <= 1300
