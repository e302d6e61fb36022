"""Real server and worker processes that talk to a collector, and what they say they accepted."""

from __future__ import annotations

import itertools
import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile, gettempdir
from typing import Any

import httpx
from anyio.from_thread import start_blocking_portal
from plain_http import NO_AUTHORITIES

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


# What is compiled is kept for the next process and the next run: all of them import much the same.
COMPILED = os.environ.get("PYTHONPYCACHEPREFIX") or str(Path(gettempdir(), "vwo_async_compiled"))


def _environ(environment: Mapping[str, str]) -> dict[str, str]:
    compiled = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": COMPILED}
    return {
        **os.environ,
        **compiled,
        **environment,
        "PYTHONPATH": f"{HERE}:{HERE.parent}",
        "PYTHONUNBUFFERED": "1",
    }


class Output(ABC):
    """What a process says while it runs, and its end."""

    pid: int

    @property
    @abstractmethod
    def text(self) -> str:
        """What it has said so far."""

    @abstractmethod
    def poll(self) -> int | None:
        """Return the exit status once it has ended."""

    @property
    def accepted(self) -> set[str]:
        """The users whose conversions were accepted."""
        return set(re.findall(r"accepted ([\w-]+)$", self.text, re.MULTILINE))

    def wait_for(self, pattern: str, timeout_s: float = TIMEOUT_S) -> str:
        """Wait until a pattern is in what the process says."""
        ends_at = time.monotonic() + timeout_s
        while True:
            has_ended = self.poll() is not None
            if (found := re.search(pattern, self.text)) is not None:
                return found[0]
            assert not has_ended, self.text
            assert time.monotonic() < ends_at, self.text
            time.sleep(0.01)

    def end(self, number: int | None = signal.SIGTERM) -> int:
        """Send a signal, and return the exit status."""
        if number is not None:
            os.kill(self.pid, number)
        ends_at = time.monotonic() + TIMEOUT_S
        while (status := self.poll()) is None:
            assert time.monotonic() < ends_at, self.text
            time.sleep(0.01)
        return status

    def kill(self) -> None:
        """Leave nothing of it behind."""
        if self.poll() is None:
            # Once it has ended, another may have its number.
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.end(None)


class Process(Output):
    """A process of its own program."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._file = TemporaryFile()  # noqa: SIM115 - it is closed with the process
        self.process = subprocess.Popen(
            [sys.executable, *command],
            env=_environ(environment),
            stdout=self._file,
            stderr=subprocess.STDOUT,
            cwd=HERE,
            start_new_session=True,
        )
        self.pid = self.process.pid

    @property
    def text(self) -> str:
        size = os.fstat(self._file.fileno()).st_size
        return os.pread(self._file.fileno(), size, 0).decode()

    def poll(self) -> int | None:
        return self.process.poll()

    def kill(self) -> None:
        super().kill()
        self._file.close()


class Script(Output):
    """A process that a zygote has forked."""

    def __init__(self, pid: int, output: Path, ended: dict[int, int]) -> None:
        self.pid = pid
        self._output = output
        self._ended = ended

    @property
    def text(self) -> str:
        return self._output.read_text() if self._output.exists() else ""

    def poll(self) -> int | None:
        return self._ended.get(self.pid)


class Zygote:
    """Runs scripts; see `zygote.py`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._numbers = itertools.count()
        self._ended: dict[int, int] = {}
        self._started: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._process = subprocess.Popen(
            [sys.executable, "-W", "error", str(HERE / "zygote.py")],
            env=_environ({}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=HERE,
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            words = json.loads(line)
            if "started" in words:
                self._started.put(words["started"])
            else:
                self._ended[words["ended"]] = words["status"]

    @contextmanager
    def running(self, code: str, *arguments: str, **environment: str) -> Iterator[Script]:
        """Run a script, and leave nothing of it behind."""
        output = self._folder / f"output{next(self._numbers)}"
        words = {
            "code": code,
            "arguments": arguments,
            "environment": environment,
            "output": str(output),
        }
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(words) + "\n")
        self._process.stdin.flush()
        script = Script(self._started.get(timeout=TIMEOUT_S), output, self._ended)
        try:
            yield script
        finally:
            script.kill()

    def close(self) -> None:
        """End."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(TIMEOUT_S)
        self._reader.join()
        self._process.stdout.close()


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
        with httpx.Client(
            base_url=f"http://127.0.0.1:{self._port}", trust_env=False, verify=NO_AUTHORITIES
        ) as client:
            while not self._is_over:
                try:
                    client.get(f"/u{next(self._numbers)}")
                except (httpx.HTTPError, ValueError):
                    time.sleep(0.01)

    def stop(self) -> None:
        self._is_over = True
        for thread in self._threads:
            thread.join()
