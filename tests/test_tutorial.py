"""The tutorial works to its end, as somebody follows it who types what it says."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from port import find_free_port
from test_docs import Block, blocks_of

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"
START_S = 60
RUN_S = 100
# Commands that run until they are told to stop, and where they answer when they are ready.
SERVERS = {"vwo-async collector": "/collector/totals", "VWO_BASE_URL=": "/openapi.json"}
INSTALLS = "python3 -m venv"


class Reader:
    """Who follows the tutorial in an empty folder: saves its files, types its commands.

    Attributes:
        printed: What each command has printed, by the command.
    """

    def __init__(self, folder: Path) -> None:
        self.printed: dict[str, str] = {}
        self._folder = folder
        self._ports = {port: str(find_free_port()) for port in ("8000", "8080")}
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
        # As wide as a terminal, and without the options of the run that this test is part of.
        self._env = {**os.environ, "PATH": path, "COLUMNS": "120", "PYTEST_ADDOPTS": ""}
        self._servers: list[subprocess.Popen[bytes]] = []

    def save(self, block: Block) -> None:
        """Save a block under the name in its first line."""
        found = re.match(r"# (\w+\.py)\n", block.text)
        assert found is not None, block
        (self._folder / found[1]).write_text(block.text)

    def type(self, command: str) -> None:
        """Type a command, and wait until it ends, or serves."""
        if command.startswith(INSTALLS):
            return
        text = command.replace("visitors.py 1000", "visitors.py 200")
        for port, own in self._ports.items():
            text = text.replace(port, own)
        path = next((path for start, path in SERVERS.items() if command.startswith(start)), None)
        if path is not None:
            self._serve(text, path)
            return
        done = subprocess.run(
            text,
            shell=True,
            cwd=self._folder,
            env=self._env,
            capture_output=True,
            text=True,
            timeout=RUN_S,
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        self.printed[command] = done.stdout

    def _serve(self, command: str, path: str) -> None:
        with (self._folder / f"server{len(self._servers)}.log").open("wb") as log:
            # exec, so that what is told to stop is the server and not its shell.
            text = re.sub(r"^((?:\w+=\S+ )*)", r"\1exec ", command)
            server = subprocess.Popen(
                text, shell=True, cwd=self._folder, env=self._env, stdout=log, stderr=log
            )
        self._servers.append(server)
        port = re.findall(r"--port (\d+)", command)[0]
        until = time.monotonic() + START_S
        while True:
            assert server.poll() is None, Path(log.name).read_text()
            assert time.monotonic() < until
            try:
                httpx.get(f"http://127.0.0.1:{port}{path}", trust_env=False).raise_for_status()
            except httpx.ConnectError:
                time.sleep(0.1)
            else:
                return

    def stop(self) -> None:
        """Stop what serves, the last first."""
        for server in reversed(self._servers):
            server.send_signal(signal.SIGINT)
            server.wait(timeout=START_S)


@contextmanager
def reading(folder: Path) -> Iterator[Reader]:
    reader = Reader(folder)
    try:
        yield reader
    finally:
        reader.stop()


def lines_of(block: Block) -> list[str]:
    return [line.partition("  #")[0].strip() for line in block.text.splitlines() if line.strip()]


@pytest.mark.slow
def test_the_tutorial_to_its_end(tmp_path: Path) -> None:
    """Every file is saved and every command typed, in order: none fails, and the counts are those of a test."""
    with reading(tmp_path) as reader:
        for block in blocks_of(PAGE):
            if block.language == "python":
                reader.save(block)
                if "experiment.py" in block.text:
                    reader.type("python experiment.py")
            elif block.language == "sh":
                for command in lines_of(block):
                    if not command.startswith(("mkdir", "pip install")):
                        reader.type(command)
    printed = reader.printed
    assert "no sample ratio mismatch" in next(v for k, v in printed.items() if "simulate" in k)
    assert "checkout: on" in next(v for k, v in printed.items() if "explain" in k)
    assert "2 passed" in printed["pytest"]
    counted = re.findall(
        r"^(\S+) +(\d+) visitors, +(\d+) bought \([\d.]+%\), ([\d.]+) earned$",
        next(v for k, v in printed.items() if "result.py" in k),
        re.MULTILINE,
    )
    assert [name for name, *_ in counted] == ["Control", "Variation-1"]
    assert sum(int(visitors) for _, visitors, *_ in counted) == 200
    for _, visitors, bought, earned in counted:
        assert 0 < int(bought) < int(visitors)
        assert float(earned) == pytest.approx(49.9 * int(bought))


def test_what_it_prints_is_shown_as_it_prints_it() -> None:
    """The table that the page shows has the form that its script prints."""
    (shown,) = [one for one in blocks_of(PAGE) if one.language == "text"]
    for line in shown.text.splitlines():
        assert re.fullmatch(r"\S+ +\d+ visitors, +\d+ bought \([\d.]+%\), [\d.]+ earned", line)
