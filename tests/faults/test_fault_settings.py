"""Rows 44 to 49 of docs/faults.md: settings files that are hostile, huge, broken, foreign or of tomorrow."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import fetch, is_fme, make_client, result_key, settings
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st
from own_time import assert_below
from rig import P99_DELAY_S, FaultServer, steady_loop
from sample import ACCOUNT, KEY, SECRET, campaign, variation
from search_effort import examples

from vwo_async import FMESettings, Reason, Settings, SettingsError, VWOClient
from vwo_async.testing import RecordingTransport

pytestmark = [pytest.mark.anyio, pytest.mark.no_debug, pytest.mark.timeout(60)]


# Row 44

RUNAWAYS = {
    "nested": ("^(a+)+$", "a"),
    "adjacent": (".*.*=x", "a"),
    "alternation": ("^(a|a)*$", "a"),
    "overlap": ("^(a|aa)+$", "a"),
    "words": (r"^(\w+\s?)*$", "word "),
    "email": (r"^([a-zA-Z0-9])(([-.]|_+)?([a-zA-Z0-9]+))*(@)[a-z]+$", "a"),
    "several": ("(x+x+)+y", "x"),
    "in a group": (r"^(([a-z])+.)+[A-Z]([a-z])+$", "a"),
    "backreference": (r"^(.*)\1+\1x", "a"),
    "backreferences": (r"(.+)(.+)\1\2x", "a"),
    "lookahead": ("(?=(a+)+$)a", "a"),
    "negative lookahead": ("^(?!(a|aa)+$)", "a"),
    "lookbehind": ("(?<=a)(a*)*b", "a"),
    "conditional": ("(a)?(?(1)(a+)+b|c)", "a"),
    "lazy": ("(.*?)*?x", "a"),
    "possessive": ("(?:a*+b?)*x", "a"),
    "atomic": ("(?>a*b?)*x", "a"),
    "counted": ("(a{0,30}){0,30}$", "a"),
    "huge counts": ("((a{1000}){1000}){1000}$", "a"),
    "huge counts of all": ("(?:(?:a{0,1000}){0,1000}){0,1000}b", "a"),
    "empty": ("(?:){4294967294}x", "a"),
    "empties": ("(?:(?:a{0}){1000}){1000}x", "a"),
    "empty lookaheads": ("(?:(?=a){1000000}){1000}b", "a"),
    "cases": ("(?i)^(?:ab|Ab)*$", "ab"),
    "lines": (r"(?m)^\s*\s*x$", "\n"),
    "slow set": ("(?i)[^\U0001f600-\U0001f601x\u0100\u0102\u0104]{1000}$", "a"),
    "many sets": ("(?i)" + "[\x00-\U0010ffff]" * 199, "a"),
    "long tail": ("(?:.)*" + "a" * 900 + "b", "a"),
    "deep": ("(" * 99 + "a*" + ")*" * 99, "a"),
    "too deep": ("(" * 333 + "a*" + ")*" * 333, "a"),
    "not ASCII": ("^(\u00e9|\u00e9)*$", "\u00e9"),
}
LENGTHS = (24, 32, 64, 128, 256, 384, 512, 768, 1024, 2048, 4000)


def with_operands(*operands: str) -> dict[str, Any]:
    """Return a file whose campaign is for visitors whose variable ``v`` fits any of *operands*."""
    leaves = [{"custom_variable": {"v": operand}} for operand in operands]
    return settings(campaign(11, "checkout", segments={"or": leaves}))


def client_of(file: Any, **options: Any) -> VWOClient:
    return make_client(file, transport=RecordingTransport(), **options)


async def hold(client: VWOClient, value: str) -> float:
    """Decide for a visitor whose variable has this value; return how much processor time that took."""
    began = time.thread_time()
    name = await client.get_variation_name("checkout", "Ashley", custom_variables={"v": value})
    took_s = time.thread_time() - began
    assert name in {None, "Control", "Variation-1"}
    return took_s


async def hold_briefly(client: VWOClient, value: str) -> None:
    """Decide, and assert that the loop was not held by it; one interruption by the system is forgiven."""
    assert_below(min([await hold(client, value), await hold(client, value)]), P99_DELAY_S)


@BOTH_PRODUCTS
@pytest.mark.parametrize("name", RUNAWAYS)
async def test_row_44_runaway_patterns(name: str) -> None:
    """A pattern that would run away holds the loop for no time to speak of, and the decision is given."""
    pattern, unit = RUNAWAYS[name]
    began = time.thread_time()
    client = client_of(with_operands(f"regex({pattern})"))
    assert_below(time.thread_time() - began, 1)
    async with client, steady_loop():
        for length in LENGTHS:
            text = unit * (length // len(unit))
            for value in (text, f"{text[:-1]}!"):
                await hold_briefly(client, value)
                await asyncio.sleep(0.01)


@BOTH_PRODUCTS
async def test_row_44_many_patterns() -> None:
    """Many patterns in one segment hold the loop no longer together than one may alone."""
    file = with_operands(*(f"regex(a+a{{20}}{letter})" for letter in "bcdefghijklmnopqrst"))
    async with client_of(file) as client, steady_loop():
        for length in LENGTHS:
            await hold_briefly(client, "a" * length)
            await asyncio.sleep(0.01)


@BOTH_PRODUCTS
@pytest.mark.parametrize("operand", ["gt(5)", "5", "regex(5)", "lower(5)", "wildcard(5*)"])
async def test_row_44_numbers(operand: str) -> None:
    """A text that is almost a number, however long, is compared with one at once."""
    async with client_of(with_operands(operand)) as client, steady_loop():
        for value in (
            "1" * 4095 + "x",
            " " * 4095 + "x",
            "1" * 2000 + "." + "1" * 2000 + "e",
            "." * 4096,
        ):
            await hold_briefly(client, value)


@BOTH_PRODUCTS
async def test_row_44_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is refused is listed by its place in the file, in one printable line; the rest is in force."""
    monkeypatch.setitem(sys.modules, "re2", None)
    file = with_operands("regex(^(a+)+$)", "regex(^fine$)")
    forged = "regex((a*)*\x1b[31m" + "\u202e" * 500 + ")"
    forced = {"custom_variable": {"v": forged}}
    file["campaigns"][0]["variations"][1]["segments"] = forced
    broken = {"not": {"custom_variable": {"v": "regex(()"}}}
    file["campaigns"] += settings(campaign(12, "search", segments=broken))["campaigns"]
    async with client_of(file) as client:
        notes = client.settings_warnings
        assert [note.partition(":")[0] for note in notes] == [
            "campaigns.0.segments",
            "campaigns.0.variations.1.segments",
            "campaigns.1.segments",
        ]
        assert "'^(a+)+$'" in notes[0]
        assert all(note.isascii() and note.isprintable() and len(note) < 1000 for note in notes)
        for value, is_in in (("fine", True), ("aaa", False)):
            name = await client.activate("checkout", "Ashley", custom_variables={"v": value})
            assert (name is not None) is is_in


@BOTH_PRODUCTS
async def test_row_44_re2() -> None:
    """With the extra, a pattern that would be refused is in force and nothing is listed."""
    pytest.importorskip("re2")
    async with client_of(with_operands(r"regex(^(\w+\s?)+$)")) as client, steady_loop():
        assert client.settings_warnings == ()
        for value, is_in in (("some words", True), ("some words!", False), ("word " * 800, True)):
            name = await client.activate("checkout", "Ashley", custom_variables={"v": value})
            assert (name is not None) is is_in


pattern_parts = st.one_of(
    st.sampled_from(["a", "b", ".", "[ab]", r"\w", r"\s", "^", "$", r"\1", r"\b", "", "\n"]),
    st.sampled_from(["a{1000}", "(?=a)", "(?!b)", "(?<=a)", "(?<!b)", "(?:)", "[^\u0100b]", "x"]),
)
pattern_counts = st.one_of(
    st.sampled_from(["", "*", "+", "?", "*?", "+?", "*+"]),
    st.sampled_from(["{2}", "{0,30}", "{1000}", "{0,1000}", "{4294967294}", "{2,}"]),
)


def nested(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=1, max_size=4)
    opening = st.sampled_from(["(", "(?:", "(?>", "(?=", "(?!", "(?i:", "(?P<n>"])
    return st.one_of(
        st.builds("".join, several),
        st.builds("{}{}){}".format, opening, st.builds("|".join, several), pattern_counts),
        st.builds("(?(1){}|{})".format, inner, inner),
    )


patterns = st.one_of(
    st.recursive(st.builds("{}{}".format, pattern_parts, pattern_counts), nested, max_leaves=15),
    # Brackets that do not match, too.
    st.text(st.sampled_from("ab.*+?()[]{}|^$\\,019-:=!<>"), max_size=30),
)


@BOTH_PRODUCTS
@given(
    patterns, st.sampled_from(["a", "ab", "b", "\n", "word "]), st.sampled_from(["", "!", "\u00e9"])
)
@profile(max_examples=examples(200))
def test_row_44_any_pattern(pattern: str, unit: str, end: str) -> None:
    """Whatever the pattern and the visitor, the loop is held for less than a twentieth of a second."""

    async def run() -> None:
        async with client_of(with_operands(f"regex({pattern})")) as client:
            for length in LENGTHS:
                await hold_briefly(client, (unit * length)[: length - len(end)] + end)

    asyncio.run(run())


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    ("operand", "hit"),
    [
        ("wildcard(*a*a*a*a*b)", "a*a*a*a*b"),
        ("wildcard(*a*a*a*a*b*)", "x" * 3000 + "a*a*a*a*b" + "y" * 900),
        (f"wildcard({'*a' * 400}b)", f"{'*a' * 400}b"),
        (f"wildcard(*{'a' * 2000}b*)", f"{'a' * 4000}b"),
        ("wildcard(*(a+)+$*)", "(a+)+$"),
        ("wildcard(a.c*)", "a.cd"),
    ],
    ids=["many stars", "in the middle", "hundreds of stars", "long", "a pattern", "a dot"],
)
async def test_row_44_wildcards_are_no_patterns(operand: str, hit: str) -> None:
    """A wildcard is a text with a star at its ends: it means just that, and nothing makes it slow."""
    async with client_of(with_operands(operand)) as client, steady_loop():
        assert await client.activate("checkout", "Ashley", custom_variables={"v": hit})
        for miss in ("a" * 4096, "a" * 4095 + "!", "*a" * 2048, "abcd", f"{'a' * 2000}c" * 2):
            assert not await client.activate("checkout", "Ashley", custom_variables={"v": miss})
            assert min([await hold(client, miss), await hold(client, miss)]) < 0.01


# Row 45


def nest(depth: int, leaf: object) -> Any:
    """Return *leaf* within so many negations."""
    for _ in range(depth):
        leaf = {"not": leaf}
    return leaf


def nested_file(depth: int, place: str = "campaign") -> bytes:
    """Return a file with so many negations within one another in one of its trees, as JSON."""
    file = settings(isEventArchEnabled=True)
    owner = file["campaigns"][0]
    owner["isForcedVariationEnabled"] = True
    owner = owner if place == "campaign" else owner["variations"][1]
    owner["segments"] = "@"
    text = json.dumps({"custom_variable": {"plan": "pro"}})
    tree = '{"not":' * depth + text + "}" * depth
    return json.dumps(file).replace('"@"', tree).encode()


async def call_everything(client: VWOClient, campaign_key: str = "checkout") -> list[Any]:
    """Call every API method that decides."""
    plan = {"plan": "pro"}
    both: Any = {"custom_variables": plan, "variation_targeting_variables": plan}
    return [
        await client.activate(campaign_key, "Ashley", **both),
        await client.get_variation_name(campaign_key, "Ashley", **both),
        await client.is_feature_enabled(campaign_key, "Ashley", **both),
        await client.get_feature_variable_value(campaign_key, "size", "Ashley", **both),
        await client.decide_all("Ashley", **both),
        await client.explain(campaign_key, "Ashley", **both),
        await client.track(campaign_key, "Ashley", "signup", **both),
        await client.track(None, "Ashley", "signup", **both),
    ]


@BOTH_PRODUCTS
@pytest.mark.parametrize("place", ["campaign", "variation"])
@pytest.mark.parametrize("depth", [40, 47])
async def test_row_45_deep_enough(vwo: FaultServer, place: str, depth: int) -> None:
    """A tree as deep as the bound allows is evaluated by every method, and fetched like any other."""
    body = nested_file(depth, place)
    await vwo.answer(body=body.decode())
    async with make_client(body, base_url=vwo.base_url) as client, steady_loop():
        for _ in range(2):
            name, *_, every = await call_everything(client)
            expected = (depth % 2 == 0) if place == "campaign" else True
            assert (name is not None) is expected
            # In FME an event is reported whatever is decided.
            assert every[result_key()].tracked is (expected or is_fme())
            found = await client.get_and_update_settings_file()
            assert isinstance(found, FMESettings if is_fme() else Settings)


@BOTH_PRODUCTS
@pytest.mark.parametrize("place", ["campaign", "variation"])
@pytest.mark.parametrize("depth", [51, 199, 201, 900, 5000, 100_000])
async def test_row_45_too_deep(place: str, depth: int) -> None:
    """A deeper tree is refused when the file is parsed, never by a recursion that ends in a decision."""
    body = nested_file(depth, place)
    for source in (body, body.decode()):
        with pytest.raises(SettingsError):
            make_client(source)
    mapping = json.loads(nested_file(0, place))
    owner = mapping["campaigns"][0]
    owner = owner if place == "campaign" else owner["variations"][1]
    owner["segments"] = nest(depth, {"user": "Ashley"})
    with pytest.raises(SettingsError) as caught:
        make_client(mapping)
    assert caught.value.faults[0].startswith("campaigns.0.")
    assert "deeper than 50" in str(caught.value)


@BOTH_PRODUCTS
@pytest.mark.parametrize("depth", [51, 5000])
async def test_row_45_too_deep_from_vwo(vwo: FaultServer, depth: int) -> None:
    """Such a file from VWO changes nothing: calls go on under the one before."""
    async with make_client(settings(), base_url=vwo.base_url) as client, steady_loop():
        before = await call_everything(client)
        await vwo.answer(body=nested_file(depth).decode())
        await client.get_and_update_settings_file()
        after = await call_everything(client)
        assert before[:4] == after[:4]


# Row 46


@contextmanager
def file_server(folder: Path, body: bytes | int) -> Iterator[str]:
    """Serve *body*, or so many zeros, as the settings file, from a process of its own; yields the base URL."""
    path = folder / "server-side" / ("v2-settings" if is_fme() else "settings")
    path.parent.mkdir()
    path.write_bytes(body if isinstance(body, bytes) else b"")
    if isinstance(body, int):
        os.truncate(path, body)
    arguments = ["-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(folder)]
    with subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        try:
            assert process.stdout is not None
            port = process.stdout.readline().partition(" port ")[2].split(" ")[0]
            yield f"http://127.0.0.1:{port}"
        finally:
            process.kill()


def make_large(size: int) -> bytes:
    """Return a good file of about *size* bytes."""

    def render(number: int) -> bytes:
        more = [campaign(10_000 + one, f"campaign-{one}") for one in range(number)]
        return json.dumps(settings(campaign(11, "checkout"), *more, version=2)).encode()

    empty = len(render(0))
    return render((size - empty) // (len(render(1)) - empty))


@contextmanager
def bounded_memory(most: int) -> Iterator[None]:
    """Hold the body to so many bytes at once."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        tracemalloc.stop()


def largest_buffers() -> int:
    """Return how many bytes the system may hold between the two ends of a connection."""
    paths = [Path("/proc/sys/net/ipv4", name) for name in ("tcp_rmem", "tcp_wmem")]
    return sum(int(one.read_text().split()[2]) if one.exists() else 5_000_000 for one in paths)


@BOTH_PRODUCTS
async def test_row_46_endless_body(vwo: FaultServer) -> None:
    """Of a body without end no more than ten megabytes are read, and no more is held."""
    await vwo.misbehave("endless", times=None)
    async with make_client(settings(), base_url=vwo.base_url) as client, steady_loop():
        before = client.settings
        with bounded_memory(30_000_000):
            assert await client.get_and_update_settings_file() is before
            with pytest.raises(SettingsError):
                await fetch(ACCOUNT, KEY, base_url=vwo.base_url)
    written = [one.written for one in await vwo.tries()]
    assert len(written) == 2
    # The system reads ahead, by as much as it has room for in a connection's buffers.
    assert max(written) < 11_000_000 + largest_buffers()


@BOTH_PRODUCTS
async def test_row_46_half_a_gigabyte(tmp_path: Path) -> None:
    """A file of 500 MB is refused after its first ten, and those are not kept."""
    with file_server(tmp_path, 500_000_000) as base_url:
        async with make_client(settings(), base_url=base_url) as client, steady_loop():
            before = client.settings
            with bounded_memory(30_000_000):
                assert await client.get_and_update_settings_file() is before
                with pytest.raises(SettingsError, match="10000000 bytes"):
                    await fetch(ACCOUNT, KEY, base_url=base_url)


@BOTH_PRODUCTS
@pytest.mark.parametrize("form", [bytes, str])
def test_row_46_too_large_in_memory(form: type) -> None:
    """What is given to a client is bounded too, and refused before it is parsed."""
    source = b" " * 11_000_000 if form is bytes else " " * 11_000_000
    began = time.thread_time()
    with pytest.raises(SettingsError, match="10000000 bytes"):
        make_client(source)
    assert_below(time.thread_time() - began, 0.2)


@BOTH_PRODUCTS
async def test_row_46_large_file(tmp_path: Path) -> None:
    """A file of 5.5 MB is put in force while the loop runs on, and calls are answered meanwhile."""
    with file_server(tmp_path, make_large(5_500_000)) as base_url:
        async with (
            make_client(settings(), base_url=base_url, development_mode=True) as client,
            steady_loop(),
        ):
            update = asyncio.create_task(client.get_and_update_settings_file())
            calls = 0
            while not update.done():
                assert await client.activate("checkout", f"user {calls}")
                calls += 1
                await asyncio.sleep(0.002)
            found = await update
            assert found is client.settings
            assert client.settings.version == 2
            assert calls > 20
            for number in range(5):
                assert await client.activate(f"campaign-{number * 1000}", "Ashley")


# Row 47

Change = Callable[[dict[str, Any]], object]


def change(*path: str | int, to: object) -> Change:
    """Return what puts *to* at *path* of a file."""

    def apply(file: dict[str, Any]) -> None:
        node: Any = file
        for step in path[:-1]:
            node = node[step]
        node[path[-1]] = to

    return apply


def remove(*path: str | int) -> Change:
    """Return what takes *path* out of a file."""

    def apply(file: dict[str, Any]) -> None:
        node: Any = file
        for step in path[:-1]:
            node = node[step]
        del node[path[-1]]

    return apply


FIRST = ("campaigns", 0)
CONTROL = (*FIRST, "variations", 0)
TRAFFIC = (*FIRST, "percentTraffic")
BAD_FIELDS: dict[str, tuple[Change, str]] = {
    "no account": (remove("accountId"), "accountId"),
    "no version": (remove("version"), "version"),
    "campaigns are text": (change("campaigns", to="x"), "campaigns"),
    "a campaign is null": (change(*FIRST, to=None), "campaigns.0"),
    "no id": (remove(*FIRST, "id"), "campaigns.0.id"),
    "id is a list": (change(*FIRST, "id", to=[]), "campaigns.0.id"),
    "no key": (remove(*FIRST, "key"), "campaigns.0.key"),
    "empty key": (change(*FIRST, "key", to=""), "campaigns.0.key"),
    "key is a number": (change(*FIRST, "key", to=5), "campaigns.0.key"),
    "no traffic": (remove(*TRAFFIC), "campaigns.0.percentTraffic"),
    "traffic is NaN": (change(*TRAFFIC, to=float("nan")), "campaigns.0.percentTraffic"),
    "infinite traffic": (change(*TRAFFIC, to=float("inf")), "campaigns.0.percentTraffic"),
    "traffic is text": (change(*TRAFFIC, to="50"), "campaigns.0.percentTraffic"),
    "negative traffic": (change(*TRAFFIC, to=-1), "campaigns.0.percentTraffic"),
    "too much traffic": (change(*TRAFFIC, to=101), "campaigns.0.percentTraffic"),
    "negative weight": (change(*CONTROL, "weight", to=-1), "campaigns.0.variations.0.weight"),
    "too much weight": (change(*CONTROL, "weight", to=101), "campaigns.0.variations.0.weight"),
    "NaN in a segment": (
        change(*FIRST, "segments", to={"a": float("nan")}),
        "campaigns.0.segments",
    ),
    "no variation name": (remove(*CONTROL, "name"), "campaigns.0.variations.0.name"),
    "same id": (change("campaigns", 1, "id", to=11), "campaigns"),
    "same key": (change("campaigns", 1, "key", to="checkout"), "campaigns"),
    "same variation id": (change(*CONTROL, "id", to=2), "campaigns.0.variations"),
    "same goal id": (change(*FIRST, "goals", 0, "id", to=1102), "campaigns.0.goals"),
    "path in the prefix": (change("collectionPrefix", to="../x"), "collectionPrefix"),
    "query in the prefix": (change("collectionPrefix", to="a?b="), "collectionPrefix"),
    "header in the key": (change("sdkKey", to="a\r\nX-Evil: 1"), "sdkKey"),
    # Broken JSON where it is text, so that there is no path.
    "lone surrogate": (change(*FIRST, "key", to="a\ud800b"), ""),
}
PAGES = {
    "nothing": "",
    "blank": " ",
    "null": "null",
    "list": "[]",
    "empty": "{}",
    "text": '"settings"',
    "HTML": "<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>",
    "cut short": json.dumps(settings())[:-20],
    "two": json.dumps(settings()) * 2,
    "1e999": json.dumps(settings()).replace('"percentTraffic": 100', '"percentTraffic": 1e999'),
}


def bad_file(name: str) -> tuple[str, str]:
    """Return a bad file and the path that its refusal names, empty where it has none."""
    if name in PAGES:
        return PAGES[name], ""
    apply, path = BAD_FIELDS[name]
    file = settings(version=2)
    apply(file)
    return json.dumps(file), path


bad_files = pytest.mark.parametrize("name", [*BAD_FIELDS, *PAGES])


@bad_files
async def test_row_47_bad_file_from_vwo(
    vwo: FaultServer, caplog: pytest.LogCaptureFixture, name: str
) -> None:
    """A bad file that VWO gives changes nothing, and the log says what is wrong with it."""
    body, path = bad_file(name)
    async with make_client(settings(), base_url=vwo.base_url) as client:
        before, decided = client.settings, await client.decide_all("Ashley")
        await vwo.answer(body=body)
        assert await client.get_and_update_settings_file() is before
        assert client.settings is before
        assert await client.decide_all("Ashley") == decided
        assert await client.track("checkout", "Ashley", "signup", wait=True)
        lines = [one.getMessage() for one in caplog.records if one.name == "vwo_async"]
        assert [line for line in lines if "the settings stay as they are" in line and path in line]
        with pytest.raises(SettingsError) as caught:
            await fetch(ACCOUNT, KEY, base_url=vwo.base_url)
        assert caught.value.faults[0].startswith(path)


@bad_files
def test_row_47_bad_file_at_launch(name: str) -> None:
    """A bad file makes no client: the error names the path, whatever form the file comes in."""
    body, path = bad_file(name)
    sources: list[Any] = [body, body.encode()]
    if name in BAD_FIELDS:
        sources.append(json.loads(body))
    for source in sources:
        with pytest.raises(SettingsError) as caught:
            make_client(source)
        assert caught.value.faults[0].startswith(path)
        assert SECRET not in str(caught.value)


@BOTH_PRODUCTS
async def test_row_47_overlapping_weights() -> None:
    """Weights that add up to more than all of the traffic overlap nowhere: the first variation has it."""
    everything = [variation(1, "Control", 100), variation(2, "Variation-1", 100)]
    async with client_of(settings(campaign(11, "checkout", variations=everything))) as client:
        found = {await client.activate("checkout", f"user {number}") for number in range(50)}
    assert found == {"Control"}


# Row 48


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    "more",
    [{"accountId": 999999}, {"accountId": "888889"}, {"sdkKey": "another"}, {"sdkKey": KEY[:-1]}],
    ids=["account", "account as text", "key", "part of the key"],
)
async def test_row_48_another_account(vwo: FaultServer, more: dict[str, Any]) -> None:
    """The settings of another account or environment are refused; those in force stay."""
    await vwo.answer(body=json.dumps(settings(version=2, **more)))
    async with make_client(settings(), base_url=vwo.base_url) as client:
        before = client.settings
        assert await client.get_and_update_settings_file() is before
        assert not await client.refresh_settings()
        assert client.settings is before
    with pytest.raises(SettingsError, match=next(iter(more))):
        await fetch(ACCOUNT, KEY, base_url=vwo.base_url)
    await vwo.answer(body=json.dumps(settings(version=2)))
    assert (await fetch(ACCOUNT, KEY, base_url=vwo.base_url)).version == 2


# Row 49

TOMORROW = [None, {"deep": [{"er": 1e308}]}, "text", True, -5]


def add_fields(node: Any) -> None:
    """Add fields that nobody knows to every object of a file but those of segments."""
    if isinstance(node, dict):
        for name, child in node.items():
            if name != "segments":
                add_fields(child)
        node["fromTomorrow"] = TOMORROW
    elif isinstance(node, list):
        for child in node:
            add_fields(child)


@BOTH_PRODUCTS
async def test_row_49_unknown_fields(vwo: FaultServer) -> None:
    """Fields that nobody knows yet change no decision and no event, wherever they are."""
    plain, file = settings(), settings()
    add_fields(file)
    decided = []
    for source in (plain, file):
        async with make_client(source, base_url=vwo.base_url) as client:
            decided.append(await client.decide_all("Ashley"))
            assert client.settings_warnings == ()
            assert await client.track(None, "Ashley", "signup", wait=True)
    assert decided[0] == decided[1]


@BOTH_PRODUCTS
@pytest.mark.parametrize(
    "kind", ["FLAG_ROLLOUT_V2", "visual_ab", "", "\u202e\x1b[31m", "x" * 5000], ids=ascii
)
async def test_row_49_unknown_campaign_type(vwo: FaultServer, kind: str) -> None:
    """A campaign of a type that nobody knows yet is skipped with a note, and no method stumbles over it."""
    file = settings(campaign(11, "checkout"), campaign(12, "future", kind))
    goals = file["features"][1]["metrics"] if is_fme() else file["campaigns"][1]["goals"]
    goals[0]["type"] = "SCROLL_DEPTH"
    await vwo.answer(body=json.dumps(file))
    async with make_client(settings(), base_url=vwo.base_url) as client:
        await client.get_and_update_settings_file()
        (note,) = client.settings_warnings
        assert note.startswith("features.1.rules.0: " if is_fme() else "campaigns.1.type: ")
        assert note.isascii() and note.isprintable() and len(note) < 300
        *names, decided, explained, one, every = await call_everything(client, "future")
        assert not any(names)
        if is_fme():
            # There is a feature without the rule.
            assert explained.reason is decided["future"].reason is Reason.NO_RULE
            assert decided["checkout"] and one
            return
        assert list(decided) == ["checkout"]
        assert explained.variation_name is None
        assert not one and one["future"].reason is Reason.CAMPAIGN_TYPE_MISMATCH
        assert every and every["checkout"].tracked and not every["future"].tracked


@BOTH_PRODUCTS
async def test_row_49_unknown_segments_and_statuses(vwo: FaultServer) -> None:
    """Segments of a kind that nobody knows let nobody in; a status that nobody knows is not running."""
    file = settings(
        campaign(11, "checkout"),
        campaign(12, "cohort", segments={"and": [{"cohort": {"id": 5}}]}),
        campaign(13, "archived", status="ARCHIVED"),
        campaign(14, "odd", segments={"custom_variable": {"plan": {"from": "tomorrow"}}}),
    )
    async with make_client(file, base_url=vwo.base_url) as client:
        reasons = {key: one.reason for key, one in (await client.decide_all("Ashley")).items()}
        assert reasons == {
            "checkout": Reason.ASSIGNED,
            "cohort": Reason.NOT_IN_SEGMENT,
            "odd": Reason.NOT_IN_SEGMENT,
        }
        for key in ("cohort", "archived", "odd"):
            assert not any((await call_everything(client, key))[:4])
