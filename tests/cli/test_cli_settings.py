"""The command about settings files, keys, outboxes and the collector; its errors and exit codes."""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any, get_args

import pytest
from cli_command import Command, make_fme_settings, run_process
from sample import ACCOUNT, KEY, campaign, settings

from vwo_async import VWOClient
from vwo_async._cli import app as app_module
from vwo_async._cli.collector_command import collector
from vwo_async._cli.exit_code import ExitCode
from vwo_async.collector import Collector, serve
from vwo_async.collector.__main__ import make_parser

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "cli.md"


@asynccontextmanager
async def collecting(file: dict[str, Any]) -> AsyncIterator[tuple[Collector, str]]:
    collector = Collector(file)
    async with serve(collector) as base_url:
        yield collector, base_url


# Settings


@pytest.mark.parametrize(("file", "product"), [("fullstack", "FullStack"), ("fme", "FME")])
def test_check_tells_the_products_apart(command: Command, file: str, product: str) -> None:
    """A file is known for what it is without being told, and its key is not shown."""
    ended = command.run("settings", "check", getattr(command, file), "--json")
    assert ended.code == 0
    assert ended.data["product"] == product
    assert ended.data["account_id"] == ACCOUNT
    assert KEY not in ended.out


def test_check_lists_faults(command: Command) -> None:
    """Each fault of a faulty file stands on a line with its path; values are not shown."""
    file = command.write(
        "bad.json", settings(campaign(1, "a", percentTraffic=KEY), campaign(2, "a"))
    )
    ended = command.run("settings", "check", file)
    assert ended.code == ExitCode.SETTINGS
    assert "campaigns.0.percentTraffic" in ended.out
    assert command.run("decide", "Ashley", "-s", file).code == ExitCode.SETTINGS


def test_check_warns(command: Command) -> None:
    """What is not used of a file is a warning, and with --strict a finding."""
    file = command.write("odd.json", settings(campaign(1, "a"), campaignGroups={"1": 7}))
    assert "warning: campaignGroups.1" in command.run("settings", "check", file).out
    assert command.run("settings", "check", file, "--strict").code == ExitCode.FOUND


def test_settings_diff(command: Command) -> None:
    """What differs in meaning is named, and the exit code is that of diff."""
    new = command.write("new.json", settings(campaign(11, "checkout", percentTraffic=50)))
    ended = command.run("settings", "diff", command.fullstack, new)
    assert ended.code == ExitCode.FOUND
    assert "checkout 100 -> 50" in ended.out
    assert command.run("settings", "diff", new, new).out == "no change\n"
    assert command.run("settings", "diff", new, command.fme).code == ExitCode.USAGE


@pytest.mark.anyio
@pytest.mark.parametrize("file", [settings(), make_fme_settings()], ids=["FullStack", "FME"])
async def test_fetch(
    command: Command, monkeypatch: pytest.MonkeyPatch, file: dict[str, Any]
) -> None:
    """The file of an account is fetched from VWO whichever product it is of; the key stays out of sight."""
    monkeypatch.setenv("VWO_SDK_KEY", KEY)
    target = command.folder / "fetched.json"
    async with collecting(file) as (_, base_url):
        run = command.run_beside
        account = ("--account", ACCOUNT, "--base-url", base_url)
        shown = await run("settings", "fetch", *account)
        kept = await run("settings", "fetch", *account, "-o", target, "--keep-key")
        decided = await run("decide", "Ashley", *account)
        refused = await run("settings", "fetch", "--account", 1, "--base-url", base_url)
    without = {name: value for name, value in file.items() if name != "sdkKey"}
    assert (shown.code, shown.data) == (0, without)
    assert kept.code == decided.code == 0
    assert json.loads(target.read_text()) == file
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert refused.code == ExitCode.NETWORK
    assert KEY not in shown.out + kept.out + decided.out + refused.err


def test_fetch_without_network(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A VWO that cannot be reached is one line and a code of its own."""
    monkeypatch.setenv("VWO_SDK_KEY", KEY)
    ended = command.run("settings", "fetch", "-a", ACCOUNT, "--base-url", "http://127.0.0.1:9")
    assert ended.code == ExitCode.NETWORK
    assert ended.err.count("\n") == 1


# Errors


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ("decide Ashley", 2, "give --settings FILE"),
        ("decide Ashley -a 5", 2, "set VWO_SDK_KEY"),
        ("decide Ashley chekout -s {fullstack}", 2, "did you mean 'checkout'?"),
        ("decide Ashley serch -s {fme}", 2, "no feature 'serch': did you mean 'search'?"),
        ("decide Ashley -s {fullstack} -v plan", 2, "write NAME=VALUE"),
        ("decide -s {fullstack}", 2, "USER_ID"),
        ("decide Ashley -s nowhere.json", 5, "nowhere.json: No such file"),
        ("users checkout --variation Cntrol -s {fullstack}", 2, "it has Control, Variation-1"),
        ("simulate checkout -n none -s {fullstack}", 2, "none"),
        ("simulate checkout --alpha 2 -s {fullstack}", 2, "alpha"),
        ("settings fetch", 2, "give --account"),
        ("settings fetch -a 5 --keep-key", 2, "--output FILE"),
        ("outbox status nowhere.db", 5, "there is no outbox"),
        ("keys --check nowhere -s {fullstack}", 2, "no such file or folder"),
        ("sumulate", 2, "simulate"),
        ("simulate checkout {fullstack}", 2, "the settings file is given with -s FILE"),
        ("decide Ashley --seed x -s {fullstack}", 2, "it is for settings of FME"),
        ("decide Ashley --user-id-encoding node -s {fme}", 2, "for FullStack"),
        ("diff {fullstack} {odd}", 3, "odd.json: Invalid JSON"),
        ("simulate checkout -u {empty} -s {fullstack}", 2, "has no user"),
        ("simulate checkout -u {binary} -s {fullstack}", 2, "is not UTF-8"),
        ("collector {odd}", 3, "not JSON"),
        ("collector --host 192.0.2.1", 5, "192.0.2.1:0: Cannot assign requested address"),
        ("collector --port 65536", 2, "Must be <= 65535"),
        ("collector --state {odd}", 3, "state_path: the file is not one"),
        ("collector --state {odd}/x", 5, "odd.json/x: Not a directory"),
        ("relay {odd} --port -1", 2, "Must be >= 0"),
        ("outbox purge {fullstack} --yes", 5, "is no outbox"),
        ("outbox drain {fullstack} -s {fullstack}", 5, "is no outbox"),
        ("outbox purge {database} --yes", 5, "cannot be read as an outbox"),
        ("outbox drain {database} -s {fullstack}", 5, "cannot be read as an outbox"),
    ],
)
def test_errors_are_one_line(command: Command, arguments: str, code: int, said: str) -> None:
    """An error is one line that says what to do, and nothing on standard output."""
    files = {
        "fullstack": command.fullstack,
        "fme": command.fme,
        "odd": command.write("odd.json", "nothing"),
        "empty": command.write("empty.txt", ""),
        "binary": str(command.folder / "binary"),
        "database": str(command.folder / "app.db"),
    }
    Path(files["binary"]).write_bytes(bytes(range(256)))
    with closing(sqlite3.connect(files["database"])) as connection:
        connection.execute("CREATE TABLE orders (id)")
    before = {name: Path(one).read_bytes() for name, one in files.items()}
    ended = command.run(*arguments.format(**files).split())
    assert {name: Path(one).read_bytes() for name, one in files.items()} == before
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("vwo-async: ")
    assert said in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize("words", ["diff - -", "settings diff - -", "simulate checkout -s - -u -"])
def test_standard_input_is_read_once(command: Command, words: str) -> None:
    """Where it is asked for twice the error says so."""
    file = Path(command.fullstack).read_bytes()
    code, out, err = run_process(*words.split(), stdin=file)
    assert (code, out) == (2, "")
    assert "has no user" in err or "give '-' once" in err


def test_closed_streams(command: Command) -> None:
    """A process without standard input or output ends as any other."""
    shell = '"$0" -m vwo_async decide Ashley -s {} {}'
    for file, closed, code in (
        (command.fullstack, ">&-", 0),
        ("-", "<&-", 2),
        ("-", "<&- 2>&-", 2),
    ):
        words = ["bash", "-c", shell.format(file, closed), sys.executable]
        assert (
            subprocess.run(words, capture_output=True, check=False, timeout=60).returncode == code
        )


def test_a_fault_of_the_command_has_no_traceback(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What nobody thought of is one line too, with the kind of the error."""

    def fail(arguments: object) -> int:
        raise RuntimeError("odd")

    monkeypatch.setattr(app_module, "run", fail)
    ended = command.run("decide")
    assert ended.code == ExitCode.BUG
    assert ended.err == "vwo-async: a fault of this command (RuntimeError: odd): please report it\n"


def test_exit_codes_are_documented() -> None:
    """Every exit code has a row in the document, and none has a row that is not there."""
    rows = re.findall(r"^\| (\d+) \|", DOCS.read_text(), re.MULTILINE)
    assert [int(one) for one in rows] == list(ExitCode)


def test_every_command_is_documented_and_has_json() -> None:
    """The document names each command, and each takes --json."""
    text = DOCS.read_text()
    assert not [name for name in list_commands() if f"`{name}" not in text]
    for name in list_commands():
        code, out, err = run_in_process(*name.split(), "--help")
        assert (code, err) == (0, "")
        assert "--json" in out, name


def run_in_process(*arguments: str) -> tuple[int, str, str]:
    ended = Command.run(object.__new__(Command), *arguments)
    return ended.code, ended.out, ended.err


def list_commands() -> list[str]:
    own = {"settings": ("check", "diff", "fetch"), "outbox": ("status", "drain", "purge")}
    own["dead-letters"] = ("list", "replay", "purge")
    top = [one for one in app_module.app if not one.startswith("-")]
    return [f"{one} {sub}" if sub else one for one in top for sub in own.get(one, ("",))]


def test_the_command_has_an_entry_point() -> None:
    """What pip installs as vwo-async is the function that ``python -m vwo_async`` calls."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    module, _, name = project["scripts"]["vwo-async"].partition(":")
    assert callable(getattr(importlib.import_module(module), name))
    code, out, _ = run_process()
    assert code == 0
    assert "simulate" in out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell: str) -> None:
    """The library completes commands and options in each shell."""
    script = app_module.app.generate_completion(shell=shell)  # type: ignore[arg-type]
    assert "simulate" in script
    assert "variation" in script
    if shell == "bash":
        assert complete_in_bash(script, "sim") == ["simulate"]
        assert "--time-format" in complete_in_bash(script, "convert", "--time")
    found = shutil.which(shell)
    if found:
        done = subprocess.run([found, "-n"], input=script, text=True, check=False, timeout=30)
        assert done.returncode == 0


def complete_in_bash(script: str, *words: str) -> list[str]:
    """Load the script in a real shell, and return what it offers for the last word."""
    typed = " ".join(f"'{one}'" for one in ("vwo-async", *words))
    ask = f'COMP_WORDS=({typed}); COMP_CWORD={len(words)}; _vwo_async; echo "${{COMPREPLY[@]}}"'
    done = subprocess.run(
        ["bash", "--norc", "-c", f"{script}\n{ask}"],
        capture_output=True,
        check=True,
        text=True,
        timeout=30,
    )
    return done.stdout.split()


def test_output_may_end_early(command: Command) -> None:
    """A reader that has seen enough, such as head, is no error."""
    code = f"from vwo_async._cli.entry import main; main(['settings', 'check', {command.fme!r}])"
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as broken:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdout=broken,
            stderr=subprocess.PIPE,
            check=False,
            timeout=60,
        )
    assert (done.returncode, done.stderr) == (0, b"")


# Keys


def test_the_module_of_keys(command: Command) -> None:
    """The module has a constant for each key, and a Literal of each kind; odd keys get names of their own."""
    odd = [campaign(1, "a-b"), campaign(2, "a_b"), campaign(3, "9 lives"), campaign(4, "ünï'\"")]
    file = command.write("odd.json", settings(*odd))
    target = command.folder / "keys.py"
    assert command.run("keys", "-s", file, "-o", target).code == 0
    names: dict[str, Any] = {}
    exec(compile(target.read_text(), "keys.py", "exec"), names)
    keys = {one["key"] for one in odd}
    assert set(get_args(names["CampaignKey"])) == keys
    constants = vars(names["Campaigns"])
    assert {constants[one] for one in constants if not one.startswith("_")} == keys
    assert constants["A_B"] == "a-b"
    assert names["Goals"].SIGNUP == "signup"
    assert KEY not in target.read_text()


def test_the_kinds_of_keys(command: Command) -> None:
    """Each product has its own kinds."""
    assert command.ask("keys", "-s", command.fme) == {
        "feature": ["search"],
        "event": ["purchase"],
        "variable": ["size"],
    }
    found = command.ask("keys", "-s", command.fullstack)
    assert found["goal"] == ["signup", "purchase", "often"]
    assert found["feature"] == ["search", "banner"]


SOURCE = """
import vwo_async
from django.utils import translation

CAMPAIGN = "checkuot"
translation.activate("de")

async def handler(request, client, user, name):
    await client.activate("checkout", user)
    await client.activate(CAMPAIGN, user)
    await client.track(["checkout", "serch"], user, "purchase")
    await client.track("checkout", user, goal_identifier="purchse")
    handle = client.for_user(user)
    await handle.track("checkout", "sigup")
    await handle.activate(name)
    await client.get_feature_variable_value("search", "sise", user)
    await client.track("checkout", **request.facts)
    print("client.activate('nothing', user)")
"""


def test_unknown_keys_are_found(command: Command) -> None:
    """Typos are found at their place and with what was meant; nothing else is, not even what looks alike."""
    file = command.write("service.py", SOURCE)
    ended = command.run("keys", "--check", file, "-s", command.fullstack)
    assert ended.code == ExitCode.FOUND
    lines = [one.removeprefix(f"{file}:") for one in ended.out.splitlines()]
    assert lines == [
        "10:27: unknown campaign 'checkuot': did you mean 'checkout'?",
        "11:37: unknown campaign 'serch': did you mean 'search'?",
        "12:58: unknown goal 'purchse': did you mean 'purchase'?",
        "14:36: unknown goal 'sigup': did you mean 'signup'?",
        "16:55: unknown variable 'sise'",
    ]


FOREIGN = """
import openfeature.api
import vwo_async
from typing import Annotated
from mixpanel import Mixpanel
from shop.state import Client, state
from .own import relative

async def handler(user, events: Mixpanel, client: vwo_async.VWOClient, ours: Annotated[Client, 1]):
    flags = openfeature.api.get_client()
    flags.track("page", user, "details")
    openfeature.api.get_client().track("page", user, "details")
    events.track("page", user, "details")
    with Mixpanel() as one:
        one.track("page", user, "details")
    await client.track(f"page {user}", user, "signup")
    await client.track("page1", user, "signup")
    await ours.track("page2", user, "signup")
    await state.track("page3", user, "signup")
    await relative.track("page4", user, "signup")
    state.other = state.client
    await state.client.for_user(user).track("page5", "signup")
"""


def test_clients_of_other_libraries_are_left_alone(command: Command) -> None:
    """What another library makes is not looked at, whatever its methods are called; what one's own package has is."""
    (command.folder / "shop").mkdir()
    file = command.write("shop/views.py", FOREIGN)
    found = command.run("keys", "--check", file, "-s", command.fullstack, "--json").data
    assert [one["key"] for one in found] == ["page1", "page2", "page3", "page4", "page5"]


@pytest.mark.parametrize("settings_file", ["settings.json", "fme_settings.json"])
def test_the_examples_have_no_unknown_key(command: Command, settings_file: str) -> None:
    """In all the example services nothing is found that is none."""
    examples = ROOT / "examples"
    ended = command.run("keys", "-s", examples / settings_file, "--check", examples)
    assert (ended.code, ended.out[:17]) == (0, "no unknown key in")


def test_nothing_to_check_is_an_error(command: Command) -> None:
    """In CI a path that is missing, or holds no Python, must not look like a check that found nothing."""
    (command.folder / "empty").mkdir()
    nothing = command.run("keys", "-s", command.fullstack, "--check")
    empty = command.run("keys", "-s", command.fullstack, "--check", command.folder / "empty")
    assert (nothing.code, "--check needs a file" in nothing.err) == (2, True)
    assert (empty.code, "no Python file" in empty.err) == (2, True)


def test_unknown_keys_of_fme(command: Command) -> None:
    """The same for features, events and variables of FME."""
    file = command.write(
        "service.py",
        "async def handler(client, user, vwo):\n"
        "    flag = await client.get_flag('serch', user)\n"
        "    await client.track_event('purchas', user)\n"
        "    template.get_variable('other')\n"
        "    vwo.flag.get_variable('sice', 10)\n",
    )
    found = command.run("keys", "--check", file, "-s", command.fme, "--json").data
    assert [(one["line"], one["key"], one["hint"]) for one in found] == [
        (2, "serch", "search"),
        (3, "purchas", "purchase"),
        (5, "sice", "size"),
    ]


@pytest.mark.parametrize(
    ("settings_file", "shop"), [("settings.json", "shop.py"), ("fme_settings.json", "fme_shop.py")]
)
def test_the_demo_shop_has_no_unknown_key(command: Command, settings_file: str, shop: str) -> None:
    """In the example shop nothing is found but what is planted."""
    examples = ROOT / "examples"
    checked = ("keys", "-s", examples / settings_file, "--check")
    assert command.run(*checked, examples / shop).code == 0
    text = (examples / shop).read_text()
    spoilt = re.sub(r'"(checkout_button|signup|fast_search|search)"', r'"\1x"', text)
    planted = sum(a != b for a, b in zip(text.split(), spoilt.split(), strict=True))
    found = command.run(*checked, command.write("spoilt.py", spoilt), "--json").data
    assert 0 < len(found) <= planted
    assert {one["key"] for one in found} <= {
        "checkout_buttonx",
        "signupx",
        "fast_searchx",
        "searchx",
    }


# Outbox


async def fill(path: Path, number: int) -> None:
    """Leave events in an outbox, since nobody takes them."""
    options: dict[str, Any] = {"base_url": "http://127.0.0.1:9", "close_timeout_s": 0.2}
    async with VWOClient(settings(), outbox=path, **options) as client:
        for one in range(number):
            await client.track("checkout", f"user-{one}", "purchase", revenue_value=1)


@pytest.mark.anyio
async def test_outbox_is_seen_and_drained(command: Command) -> None:
    """What a dead service left is counted, delivered to VWO, and gone then."""
    path = command.folder / "outbox.db"
    await fill(path, 3)
    run = command.run_beside
    before = await run("outbox", "status", path, "--json")
    assert (before.code, before.data["events"]) == (ExitCode.FOUND, 3)
    (file,) = before.data["files"]
    assert not file["is_in_use"]
    assert 0 <= file["oldest_age_s"] < 60
    async with collecting(settings()) as (collector, base_url):
        drained = await run(
            "outbox", "drain", path, "-s", command.fullstack, "--base-url", base_url, "--json"
        )
    assert (drained.code, drained.data["flushed"]["delivered"]) == (0, 3)
    assert collector.totals().conversions == 3
    after = await run("outbox", "status", path)
    assert (after.code, "0 events wait" in after.out) == (0, True)


@pytest.mark.anyio
async def test_purge_removes_what_nobody_uses(command: Command) -> None:
    """Events are removed where it was confirmed; a running service's file is seen and left alone."""
    path = command.folder / "outbox.db"
    await fill(path, 2)
    run = command.run_beside
    asked = await run("outbox", "purge", path)
    assert asked.code == ExitCode.USAGE
    assert "remove 2 events" in asked.err
    async with VWOClient(
        settings(), outbox=path, base_url="http://127.0.0.1:9", close_timeout_s=0.2
    ):
        seen = await run("outbox", "status", path, "--json")
        assert [(one["events"], one["is_in_use"]) for one in seen.data["files"]] == [(2, True)]
        left = await run("outbox", "purge", path, "--yes", "--json")
        assert (left.code, left.data["removed"]) == (ExitCode.FOUND, 0)
    purged = await run("outbox", "purge", path, "--yes", "--json")
    assert (purged.code, purged.data["removed"]) == (0, 2)
    assert not path.exists()


# Collector


def test_collector_has_one_set_of_options() -> None:
    """Whoever starts it by ``vwo-async collector`` or ``python -m vwo_async.collector`` has the same options."""
    taken = {name for name in inspect.signature(collector).parameters if name != "output"}
    assert taken == set(vars(make_parser().parse_args([])))


@pytest.mark.slow
def test_collector_runs_until_it_is_told_to_stop(command: Command) -> None:
    """It says where it is, hands out the settings of both products, and ends in order."""
    arguments = ["collector", command.fullstack, command.fme, "--json"]
    env = {**os.environ, "VWO_SDK_KEY": KEY}
    with subprocess.Popen(
        [sys.executable, "-m", "vwo_async", *arguments], stdout=subprocess.PIPE, env=env
    ) as process:
        assert process.stdout is not None
        try:
            base_url = json.loads(process.stdout.readline())["base_url"]
            account = ("-a", str(ACCOUNT), "--base-url", base_url)
            code, out, err = run_process("settings", "fetch", *account, env=env)
        finally:
            process.send_signal(signal.SIGTERM)
    assert (code, err) == (0, "")
    assert json.loads(out)["accountId"] == ACCOUNT
    assert process.returncode == 0
