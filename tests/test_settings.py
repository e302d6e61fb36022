"""The settings file: what is accepted, what is refused, and that a refusal shows nothing of the file."""

from __future__ import annotations

import codecs
import copy
import gzip
import json
import pathlib
import traceback
import zlib
from collections.abc import Iterator
from contextlib import suppress
from types import MappingProxyType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from search_effort import examples

from vwo_async import Settings, SettingsError, parse_settings
from vwo_async._core.api_method import (
    ACTIVATE,
    GET_FEATURE_VARIABLE_VALUE,
    GET_VARIATION_NAME,
    IS_FEATURE_ENABLED,
    TRACK,
)
from vwo_async._core.decision import decide, find_refusal
from vwo_async._core.plan import Plan
from vwo_async._reason import Reason
from vwo_async._user import User

SECRET = "SECRETKEY123"
# Values that stand for all that a file holds: none of them may show up in an error.
TEXT = "Zanzibar"
NUMBER = 987654321

FILE: dict[str, Any] = {
    "sdkKey": SECRET,
    "accountId": 888888,
    "version": 3,
    "isNB": True,
    "collectionPrefix": "eu01",
    "campaigns": [
        {
            "id": 7,
            "key": "checkout",
            "name": "Checkout",
            "type": "FEATURE_TEST",
            "status": "RUNNING",
            "percentTraffic": 80,
            "isForcedVariationEnabled": True,
            "segments": {
                "and": [
                    {"or": [{"custom_variable": {"plan": "lower(pro)"}}]},
                    {"not": {"custom_variable": {"age": "lt(18)"}}},
                ]
            },
            "variables": {},
            "variations": [
                {
                    "id": 1,
                    "name": "Control",
                    "weight": 50,
                    "segments": {"or": [{"user": "Ashley"}]},
                    "isFeatureEnabled": False,
                    "variables": [{"id": 1, "key": "size", "type": "integer", "value": 5}],
                },
                {
                    "id": 2,
                    "name": "Variation-1",
                    "weight": 50.0,
                    "segments": {},
                    "isFeatureEnabled": True,
                    "variables": [{"id": 1, "key": "size", "type": "json", "value": {"a": [1.5]}}],
                },
            ],
            "goals": [
                {"id": 21, "identifier": "signup", "type": "CUSTOM_GOAL"},
                {
                    "id": 22,
                    "identifier": "order",
                    "type": "REVENUE_TRACKING",
                    "revenueProp": "price",
                    "mca": -1,
                    "hasProps": True,
                },
            ],
        },
        {
            "id": 8,
            "key": "banner",
            "type": "FEATURE_ROLLOUT",
            "status": "PAUSED",
            "percentTraffic": 100,
            "segments": {},
            "variables": [{"id": 3, "key": "text", "type": "string", "value": "hello"}],
            "variations": [{"id": 1, "name": "website", "weight": 100}],
            "goals": {},
        },
    ],
    "campaignGroups": {"7": 5},
    "groups": {"5": {"name": "five", "campaigns": [7, 8], "et": 2, "p": [7], "wt": {"7": 60}}},
}

ABSENT = object()
Path = tuple[str | int, ...]
C = ("campaigns", 0)
V = (*C, "variations", 0)
G = (*C, "goals", 0)


def changed(path: Path, value: object) -> dict[str, Any]:
    """Return the file with *value* at *path*, or without what is there."""
    file = copy.deepcopy(FILE)
    node: Any = file
    for step in path[:-1]:
        node = node[step]
    if value is ABSENT:
        with suppress(KeyError):
            del node[path[-1]]
    else:
        node[path[-1]] = value
    return file


def read_at(found: Settings, *names: str | int) -> Any:
    """Return what the parsed settings hold at a path of attributes and indexes."""
    node: Any = found
    for name in names:
        node = node[name] if isinstance(name, int) else getattr(node, name)
    return node


def refuse(source: Any) -> SettingsError:
    """Return the error that refuses *source*."""
    with pytest.raises(SettingsError) as caught:
        parse_settings(source)
    return caught.value


def is_named(error: SettingsError, path: Path) -> bool:
    """Tell whether every fault of *error* begins with *path*, or something in it."""
    name = ".".join(map(str, path))
    return all(fault.startswith((f"{name}:", f"{name}.")) for fault in error.faults)


# Sources


@pytest.mark.parametrize(
    "source",
    [
        FILE,
        json.dumps(FILE),
        json.dumps(FILE).encode(),
        bytearray(json.dumps(FILE), "utf-8"),
        json.dumps(FILE, indent=2),
        MappingProxyType(FILE),
    ],
    ids=["mapping", "str", "bytes", "bytearray", "indented", "proxy"],
)
def test_sources(source: Any) -> None:
    """Text, bytes and the decoded form of one file give equal settings."""
    assert parse_settings(source) == parse_settings(FILE)


def test_settings_pass_through() -> None:
    """Settings that were parsed are not parsed again."""
    found = parse_settings(FILE)
    assert parse_settings(found) is found


def test_content() -> None:
    """All that the file says is read, under its own names in this package."""
    found = parse_settings(FILE)
    assert found.sdk_key is not None
    assert found.sdk_key.get_secret_value() == SECRET
    assert (found.account_id, found.version, found.collection_prefix) == (888888, 3, "eu01")
    assert (found.is_nb, found.is_nbv2, found.is_event_arch_enabled) == (True, False, False)
    assert [one.key for one in found.campaigns] == ["checkout", "banner"]
    checkout = found.campaigns[0]
    assert (checkout.id, checkout.percent_traffic) == (7, 80)
    assert [one.weight for one in checkout.variations] == [50, 50]
    assert [one.identifier for one in checkout.goals] == ["signup", "order"]
    assert (checkout.goals[1].mca, checkout.goals[1].revenue_prop) == (-1, "price")
    assert found.campaign_groups == {"7": 5}
    assert (found.groups["5"].p, found.groups["5"].wt) == ((7,), {"7": 60})


@pytest.mark.parametrize(
    "source",
    [None, 5, 1.5, True, [], [FILE], ("accountId", 1), {1, 2}, object(), memoryview(b"{}")],
)
def test_no_sources(source: Any) -> None:
    """What is no file in any form is refused like a bad file."""
    assert "bytes, a str or a mapping" in str(refuse(source))


@pytest.mark.parametrize("form", [str, str.encode], ids=["str", "bytes"])
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "null",
        "[]",
        "5",
        '"text"',
        "nan",
        "{",
        "{}}",
        "{'accountId': 1}",
        '{"accountId": 1, "version": 1, "campaigns": [}',
        "<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>",
        '{"accountId": 1, "version": 1}<html>',
    ],
)
def test_no_json_object(form: Any, text: str) -> None:
    """An empty answer, an error page with status 200 and broken JSON are refused."""
    assert refuse(form(text)).faults


PAGE = "<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"
GOOD = json.dumps(FILE).encode()


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (b"", "is empty"),
        (" \n", "is empty"),
        (codecs.BOM_UTF8 + GOOD, "byte order mark of UTF-8"),
        ("\ufeff" + GOOD.decode(), "byte order mark of UTF-8"),
        (GOOD.decode().encode("utf-16"), "byte order mark of UTF-16"),
        (gzip.compress(GOOD, mtime=0), "compressed (gzip)"),
        (zlib.compress(GOOD), "compressed (zlib)"),
        (GOOD.decode().encode("utf-16-le"), "in UTF-16 or UTF-32"),
        (GOOD.decode().encode("utf-32-be"), "in UTF-16 or UTF-32"),
        (b"\x8b\x01\x80" + GOOD, "not JSON, but perhaps"),
        ("Invalid api key", "not JSON, but perhaps"),
        (PAGE, "HTML or XML page"),
        ("\n  " + PAGE, "HTML or XML page"),
        ("settings.json", "not its path"),
        (b"/etc/shop/settings.json", "not its path"),
        ("~/vwo", "not its path"),
        ("./settings", "not its path"),
        ("C:\\shop\\settings.json", "not its path"),
        (pathlib.Path("settings.json"), "not its path"),
    ],
    ids=lambda value: ascii(value)[:24],
)
def test_row_82_wrong_files(source: Any, words: str) -> None:
    """What was given in place of a settings file is named, and what to do about it."""
    assert words in str(refuse(source))


@pytest.mark.parametrize("source", [{}, "{}", b"{}"], ids=repr)
def test_empty_object(source: Any) -> None:
    """An empty object lacks what every file has."""
    assert refuse(source).faults == ("accountId: Field required", "version: Field required")


@pytest.mark.parametrize(
    "source", [b"\xff\xfe{}", b'{"accountId": "\xe9", "version": 1}', "\ufeff{}", "{}\0"]
)
def test_wrong_encoding(source: Any) -> None:
    """Bytes that are no UTF-8, and marks around the object, are refused."""
    assert refuse(source).faults


# What is accepted


@pytest.mark.parametrize(
    ("path", "value", "names", "expected"),
    [
        (("campaigns",), ABSENT, ["campaigns"], ()),
        (("campaigns",), None, ["campaigns"], ()),
        (("campaigns",), {}, ["campaigns"], ()),
        (("campaigns",), [], ["campaigns"], ()),
        (("sdkKey",), ABSENT, ["sdk_key"], None),
        (("sdkKey",), None, ["sdk_key"], None),
        (("accountId",), "888888", ["account_id"], "888888"),
        (("accountId",), 888888.0, ["account_id"], 888888),
        (("version",), "3", ["version"], "3"),
        (("version",), 1.5, ["version"], 1.5),
        (("collectionPrefix",), ABSENT, ["collection_prefix"], ""),
        (("collectionPrefix",), "", ["collection_prefix"], ""),
        (("collectionPrefix",), "as-01_B", ["collection_prefix"], "as-01_B"),
        (("campaignGroups",), ABSENT, ["campaign_groups"], {}),
        (("campaignGroups",), {}, ["campaign_groups"], {}),
        (("campaignGroups",), [], ["campaign_groups"], {}),
        (("groups",), ABSENT, ["groups"], {}),
        (("groups",), [], ["groups"], {}),
        ((*C, "id"), "7", ["campaigns", 0, "id"], 7),
        ((*C, "id"), 7.0, ["campaigns", 0, "id"], 7),
        ((*C, "segments"), ABSENT, ["campaigns", 0, "segments"], {}),
        ((*C, "name"), ABSENT, ["campaigns", 0, "name"], None),
        ((*C, "percentTraffic"), 0, ["campaigns", 0, "percent_traffic"], 0),
        ((*C, "percentTraffic"), 33.3, ["campaigns", 0, "percent_traffic"], 33.3),
        ((*C, "variations"), {}, ["campaigns", 0, "variations"], ()),
        ((*C, "goals"), {}, ["campaigns", 0, "goals"], ()),
        ((*C, "variables"), {}, ["campaigns", 0, "variables"], ()),
        ((*C, "variables"), ABSENT, ["campaigns", 0, "variables"], ()),
        ((*C, "isMAB"), 1, ["campaigns", 0, "is_mab"], True),
        ((*C, "isMAB"), None, ["campaigns", 0, "is_mab"], False),
        ((*C, "status"), "NEW", ["campaigns", 0, "status"], "NEW"),
        ((*V, "id"), "1", ["campaigns", 0, "variations", 0, "id"], 1),
        ((*V, "id"), ABSENT, ["campaigns", 0, "variations", 0, "id"], None),
        ((*V, "weight"), ABSENT, ["campaigns", 0, "variations", 0, "weight"], 0),
        ((*V, "weight"), "33.3333", ["campaigns", 0, "variations", 0, "weight"], 33.3333),
        ((*V, "weight"), 0, ["campaigns", 0, "variations", 0, "weight"], 0),
        ((*V, "weight"), 100, ["campaigns", 0, "variations", 0, "weight"], 100),
        ((*V, "variables"), {}, ["campaigns", 0, "variations", 0, "variables"], ()),
        ((*G, "id"), "21", ["campaigns", 0, "goals", 0, "id"], 21),
        ((*G, "id"), ABSENT, ["campaigns", 0, "goals", 0, "id"], None),
        ((*G, "type"), ABSENT, ["campaigns", 0, "goals", 0, "type"], None),
        ((*G, "mca"), "x", ["campaigns", 0, "goals", 0, "mca"], None),
    ],
)
@pytest.mark.parametrize("in_bytes", [False, True], ids=["mapping", "bytes"])
def test_accepted(
    path: Path, value: object, names: list[str | int], expected: object, *, in_bytes: bool
) -> None:
    """What at least one official SDK accepts is accepted, and means what it means there."""
    file = changed(path, value)
    found = parse_settings(json.dumps(file).encode() if in_bytes else file)
    assert read_at(found, *names) == expected
    assert type(read_at(found, *names)) is not str or isinstance(expected, str)
    Plan(found)


NULLS: list[Path] = [
    ("collectionPrefix",),
    ("campaignGroups",),
    ("groups",),
    ("campaignGroups", "7"),
    ("groups", "5", "name"),
    ("groups", "5", "campaigns"),
    ("groups", "5", "et"),
    ("groups", "5", "p"),
    ("groups", "5", "wt"),
    (*C, "name"),
    (*C, "segments"),
    (*C, "variables"),
    (*C, "isForcedVariationEnabled"),
    (*C, "isUserListEnabled"),
    (*C, "isBucketingSeedEnabled"),
    (*V, "id"),
    (*V, "weight"),
    (*V, "segments"),
    (*V, "variables"),
    (*V, "isFeatureEnabled"),
    (*G, "id"),
    (*G, "identifier"),
    (*G, "type"),
    (*G, "revenueProp"),
    (*G, "mca"),
    (*G, "hasProps"),
]


@pytest.mark.parametrize("path", NULLS, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("in_bytes", [False, True], ids=["mapping", "bytes"])
def test_row_82_null_is_as_absent(path: Path, *, in_bytes: bool) -> None:
    """A field of a real file that is null means what it means where it is absent."""
    null, absent = (changed(path, value) for value in (None, ABSENT))
    found = parse_settings(json.dumps(null).encode() if in_bytes else null)
    assert found == parse_settings(absent)
    Plan(found)


def test_numeric_text_of_groups() -> None:
    """Numeric text is a number in groups too."""
    file = changed(
        ("groups",), {"5": {"campaigns": ["7"], "et": "2", "p": ["7"], "wt": {"7": "60"}}}
    )
    group = parse_settings(file).groups["5"]
    assert (group.campaigns, group.et, group.p, group.wt) == ((7,), 2, (7,), {"7": 60.0})


def test_group_without_rules() -> None:
    """A group without an algorithm shares equally."""
    group = parse_settings(changed(("groups",), {"5": {}})).groups["5"]
    assert (group.et, group.campaigns, group.p, group.wt) == (1, (), (), {})


def test_key_that_is_no_text() -> None:
    """A key that is a number is used as its text, as in the Python SDK."""
    found = parse_settings(changed(("sdkKey",), 123456))
    assert found.sdk_key is not None
    assert found.sdk_key.get_secret_value() == "123456"


def test_everybody_passes_without_segments() -> None:
    """A campaign without segments is open to everybody."""
    assert (
        Plan(parse_settings(changed((*C, "segments"), ABSENT))).campaigns["checkout"].segment
        is None
    )


# What is refused

REFUSED: list[tuple[Path, list[object]]] = [
    (("accountId",), [ABSENT, None, "", True, 1.5, [], {}]),
    (("version",), [ABSENT, None, [], {}]),
    (("campaigns",), ["", "x", 5, True, {"a": 1}, [None], [5], ["x"], [[]]]),
    (("sdkKey",), ["a\r\nX-Header: b", "a b", "a\tb", "a\0b", "\u00e9", "k" * 257, ["a b"]]),
    (
        ("collectionPrefix",),
        ["../x", "a?b=", "a/b", "a#b", "a%2fb", "a b", "a\r\nb", "\u00e9", "eu01\n", "."],
    ),
    (("collectionPrefix",), [5, [], {}]),
    (("campaignGroups",), [{"7": "5"}, {"7": 5.5}, {"7": True}, 5, "x"]),
    (("groups",), [{"5": []}, {"5": "x"}, 5]),
    (("groups", "5", "et"), ["x", 1.5, True, []]),
    (("groups", "5", "campaigns"), [["x"], [1.5], [None], "x", 5]),
    (("groups", "5", "wt"), [{"7": -1}, {"7": 101}, {"7": "x"}, 5]),
    (
        (*C, "id"),
        [ABSENT, None, "", "x", "7a", "07", "7.0", " 7", "\u0667", 7.5, True, 2**53, [], {}],
    ),
    ((*C, "key"), [ABSENT, None, "", 5, [], {}]),
    ((*C, "name"), [5, []]),
    ((*C, "status"), [ABSENT, None, 5, True]),
    ((*C, "type"), [ABSENT, None, 5]),
    ((*C, "percentTraffic"), [ABSENT, None, "80", "", True, -1, -0.001, 100.001, 101, [], {}]),
    ((*C, "variations"), [ABSENT, None, "x", 5, {"1": {}}, [None], [5]]),
    ((*C, "goals"), [ABSENT, None, "x", 5, {"1": {}}, [None], [5]]),
    ((*C, "variables"), ["x", 5, {"1": {}}, [None], [5]]),
    ((*V, "id"), ["x", 1.5, True, "01"]),
    ((*V, "name"), [ABSENT, None, "", 5]),
    ((*V, "weight"), ["", "x", -1, -0.001, 100.001, 120, "120", "-1", "nan", "inf", [], {}]),
    ((*G, "id"), ["x", 1.5, True]),
    ((*G, "identifier"), [5, []]),
]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        pytest.param(
            path, value, id=f"{path[-1]}-{'absent' if value is ABSENT else repr(value)[:20]}"
        )
        for path, values in REFUSED
        for value in values
    ],
)
@pytest.mark.parametrize("in_bytes", [False, True], ids=["mapping", "bytes"])
def test_refused(path: Path, value: object, *, in_bytes: bool) -> None:
    """What could lead to a wrong decision or an unusable request is refused, by the path of the field."""
    file = changed(path, value)
    assert is_named(refuse(json.dumps(file).encode() if in_bytes else file), path)


NUMERIC: list[Path] = [
    ("accountId",),
    ("version",),
    (*C, "id"),
    (*C, "percentTraffic"),
    (*V, "id"),
    (*V, "weight"),
    (*G, "id"),
    ("groups", "5", "et"),
    ("groups", "5", "wt", "7"),
    ("groups", "5", "p", 0),
    ("campaignGroups", "7"),
]
FREE: list[tuple[Path, Path]] = [
    ((*C, "segments", "and", 1, "not", "custom_variable", "age"), (*C, "segments")),
    ((*V, "segments", "or", 0, "user"), (*V, "segments")),
    ((*V, "variables", 0, "value"), (*V, "variables", 0, "value")),
]


@pytest.mark.parametrize(
    ("path", "named"),
    [
        pytest.param(path, named, id=".".join(map(str, path)))
        for path, named in [*zip(NUMERIC, NUMERIC, strict=True), *FREE]
    ],
)
@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_not_finite(path: Path, named: Path, token: str) -> None:
    """Numbers that are not finite, which Python's JSON knows, are refused wherever a number counts."""
    text = json.dumps(changed(path, "@")).replace('"@"', token)
    assert is_named(refuse(text), named)
    assert is_named(refuse(json.loads(text)), named)


@pytest.mark.parametrize(
    ("path", "value", "fault"),
    [
        ((*C, "id"), 8, "campaigns: 2 entries have the same id"),
        ((*C, "id"), "8", "campaigns: 2 entries have the same id"),
        ((*C, "key"), "banner", "campaigns: 2 entries have the same key"),
        ((*V, "id"), 2, "campaigns.0.variations: 2 entries have the same id"),
        # A variation without an id has its position for one.
        ((*C, "variations", 1, "id"), 1, "campaigns.0.variations: 2 entries have the same id"),
        ((*G, "id"), 22, "campaigns.0.goals: 2 entries have the same id"),
    ],
)
def test_duplicates(path: Path, value: object, fault: str) -> None:
    """Campaigns, variations and goals that VWO could not tell apart are refused."""
    assert refuse(changed(path, value)).faults == (fault,)


def test_duplicate_by_position() -> None:
    """An id that another variation has by its position counts as the same."""
    file = changed((*V, "id"), 2)
    del file["campaigns"][0]["variations"][1]["id"]
    assert refuse(file).faults == ("campaigns.0.variations: 2 entries have the same id",)


def test_goals_of_different_campaigns_may_share_an_id() -> None:
    """One goal can be that of several campaigns."""
    file = changed(("campaigns", 1, "goals"), FILE["campaigns"][0]["goals"])
    assert len(parse_settings(file).campaigns[1].goals) == 2


def test_every_fault_is_named() -> None:
    """A file with several faults is refused once, with a text for each."""
    file = changed((*C, "percentTraffic"), "80")
    del file["accountId"]
    file["campaigns"][1]["key"] = ""
    paths = [fault.partition(":")[0] for fault in refuse(file).faults]
    assert paths == ["accountId", "campaigns.0.percentTraffic", "campaigns.1.key"]


@pytest.mark.parametrize(
    ("path", "value"),
    [(("version",), []), (("version",), None), (("accountId",), []), (("sdkKey",), "a b")],
)
def test_one_fault_for_one_field(path: Path, value: object) -> None:
    """A field at fault is one fault, which begins with the path of the field in the file."""
    (fault,) = refuse(changed(path, value)).faults
    assert fault.startswith(f"{path[0]}: ")


def test_faults_are_bounded() -> None:
    """A file with a thousand faults makes no error of a thousand lines."""
    error = refuse(changed(("campaigns",), [{}] * 1000))
    assert len(error.faults) <= 20
    assert len(str(error)) < 10_000


def test_key_of_another_type() -> None:
    """A key that no JSON could hold is refused like any other value."""
    assert is_named(refuse(changed(("sdkKey",), SECRET.encode())), ("sdkKey",))


# Depth and size


def nest(depth: int) -> dict[str, Any]:
    """Return a segment in which *depth* negations stand around a leaf."""
    node: dict[str, Any] = {"custom_variable": {"plan": "pro"}}
    for _ in range(depth):
        node = {"not": node}
    return node


def test_deep_enough() -> None:
    """A segment of forty levels is compiled and evaluated."""
    plan = Plan(parse_settings(changed((*C, "segments"), nest(40))))
    segment = plan.campaigns["checkout"].segment
    assert segment is not None
    assert segment({"plan": "pro"}, None) is True


@pytest.mark.parametrize("depth", [51, 80, 150])
@pytest.mark.parametrize("owner", [C, V])
@pytest.mark.parametrize("in_bytes", [False, True], ids=["mapping", "bytes"])
def test_too_deep(depth: int, owner: Path, *, in_bytes: bool) -> None:
    """A segment of more than fifty levels is refused here, not by a recursion error in a decision."""
    path = (*owner, "segments")
    file = changed(path, nest(depth))
    error = refuse(json.dumps(file).encode() if in_bytes else file)
    assert is_named(error, path)
    assert "deeper than 50" in str(error)


@pytest.mark.parametrize("depth", [900, 5000, 100_000])
def test_very_deep_mapping(depth: int) -> None:
    """A decoded file of any depth is refused in bounded time."""
    assert is_named(refuse(changed((*C, "segments"), nest(depth))), (*C, "segments"))


@pytest.mark.parametrize("form", [str, str.encode], ids=["str", "bytes"])
@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000,
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"accountId": 1, "version": 1, "campaigns": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"accountId": 1, "version": 1, "unknown": ' + "[" * 100_000 + "]" * 100_000 + "}",
        '{"sdkKey": ' + "[" * 100_000 + "]" * 100_000 + "}",
    ],
    ids=["open", "lists", "objects", "campaigns", "unknown", "key"],
)
def test_very_deep_json(form: Any, text: str) -> None:
    """A hundred thousand brackets end in an error, not in a crash."""
    assert refuse(form(text)).faults


def test_very_deep_key() -> None:
    """A deep value in place of the key ends in an error too."""
    node: list[Any] = []
    for _ in range(100_000):
        node = [node]
    assert refuse(changed(("sdkKey",), node)).faults


def test_too_many_nodes() -> None:
    """A segment of more nodes than anybody writes is refused."""
    leaves = [{"user": "a"}] * 60_000
    error = refuse(changed((*C, "segments"), {"or": leaves}))
    assert is_named(error, (*C, "segments"))


@pytest.mark.parametrize("form", [str, str.encode, bytearray], ids=["str", "bytes", "bytearray"])
def test_too_large(form: Any) -> None:
    """A file of more than ten million bytes is refused for its size, without being parsed."""
    text = json.dumps(FILE)
    padded = text + " " * (10_000_000 - len(text))
    source = bytearray(padded, "utf-8") if form is bytearray else form(padded)
    assert parse_settings(source) == parse_settings(FILE)
    source = bytearray(padded + " ", "utf-8") if form is bytearray else form(padded + " ")
    assert refuse(source).faults == ("the file is larger than 10000000 bytes",)


def test_size_is_counted_in_bytes() -> None:
    """A text is as large as its UTF-8 form."""
    assert "larger" in str(refuse("\u00e9" * 5_000_001))


# Lone surrogates

LONE = "a\ud800b"
TEXTS: list[tuple[Path, Path]] = [
    (("accountId",), ("accountId",)),
    (("version",), ("version",)),
    (("sdkKey",), ("sdkKey",)),
    (("collectionPrefix",), ("collectionPrefix",)),
    ((*C, "key"), (*C, "key")),
    ((*C, "name"), (*C, "name")),
    ((*C, "type"), (*C, "type")),
    ((*C, "status"), (*C, "status")),
    ((*V, "name"), (*V, "name")),
    ((*G, "identifier"), (*G, "identifier")),
    ((*V, "variables", 0, "key"), (*V, "variables", 0, "key")),
    ((*V, "variables", 0, "value"), (*V, "variables", 0, "value")),
    ((*V, "segments", "or", 0, "user"), (*V, "segments")),
    ((*V, "segments", LONE), (*V, "segments")),
    (("groups", "5", "name"), ("groups", "5", "name")),
    (("groups", LONE), ("groups",)),
    (("campaignGroups", LONE), ("campaignGroups",)),
]


@pytest.mark.parametrize(
    ("path", "named"),
    [pytest.param(path, named, id=ascii(".".join(map(str, path)))) for path, named in TEXTS],
)
def test_lone_surrogates(path: Path, named: Path) -> None:
    """A text that cannot be encoded, and would crash the hash, ends here: by its path, or as broken JSON."""
    assert is_named(refuse(changed(path, LONE)), named)
    assert refuse(json.dumps(changed(path, LONE))).faults
    str(refuse(changed(path, LONE))).encode()


def test_lone_surrogate_in_text() -> None:
    """A text that holds one raw is refused as a whole."""
    assert refuse(json.dumps(FILE, ensure_ascii=False) + LONE).faults


# What a refusal shows

SOURCES: list[Any] = [
    changed(("version",), ABSENT),
    changed(("accountId",), [TEXT, NUMBER]),
    changed(("version",), [TEXT, NUMBER]),
    changed(("sdkKey",), f"{SECRET}\r\n"),
    changed(("sdkKey",), f"{SECRET} {TEXT}"),
    changed(("sdkKey",), {SECRET: TEXT}),
    changed(("sdkKey",), [[SECRET, TEXT]]),
    changed(("collectionPrefix",), f"../{TEXT}"),
    changed((*C, "percentTraffic"), NUMBER),
    changed((*C, "percentTraffic"), TEXT),
    changed((*C, "key"), [TEXT, {SECRET: NUMBER}]),
    changed((*C, "segments"), {TEXT: float("nan")}),
    changed((*C, "segments"), {"or": [TEXT, LONE]}),
    changed((*V, "weight"), NUMBER),
    changed((*V, "weight"), TEXT),
    changed((*V, "id"), TEXT),
    changed(("campaignGroups",), {"7": TEXT}),
    changed(("groups", "5", "et"), TEXT),
    changed(("campaigns", 1, "id"), 7),
    changed(("campaigns",), [{"key": TEXT, "id": NUMBER, "variations": [{"weight": -NUMBER}]}]),
    changed(("campaigns",), TEXT),
]
PAGES: list[Any] = [
    f"<html>{TEXT} {NUMBER} {SECRET}</html>",
    f'{{"sdkKey": "{SECRET}", "accountId": {NUMBER}, "version": {TEXT}}}',
    f'{{"sdkKey": "{SECRET}", "accountId": "{TEXT}\\ud800", "version": 1}}',
    f'{{"sdkKey": "{SECRET}", "accountId": "{TEXT}\ud800", "version": 1}}',
    f'{{"sdkKey": "{SECRET}", "accountId": "{TEXT}'.encode() + b'\xff", "version": 1}',
    f'{{"sdkKey": "{SECRET}", "name": "{TEXT}", ' + '"a":[' * 5000,
    SECRET,
    [SECRET, TEXT],
]


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Return *error* with all that led to it, as a logger of errors might follow it."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop()
        if one is not None and id(one) not in seen:
            seen.add(id(one))
            yield one
            todo += [one.__cause__, one.__context__]


def assert_silent(text: str) -> None:
    assert not [value for value in (SECRET, TEXT, str(NUMBER)) if value in text]


bad_files = pytest.mark.parametrize(
    "source",
    [
        pytest.param(one, id=str(number))
        for number, one in enumerate([*SOURCES, *map(json.dumps, SOURCES), *PAGES])
    ],
)


@bad_files
def test_refusals_show_no_value(source: Any) -> None:
    """Neither the key nor any other value of a bad file is in the error or in its printed traceback."""
    error = refuse(source)
    assert_silent(str(error))
    assert_silent(repr(error))
    assert_silent(repr(error.args))
    assert_silent(repr(error.faults))
    # The source lines of this test hold none of the values.
    assert_silent("".join(traceback.format_exception_only(error)))


@bad_files
def test_refusals_chain_no_value(source: Any) -> None:
    """Nor is it in an error that led to this one, where a collector of errors would find it."""
    for one in chain_of(refuse(source)):
        assert_silent(f"{one!s} {one!r} {one.args!r} {one.__dict__!r}")
        if isinstance(one, ValidationError):
            assert_silent(repr(one.errors()))


def test_settings_hide_the_key() -> None:
    """The key is in no text that parsed settings are printed as."""
    found = parse_settings(FILE)
    for text in (repr(found), str(found), repr(found.sdk_key), str(found.sdk_key), f"{found}"):
        assert SECRET not in text


# Frozen


@pytest.mark.parametrize(
    "names",
    [
        ["account_id"],
        ["sdk_key"],
        ["campaigns"],
        ["campaigns", 0, "key"],
        ["campaigns", 0, "percent_traffic"],
        ["campaigns", 0, "variations", 0, "weight"],
        ["campaigns", 0, "variations", 0, "variables", 0, "value"],
        ["campaigns", 0, "goals", 0, "identifier"],
    ],
)
def test_frozen(names: list[str | int]) -> None:
    """Settings in use cannot be changed."""
    found = parse_settings(FILE)
    before = read_at(found, *names)
    owner = read_at(found, *names[:-1])
    with pytest.raises(ValidationError):
        setattr(owner, str(names[-1]), before)
    assert read_at(found, *names) == before


def test_the_callers_mapping_stays_as_it_is() -> None:
    """Parsing changes nothing in the mapping that was given."""
    file = copy.deepcopy(FILE)
    parse_settings(file)
    assert file == FILE


# Forward compatibility


def test_unknown_fields() -> None:
    """Fields that are not known are ignored at every level, whatever they hold."""
    file = copy.deepcopy(FILE)
    campaign = file["campaigns"][0]
    nodes = [
        file,
        campaign,
        campaign["variations"][0],
        campaign["variations"][0]["variables"][0],
        campaign["goals"][0],
        file["groups"]["5"],
    ]
    for node in nodes:
        node["fromTheFuture"] = [None, {"a": 1e308}, "text"]
    assert parse_settings(file) == parse_settings(FILE)
    assert parse_settings(json.dumps(file)) == parse_settings(FILE)


def test_unknown_campaign_type() -> None:
    """A campaign of a type that is not known is noted by its path, applies to no API and harms no other."""
    plan = Plan(parse_settings(changed(("campaigns", 1, "type"), TEXT)))
    (note,) = plan.notes
    assert note.startswith("campaigns.1.type: ")
    assert_silent(note)
    banner = plan.campaigns["banner"]
    banner.refusal = None
    for api in (
        ACTIVATE,
        GET_VARIATION_NAME,
        IS_FEATURE_ENABLED,
        GET_FEATURE_VARIABLE_VALUE,
        TRACK,
    ):
        assert find_refusal(banner, api, has_storage=True) is Reason.CAMPAIGN_TYPE_MISMATCH
    assert find_refusal(plan.campaigns["checkout"], TRACK, has_storage=True) is None


def test_no_notes() -> None:
    """A file that is used as a whole has no notes."""
    assert Plan(parse_settings(FILE)).notes == ()


@pytest.mark.parametrize("group_id", ["x", "", "9" * 5000, "\u00b2", "-5", "5.0"])
def test_odd_group_ids(group_id: str) -> None:
    """A group whose id is no number is refused or unused; it stops no client from starting."""
    file = {**FILE, "groups": {**FILE["groups"], group_id: {"campaigns": [8]}}}
    try:
        found = parse_settings(file)
    except SettingsError:
        return
    assert "checkout" in Plan(found).campaigns


# Anything else

texts = st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])), max_size=6)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    texts,
    st.sampled_from(["", "0", "50", "-1", "1e999", "RUNNING", "regex(a)", "gt(5)"]),
)
json_values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(texts, inner, max_size=4)),
    max_leaves=12,
)


def use(source: Any) -> None:
    """Parse *source*, and where it is accepted, compile it and decide for a user."""
    try:
        plan = Plan(parse_settings(source))
    except SettingsError as error:
        text = str(error)
    else:
        user = User("Ashley", custom_variables={"plan": "pro", "age": 30})
        for campaign in plan.campaigns.values():
            decide(plan, campaign, user, ACTIVATE, None)
        return
    assert text.encode()


@given(json_values)
@settings(max_examples=examples(150))
def test_any_json(value: Any) -> None:
    """Any JSON value is settings or a SettingsError, and nothing else."""
    use(value)
    use(json.dumps(value))
    use(json.dumps(value).encode())


@given(st.one_of(st.binary(max_size=60), st.text(max_size=60)))
@settings(max_examples=examples(150))
def test_any_text(source: bytes | str) -> None:
    """Any bytes and any text are settings or a SettingsError, and nothing else."""
    use(source)


def paths_in(node: Any, path: Path = ()) -> Iterator[Path]:
    """Return the path of everything in *node*."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for step, child in pairs:
        yield (*path, step)
        if isinstance(child, (dict, list)):
            yield from paths_in(child, (*path, step))


@given(st.sampled_from(list(paths_in(FILE))), st.one_of(json_values, st.just(ABSENT)))
@settings(max_examples=examples(400))
def test_mutations(path: Path, value: Any) -> None:
    """With any part of a good file replaced or gone, it works for every user or is refused."""
    file = changed(path, value)
    use(file)
    use(json.dumps(file).encode())
