"""The demonstration: it runs to its end, notices a loss, and leaves no process behind."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from plain_http import NO_AUTHORITIES

pytest.importorskip("rich", reason="the demonstration draws its tables with rich")

DEMO = Path(__file__).parents[1] / "examples" / "demo.py"
TIMEOUT_S = 90
ACCOUNT = re.compile(
    r"^(\w+): (\d+) accepted == (\d+) delivered \+ (\d+) rejected \+ (\d+) dropped \+ (\d+) pending;"
    r" the collector received (\d+), refused (\d+)",
    re.MULTILINE,
)


@contextmanager
def running_demo(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run the demonstration with few visitors; it is asked to end, since it then ends its children."""
    process = subprocess.Popen(
        [sys.executable, str(DEMO), "--visitors", "60", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    with process:
        try:
            yield process
        finally:
            process.terminate()


def run_demo(*arguments: str) -> tuple[int, str]:
    """Return exit status and output of a demonstration."""
    with running_demo(*arguments) as process:
        output, _ = process.communicate(timeout=TIMEOUT_S)
    return process.returncode, output


def read_accounts(output: str) -> dict[str, list[int]]:
    """Return the numbers of each accounting line by mode."""
    return {mode: [int(number) for number in numbers] for mode, *numbers in ACCOUNT.findall(output)}


@pytest.fixture(params=[(), ("--fme",)], ids=["fullstack", "fme"])
def product(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The arguments by which the demonstration runs the shop of a product."""
    arguments: tuple[str, ...] = request.param
    return arguments


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [(), ("--storage", "memory"), ("--fme", "--storage", "memory")],
    ids=lambda arguments: "".join(arguments) or "default",
)
def test_every_accepted_event_is_received(arguments: tuple[str, ...]) -> None:
    """In both modes the ledgers of the SDK and of the collector agree, and the status is 0."""
    status, output = run_demo(*arguments)
    assert status == 0, output
    accounts = read_accounts(output)
    assert list(accounts) == ["background", "await"], output
    for accepted, delivered, rejected, dropped, pending, received, refused in accounts.values():
        assert accepted == delivered == received > 60
        assert rejected == dropped == pending == refused == 0
    assert "FAULT" not in output


def test_a_loss_is_noticed(product: tuple[str, ...]) -> None:
    """Events that the collector does not take make the status 1, with each difference named."""
    for _ in range(3):
        # Ten refused alone, one after the other, would be taken for a refused account.
        status, output = run_demo(*product, "--sabotage", "400:9")
        if status:
            break
        # Each of the nine requests was one of many, and was divided: then nothing is lost, and there is nothing to see.
        accepted, delivered, *_, received, _ = read_accounts(output)["background"]
        assert accepted == delivered == received
    assert status == 1, output
    accepted, delivered, rejected, *_, received, _ = read_accounts(output)["background"]
    assert rejected > 0
    assert accepted == delivered + rejected
    assert received == delivered
    assert f"FAULT background: accepted {accepted}, but received were {received}" in output
    assert f"FAULT background: {rejected} rejected by VWO" in output
    assert "FAULT await" not in output


def test_a_failure_that_passes_is_no_loss(product: tuple[str, ...]) -> None:
    """Requests answered with 503 are made again, and nothing is lost."""
    status, output = run_demo(*product, "--sabotage", "503:2")
    assert status == 0, output
    assert "FAULT" not in output


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_demonstration_leaves_no_process(
    number: signal.Signals, status: int
) -> None:
    """Ctrl-C and SIGTERM end collector and shop as well."""
    with running_demo("--visitors", "100000") as process:
        assert process.stdout is not None
        urls = [re.findall(r"http://[\w.:]+", process.stdout.readline())[0] for _ in range(2)]
        assert (
            httpx.get(f"{urls[1]}/statistics", trust_env=False, verify=NO_AUTHORITIES).status_code
            == 200
        )
        process.send_signal(number)
        output, _ = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == status, output
    for url in urls:
        with pytest.raises(httpx.ConnectError):
            httpx.get(url, trust_env=False, verify=NO_AUTHORITIES)


def test_the_page_is_named_first_and_kept() -> None:
    """The first line has the address of the page; with ``--keep`` it is there until the end is asked for."""
    with running_demo("--keep") as process:
        assert process.stdout is not None
        lines = iter(process.stdout.readline, "")
        page = re.findall(r"http://\S+", next(lines))[0]
        assert any("until Ctrl-C" in line for line in lines)
        assert "<title>Collector" in httpx.get(page, trust_env=False, verify=NO_AUTHORITIES).text
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(page, trust_env=False, verify=NO_AUTHORITIES)


def test_fme_counts_by_event() -> None:
    """The shop of FME is reported by rules of its features and by events, none of which arrived twice."""
    status, output = run_demo("--fme")
    assert status == 0, output
    assert re.search(r"^ *recommendations_testingRule1 +\d+ *$", output, re.MULTILINE), output
    events = dict(
        re.findall(r"^ +(\w+) +\d+ +(\d+) +\d+ +\d+(?: +[\d,.]+)? *$", output, re.MULTILINE)
    )
    assert {"purchase", "signup", "add_to_cart", "vwo_fmeSdkInit"} <= events.keys(), output
    assert set(events.values()) == {"0"}


def test_the_demonstration_says_why_it_cannot_run(tmp_path: Path, product: tuple[str, ...]) -> None:
    """A collector that does not start is shown with what it said, and the status is 2."""
    for file in DEMO.parent.glob("*.py"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    for name in ("settings.json", "fme_settings.json"):
        (tmp_path / name).write_text("{")
    process = subprocess.run(
        [sys.executable, str(tmp_path / "demo.py"), *product],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIMEOUT_S,
    )
    assert process.returncode == 2
    assert "the collector ended with status 2" in process.stdout
    assert "settings: not JSON" in process.stdout
