"""Takes the pictures of the documents from the running program.

Those of the collector's page are taken in Chromium while the example shop has visitors; those of the command
are what it writes to a terminal. ``nox -s pictures`` runs it.
"""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Thread
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "examples"), str(ROOT / "tests")]

import demo  # noqa: E402
import httpx  # noqa: E402
from browser import find_browser  # noqa: E402
from playwright.sync_api import sync_playwright  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.text import Text  # noqa: E402

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

VISITORS = ["--visitors", "1200", "--rate", "60"]
WIDE = {"width": 1280, "height": 960}
PICTURES: Mapping[str, Mapping[str, Any]] = {
    "page-light": {"viewport": WIDE},
    "page-dark": {"viewport": WIDE, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5},
}
SETTINGS = str(ROOT / "examples" / "settings.json")
COMMANDS: Mapping[str, list[str]] = {
    "explain": ["explain", "tester-7", "checkout_button", "fast_search", "-v", "plan=free"],
    "simulate": ["simulate", "recommendations", "--number", "200000"],
}
COLUMNS = 100
# The picture brings no font from elsewhere.
FONT_FACE = re.compile(r"@font-face \{.*?\}", re.DOTALL)
READY = "() => document.querySelectorAll('#campaigns article').length >= 2"
PURCHASE = "#campaigns article:first-child select"


@contextmanager
def running_shop() -> Iterator[str]:
    """Send visitors through a shop, and give the address of its collector."""
    options = demo.read_options(VISITORS)
    with TemporaryDirectory(prefix="vwo-pictures-") as name:
        folder = Path(name)
        command = demo._make_collector_command(demo.FULLSTACK)  # noqa: SLF001 - as the demonstration does
        with demo.running("collector", command, folder) as url:
            console = Console(quiet=True)
            stage = demo.Stage(demo.FULLSTACK, demo.Collector(url), options, folder, console)
            visitors = Thread(target=stage.run_round, args=("background",))
            visitors.start()
            yield url
            visitors.join()


def take(browser: Browser, url: str, name: str, options: Mapping[str, Any]) -> None:
    """Take one picture."""
    with browser.new_context(**options) as context:
        page = context.new_page()
        page.goto(url)
        page.wait_for_function(READY)
        show(page, name)
        page.evaluate("window.scrollTo(0, 0)")
        page.wait_for_timeout(2_500)
        page.screenshot(path=HERE / f"{name}.png")


def show(page: Page, name: str) -> None:
    """Bring the page into the state that the picture shows."""
    page.select_option(PURCHASE, "purchase")
    page.fill('#look-up [name="user_id"]', "visitor-1-7")
    page.fill('#look-up [name="key"]', "checkout_button")
    page.click("#look-up-form > button")
    page.wait_for_selector("#explained .decision")
    if name == "page-dark":
        page.click('[data-fault="500"]')
        page.wait_for_selector("#lamp:not([hidden])")


def take_command(name: str, arguments: list[str]) -> None:
    """Take the picture of what a command writes."""
    command = [sys.executable, "-m", "vwo_async", *arguments, "-s", SETTINGS]
    environ = {**os.environ, "FORCE_COLOR": "1", "COLUMNS": str(COLUMNS), "COLORTERM": "truecolor"}
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)  # noqa: S603
    console = Console(width=COLUMNS, record=True, file=io.StringIO())
    console.print(f"$ vwo-async {' '.join(arguments)} -s settings.json", highlight=False)
    console.print(Text.from_ansi(done.stdout))
    picture = console.export_svg(title="vwo-async", unique_id=name)
    (HERE / f"{name}.svg").write_text(FONT_FACE.sub("", picture), encoding="utf-8")


def main() -> int:
    """Take all pictures, and return the exit status."""
    for name, arguments in COMMANDS.items():
        take_command(name, arguments)
    path = find_browser()
    if path is None:
        sys.stderr.write("there is no Chromium\n")
        return 1
    with running_shop() as url, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        browser.new_page().wait_for_timeout(15_000)
        httpx.get(f"{url}/server-side/track-user", trust_env=False)
        for name, options in PICTURES.items():
            take(browser, f"{url}/", name, options)
            httpx.put(f"{url}/collector/fault", json={"fault": None}, trust_env=False)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
