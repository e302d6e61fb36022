"""A server that misbehaves on command, as a process of its own: run it by path, never import it.

``python misbehaving.py`` reads lines of JSON, and forks a server for each ``{"start": [LEDGER,
CERTIFICATE]}``: that takes a tenth of what a process of its own program takes. The server prints one JSON
line with its pid and its two ports. ``{"end": PID}`` ends it, and all end with the standard input. Each
connection to the control port carries one command and its answer as JSON lines: the name of a method of
`Server` that begins with ``do_``, and its arguments.

What it has fully read and taken is in the ledger, one event a line, synced to disk before the answer
leaves. An event is named by what its single and its batch form have in common.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import os
import signal
import socket
import ssl
import struct
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple, NoReturn
from urllib.parse import parse_qs, unquote, urlsplit

HOST = "127.0.0.1"
KINDS = {"track-user": "user", "track-goal": "goal", "push": "push"}
BATCH_KINDS = {1: "user", 2: "goal", 3: "push"}
DRIP_S = 0.05
# Well within every time-out.
LATE_S = 0.3
TOO_LARGE = 413
BOMB_BYTES = 50_000_000
SHOWN_BODY_BYTES = 4096


class Reply(NamedTuple):
    """How to answer one request."""

    style: str = "answer"
    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: str = ""


@dataclass
class Try:
    """One request that was fully read.

    Attributes:
        at: When it was, in monotonic seconds, which all processes of a machine share.
        connection: The number of the connection it came over.
        target: Of the request line.
        headers: As they came.
        body: Its beginning.
        digest: Of every byte of the request.
        events: The names of the events in it.
        status: With what it was answered, None where it was not.
        is_taken: Whether its events are in the ledger.
        ended_at: When the answer was written or the connection was gone.
        written: Bytes of an endless answer that were written.
    """

    at: float
    connection: int
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: str
    digest: str
    size: int
    events: list[str]
    status: int | None = None
    is_taken: bool = False
    ended_at: float | None = None
    written: int = 0


@dataclass
class Server:
    """Takes one-time replies from a list, then goes by the rules and the standing reply."""

    ledger: int
    certificate: str | None
    port: int = 0
    replies: list[Reply] = field(default_factory=list)
    standing: Reply = field(default_factory=Reply)
    marker: str = ""
    dislike: Reply = field(default_factory=Reply)
    max_body: int | None = None
    tries: list[Try] = field(default_factory=list)
    junk: list[str] = field(default_factory=list)
    connections: int = 0
    busy: int = 0
    peak: int = 0
    writers: dict[asyncio.StreamWriter, bool] = field(default_factory=dict)
    listener: asyncio.Server | None = None
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    # Commands

    async def do_answer(
        self,
        status: int = 200,
        headers: list[list[str]] | None = None,
        body: str = "",
        style: str = "answer",
        times: int | None = None,
    ) -> None:
        """Answer so the next *times* requests, or every request from now on."""
        named = tuple((name, value) for name, value in headers or ())
        reply = Reply(style, status, named, body)
        if times is None:
            self.replies.clear()
            self.standing = reply
        else:
            self.replies.extend([reply] * times)

    async def do_refuse_marked(self, marker: str, status: int = 400, style: str = "answer") -> None:
        """Answer so to each request that holds *marker*."""
        self.marker = marker
        self.dislike = Reply(style, status)

    async def do_refuse_larger(self, size: int) -> None:
        """Answer 413 to a body of more than *size* bytes."""
        self.max_body = size

    async def do_close_idle(self) -> int:
        """Close the connections on which no request is being answered; return how many there were."""
        idle = [writer for writer, is_busy in self.writers.items() if not is_busy]
        for writer in idle:
            writer.close()
        return len(idle)

    async def do_stop(self) -> None:
        """Close the port and every connection."""
        if self.listener is not None:
            self.listener.close()
            self.listener = None
        for writer in list(self.writers):
            writer.transport.abort()

    async def do_start(self, certificate: str | None = None) -> None:
        """Listen on the same port again, with TLS where there is a *certificate*."""
        await self.do_stop()
        self.certificate = certificate
        await self.listen()

    async def do_tries(self) -> list[dict[str, Any]]:
        """Return every request that was fully read."""
        return [asdict(one) for one in self.tries]

    async def do_state(self) -> dict[str, Any]:
        """Return how many connections and simultaneous requests there were, and what was no HTTP."""
        return {"connections": self.connections, "peak": self.peak, "junk": self.junk}

    # Listening

    async def listen(self) -> None:
        context = None
        if self.certificate is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(self.certificate)
        self.listener = await asyncio.start_server(
            self.connected, HOST, self.port, ssl=context, limit=1 << 20, backlog=200
        )
        self.port = self.listener.sockets[0].getsockname()[1]

    async def command(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            given = json.loads(await reader.readline())
            result = await getattr(self, f"do_{given.pop('do')}")(**given)
            writer.write(json.dumps(result).encode() + b"\n")
            await writer.drain()
        writer.close()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.writers[writer] = False
        number = self.connections
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            while (request := await self.read(reader, writer, number)) is not None:
                self.writers[writer] = True
                self.busy += 1
                self.peak = max(self.peak, self.busy)
                try:
                    await self.reply(request, reader, writer)
                finally:
                    self.busy -= 1
                    request.ended_at = time.monotonic()
                    self.writers[writer] = False
        self.writers.pop(writer, None)
        writer.close()

    async def read(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, connection: int
    ) -> Try | None:
        """Return the next request, or None at the end of the connection."""
        first = await reader.read(1)
        if not first:
            return None
        if not first.isalpha():
            # The first byte of a TLS handshake on a plain port; answered as web servers do.
            self.junk.append((first + await reader.read(65536)).decode("latin-1"))
            writer.write(b"HTTP/1.1 400 X\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            return None
        head = first + await reader.readuntil(b"\r\n\r\n")
        line, *lines = head.decode("latin-1").rstrip("\r\n").split("\r\n")
        method, target, _ = line.split(" ")
        headers = [(key, value.strip()) for key, _, value in (one.partition(":") for one in lines)]
        size = next((int(value) for key, value in headers if key.lower() == "content-length"), 0)
        body = await reader.readexactly(size)
        found = Try(
            at=time.monotonic(),
            connection=connection,
            method=method,
            target=target,
            headers=headers,
            body=body[:SHOWN_BODY_BYTES].decode("latin-1"),
            digest=hashlib.sha256(head + body).hexdigest(),
            size=size,
            events=name_events(target, body),
        )
        self.tries.append(found)
        if self.marker and (self.marker.encode() in body or self.marker in target):
            found.status = self.dislike.status
        elif self.max_body is not None and size > self.max_body:
            found.status = TOO_LARGE
        return found

    # Answering

    async def reply(
        self, request: Try, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        reply = self.replies.pop(0) if self.replies else self.standing
        if request.status is not None:
            reply = self.dislike if request.status != TOO_LARGE else Reply(status=TOO_LARGE)
        if reply.style != "hang" and 200 <= reply.status < 300:
            self.take(request)
        if reply.style != "hang":
            request.status = reply.status
        await getattr(self, f"reply_{reply.style}")(reply, request, reader, writer)

    def take(self, request: Try) -> None:
        request.is_taken = True
        os.write(self.ledger, "".join(f"{name}\n" for name in request.events).encode())
        os.fsync(self.ledger)

    async def reply_answer(
        self, reply: Reply, _request: Try, _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(make_head(reply, len(reply.body)) + reply.body.encode())
        await writer.drain()

    async def reply_late(
        self, reply: Reply, request: Try, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await asyncio.sleep(LATE_S)
        await self.reply_answer(reply, request, reader, writer)

    async def reply_hang(
        self, _reply: Reply, _request: Try, reader: asyncio.StreamReader, _: asyncio.StreamWriter
    ) -> None:
        await reader.read(1)

    async def reply_hang_after_headers(
        self, reply: Reply, _: Try, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(make_head(reply, 100_000))
        await writer.drain()
        await reader.read(1)

    async def reply_drip(
        self, reply: Reply, _request: Try, _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(make_head(reply, 100_000))
        await drip(b"x" * 100_000, writer)

    async def reply_drip_headers(
        self, reply: Reply, _request: Try, _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        await drip(make_head(reply, 0), writer)

    async def reply_reset_after_headers(
        self, reply: Reply, _request: Try, _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(make_head(reply, 100_000))
        await writer.drain()
        await asyncio.sleep(DRIP_S)
        reset(writer)

    async def reply_read_then_reset(
        self, _reply: Reply, _request: Try, _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        reset(writer)

    async def reply_gzip_bomb(
        self, reply: Reply, _request: Try, _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        bomb = gzip.compress(bytes(BOMB_BYTES))
        named = reply._replace(headers=(*reply.headers, ("Content-Encoding", "gzip")))
        writer.write(make_head(named, len(bomb)) + bomb)
        await writer.drain()

    async def reply_endless(
        self, _reply: Reply, request: Try, _: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            writer.write(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
            await writer.drain()
            request.written += 0x4000


def make_head(reply: Reply, length: int) -> bytes:
    lines = [f"HTTP/1.1 {reply.status} X", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    return "\r\n".join([*lines, "", ""]).encode()


async def drip(data: bytes, writer: asyncio.StreamWriter) -> None:
    for number in range(len(data)):
        writer.write(data[number : number + 1])
        await writer.drain()
        await asyncio.sleep(DRIP_S)


def reset(writer: asyncio.StreamWriter) -> None:
    """Close with a TCP reset instead of an orderly end."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def name_events(target: str, body: bytes) -> list[str]:
    """Return the name of each event in a request: see `rig.name_event`."""
    url = urlsplit(target)
    endpoint = url.path.rpartition("/")[2]
    if endpoint == "batch-events":
        return [name_item(one) for one in json.loads(body)["ev"]]
    if endpoint == "batch-events-v2":
        return [one["d"]["msgId"] for one in json.loads(body)["ev"]]
    if endpoint == "t":
        return [json.loads(body)["d"]["msgId"]]
    if endpoint not in KINDS:
        return [f"unknown {endpoint}"]
    query = {key: values[0] for key, values in parse_qs(url.query).items()}
    tail = (query.get("experiment_id"), query.get("goal_id"), query.get("tags"))
    return [join(query["u"], KINDS[endpoint], query["sId"], *tail)]


def name_item(item: dict[str, Any]) -> str:
    tags = unquote(item["t"]) if "t" in item else None
    tail = (item.get("e"), item.get("g"), tags)
    return join(item["u"], BATCH_KINDS[item["eT"]], item["sId"], *tail)


def join(*parts: object) -> str:
    return ":".join("" if part is None else str(part) for part in parts)


async def main(ledger: str, certificate: str | None, lifeline: int) -> None:
    """Serve until *lifeline* ends."""
    loop = asyncio.get_running_loop()
    # Clients that hang up in the handshake are what this server is for.
    loop.set_exception_handler(lambda *_: None)
    file = os.open(ledger, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    server = Server(file, certificate)
    await server.listen()
    control = await asyncio.start_server(server.command, HOST, 0)
    say(pid=os.getpid(), port=server.port, control=control.sockets[0].getsockname()[1])
    ended = asyncio.Event()
    loop.add_reader(lifeline, ended.set)
    await ended.wait()


def say(**words: int) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


def become_server(ledger: str, certificate: str | None, lifeline: int) -> NoReturn:
    try:
        asyncio.run(main(ledger, certificate, lifeline))
    finally:
        # Whoever waits for the ports learns that there are none.
        say()
        os._exit(0)


def fork_servers() -> None:
    """Fork servers, and end them, as standard input says."""
    lifeline, held = os.pipe()
    for line in sys.stdin:
        asked = json.loads(line)
        if "end" in asked:
            os.kill(asked["end"], signal.SIGKILL)
            os.waitpid(asked["end"], 0)
            say(ended=asked["end"])
        elif not os.fork():
            os.close(held)
            ledger, certificate = asked["start"]
            become_server(ledger, certificate, lifeline)


if __name__ == "__main__":
    fork_servers()
