"""Real server and worker processes that talk to a collector, and what they say they accepted."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal

from vwo_async.collector import Collector, serve

HERE = Path(__file__).parent
TIMEOUT_S = 25.0


@contextmanager
def running_collector(settings: Any) -> Iterator[tuple[Collector, str]]:
    """Run a collector in a thread."""
    collector = Collector(settings)
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(serve(collector)) as base_url,
    ):
        yield collector, base_url


class Process:
    """A process whose standard error is read while it runs."""

    def __init__(self, command: Sequence[str], environment: dict[str, str]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **environment, "PYTHONPATH": str(HERE), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=HERE,
            start_new_session=True,
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line)

    @property
    def text(self) -> str:
        return "".join(self.lines)

    @property
    def accepted(self) -> set[str]:
        """The users whose conversions were accepted; a traceback may show the line that says so."""
        return set(re.findall(r"^accepted (\S+)$", self.text, re.MULTILINE))

    def wait_for(self, pattern: str, timeout_s: float = TIMEOUT_S) -> str:
        """Wait until a pattern is in what the process says."""
        ends_at = time.monotonic() + timeout_s
        while (found := re.search(pattern, self.text)) is None:
            assert time.monotonic() < ends_at, self.text
            assert self.process.poll() is None or re.search(pattern, self.text), self.text
            time.sleep(0.02)
        return found[0]

    def end(self, number: int | None = signal.SIGTERM) -> int:
        """Send a signal, and return the exit status."""
        if number is not None:
            self.process.send_signal(number)
        status = self.process.wait(TIMEOUT_S)
        self._reader.join(TIMEOUT_S)
        return status

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join(5)
        assert self.process.stdout is not None
        self.process.stdout.close()


@contextmanager
def running(command: Sequence[str], **environment: str) -> Iterator[Process]:
    """Run a process, and leave none of its kind behind."""
    process = Process(command, environment)
    try:
        yield process
    finally:
        process.kill()


def received(collector: Collector) -> list[str]:
    """Return the ids of the visitors of all conversions that came in."""
    return [one.visitor for one in collector.ledger if one.kind == "goal"]


def write_settings(folder: Path, settings: Any) -> str:
    path = folder / "settings.json"
    path.write_text(json.dumps(settings))
    return str(path)


class Traffic:
    """Visitors of a web service, four at a time, until there is nobody who answers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._numbers = iter(range(10**6))
        self._is_over = False
        self._threads = [threading.Thread(target=self._run) for _ in range(4)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        with httpx.Client(base_url=f"http://127.0.0.1:{self._port}", trust_env=False) as client:
            while not self._is_over:
                try:
                    client.get(f"/u{next(self._numbers)}")
                except (httpx.HTTPError, ValueError):
                    time.sleep(0.01)

    def stop(self) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()
