"""Bare senders without any SDK around them, as yardsticks: what HTTP costs, however little else is done.

In the background a caller encodes an event, with what it must have (visitor id, time), and puts it on a
list, from which one task sends up to a hundred at a time.
Awaited, every event is a GET of its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from hashlib import sha1

from worker import USERS, Request, Samples, ServerConnection, Stopwatch, make_sample, serve

BATCH = 100
NAMESPACE = bytes(16)
PATH = "/server-side/batch-events?a=888888"
TARGET = (
    "/server-side/track-goal?experiment_id=1&combination=2&goal_id=1&visitor_ua=&visitor_ip="
    "&sId=1795312800&u={user}&random=0.5&sdk=prototype&sdk-v=1&account_id=888888&ap=server"
)
Post = Callable[[bytes], Awaitable[object]]
Get = Callable[[str], Awaitable[object]]


def encode(user: str) -> str:
    """Return an event in VWO's batch form."""
    visitor = sha1(NAMESPACE + user.encode(), usedforsecurity=False).hexdigest()[:32].upper()
    return (
        f'{{"e":1,"c":2,"sId":{int(time.time())},"u":"{visitor}","eT":2,'
        '"visitor_ua":"","visitor_ip":"","g":1}'
    )


def join(items: list[str]) -> bytes:
    """Return the body of a batch."""
    return f'{{"ev":[{",".join(items)}]}}'.encode()


@asynccontextmanager
async def open_httpx(url: str) -> AsyncIterator[tuple[Post, Get]]:
    """Send with httpx, from a pool of twenty connections."""
    import httpx  # noqa: PLC0415 - only what is asked for

    limits = httpx.Limits(max_connections=20)
    async with httpx.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        yield lambda body: client.post(PATH, content=body), client.get


@asynccontextmanager
async def open_httpx2(url: str) -> AsyncIterator[tuple[Post, Get]]:
    """Send with httpx2, from a pool of twenty connections."""
    import httpx2  # noqa: PLC0415 - only what is asked for

    limits = httpx2.Limits(max_connections=20)
    async with httpx2.AsyncClient(base_url=url, limits=limits, timeout=60) as client:
        yield lambda body: client.post(PATH, content=body), client.get


@asynccontextmanager
async def open_aiohttp(url: str) -> AsyncIterator[tuple[Post, Get]]:
    """Send with aiohttp."""
    import aiohttp  # noqa: PLC0415 - only what is asked for

    async with aiohttp.ClientSession(url) as session:

        async def post(body: bytes) -> None:
            async with session.post(PATH, data=body) as response:
                await response.read()

        async def get(target: str) -> None:
            async with session.get(target) as response:
                await response.read()

        yield post, get


@asynccontextmanager
async def open_raw(url: str) -> AsyncIterator[tuple[Post, Get]]:
    """Send over asyncio's streams, with the least HTTP that the server understands."""
    host, port = url.removeprefix("http://").split(":")
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def send(message: bytes) -> None:
        reader, writer = idle.pop() if idle else await asyncio.open_connection(host, int(port))
        writer.write(message)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.rpartition(b"Content-Length: ")[2]))
        idle.append((reader, writer))

    async def post(body: bytes) -> None:
        head = f"POST {PATH} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}\r\n\r\n"
        await send(head.encode() + body)

    async def get(target: str) -> None:
        await send(f"GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())

    yield post, get
    for _, writer in idle:
        writer.close()


OPENERS = {"httpx": open_httpx, "httpx2": open_httpx2, "aiohttp": open_aiohttp, "raw": open_raw}


async def send_all(items: list[str], has_more: asyncio.Event, post: Post) -> None:
    """Send the events on the list in batches of a hundred, until cancelled."""
    while True:
        while items:
            part = items[:BATCH]
            del items[:BATCH]
            await post(join(part))
        has_more.clear()
        await has_more.wait()


async def track_in_background(request: Request, post: Post, server: ServerConnection) -> Samples:
    """Time callers that put an event on a list."""
    items: list[str] = []
    has_more = asyncio.Event()
    sender = asyncio.create_task(send_all(items, has_more, post))
    callers, calls = request["callers"], request["calls"]
    held: list[float] = []
    clock = time.perf_counter

    async def track(user: str) -> None:
        items.append(encode(user))
        has_more.set()

    async def call(number: int) -> None:
        for index in range(calls):
            began = clock()
            await track(USERS[(number + index) % len(USERS)])
            held.append(clock() - began)
            if callers > 1:
                await asyncio.sleep(0)

    watch = Stopwatch()
    await asyncio.gather(*map(call, range(callers)))
    await asyncio.to_thread(server.wait, len(held))
    sample = make_sample(held, watch)
    sender.cancel()
    return sample


async def track_awaited(request: Request, get: Get) -> Samples:
    """Time callers that each await a GET of their own."""
    callers, calls = request["callers"], request["calls"]
    held: list[float] = []
    clock = time.perf_counter

    async def call(number: int) -> None:
        for index in range(calls):
            began = clock()
            await get(TARGET.format(user=USERS[(number + index) % len(USERS)]))
            held.append(clock() - began)

    watch = Stopwatch()
    await asyncio.gather(*map(call, range(callers)))
    return make_sample(held, watch)


async def measure(request: Request) -> Samples:
    """Time the way of sending that the request names."""
    server = ServerConnection(request["url"])
    async with OPENERS[request["kind"]](request["url"]) as (post, get):
        await get(TARGET.format(user="warm-up"))
        server.reset()
        if request.get("waits"):
            sample = await track_awaited(request, get)
        else:
            sample = await track_in_background(request, post, server)
    server.close()
    return sample


serve(
    {"track": lambda request: asyncio.run(measure(request))},
    "httpx",
    "httpcore",
    "httpx2",
    "aiohttp",
    "sniffio",
)
