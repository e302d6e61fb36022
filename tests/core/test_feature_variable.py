"""Feature variables: section 9 of docs/reference.md, with casts as in the Node SDK."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_effort import examples
from strategy import JsonObject, json_values, make_campaign, make_only_campaign

from vwo_async._core.feature_variable import is_enabled, read_variable
from vwo_async._core.plan import Campaign
from vwo_async._error import SettingsError


def make_variable(kind: str | None, value: Any, key: str = "k") -> JsonObject:
    return {"id": 1, "key": key, "type": kind, "value": value}


def make_test(*variations: JsonObject, **fields: Any) -> Campaign:
    """Return a compiled feature test whose *variations* are numbered from 1."""
    entries = [
        {"id": number, "name": f"V{number}", "weight": 50, **one}
        for number, one in enumerate(variations, start=1)
    ]
    _, campaign = make_only_campaign(
        make_campaign(type="FEATURE_TEST", variations=entries, **fields)
    )
    return campaign


def make_rollout(*variables: JsonObject) -> Campaign:
    """Return a compiled rollout with *variables*."""
    _, campaign = make_only_campaign(
        make_campaign(type="FEATURE_ROLLOUT", variables=list(variables))
    )
    return campaign


def read(kind: str | None, value: Any) -> Any:
    """Return the value that a caller gets for a variable of type *kind* with *value* in the file."""
    campaign = make_rollout(make_variable(kind, value))
    return read_variable(campaign, campaign.variations[0], "k")


INTEGERS: list[tuple[Any, int | None]] = [
    (10, 10),
    (-10, -10),
    (0, 0),
    (10.7, 10),
    (-10.7, -10),
    (10.0, 10),
    (0.9, 0),
    ("10", 10),
    ("10.7", 10),
    ("12abc", 12),
    (" 12", 12),
    ("+12", 12),
    ("-12", -12),
    ("0x1A", 0),
    ("1e3", 1),
    ("abc", None),
    ("", None),
    (".5", None),
    (True, None),
    (False, None),
    (None, None),
    ([10], None),
    ({"a": 10}, None),
    # JavaScript writes these with an exponent, and parseInt reads what stands before it.
    (1e21, 1),
    (1e-7, 1),
    (1e20, 10**20),
]


@pytest.mark.parametrize(("value", "expected"), INTEGERS)
def test_integer(value: Any, expected: int | None) -> None:
    """An integer is what Node's parseInt reads."""
    found = read("integer", value)
    assert found == expected
    assert type(found) is type(expected)


DOUBLES: list[tuple[Any, float | None]] = [
    (10.7, 10.7),
    (10, 10.0),
    ("10.7", 10.7),
    ("10.7abc", 10.7),
    (" 1.5", 1.5),
    (".5", 0.5),
    ("5.", 5.0),
    ("1e3", 1000.0),
    ("1e", 1.0),
    ("-2.5e-1", -0.25),
    ("0x1A", 0.0),
    ("abc", None),
    ("", None),
    (".", None),
    ("1e999", None),
    (True, None),
    (None, None),
    ([1.5], None),
]


@pytest.mark.parametrize(("value", "expected"), DOUBLES)
def test_double(value: Any, expected: float | None) -> None:
    """A double is what Node's parseFloat reads, if it is finite."""
    found = read("double", value)
    assert found == expected
    assert type(found) is type(expected)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(True, True), (False, False), (1, None), (0, None), ("true", None), (None, None), ([], None)],
)
def test_boolean(value: Any, *, expected: bool | None) -> None:
    """Only a JSON boolean is a boolean."""
    assert read("boolean", value) is expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        ({}, {}),
        ([1, 2], [1, 2]),
        ('{"a": 1}', None),
        ("text", None),
        (5, None),
        (None, None),
    ],
)
def test_json(value: Any, expected: Any) -> None:
    """JSON is an object or a list in the file; JSON text is not parsed."""
    assert read("json", value) == expected


@pytest.mark.parametrize("value", ["text", "", 5, 1.5, True, None, {"a": 1}, [1]])
@pytest.mark.parametrize("kind", ["string", "unheard-of", "", None])
def test_raw(kind: str | None, value: Any) -> None:
    """A string, or a variable of an unknown type, has the value of the file as it is."""
    found = read(kind, value)
    assert found == value
    assert type(found) is type(value)


def test_missing_key() -> None:
    """A variable that does not exist has no value; keys are case-sensitive."""
    campaign = make_rollout(make_variable("integer", 5))
    for key in ("K", "", "other"):
        assert read_variable(campaign, campaign.variations[0], key) is None


def test_first_variable_of_a_key() -> None:
    """If two variables have the same key, the first counts."""
    campaign = make_rollout(make_variable("integer", 5), make_variable("integer", 6))
    assert read_variable(campaign, campaign.variations[0], "k") == 5


def test_values_of_the_variation() -> None:
    """In a feature test with the feature on, a user gets the values of the variation."""
    campaign = make_test(
        {"variables": [make_variable("integer", 1)], "isFeatureEnabled": True},
        {"variables": [make_variable("integer", 2)], "isFeatureEnabled": True},
    )
    found = [read_variable(campaign, one, "k") for one in campaign.variations]
    assert found == [1, 2]


@pytest.mark.parametrize("fields", [{}, {"isFeatureEnabled": False}, {"isFeatureEnabled": None}])
def test_values_of_the_control(fields: JsonObject) -> None:
    """If the feature is off or the flag is missing, a user gets the values of the variation with id 1."""
    campaign = make_test(
        {"variables": [make_variable("integer", 1)]},
        {"variables": [make_variable("integer", 2)], **fields},
    )
    assert read_variable(campaign, campaign.variations[1], "k") == 1
    assert is_enabled(campaign, campaign.variations[1]) is False


def test_the_control_goes_by_id() -> None:
    """The control is the variation with id 1, at any position."""
    campaign = make_test(
        {"id": 2, "variables": [make_variable("integer", 2)]},
        {"id": 1, "variables": [make_variable("integer", 1)]},
    )
    assert read_variable(campaign, campaign.variations[0], "k") == 1


def test_no_control() -> None:
    """If no variation has id 1, a feature that is off has no values."""
    campaign = make_test({"id": 5, "variables": [make_variable("integer", 1)]})
    assert read_variable(campaign, campaign.variations[0], "k") is None


def test_rollout_is_on() -> None:
    """A rollout is on for the users that it admits, and its values are those of the campaign."""
    campaign = make_rollout(make_variable("string", "campaign"))
    assert is_enabled(campaign, campaign.variations[0]) is True
    assert read_variable(campaign, campaign.variations[0], "k") == "campaign"


def test_feature_test_is_on_where_the_variation_says_so() -> None:
    """In a feature test the variation's flag decides whether the feature is on."""
    campaign = make_test({"isFeatureEnabled": True}, {"isFeatureEnabled": False}, {})
    assert [is_enabled(campaign, one) for one in campaign.variations] == [True, False, False]


@pytest.mark.parametrize("kind", ["integer", "double", "boolean", "string", "json"])
@pytest.mark.parametrize("value", ["9" * 5000, "0x" + "f" * 5000, "1e" + "9" * 5000])
def test_long_digits(kind: str, value: str) -> None:
    """A number in the file with too many digits to be read does not raise."""
    read(kind, value)


def test_a_caller_cannot_change_the_value() -> None:
    """A caller that changes a returned value does not change it for the next caller."""
    campaign = make_rollout(make_variable("json", {"colours": ["red"]}))
    given_out = read_variable(campaign, campaign.variations[0], "k")
    given_out["colours"].append("blue")
    assert read_variable(campaign, campaign.variations[0], "k") == {"colours": ["red"]}


KINDS: dict[str, Any] = {"integer": int, "double": float, "boolean": bool, "json": (dict, list)}


@given(
    st.sampled_from(["integer", "double", "boolean", "string", "json", "other", None]),
    json_values(),
)
@settings(max_examples=examples(300))
def test_never_raises(kind: str | None, value: Any) -> None:
    """For any value in a file, the result is a value of the type of the variable, or None."""
    try:
        found = read(kind, value)
    except SettingsError:
        return
    assert found is None or isinstance(found, KINDS.get(kind or "", object))


@given(st.integers(-(10**300), 10**300), st.text(st.sampled_from("abc.,e% "), max_size=3))
def test_integer_text(number: int, tail: str) -> None:
    """Only the digits at the beginning of a text are read."""
    assert read("integer", f"{number}{tail}") == number
