"""Pictures of the command in a terminal: what the running program prints there, as SVG.

``nox -s pictures`` writes them to docs/pictures, from where docs/cli.md shows them.
"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from contextlib import suppress
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs" / "pictures"
COLUMNS, LINES = 100, 60
SETTINGS = ("-s", "examples/settings.json")
PICTURES: Mapping[str, Sequence[str]] = {
    "simulate": ("simulate", "checkout_button", *SETTINGS, "-n", "1000000"),
    "explain": ("explain", "Ashley", *SETTINGS),
}


def run_in_terminal(words: Sequence[str]) -> str:
    """Run the command in a terminal of its own, and return what it prints there, with its colours."""
    reading, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
    env = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
    for name in ("NO_COLOR", "COLUMNS", "LINES", "VWO_SETTINGS"):
        env.pop(name, None)
    command = [sys.executable, "-m", "vwo_async", *words]
    with subprocess.Popen(command, stdout=terminal, stderr=terminal, cwd=ROOT, env=env) as process:
        os.close(terminal)
        printed = bytearray()
        # A terminal whose last user is gone is an error on Linux, and not an end.
        with suppress(OSError):
            while some := os.read(reading, 65536):
                printed += some
    os.close(reading)
    if process.returncode:
        sys.exit(f"{' '.join(words)} ended with {process.returncode}: {printed.decode()}")
    return printed.decode().replace("\r\n", "\n")


def draw(name: str, words: Sequence[str]) -> Path:
    """Write one picture, and return where it is."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(f"$ vwo-async {' '.join(words)}\n{run_in_terminal(words)}"))
    path = TARGET / f"{name}.svg"
    # An id that does not change, so that only what is shown changes the picture.
    picture = console.export_svg(title="vwo-async", unique_id=name)
    # Without the fonts from elsewhere: a picture in a document asks nobody for anything.
    path.write_text(re.sub(r"@font-face \{.*?\}", "", picture, flags=re.DOTALL), encoding="utf-8")
    return path


def main() -> None:
    """Write all pictures."""
    TARGET.mkdir(exist_ok=True)
    for name, words in PICTURES.items():
        sys.stdout.write(f"{draw(name, words).relative_to(ROOT)}\n")


if __name__ == "__main__":
    main()
