"""An end-to-end demonstration: visitors, the shop of ``shop.py``, and the collector in place of VWO's servers.

Run it with ``python examples/demo.py``, for an account of VWO FME and the shop of ``fme_shop.py`` with
``--fme``. The collector and the shop are separate processes, and the collector has a live page, whose
address comes first; ``--keep`` leaves it up. The same visitors go through the shop twice: first with
conversions in the background, then with every ``track`` awaiting its delivery. The output is the report
that VWO would show, the time that the SDK adds to a request, and whether each event that the SDK accepted
was received.

The exit status is 0 if every accepted event was received, nothing was refused, rejected, dropped or left
over, and every page was right; 1 otherwise; 2 if the demonstration could not run. It needs a system with
POSIX signals, which tell the shop to drain.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Any, NamedTuple, NoReturn, TypeAlias

import httpx
from rich import box
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

HERE = Path(__file__).parent
MODES = ("background", "await")

CONNECTIONS = 10
"""Concurrent requests; httpx is slow with many."""
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0
REQUEST_TIMEOUT_S = 60.0
PLAIN_WIDTH = 100
"""The width of the tables when the output is not a terminal."""

Json: TypeAlias = Mapping[str, Any]
TaskDone: TypeAlias = Callable[[], object]


class Product(NamedTuple):
    """What differs between the products of VWO.

    Attributes:
        settings_file: The settings file of the account.
        app: The shop.
        track: The name of the method that reports a conversion.
    """

    settings_file: Path
    app: str
    track: str


FULLSTACK = Product(HERE / "settings.json", "shop:app", "track")
FME = Product(HERE / "fme_settings.json", "fme_shop:app", "track_event")


class DemoError(Exception):
    """The demonstration cannot run."""


# Child processes


@contextmanager
def running(
    name: str, command: Sequence[str], folder: Path, environ: Mapping[str, str] | None = None
) -> Iterator[str]:
    """Run a child process during the block, and yield the URL that it prints.

    Its output goes to a file, so that it does not mix with the tables. It has its own session, so that
    Ctrl-C only stops the demonstration, which then stops its children in order.

    Raises:
        DemoError: The child ended, or did not print its URL in time.
    """
    log = folder / f"{name}.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603 - the commands are those of this file
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
        )
    try:
        yield _wait_for_url(name, process, log)
    finally:
        _stop(process)


def _wait_for_url(name: str, process: subprocess.Popen[bytes], log: Path) -> str:
    ends_at = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < ends_at:
        said = log.read_text(encoding="utf-8", errors="replace")
        # The pattern includes what follows the port, so that an incomplete line does not match.
        found = re.search(r"(http://127\.0\.0\.1:\d+)\s", said)
        if found is not None:
            return found[1]
        if process.poll() is not None:
            raise DemoError(f"the {name} ended with status {process.returncode}:\n{said[-2000:]}")
        time.sleep(0.05)
    raise DemoError(f"the {name} did not start within {START_TIMEOUT_S:g} s")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Terminate a child and wait; kill it if it does not end in time, or if the wait is interrupted."""
    process.terminate()
    try:
        process.wait(STOP_TIMEOUT_S)
    except BaseException as error:
        process.kill()
        process.wait()
        if not isinstance(error, subprocess.TimeoutExpired):
            raise


class Collector:
    """Controls the collector over HTTP."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url

    def read(self, what: str) -> Json:
        """Return ``totals`` or ``report``."""
        answer = httpx.get(f"{self.base_url}/collector/{what}", trust_env=False, timeout=30)
        found: Json = answer.raise_for_status().json()
        return found

    def reset(self) -> None:
        """Reset the collector."""
        httpx.post(f"{self.base_url}/collector/reset", trust_env=False).raise_for_status()

    def answer_next(self, status: int, times: int) -> None:
        """Let the collector answer the next requests of the SDK with *status*, unchecked."""
        plan = {"status": status, "times": times}
        httpx.post(
            f"{self.base_url}/collector/answer", json=plan, trust_env=False
        ).raise_for_status()


# Visitors


@dataclass
class Tally:
    """What the shop answered.

    Attributes:
        requests: How many pages were asked for.
        tracked: How many conversions the shop was told are tracked.
        faults: What was not as it should be, each kind once, with its number.
    """

    requests: int = 0
    tracked: int = 0
    faults: dict[str, int] = field(default_factory=dict)

    def expect(self, is_right: bool, fault: str) -> None:
        """Note *fault* where something is not right."""
        if not is_right:
            self.faults[fault] = self.faults.get(fault, 0) + 1


class Shop:
    """The pages of the shop, as a browser would ask for them."""

    def __init__(self, client: httpx.AsyncClient, tally: Tally) -> None:
        self._client = client
        self.tally = tally

    async def view(self, product: str, headers: Json, query: Json) -> Json:
        """Return a product page."""
        return await self._read(
            await self._client.get(f"/products/{product}", params=query, headers=headers)
        )

    async def submit(
        self, form: str, body: Json | bytes, headers: Json, query: Json | None = None
    ) -> Json:
        """Send a form, which may be JSON that no browser would write."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        answer = await self._client.post(
            f"/{form}",
            params=query,
            content=content,
            headers={**headers, "Content-Type": "application/json"},
        )
        page = await self._read(answer)
        self.tally.tracked += sum(page.get("tracked", {}).values())
        return page

    async def _read(self, answer: httpx.Response) -> Json:
        self.tally.requests += 1
        self.tally.expect(answer.status_code == 200, "not answered with status 200")
        page: Json = answer.json() if answer.status_code == 200 else {}
        return page


class Visitor:
    """One ordinary visitor. All random choices follow from seed and number.

    So the same visitors can come again, in whatever order they are served.
    """

    def __init__(self, seed: int, number: int) -> None:
        draw = Random(f"{seed}/{number}")
        visitor_id = f"visitor-{seed}-{number}"
        self._product = draw.choice(("mug", "teapot", "kettle"))
        self._number = draw.randint(1, 3)
        self._query = {
            "country": draw.choice(("DE", "AT", "FR", "US")),
            "plan": draw.choices(("free", "plus", "pro"), (6, 3, 1))[0],
        }
        self._headers = {
            "User-Agent": f"Demo/1.0 (visitor {number % 7}; Straße)".encode("latin-1"),
            "X-Forwarded-For": f"203.0.113.{number % 250 + 1}",
            # Half of them are browsers, half are apps.
            **({"Cookie": f"visitor={visitor_id}"} if number % 2 else {"X-Visitor-Id": visitor_id}),
        }
        self._signs_up, self._fills_cart, self._buys, self._buys_again = (
            draw.random() for _ in range(4)
        )

    async def visit(self, shop: Shop) -> None:
        """View a product, and maybe sign up, fill a cart, and buy.

        Some variations make that a little more likely; the A/B tests measure this.
        """
        page = await shop.view(self._product, self._headers, self._query)
        banner = page.get("banner") or {}
        if self._signs_up < 0.08 + 0.05 * (banner.get("variation") not in (None, "Control")):
            await shop.submit("signup", {}, self._headers, self._query)
        if self._fills_cart < 0.25 + 0.08 * (page.get("recommendation") is not None):
            await self._submit(shop, "cart", self._number)
        if self._buys < 0.10 + 0.05 * (page.get("button") == "One-Click"):
            await self._submit(shop, "checkout", self._number)
            if self._buys_again < 0.2:
                await self._submit(shop, "checkout", self._number + 1)

    async def _submit(self, shop: Shop, form: str, number: int) -> None:
        await shop.submit(form, {"items": {self._product: number}}, self._headers, self._query)


class Tester:
    """A visitor who is whitelisted for a variation of the checkout button."""

    def __init__(self, name: str, button: str) -> None:
        self._headers = {"X-Visitor-Id": name}
        self._button = button

    async def visit(self, shop: Shop) -> None:
        """View a product."""
        page = await shop.view("mug", self._headers, {})
        shop.tally.expect(page.get("button") == self._button, "tester saw another variation")


class OddReader:
    """Requests a page with an overlong country."""

    def __init__(self, visitor_id: str) -> None:
        self._headers = {"X-Visitor-Id": visitor_id}

    async def visit(self, shop: Shop) -> None:
        """Expect the same page as without a country."""
        page = await shop.view("mug", self._headers, {"country": "x" * 5_000})
        again = await shop.view("mug", self._headers, {})
        shop.tally.expect(page == again, "odd visitor saw another page than without a country")


class HostileReader:
    """Requests a page with an overlong visitor id."""

    def __init__(self, headers: Json) -> None:
        self._headers = headers

    async def visit(self, shop: Shop) -> None:
        """Expect the page of visitors who are in no test."""
        page = await shop.view("mug", self._headers, {})
        is_default = (page.get("button"), page.get("banner"), page.get("recommendation")) == (
            "Control",
            None,
            None,
        )
        shop.tally.expect(is_default, "hostile visitor did not see the default page")


class HostileWriter:
    """Sends a form with an impossible visitor id."""

    def __init__(self, visitor_id: str) -> None:
        self._body = f'{{"visitor_id": {visitor_id}, "items": {{"mug": 1}}}}'.encode()

    async def visit(self, shop: Shop) -> None:
        """Expect the normal answer, and that nothing is counted."""
        for form in ("signup", "checkout"):
            page = await shop.submit(form, self._body, {})
            is_normal = "message" in page and not any(page["tracked"].values())
            shop.tally.expect(is_normal, "hostile visitor was not thanked, or was counted")


AnyVisitor: TypeAlias = Visitor | Tester | OddReader | HostileReader | HostileWriter


def invite(number: int, seed: int) -> Iterator[AnyVisitor]:
    """Yield *number* ordinary visitors, with testers and hostile ones among them."""
    others: list[AnyVisitor] = [
        Tester("tester-anna", "Control"),
        Tester("tester-deniz", "One-Click"),
        HostileReader({"X-Visitor-Id": "x" * 5_000}),
        OddReader("somebody"),
        # A lone surrogate, which json.loads accepts and no valid text may hold.
        HostileWriter(r'"\ud83d"'),
        HostileWriter(f'"{"x" * 1_000_000}"'),
        HostileWriter('{"$ne": null}'),
    ]
    every = max(number // (len(others) + 1), 1)
    for position in range(number):
        yield Visitor(seed, position)
        if others and position % every == every - 1:
            yield others.pop(0)
    yield from others


async def send(
    base_url: str, visitors: Iterable[AnyVisitor], per_second: float, done: TaskDone
) -> Tally:
    """Send *visitors* through the shop, evenly spaced, at most `CONNECTIONS` at the same time.

    Args:
        base_url: The shop.
        visitors: The visitors.
        per_second: How many visitors start in a second, if the shop is fast enough.
        done: Called after each visitor.

    Returns:
        What the visitors saw.

    Raises:
        DemoError: The shop did not answer.
    """
    async with httpx.AsyncClient(
        base_url=base_url,
        limits=httpx.Limits(max_connections=CONNECTIONS),
        timeout=REQUEST_TIMEOUT_S,
        trust_env=False,
    ) as client:
        shop = Shop(client, Tally())
        try:
            await _send_all(shop, visitors, per_second, done)
        except ExceptionGroup as errors:
            unanswered, others = errors.split(httpx.HTTPError)
            if unanswered is None or others is not None:
                raise
            raise DemoError(f"the shop did not answer: {unanswered.exceptions[0]!r}") from None
    return shop.tally


async def _send_all(
    shop: Shop, visitors: Iterable[AnyVisitor], per_second: float, done: TaskDone
) -> None:
    waiting = enumerate(visitors)
    started_at = time.monotonic()

    async def work() -> None:
        for position, visitor in waiting:
            await asyncio.sleep(started_at + position / per_second - time.monotonic())
            await visitor.visit(shop)
            done()

    async with asyncio.TaskGroup() as group:
        for _ in range(CONNECTIONS):
            group.create_task(work())


# A round


class Round(NamedTuple):
    """The results of a round, after the shop has stopped.

    Attributes:
        mode: Whether conversions awaited their delivery.
        seconds: The time that all visits took.
        tally: What the visitors saw.
        statistics: The final statistics of the SDK.
        timing: The times of the shop's handlers.
        totals: The totals of the collector.
        report: The collector's report, by campaign and variation.
    """

    mode: str
    seconds: float
    tally: Tally
    statistics: Json
    timing: Json
    totals: Json
    report: Json

    @property
    def dropped(self) -> int:
        """How many events the SDK dropped, for all reasons."""
        return sum(self.statistics["dropped"].values())

    def find_faults(self) -> list[str]:
        """Return everything that is wrong, in words."""
        ours, theirs = self.statistics, self.totals
        faults = [f"{number} x {fault}" for fault, number in self.tally.faults.items()]
        if ours["accepted"] != theirs["events"]:
            faults.append(f"accepted {ours['accepted']}, but received were {theirs['events']}")
        if self.tally.tracked != theirs["conversions"]:
            faults.append(
                f"tracked {self.tally.tracked} conversions, but received were {theirs['conversions']}"
            )
        unwanted = {
            "rejected by VWO": ours["rejected"],
            "dropped": self.dropped,
            "pending at the end": ours["pending"],
            "refused by a full queue": ours["refused"],
            "refused by the collector": theirs["refused"],
        }
        faults.extend(f"{number} {what}" for what, number in unwanted.items() if number)
        return [f"{self.mode}: {fault}" for fault in faults]


@dataclass(frozen=True)
class Stage:
    """What all rounds have in common."""

    product: Product
    collector: Collector
    options: argparse.Namespace
    folder: Path
    console: Console

    def run_round(self, mode: str) -> Round:
        """Run one round: start the shop, send all visitors, stop the shop, and collect the results.

        Raises:
            DemoError: The shop did not start, answer or end as it should.
        """
        self.collector.reset()
        statistics_file = self.folder / f"{mode}.json"
        command = _make_shop_command(self.product)
        with running(
            f"shop-{mode}", command, self.folder, self._environ(mode, statistics_file)
        ) as url:
            self.console.print(f"shop, {self.product.track} in mode {mode}: {url}")
            httpx.get(f"{url}/statistics", trust_env=False).raise_for_status()
            if self.options.sabotage is not None and mode == MODES[0]:
                self.collector.answer_next(*self.options.sabotage)
            started_at = time.monotonic()
            tally = self._send(url)
            seconds = time.monotonic() - started_at
        # Written after the shop has drained its client, so these are the final statistics.
        try:
            written = json.loads(statistics_file.read_bytes())
        except (OSError, ValueError):
            raise DemoError("the shop ended without writing its statistics") from None
        return Round(
            mode,
            seconds,
            tally,
            written["statistics"],
            written["timing"],
            self.collector.read("totals"),
            self.collector.read("report"),
        )

    def _environ(self, mode: str, statistics_file: Path) -> Mapping[str, str]:
        settings = json.loads(self.product.settings_file.read_bytes())
        return {
            "VWO_BASE_URL": self.collector.base_url,
            "VWO_ACCOUNT_ID": str(settings["accountId"]),
            "VWO_SDK_KEY": settings["sdkKey"],
            "SHOP_DELIVERY": mode,
            "SHOP_USER_STORAGE": self.options.storage,
            "SHOP_STATISTICS_FILE": str(statistics_file),
        }

    def _send(self, url: str) -> Tally:
        visitors = list(invite(self.options.visitors, self.options.seed))
        columns = (
            TextColumn("  visitors"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console) as progress:
            task = progress.add_task("visitors", total=len(visitors))
            return asyncio.run(
                send(url, visitors, self.options.rate, lambda: progress.advance(task))
            )


_PYTHON = (sys.executable, "-m")


def _make_collector_command(product: Product) -> Sequence[str]:
    settings = str(product.settings_file)
    return (*_PYTHON, "vwo_async.collector", "--settings", settings, "--port", "0")


def _make_shop_command(product: Product) -> Sequence[str]:
    app = ("--app-dir", str(HERE), product.app)
    return (*_PYTHON, "uvicorn", *app, "--port", "0", "--no-access-log")


# Tables


def show_report(report: Json) -> Table:
    """Return the table of the report: one row for each variation and goal."""
    table = _make_table("What VWO would show (from the collector)", "variation", "visitors", "goal")
    table.columns[2].justify = "left"
    for name in ("conversions", "rate", "revenue"):
        table.add_column(name, justify="right")
    for campaign in report["campaigns"]:
        table.add_row(str(campaign["key"]), f"{campaign['visitors']:,}", style="bold")
        for variation in campaign["variations"]:
            for row in _report_rows(variation):
                table.add_row(*row)
        table.add_section()
    return table


def _report_rows(variation: Json) -> Iterator[tuple[str, ...]]:
    head = (f"  {variation['name']}", f"{variation['visitors']:,}")
    if not variation["goals"]:
        yield head
    for goal in variation["goals"]:
        yield (*head, *_goal_cells(goal))
        head = ("", "")


def _goal_cells(goal: Json) -> tuple[str, ...]:
    rate = "" if goal["rate"] is None else f"{goal['rate']:.1%}"
    revenue = float(goal["revenue"])
    return (
        str(goal["identifier"]),
        f"{goal['conversions']:,}",
        rate,
        f"{revenue:,.2f}" if revenue else "",
    )


def show_events(report: Json) -> Table:
    """Return the table of the events that have a name: one row for each."""
    table = _make_table(
        "Events by name (from the collector)",
        *("event", "received", "twice", "visitors", "conversions", "revenue"),
    )
    for event in report["events"]:
        numbers = ("received", "duplicates", "visitors", "conversions")
        revenue = float(event["revenue"])
        table.add_row(
            event["name"],
            *(f"{event[name]:,}" for name in numbers),
            f"{revenue:,.2f}" if revenue else "",
        )
    return table


def show_timing(rounds: Sequence[Round]) -> Table:
    """Return the table of the handlers' times, and the part inside the SDK, by mode."""
    table = _make_table(
        "Time of requests in the shop: in the SDK, and in all, in µs",
        *("handler", "track", "requests", "SDK p50", "p99", "all p50", "p99"),
        caption=(
            f"At most {CONNECTIONS} requests at once; shop, collector and visitors share {os.cpu_count()}"
            " cores. In mode await, track includes the way to the collector and back."
        ),
    )
    table.columns[1].justify = "left"
    for handler in rounds[0].timing:
        for one in rounds:
            if handler in one.timing:
                table.add_row(handler, one.mode, *_timing_cells(one.timing[handler]))
        table.add_section()
    return table


def _timing_cells(times: Json) -> Iterator[str]:
    yield f"{times['requests']:,}"
    for name in ("sdk_us", "handler_us"):
        for rank in ("p50", "p99"):
            yield f"{times[name][rank]:,.0f}"


def show_accounts(rounds: Sequence[Round]) -> Table:
    """Return the table of the counts of SDK and collector, one column for each mode."""
    table = _make_table("Accounting", "events", *(one.mode for one in rounds))
    ours = ("accepted", "delivered", "rejected", "dropped", "pending", "refused", "requests")
    theirs = ("events", "refused", "conversions")
    for name in ours:
        numbers = (one.dropped if name == "dropped" else one.statistics[name] for one in rounds)
        table.add_row(f"SDK: {name}", *(f"{number:,}" for number in numbers))
    table.add_section()
    for name in theirs:
        table.add_row(f"collector: {name}", *(f"{one.totals[name]:,}" for one in rounds))
    table.add_section()
    table.add_row("visitors: told as tracked", *(f"{one.tally.tracked:,}" for one in rounds))
    return table


def _make_table(title: str, first: str, *others: str, caption: str | None = None) -> Table:
    """Return a table whose first column is text and the others are numbers."""
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        caption=caption,
        caption_justify="left",
        box=box.SIMPLE_HEAD,
    )
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


# The demonstration


def run(options: argparse.Namespace, console: Console) -> int:
    """Run the demonstration and return the exit status.

    Raises:
        DemoError: It cannot run.
    """
    with TemporaryDirectory(prefix="vwo-demo-") as name:
        folder = Path(name)
        product = FME if options.fme else FULLSTACK
        with running("collector", _make_collector_command(product), folder) as url:
            console.print(
                f"collector, in the place of VWO, with a live page: {url}/", soft_wrap=True
            )
            status = _run_rounds(Stage(product, Collector(url), options, folder, console))
            if options.keep:
                _wait_for_interrupt(f"The page stays at {url}/ until Ctrl-C.", console)
    return status


def _run_rounds(stage: Stage) -> int:
    console, started_at = stage.console, time.monotonic()
    rounds = [stage.run_round(mode) for mode in MODES]
    console.print()
    report = rounds[0].report
    events = [show_events(report)] if report["events"] else []
    for table in (show_report(report), *events, show_timing(rounds), show_accounts(rounds)):
        console.print(table)
        console.print()
    faults = [fault for one in rounds for fault in one.find_faults()]
    if any(one.report != rounds[0].report for one in rounds):
        faults.append("the same visitors gave another report in the second round")
    for one in rounds:
        console.print(_describe(one), highlight=False, soft_wrap=True)
    console.print(f"took {time.monotonic() - started_at:.1f} s altogether", highlight=False)
    for fault in faults:
        console.print(f"FAULT {fault}", style="bold red", highlight=False, soft_wrap=True)
    if not faults:
        console.print("Every accepted event was received, and nothing else was.", style="green")
    return 1 if faults else 0


def _wait_for_interrupt(text: str, console: Console) -> None:
    console.print(text, highlight=False, soft_wrap=True)
    with suppress(KeyboardInterrupt):
        while True:
            time.sleep(3_600)


def _describe(one: Round) -> str:
    ours, theirs = one.statistics, one.totals
    return (
        f"{one.mode}: {ours['accepted']} accepted == {ours['delivered']} delivered"
        f" + {ours['rejected']} rejected + {one.dropped} dropped + {ours['pending']} pending;"
        f" the collector received {theirs['events']}, refused {theirs['refused']}"
        f" ({one.tally.requests} pages in {one.seconds:.1f} s)"
    )


def read_options(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument(
        "--fme", action="store_true", help="the shop of an account of VWO FME, and not of FullStack"
    )
    size = parser.add_mutually_exclusive_group()
    size.add_argument(
        "--visitors", type=_positive, default=2_000, help="in each round (default: %(default)s)"
    )
    size.add_argument(
        "--quick", dest="visitors", action="store_const", const=200, help="only 200 visitors"
    )
    parser.add_argument(
        "--rate",
        type=_positive,
        default=100,
        help="visitors who enter in a second; if the machine is too slow, latencies grow (default: %(default)s)",
    )
    parser.add_argument(
        "--seed", type=int, default=1, help="of the random choices (default: %(default)s)"
    )
    parser.add_argument(
        "--storage",
        choices=("off", "memory"),
        default="off",
        help="user storage of the shop (default: %(default)s)",
    )
    parser.add_argument(
        "--keep", action="store_true", help="leave the collector and its page up until Ctrl-C"
    )
    # For the test that lost events are noticed: in the first round the collector answers STATUS, TIMES times.
    parser.add_argument("--sabotage", type=_plan, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number


def _plan(text: str) -> tuple[int, int]:
    status, _, times = text.partition(":")
    return int(status), int(times)


def _end(number: int, frame: FrameType | None) -> NoReturn:
    """Turn SIGTERM into an exception, so that the children are stopped too."""
    raise SystemExit(128 + number)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the demonstration with command line arguments and return the exit status."""
    options = read_options(arguments)
    signal.signal(signal.SIGTERM, _end)
    console = Console(width=None if sys.stdout.isatty() else PLAIN_WIDTH)
    try:
        return run(options, console)
    except (DemoError, httpx.HTTPError) as error:
        what = error if isinstance(error, DemoError) else f"no answer from {error.request.url}"
        console.print(f"The demonstration cannot run: {what}", markup=False, highlight=False)
        return 2
    except KeyboardInterrupt:
        console.print("Interrupted.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
