"""Child processes of the runner: pinned to a core, controlled over a pipe, and stopped at the end."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Self

ANSWER_TIMEOUT_S = 300.0


class ChildError(Exception):
    """A child process did not answer, and cannot be used any more."""


class RefusedError(Exception):
    """A child process cannot do what it was asked; the text says why."""


class Cores:
    """The cores for measuring and for serving; None if there is only one core, and nothing is pinned."""

    def __init__(self) -> None:
        usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        self.measured = usable[-1] if len(usable) > 1 else None
        self.serving = usable[0] if len(usable) > 1 else None

    @contextmanager
    def pinned(self, core: int | None) -> Iterator[None]:
        """Run on *core* during the block, and start children on it."""
        if core is None:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


class Child:
    """A process that answers each line of JSON with one.

    Args:
        command: How to start it.
        cores: The cores of the machine.
        core: Where it runs.
        log_path: Takes what it writes to its standard error.
    """

    def __init__(
        self, command: Sequence[str], cores: Cores, core: int | None, log_path: Path
    ) -> None:
        environment = {**os.environ, "PYTHONHASHSEED": "0", "PYTHONWARNINGS": "ignore"}
        with cores.pinned(core), log_path.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                env=environment,
            )
        self._rest = b""

    def ask(self, request: dict[str, Any], timeout_s: float = ANSWER_TIMEOUT_S) -> dict[str, Any]:
        """Return the answer to *request*.

        Raises:
            ChildError: There is none in time.
            RefusedError: It says that it cannot.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        except OSError:
            raise ChildError("the worker has ended") from None
        answer: dict[str, Any] = json.loads(self.read_line(timeout_s))
        if "error" in answer:
            raise RefusedError(answer["error"])
        return answer

    def read_line(self, timeout_s: float = ANSWER_TIMEOUT_S) -> bytes:
        """Return the next line that it prints.

        Raises:
            ChildError: There is none in time.
        """
        assert self._process.stdout is not None
        descriptor = self._process.stdout.fileno()
        ends_at = time.monotonic() + timeout_s
        while b"\n" not in self._rest:
            left = ends_at - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise ChildError(f"no answer within {timeout_s:.0f} s")
            data = os.read(descriptor, 65536)
            if not data:
                raise ChildError("the worker has ended")
            self._rest += data
        line, _, self._rest = self._rest.partition(b"\n")
        return line

    def close(self) -> None:
        """Stop the process; kill it if it does not end."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        # It may have ended first.
        with suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
