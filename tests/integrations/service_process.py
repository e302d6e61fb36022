"""Real processes: a collector for both products, and the services of the frameworks."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
from chosen_product import translate
from plain_http import NO_AUTHORITIES
from port import find_free_port
from sample import settings

HERE = Path(__file__).parent
START_S = 20
END_S = 12
POLL_S = 0.02

_UVICORN = (
    "-m",
    "uvicorn",
    "--no-proxy-headers",
    "--no-access-log",
    "--ws",
    "wsproto",
    "--port",
    "{port}",
)
_HYPERCORN = ("-m", "hypercorn", "--bind", "127.0.0.1:{port}")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "fastapi": (*_UVICORN, "fastapi_service:app"),
    "starlette": (*_UVICORN, "starlette_service:app"),
    "aiohttp": ("aiohttp_service.py",),
    "litestar": (*_UVICORN, "litestar_service:app"),
    "quart": (*_HYPERCORN, "quart_service:app"),
}


class Process:
    """A process of this interpreter, with what it says in files."""

    def __init__(
        self,
        folder: Path,
        name: str,
        arguments: list[str],
        *,
        cwd: Path = HERE,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._output, self._errors = folder / f"{name}.out", folder / f"{name}.err"
        with self._output.open("wb") as output, self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=cwd,
                stdout=output,
                stderr=errors,
                env={**os.environ, **(environment or {})},
            )

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def errors(self) -> str:
        return self._errors.read_text()

    def wait_for_errors(self, text: str) -> str:
        """Return what it has written to its standard error once *text* is in there.

        A service may have a thread write its log, after it has answered.
        """
        until = time.monotonic() + START_S
        while text not in self.errors and time.monotonic() < until:
            time.sleep(POLL_S)
        assert text in self.errors, self.errors
        return self.errors

    def wait_for(self, url: str) -> None:
        """Wait until the process answers there."""
        until = time.monotonic() + START_S
        while time.monotonic() < until and self._process.poll() is None:
            try:
                httpx.get(url, trust_env=False, verify=NO_AUTHORITIES)
            except httpx.TransportError:
                time.sleep(POLL_S)
            else:
                return
        # Whoever makes it has no process yet that he could end.
        self.end(signal.SIGKILL)
        raise RuntimeError(f"it did not start: {self.output}{self.errors}")

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End the process with a signal, and return its status."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        try:
            return self._process.wait(END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.end()


class CollectorProcess(Process):
    """A collector for both products, with the settings of `sample` in their two forms."""

    def __init__(self, folder: Path, *files: Mapping[str, Any]) -> None:
        arguments = ["-m", "vwo_async.collector", "--port", str(port := find_free_port())]
        for number, file in enumerate(files or (settings(), translate(settings()))):
            path = folder / f"settings{number}.json"
            path.write_text(json.dumps(file))
            arguments += ["--settings", str(path)]
        super().__init__(folder, "collector", arguments)
        self.base_url = f"http://127.0.0.1:{port}"
        self.wait_for(f"{self.base_url}/collector/totals")

    def ledger(self) -> list[dict[str, Any]]:
        """Return the events received since the last reset."""
        ledger: list[dict[str, Any]] = self._get("ledger")["events"]
        return ledger

    def totals(self) -> dict[str, Any]:
        """Return how many requests and events there were since the last reset."""
        totals: dict[str, Any] = self._get("totals")
        return totals

    def reset(self) -> None:
        """Forget all that was received."""
        httpx.post(
            f"{self.base_url}/collector/reset", trust_env=False, verify=NO_AUTHORITIES
        ).raise_for_status()

    def answer(self, status: int, times: int) -> None:
        """Answer the next requests with this status."""
        plan = {"status": status, "times": times}
        url = f"{self.base_url}/collector/answer"
        httpx.post(url, json=plan, trust_env=False, verify=NO_AUTHORITIES).raise_for_status()

    def _get(self, what: str) -> Any:
        return httpx.get(
            f"{self.base_url}/collector/{what}", trust_env=False, verify=NO_AUTHORITIES
        ).json()

    def wait_for_events(self, number: int, **facts: Any) -> list[dict[str, Any]]:
        """Wait until so many events with these facts arrived, and a moment for more; return them."""
        until = time.monotonic() + START_S
        while len(found := self.find(**facts)) < number and time.monotonic() < until:
            time.sleep(POLL_S)
        time.sleep(0.1)
        return self.find(**facts) if found else []

    def find(self, **facts: Any) -> list[dict[str, Any]]:
        """Return the events with these facts."""
        return [
            event
            for event in self.ledger()
            if all(event[name] == value for name, value in facts.items())
        ]


class Service(Process):
    """The service of a framework."""

    def __init__(self, folder: Path, framework: str, collector: CollectorProcess) -> None:
        port = str(find_free_port())
        arguments = [one.format(port=port) for one in COMMANDS[framework]]
        environment = {"COLLECTOR_URL": collector.base_url, "PORT": port}
        super().__init__(folder, framework, arguments, environment=environment)
        self.framework = framework
        self.collector = collector
        self.url = f"http://127.0.0.1:{port}"
        self.wait_for(f"{self.url}/statistics")

    def statistics(self, client: str) -> dict[str, Any]:
        """Return the ledger of a client of the running service."""
        answer = httpx.get(f"{self.url}/statistics", trust_env=False, verify=NO_AUTHORITIES)
        statistics: dict[str, Any] = answer.json()[client]
        return statistics

    def final_statistics(self) -> dict[str, Any]:
        """Return the ledgers of the clients as they were when the process ended."""
        (line,) = [one for one in self.output.splitlines() if one.startswith("final ")]
        statistics: dict[str, Any] = json.loads(line.removeprefix("final "))
        return statistics
