"""Takes the pictures of the collector's page from a running one, while the example shop has visitors.

``nox -s pictures`` runs it. It needs Chromium.
"""

from __future__ import annotations

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

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

VISITORS = ["--visitors", "1200", "--rate", "60"]
WIDE = {"width": 1280, "height": 960}
PICTURES: Mapping[str, Mapping[str, Any]] = {
    "page-light": {"viewport": WIDE},
    "page-dark": {"viewport": WIDE, "color_scheme": "dark"},
    "page-phone": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5},
}
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


def main() -> int:
    """Take all pictures, and return the exit status."""
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
