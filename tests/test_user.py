"""Identities: what is accepted as user id and variables, and what is refused before anything is done."""

from __future__ import annotations

import subprocess
import sys
from collections import ChainMap, OrderedDict, UserDict
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_effort import examples

from vwo_async import InvalidInputError
from vwo_async._user import User

LONE = "a\ud800b"
SECRET = "SECRETKEY123"


def refuse(user_id: Any = "Ashley", **fields: Any) -> str:
    """Return the text of the error that refuses these arguments."""
    with pytest.raises(InvalidInputError) as caught:
        User(user_id, **fields)
    return str(caught.value)


def refuse_variables(variables: Any) -> str:
    """Return the text of the error that refuses *variables*, in either place the same."""
    text = refuse(custom_variables=variables)
    other = refuse(variation_targeting_variables=variables)
    assert text.replace("custom_variables", "variation_targeting_variables") == other
    assert "custom_variables" in text
    return text


def leave_out(variables: Any) -> str:
    """Return the one note about *variables*, of which "fine" alone can be used, in either place the same."""
    user = User("Ashley", custom_variables=variables, variation_targeting_variables=variables)
    assert user.custom_variables == user.variation_targeting_variables == {"fine": 1}
    text, other = user.notes
    assert text.replace("custom_variables", "variation_targeting_variables") == other
    assert "custom_variables" in text
    return text


# Ids

ACCEPTED = [
    "Ashley",
    " ",
    "0",
    "a\r\nX-Header: b",
    "a\0b",
    "\0",
    "a\x1b[31mred",
    "użytkownik",
    "用户-1",
    "🙂",
    "👩\u200d👩\u200d👧",
    "\u202eabc",
    "שלום",
    "\u0065\u0301",
    "\ufeffa",
    "\U0010ffff",
    "a" * 4096,
    "é" * 2048,
    "🙂" * 1024,
]


@pytest.mark.parametrize("user_id", ACCEPTED, ids=lambda value: ascii(value)[:30])
def test_accepted_ids(user_id: str) -> None:
    """Any text that UTF-8 can write in 4096 bytes is an id, and is kept as it is to the byte."""
    user = User(user_id)
    assert user.id == user_id
    assert user.id_bytes == user.hash_bytes == user_id.encode("utf-8")


def test_ids_are_not_normalised() -> None:
    """Two spellings of one letter are two users, since their hashes always were."""
    assert User("\u00e9").id_bytes != User("e\u0301").id_bytes


REFUSED: list[Any] = [
    "",
    None,
    123,
    0,
    1.5,
    True,
    b"Ashley",
    bytearray(b"Ashley"),
    ["Ashley"],
    ("Ashley",),
    {"id": "Ashley"},
    object(),
    LONE,
    "\ud800",
    "\udfff",
    "\udcff",
    "\ude42\ud83d",
    "a" * 4097,
    "é" * 2049,
    "a" * 1_000_000,
]


@pytest.mark.parametrize("user_id", REFUSED)
def test_refused_ids(user_id: Any) -> None:
    """What is no text, is empty, cannot be encoded or is too long is refused, never coerced or cut."""
    assert refuse(user_id).startswith("user_id ")


def test_pair_of_surrogates() -> None:
    """The two halves of an emoji in the right order are not an emoji in Python, and are refused."""
    assert "surrogate" in refuse("\ud83d\ude42")


def test_surrogate_does_not_crash() -> None:
    """A lone surrogate ends in an error: the process lives, which the hash library alone would end."""
    code = (
        "from vwo_async._user import User\n"
        "from vwo_async._core.bucketing import hash_seed\n"
        "import json\n"
        "try:\n"
        "    hash_seed(User(json.loads('\"a\\\\ud800b\"')).hash_bytes)\n"
        "except ValueError as error:\n"
        "    print('refused', ascii(error))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("refused ")


class Name(StrEnum):
    ASHLEY = "Ashley"


class Number(IntEnum):
    ONE = 1


def test_text_subclass_as_id() -> None:
    """A text of a type of its own is the user that its text names."""
    assert User(Name.ASHLEY).id_bytes == b"Ashley"
    assert User(Name.ASHLEY).id == "Ashley"


# Variables


@pytest.mark.parametrize(
    "value",
    [
        "text",
        "",
        "a\r\nb\0🙂",
        "a" * 4096,
        0,
        -5,
        2**1023 - 1,
        1.5,
        -0.0,
        1e308,
        5e-324,
        True,
        False,
        None,
        Decimal("10.50"),
        Decimal("1E-400"),
    ],
    ids=lambda value: ascii(value)[:30],
)
def test_accepted_values(value: Any) -> None:
    """Plain finite values are accepted, and passed on as they are."""
    user = User("Ashley", custom_variables={"v": value}, variation_targeting_variables={"w": value})
    assert user.custom_variables["v"] is value
    assert user.variation_targeting_variables["w"] is value


@pytest.mark.parametrize(("value", "kind"), [(Name.ASHLEY, str), (Number.ONE, int)])
def test_derived_values(value: Any, kind: type) -> None:
    """A member of an enum of texts or numbers is passed on as the plain text or number."""
    user = User("Ashley", custom_variables={"v": value})
    assert user.custom_variables["v"] == value
    assert type(user.custom_variables["v"]) is kind


cyclic_list: list[Any] = []
cyclic_list.append(cyclic_list)
cyclic_dict: dict[str, Any] = {}
cyclic_dict["self"] = cyclic_dict


class Unprintable:
    def __str__(self) -> str:
        raise RuntimeError(SECRET)

    __repr__ = __str__


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        float("-inf"),
        Decimal("NaN"),
        Decimal("sNaN"),
        Decimal("Infinity"),
        Decimal("-Infinity"),
        Decimal("1E+400"),
        Decimal("1E+999999"),
        2**1023,
        -(2**1023),
        10**5000,
        1j,
        b"text",
        bytearray(b"text"),
        [],
        ["a"],
        (),
        {},
        {"a": 1},
        {"a"},
        cyclic_list,
        cyclic_dict,
        datetime.now(UTC),
        date(2026, 11, 21),
        object(),
        str,
        len,
        Unprintable(),
        LONE,
        "a" * 4097,
        "é" * 2049,
    ],
    ids=lambda value: type(value).__name__,
)
def test_values_left_out(value: Any) -> None:
    """What is nested, not finite, too large or no plain value is as if it were not there, and is named."""
    assert "'v'" in leave_out({"fine": 1, "v": value})


class Scalar:
    """A number of another library: it has the methods of one, and is of no type of Python's."""

    ndim = 0

    def __init__(self, value: Any) -> None:
        self.value = value

    def item(self) -> Any:
        return self.value


Scalar.__module__ = "numpy"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Fraction(5, 2), 2.5),
        (Scalar(True), True),
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("pro"), "pro"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_numbers_of_other_libraries(value: Any, expected: Any) -> None:
    """A number of numpy's or of fractions is the plain number that it is."""
    user = User("Ashley", custom_variables={"v": value})
    assert user.custom_variables == {"v": expected}
    assert type(user.custom_variables["v"]) in (type(expected), np.float64, np.str_)
    assert not user.notes


@pytest.mark.parametrize("key", [1, None, True, b"k", ("k",), LONE, "k" * 4097])
def test_refused_keys(key: Any) -> None:
    """The names of variables are texts like any other."""
    assert "a key of" in leave_out({"fine": 1, key: "v"})


@pytest.mark.parametrize(
    "variables",
    [[], [("a", 1)], "a=1", b"", 5, True, {"a"}, object(), iter({"a": 1}.items())],
    ids=lambda value: type(value).__name__,
)
def test_variables_must_be_a_mapping(variables: Any) -> None:
    """What is no mapping is refused, although some of it could be made one."""
    assert "must be a mapping" in refuse_variables(variables)


def test_no_variables() -> None:
    """None means none."""
    user = User("Ashley", custom_variables=None, variation_targeting_variables=None)
    assert dict(user.custom_variables) == dict(user.variation_targeting_variables) == {}


@pytest.mark.parametrize("count", [1000, 1001, 10_000])
def test_number_of_variables(count: int) -> None:
    """The first thousand variables are used, in a mapping of any type."""
    variables = {f"v{number}": number for number in range(count)}
    for given_ in (variables, MappingProxyType(variables)):
        user = User("Ashley", custom_variables=given_)
        assert list(user.custom_variables) == list(variables)[:1000]
        assert bool(user.notes) is (count > 1000)


@pytest.mark.parametrize("make", [dict, OrderedDict, UserDict, MappingProxyType, ChainMap])
def test_mappings(make: Any) -> None:
    """Any mapping will do, and is not changed."""
    original = make({"plan": "pro"})
    user = User("Ashley", custom_variables=original, variation_targeting_variables=original)
    assert user.custom_variables.get("plan") == "pro"
    assert dict(original) == {"plan": "pro"}


class Raising(Mapping[str, Any]):
    """A mapping of the caller's own make that fails when it is read."""

    def __getitem__(self, key: str) -> Any:
        raise RuntimeError(SECRET)

    def __iter__(self) -> Iterator[str]:
        yield "plan"

    def __len__(self) -> int:
        return 1


class RaisingDict(dict[str, Any]):
    """The same as a subclass of dict."""

    def items(self) -> Any:
        raise RuntimeError(SECRET)


@pytest.mark.parametrize("make", [Raising, lambda: RaisingDict(plan="pro")], ids=["own", "dict"])
def test_mapping_that_raises(make: Any) -> None:
    """What a mapping of the caller's own make raises costs the mapping, and its text is not repeated."""
    user = User("Ashley", custom_variables=make())
    assert user.custom_variables == {}
    (note,) = user.notes
    assert "RuntimeError" in note
    assert SECRET not in note


def test_errors_show_no_value() -> None:
    """No id, name or value of a user is in the error about it: it may be logged."""
    secret = f"{SECRET}{LONE}"
    texts = [
        refuse(secret),
        refuse_variables([SECRET]),
        leave_out({"fine": 1, secret: 1}),
        leave_out({"fine": 1, "v": secret}),
        leave_out({"fine": 1, "v": [SECRET]}),
        leave_out({"fine": 1, f"{SECRET}\n": [1]}),
        *User("Ashley", user_agent=secret, user_ip_address=secret).notes,
    ]
    assert len(texts) == 8
    assert not [text for text in texts if SECRET in text]


# User agent and address


@pytest.mark.parametrize("value", ["Mozilla/5.0 é\r\nX: y", "::1", "", None, "a" * 4096])
def test_agent_and_address(value: str | None) -> None:
    """Any text of bounded length is accepted; none is the empty text."""
    user = User("Ashley", user_agent=value, user_ip_address=value)
    assert user.user_agent == user.user_ip_address == (value or "")


@pytest.mark.parametrize(
    "value",
    [0, False, 5, b"", b"agent", [], {}, LONE, "a" * 4097],
    ids=lambda value: ascii(value)[:20],
)
def test_odd_agent_and_address(value: Any) -> None:
    """What cannot be sent as it is is left out, cut or cleaned, and said to be so; nothing is refused."""
    user = User("Ashley", user_agent=value, user_ip_address=value)
    expected = {LONE: "a?b", "a" * 4097: "a" * 4096}.get(value, "") if value.__hash__ else ""
    assert user.user_agent == user.user_ip_address == expected
    assert [note.split(" ")[0] for note in user.notes] == ["user_agent", "user_ip_address"]


def test_agent_is_cut_between_characters() -> None:
    """Four bytes that are one character are kept or left out together."""
    user = User("Ashley", user_agent="a" + "🙂" * 2000)
    assert user.user_agent == "a" + "🙂" * 1023


def test_repr() -> None:
    """A user prints as one, without saying who he is."""
    assert repr(User("Ashley", custom_variables={"plan": "pro"})) == "<User>"


anything = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.decimals(),
        st.binary(max_size=4),
        st.datetimes(),
        st.text(st.one_of(st.characters(), st.characters(categories=["Cs"])), max_size=6),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


keys = st.one_of(
    st.text(max_size=4), st.none(), st.integers(), st.binary(max_size=2), st.just(LONE)
)


@given(anything, anything, st.one_of(anything, st.dictionaries(keys, anything, max_size=3)))
@settings(max_examples=examples(300))
def test_anything(user_id: Any, agent: Any, variables: Any) -> None:
    """Any arguments make a user or an InvalidInputError, and nothing else; a user can be sent and hashed."""
    try:
        user = User(user_id, custom_variables=variables, user_agent=agent)
    except InvalidInputError:
        return
    assert user.id_bytes.decode() == user_id
    assert len(user.user_agent.encode()) <= 4096
    for key, value in user.custom_variables.items():
        f"{key}{value}".encode()
