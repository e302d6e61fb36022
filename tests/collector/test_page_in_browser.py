"""The page in a real Chromium, while a real shop sends what its visitors do."""

from __future__ import annotations

import http.server
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from browser import load_axe, open_browser
from plain_http import NO_AUTHORITIES

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, ViewportSize

EXAMPLES = Path(__file__).parents[2] / "examples"
SETTINGS = json.loads((EXAMPLES / "settings.json").read_text())
FME_SETTINGS = json.loads((EXAMPLES / "fme_settings.json").read_text())
# The machine may be busy with other tests.
TIMEOUT_MS = 30_000
HOSTILE = "<img src=x onerror=\"document.title='run'\"><script>document.title='run'</script>"
WIDE: ViewportSize = {"width": 1400, "height": 900}
PHONE: ViewportSize = {"width": 390, "height": 844}

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("browser")]


@contextmanager
def running(command: Sequence[str], said: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Run a process, and give what it says behind *said* when it is ready."""
    with subprocess.Popen(
        [sys.executable, "-m", *command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **environ},
    ) as process:
        try:
            assert process.stdout is not None
            for line in process.stdout:
                if (found := re.search(f"{said}(\\S+)", line)) is not None:
                    # Nobody reads what it says later.
                    threading.Thread(target=process.stdout.read, daemon=True).start()
                    yield found[1]
                    break
            else:
                pytest.fail(f"{command[0]} did not start")
        finally:
            process.send_signal(signal.SIGTERM)


@contextmanager
def running_collector(*arguments: object) -> Iterator[str]:
    command = ("vwo_async.collector", *map(str, arguments))
    with running(command, "^page: ", {}) as page:
        yield page


class Shop:
    """A shop whose visitors come and buy until the tests are over, and the collector that it tells."""

    def __init__(self, collector: str, shop: str) -> None:
        self.collector = collector
        self._shop = shop
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._visit, daemon=True)
        self._thread.start()

    def read(self, path: str) -> Any:
        return httpx.get(
            f"{self.collector}collector/{path}", trust_env=False, verify=NO_AUTHORITIES, timeout=30
        ).json()

    def _visit(self) -> None:
        with httpx.Client(
            base_url=self._shop, trust_env=False, verify=NO_AUTHORITIES, timeout=60
        ) as client:
            number = 0
            while not self._is_over.wait(0.05):
                number += 1
                headers = {"X-Visitor-Id": f"visitor-{number}"}
                client.get("/products/mug", headers=headers)
                if number % 3 == 0:
                    client.post("/checkout", json={"items": {"mug": 1}}, headers=headers)

    def close(self) -> None:
        self._is_over.set()
        self._thread.join(60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def shop(browser: Browser) -> Iterator[Shop]:
    with ExitStack() as stack:
        files = (EXAMPLES / "settings.json", EXAMPLES / "fme_settings.json")
        arguments = [part for file in files for part in ("--settings", file)]
        collector = stack.enter_context(running_collector(*arguments))
        environ = {
            "VWO_BASE_URL": collector.rstrip("/"),
            "VWO_ACCOUNT_ID": str(SETTINGS["accountId"]),
            "VWO_SDK_KEY": SETTINGS["sdkKey"],
        }
        command = (
            "uvicorn",
            "--app-dir",
            str(EXAMPLES),
            "shop:app",
            "--port",
            "0",
            "--no-access-log",
        )
        url = stack.enter_context(running(command, "running on ", environ))
        shop = Shop(collector, url)
        try:
            yield shop
        finally:
            shop.close()


@contextmanager
def opened(browser: Browser, url: str, **options: Any) -> Iterator[Page]:
    """Open a page, which must raise no error and break no rule of its own policy."""
    with browser.new_context(**options) as context:
        context.set_default_timeout(TIMEOUT_MS)
        page = context.new_page()
        faults: list[str] = []
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("console", lambda line: faults.append(line.text) if line.type == "error" else None)
        page.goto(url)
        page.wait_for_selector("#connection.live")
        yield page
        assert not faults


@pytest.fixture
def page(browser: Browser, shop: Shop) -> Iterator[Page]:
    with opened(browser, shop.collector) as page:
        yield page


def wait(page: Page, condition: str, argument: Any = None) -> None:
    page.wait_for_function(condition, arg=argument, timeout=TIMEOUT_MS)


def read_total(page: Page, name: str) -> int:
    return int(page.locator(f'[data-total="{name}"]').inner_text().replace(",", ""))


def read_card(page: Page, key: str) -> dict[str, list[str]]:
    """Return the cells of a campaign's table by the name of the variation."""
    # At one moment, since the rows are made anew each second.
    read = """(key) => {
        const cards = [...document.querySelectorAll("article")];
        const card = cards.find((one) => one.querySelector("h3").textContent === key);
        return [...card.querySelectorAll("tbody tr")].map((row) => [
            row.querySelector("th").innerText,
            [...row.querySelectorAll("td")].map((cell) => cell.innerText),
        ]);
    }"""
    return {name.split()[0]: cells for name, cells in page.evaluate(read, key)}


def test_visitors_and_conversions_move(page: Page, shop: Shop) -> None:
    """What the shop's visitors do shows within moments: totals, campaigns with their rates, and events."""
    wait(page, "() => document.querySelectorAll('#campaigns article').length >= 2")
    before = read_total(page, "events"), read_total(page, "unique_conversions")
    moved = """([events, conversions]) => {
        const read = (name) =>
            Number(document.querySelector(`[data-total="${name}"]`).textContent.replaceAll(",", ""));
        return read("events") > events && read("unique_conversions") > conversions;
    }"""
    wait(page, moved, list(before))
    page.locator("#campaigns article").first.locator("select").select_option("purchase")
    cells = read_card(page, "checkout_button")
    assert set(cells) == {"Control", "One-Click"}
    # Later, when the control has conversions as well, so that there is an uplift.
    wait(
        page,
        "() => /^[+-]?[\\d.,]+%/.test(document.querySelectorAll('#campaigns article tr')[2]?.lastChild.innerText)",
    )
    visitors, conversions, rate, revenue, uplift = read_card(page, "checkout_button")["One-Click"]
    assert int(visitors) >= int(conversions) > 0
    assert re.fullmatch(r"\d+\.\d\d%\s+\d+\.\d\d% to \d+\.\d\d%", rate)
    total, each = revenue.replace(",", "").removesuffix(" a visitor").split()
    assert float(total) > float(each) > 0
    assert re.fullmatch(r"[+-]?\d+\.\d%\s+probability \d+\.\d\d%", uplift.replace(",", ""))
    wait(page, "() => document.querySelector('.plot canvas')?.width > 300")
    assert page.locator("#entry-rows tr").count() > 3


def test_the_page_shows_the_report(page: Page, shop: Shop) -> None:
    """The visitors of each variation are those of the collector's report, at least as old as a moment."""
    wait(page, "() => document.querySelectorAll('#campaigns article').length >= 2")
    before = shop.read("report")["campaigns"]
    shown = "(number) => Number(document.querySelector('#campaigns td').textContent) >= number"
    campaign = next(one for one in before if one["key"] == "checkout_button")
    wait(page, shown, campaign["variations"][0]["visitors"])
    found = read_card(page, "checkout_button")["Control"]
    after = next(one for one in shop.read("report")["campaigns"] if one["key"] == "checkout_button")
    assert int(found[0]) <= after["variations"][0]["visitors"]


def test_filter(page: Page, shop: Shop) -> None:
    """Events of one user alone, by the id that the shop knows him by; of one kind; and all again."""
    wait(page, "() => document.querySelectorAll('#entry-rows tr').length > 3")
    page.fill('#filter [name="user"]', "visitor-3")
    page.keyboard.press("Enter")
    one_visitor = """() => {
        const rows = [...document.querySelectorAll("#entry-rows tr td:nth-child(3)")];
        return rows.length > 1 && new Set(rows.map((row) => row.textContent)).size === 1;
    }"""
    wait(page, one_visitor)
    page.select_option('#filter [name="kind"]', "goal")
    wait(
        page,
        "() => [...document.querySelectorAll('#entry-rows tr')].every((row) => row.className === 'goal')",
    )
    page.click("#clear-filter")
    wait(page, "() => document.querySelectorAll('#entry-rows tr.user').length > 3")


def test_refused(page: Page, shop: Shop) -> None:
    """What was wrong in a refused request stands beside it."""
    httpx.get(f"{shop.collector}server-side/track-user", trust_env=False, verify=NO_AUTHORITIES)
    page.select_option('#filter [name="kind"]', "refused")
    wait(
        page,
        "() => document.querySelector('#entry-rows tr.refused')?.textContent.includes('missing')",
    )


def test_look_up(page: Page, shop: Shop) -> None:
    """The decision of a user is explained step by step, and what cannot be read is named."""
    page.fill('#look-up [name="user_id"]', "Ashley")
    page.keyboard.press("Enter")
    wait(page, "() => document.querySelectorAll('#explained .decision').length >= 6")
    said = page.locator("#explained .decision", has_text="checkout_button").first.inner_text()
    assert re.search(r"checkout_button: (Control|One-Click) \(assigned\)", said)
    assert re.search(r"hash \d+, bucket value \d+", said)
    assert "not_in_segment" in page.locator("#explained").inner_text()
    page.click("#look-up details summary")
    page.fill('#look-up [name="custom_variables"]', "{")
    page.click("#look-up-form > button")
    wait(page, "() => document.querySelector('#look-up-problem').textContent.includes('not JSON')")


def test_faults(page: Page, shop: Shop) -> None:
    """A fault is switched on and off by keyboard; while it is on a lamp says so, in the title as well."""
    button = page.locator('[data-fault="500"]')
    button.focus()
    page.keyboard.press("Enter")
    wait(page, "() => document.querySelector('#lamp').textContent === 'Fault on: answers 500'")
    assert page.locator("#lamp").is_visible()
    assert button.get_attribute("aria-pressed") == "true"
    assert shop.read("fault")["fault"] == "500"
    assert "answers 500" in page.title()
    wait(page, "() => document.querySelector('[data-total=answered]').textContent !== '0'")
    page.keyboard.press("Space")
    wait(page, "() => document.querySelector('#lamp').hidden")
    page.fill('[name="latency"]', "20")
    page.keyboard.press("Enter")
    wait(page, "() => document.querySelector('#lamp').textContent === 'Fault on: 20 ms of delay'")
    page.fill('[name="latency"]', "0")
    page.keyboard.press("Enter")
    wait(page, "() => document.querySelector('#lamp').hidden")
    assert shop.read("fault") == {"fault": None, "latency_s": 0}


def test_downloads(page: Page, shop: Shop, tmp_path: Path) -> None:
    """A click brings a file."""
    with page.expect_download() as started:
        page.click("text=Results as CSV")
    started.value.save_as(tmp_path / "results.csv")
    assert started.value.suggested_filename == "vwo-results.csv"
    assert "checkout_button" in (tmp_path / "results.csv").read_text()


def test_reset(page: Page, shop: Shop) -> None:
    """Reset asks first; a refusal changes nothing, and after it the page begins anew."""
    wait(page, "() => document.querySelectorAll('#campaigns article').length >= 2")
    page.click("#reset")
    page.keyboard.press("Enter")
    assert not page.locator("#reset-dialog").is_visible()
    before = shop.read("totals")["events"]
    assert before > 10
    page.click("#reset")
    page.click("#reset-dialog .danger")
    fewer = "(number) => Number(document.querySelector('[data-total=events]').textContent) < number"
    wait(page, fewer, before)
    wait(page, "() => document.querySelectorAll('#campaigns article').length >= 2")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_accessibility(browser: Browser, shop: Shop, scheme: str) -> None:
    """axe-core finds nothing wrong, light and dark, with a fault on and a decision explained; nor on a phone."""
    axe = load_axe()
    # The page's own policy would keep the checker out.
    options = {"color_scheme": scheme, "bypass_csp": True}
    with opened(browser, shop.collector, **options) as page:
        page.fill('#look-up [name="user_id"]', "Ashley")
        page.keyboard.press("Enter")
        page.click('[data-fault="hang"]')
        try:
            wait(page, "() => document.querySelectorAll('#explained .decision').length >= 6")
            wait(page, "() => !document.querySelector('#lamp').hidden")
            wait(page, "() => document.querySelectorAll('#campaigns article').length >= 2")
            page.evaluate(axe)
            for viewport in (WIDE, PHONE):
                page.set_viewport_size(viewport)
                found = page.evaluate("async () => (await axe.run()).violations")
                assert [(one["id"], one["nodes"][0]["html"]) for one in found] == []
        finally:
            page.click('[data-fault="hang"]')
        wait(page, "() => document.querySelector('#lamp').hidden")


def test_phone(browser: Browser, shop: Shop) -> None:
    """At a phone's width nothing stands beyond the edge, and every column is there."""
    with opened(browser, shop.collector, viewport=PHONE, has_touch=True) as page:
        wait(page, "() => document.querySelectorAll('#campaigns article').length >= 2")
        assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]
        edges = "[...document.querySelectorAll('article td, button, input, select')]"
        right = page.evaluate(
            f"Math.max(...{edges}.map((one) => one.getBoundingClientRect().right))"
        )
        assert right <= PHONE["width"]


def test_keyboard(page: Page) -> None:
    """The first stop of the keyboard leads past the head; all that can be used is reached, and shows it."""
    wait(page, "() => document.querySelectorAll('#campaigns article').length >= 2")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the results"
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "results"
    reached = set()
    for _ in range(80):
        page.keyboard.press("Tab")
        focus = """() => {
            const one = document.activeElement;
            const id = one.id || one.name || one.dataset.fault || one.dataset.path || one.tagName;
            return [id, getComputedStyle(one).outlineStyle];
        }"""
        name, outline = page.evaluate(focus)
        if name == "BODY":
            break
        assert outline != "none", name
        reached.add(name)
    assert reached >= {
        "user",
        "campaign",
        "kind",
        "pause",
        "user_id",
        "500",
        "cut",
        "latency",
        "reset",
    }
    assert "/collector/results.csv" in reached


# What comes from visitors and strangers


def make_hostile_settings() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return files of both products in which every name is markup."""
    fullstack = json.loads(json.dumps(SETTINGS))
    campaign = fullstack["campaigns"][0]
    campaign["key"] = HOSTILE
    campaign["goals"][0]["identifier"] = HOSTILE
    for one in campaign["variations"]:
        one["name"] = f"{HOSTILE}{one['id']}"
    fme = json.loads(json.dumps(FME_SETTINGS))
    fme["features"][0]["key"] = HOSTILE
    for one in fme["features"][0]["metrics"]:
        one["identifier"] = HOSTILE
    return fullstack, fme


SEND_HOSTILE = """
import asyncio, json, sys
from vwo_async import FMEClient, VWOClient

async def main(base_url, fullstack, fme, text):
    async with VWOClient(fullstack, base_url=base_url) as one, FMEClient(fme, base_url=base_url) as other:
        await one.activate(text, text, user_agent=text)
        await one.track(text, text, text)
        await one.push({text: text}, text)
        await other.get_flag(text, text)
        await other.track_event(text, text, {text: text})
        await other.set_attribute({text: text}, text)

asyncio.run(main(*json.load(sys.stdin)))
"""


def test_markup_is_text(browser: Browser, tmp_path: Path) -> None:
    """Names, user ids, properties and attributes that are markup are shown as they are, and never run."""
    files = make_hostile_settings()
    arguments: list[object] = []
    for number, file in enumerate(files):
        path = tmp_path / f"{number}.json"
        path.write_text(json.dumps(file))
        arguments += ["--settings", path]
    with running_collector(*arguments) as url, opened(browser, url) as page:
        subprocess.run(
            [sys.executable, "-c", SEND_HOSTILE],
            input=json.dumps([url.rstrip("/"), *files, HOSTILE]),
            text=True,
            check=True,
            timeout=60,
        )
        httpx.get(f"{url}{HOSTILE}", trust_env=False, verify=NO_AUTHORITIES)
        wait(
            page,
            "(text) => [...document.querySelectorAll('#campaigns h3')].some((one) => one.textContent === text)",
            HOSTILE,
        )
        wait(
            page,
            "(text) => document.querySelector('#entry-rows')?.textContent.includes(text)",
            HOSTILE,
        )
        page.fill('#look-up [name="user_id"]', HOSTILE)
        page.keyboard.press("Enter")
        wait(
            page,
            "(text) => document.querySelector('#explained')?.textContent.includes(text)",
            HOSTILE,
        )
        page.fill('#filter [name="user"]', HOSTILE)
        page.keyboard.press("Enter")
        wait(page, "() => document.querySelectorAll('#entry-rows tr').length >= 4")
        assert page.evaluate("document.querySelectorAll('img, main script').length") == 0
        assert page.title() == "Collector: a local VWO"
        page.set_viewport_size(PHONE)
        assert page.evaluate("document.scrollingElement.scrollWidth") <= PHONE["width"]


def test_the_token(browser: Browser) -> None:
    """Beyond loopback the page asks for the token, unless its address brings it, which then hides it."""
    with running_collector("--host", "0.0.0.0") as printed:
        url, _, token = printed.replace("0.0.0.0", "127.0.0.1").partition("#token=")
        with opened(browser, f"{url}#token={token}") as page:
            assert token not in page.url
            assert page.locator("#totals").inner_text()
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(url)
            page.wait_for_selector("#token-dialog[open]", timeout=TIMEOUT_MS)
            assert page.locator("#totals").inner_text() == ""
            page.fill('#token-dialog [name="token"]', token)
            page.keyboard.press("Enter")
            page.wait_for_selector("#connection.live", timeout=TIMEOUT_MS)


class ForeignSite(http.server.BaseHTTPRequestHandler):
    """A page of another origin."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><title>foreign</title><iframe></iframe>")

    def log_message(self, *args: object) -> None:
        pass


ATTACK = """async (collector) => {
    const tried = [
        fetch(`${collector}collector/ledger`),
        fetch(`${collector}collector/fault`, {method: "PUT", body: '{"fault": "cut"}'}),
        fetch(`${collector}collector/reset`, {method: "POST", mode: "no-cors"}),
        fetch(`${collector}collector/look-up`, {method: "POST", body: '{"user_id": "a"}'}),
    ].map((one) => one.then((answer) => answer.text()).then((text) => text, () => ""));
    const stream = new EventSource(`${collector}collector/stream`);
    await new Promise((done) => { stream.onerror = done; stream.onmessage = done; });
    stream.close();
    document.querySelector("iframe").src = collector;
    await new Promise((done) => document.querySelector("iframe").addEventListener("load", done));
    return [(await Promise.all(tried)).join(""), frames[0].length];
}"""


def test_a_foreign_site(browser: Browser, shop: Shop) -> None:
    """A site that the developer visits can neither read nor steer nor frame the collector."""
    before = shop.read("totals")["events"]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), ForeignSite)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        with browser.new_context() as context:
            page = context.new_page()
            page.goto(f"http://127.0.0.1:{server.server_port}/")
            assert page.evaluate(ATTACK, shop.collector) == ["", 0]
            assert "Collector" not in page.frames[1].content()
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
    assert shop.read("fault")["fault"] is None
    assert shop.read("totals")["events"] >= before


def test_a_restart(browser: Browser, tmp_path: Path) -> None:
    """With a state file the page that stayed open goes on, with what was counted before; without, anew."""
    arguments = ("--settings", EXAMPLES / "settings.json", "--state", tmp_path / "state.json")
    with running_collector(*arguments) as url:
        port = httpx.URL(url).port
        httpx.get(f"{url}nothing", trust_env=False, verify=NO_AUTHORITIES)
        context = browser.new_context()
        page = context.new_page()
        page.goto(url)
        wait(page, "() => document.querySelector('[data-total=refused]')?.textContent === '1'")
    with context:
        wait(page, "() => document.querySelector('#connection').textContent === 'no connection'")
        with running_collector(*arguments, "--port", port):
            wait(page, "() => document.querySelector('#connection').textContent === 'live'")
            wait(page, "() => document.querySelector('[data-total=refused]')?.textContent === '1'")
            wait(page, "() => document.querySelectorAll('#entry-rows tr.refused').length === 1")
        with running_collector("--port", port):
            wait(page, "() => document.querySelector('[data-total=refused]')?.textContent === '0'")
            wait(page, "() => document.querySelectorAll('article').length === 0")
