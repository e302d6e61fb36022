"""A real Chromium, without a window, in which tests open pages."""

from __future__ import annotations

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
AXE = "axe-core@4.14.1"
_CACHE = Path(__file__).parents[1] / ".nox" / "axe-core"


def find_browser() -> str | None:
    """Return where Chromium is: in VWO_TEST_CHROMIUM, or by one of its names."""
    return os.environ.get("VWO_TEST_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run a browser; skip the test where there is none."""
    path = find_browser()
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with api.sync_playwright() as playwright:
        # Its sandbox needs a user other than root.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


def load_axe() -> str:
    """Return the script that checks pages for accessibility, from npm's registry or from an earlier run."""
    script = _CACHE / "package" / "axe.min.js"
    if not script.exists():
        _fetch_axe()
    return script.read_text()


def _fetch_axe() -> None:
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("axe-core is fetched with npm, which is not installed")
    _CACHE.mkdir(parents=True, exist_ok=True)
    # Several processes may want it at once: each fetches its own, and puts it in place in one step.
    with tempfile.TemporaryDirectory(dir=_CACHE) as folder:
        done = subprocess.run(
            [npm, "pack", AXE, "--pack-destination", folder], capture_output=True, check=False
        )
        if done.returncode:
            pytest.skip("axe-core could not be fetched from npm's registry")
        with tarfile.open(next(Path(folder).glob("axe-core-*.tgz"))) as package:
            package.extract("package/axe.min.js", folder, filter="data")
        script = Path(folder, "package", "axe.min.js")
        (_CACHE / "package").mkdir(exist_ok=True)
        script.replace(_CACHE / "package" / "axe.min.js")
