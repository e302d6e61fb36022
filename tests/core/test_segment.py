"""Segment trees: section 5 of docs/reference.md, and that no tree and no value can raise."""

from __future__ import annotations

import time
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from own_time import assert_below
from search_effort import examples
from strategy import json_values

from vwo_async._core.segment import compile_segment
from vwo_async._error import InvalidInputError
from vwo_async._user import User

LISTED = "Ashley"


def holds(tree: Any, variables: Mapping[str, Any], user_id: str | None = None) -> bool:
    """Tell whether *tree* holds, evaluated as in a decision."""
    predicate = compile_segment(tree)
    return predicate is None or predicate(variables, user_id)


def leaf(operand: Any) -> dict[str, Any]:
    """Return the tree that compares the variable v with *operand*."""
    return {"custom_variable": {"v": operand}}


def matches(operand: str, value: Any) -> bool:
    return holds(leaf(operand), {"v": value})


WORKED: list[tuple[str, Any, bool]] = [
    ("10", 10.0, True),
    ("10", "10.00", True),
    ("10", "1e1", True),
    ("10", " 10", True),
    ("lower(us)", "US", True),
    ("lower(us)", "Us ", False),
    ("wildcard(*S*)", "US", True),
    ("wildcard(*S*)", "us", False),
    ("gt(5)", "abc", False),
    ("10", "10abc", False),
    ("0", "0.0", True),
    ("wildcard(*)", "x", True),
    ("wildcard(*10*)", 1100, True),
    ("regex(.*)", None, False),
    ("gt(-5)", 0, True),
]


@pytest.mark.parametrize(("operand", "value", "expected"), WORKED)
def test_worked_examples(operand: str, value: Any, *, expected: bool) -> None:
    """Each example of section 5.5 has the result given there."""
    assert matches(operand, value) is expected


def test_comparison_with_text_under_not() -> None:
    """A text fails a comparison with a number, so its negation holds; the tree is still valid."""
    assert holds({"not": leaf("gt(5)")}, {"v": "abc"}) is True


GRAMMAR: list[tuple[str, Any, bool]] = [
    # Text behind the closing bracket is ignored; text before the name is not.
    ("lower(us)xyz", "US", True),
    ("gt(5)abc", 6, True),
    (" lower(us)", "US", False),
    (" lower(us)", " lower(us)", True),
    # The bracket content reaches to the last closing bracket.
    ("lower(a(b)c)", "A(B)C", True),
    ("lower(a)b)", "A)B", True),
    # Without a closing bracket, or with another name, it is an equality text.
    ("lower(us", "us", False),
    ("lower(us", "lower(us", True),
    ("LOWER(us)", "us", False),
    ("LOWER(us)", "LOWER(us)", True),
    ("equals(x)", "x", False),
    ("equals(x)", "equals(x)", True),
    ("contains(x)", "axb", False),
    ("starts_with(x)", "x1", False),
    # Comparisons.
    ("gt(5)", 6, True),
    ("gt(5)", 5, False),
    ("gte(5)", 5, True),
    ("gte(5)", 4.99, False),
    ("lt(5)", 4, True),
    ("lt(5)", 5, False),
    ("lte(5)", 5, True),
    ("lte(5)", 5.01, False),
    ("gt(.5)", 0.6, True),
    ("gt(5.)", "6", True),
    ("gt(10.5)", "10.6", True),
    ("gt( 5 )", 6, True),
    ("lt(-5)", "-5.5", True),
    ("gt(1e3)", 1001, True),
    ("gt(1e3)", 999, False),
    # A comparison with no number is an equality text.
    ("gt(abc)", "gt(abc)", True),
    ("gt(abc)", "abd", False),
    ("gt()", "gt()", True),
    ("gt(1_0)", 11, False),
    # One star is taken from each end; the others are literal.
    ("wildcard(*)", "", True),
    ("wildcard(**)", "x", True),
    ("wildcard(**)", "", True),
    ("wildcard()", "", True),
    ("wildcard()", "x", False),
    ("wildcard(abc*)", "abcd", True),
    ("wildcard(abc*)", "zabc", False),
    ("wildcard(*abc)", "zabc", True),
    ("wildcard(*abc)", "abcd", False),
    ("wildcard(abc)", "abc", True),
    ("wildcard(abc)", "abcd", False),
    ("wildcard(a*b)", "a*b", True),
    ("wildcard(a*b)", "axb", False),
    ("wildcard(*a*b*)", "xa*by", True),
    ("wildcard(***)", "a*b", True),
    ("wildcard(***)", "ab", False),
    # Patterns are searched for anywhere, with case; an invalid one matches nothing.
    ("regex(b+)", "abbc", True),
    ("regex(^b)", "ab", False),
    ("regex(B)", "abc", False),
    ("regex([)", "[", False),
    ("regex(a{4294967296})", "a", False),
    ("regex()", "anything", True),
    # Equality is of the same text.
    ("us", "us", True),
    ("us", "US", False),
    ("", "", True),
    ("", " ", False),
    # lower() of both sides.
    ("lower(US)", "us", True),
    ("lower(ÄÖ)", "äö", True),
]


@pytest.mark.parametrize(("operand", "value", "expected"), GRAMMAR)
def test_operand_grammar(operand: str, value: Any, *, expected: bool) -> None:
    """Operands are parsed as section 5.1 says."""
    assert matches(operand, value) is expected


NUMBERS: list[tuple[str, Any, bool]] = [
    ("10", 10, True),
    ("10.0", 10, True),
    ("10.50", "10.5", True),
    ("10", "+10", True),
    ("-0", 0, True),
    (".5", 0.5, True),
    ("5.", "5", True),
    ("10", "\t10\n", True),
    ("10", "1_0", False),
    ("1000", "1_000", False),
    ("10", "0xA", False),
    ("10", "\u0661\u0660", False),
    ("10", "10,0", False),
    ("10", "10%", False),
    ("10", "", False),
    ("0", "", False),
    ("nan", "nan", True),
    ("nan", "NaN", False),
    ("inf", "inf", True),
    ("gt(0)", "inf", False),
    ("gt(0)", "nan", False),
    ("1e400", "1e400", True),
    ("gt(0)", "1e400", False),
    ("10", Decimal("10.00"), True),
    ("10.5", Decimal("10.50"), True),
    ("gt(5)", Decimal("5.01"), True),
    # Both sides are put in canonical spelling before any operator, where both are numbers.
    ("lower(10.0)", "10", True),
    ("wildcard(10.0)", "1e1", True),
    ("wildcard(*1.0)", "11", True),
    ("regex(10.0)", "10", True),
    ("regex(10.0)", "10x0", True),
    # A number is compared with a text by its decimal text, integral ones without a fraction.
    ("regex(^10$)", 10.0, True),
    ("wildcard(1*)", 10.0, True),
    ("regex(^10[.]5$)", 10.5, True),
    ("regex(^10$)", Decimal("10.0"), True),
    ("regex(^10[.]0$)", "10.0", True),
]


@pytest.mark.parametrize(("operand", "value", "expected"), NUMBERS)
def test_numbers(operand: str, value: Any, *, expected: bool) -> None:
    """A number is a strict decimal with an optional exponent; spellings of the same number are equal."""
    assert matches(operand, value) is expected


VALUES: list[tuple[str, Any, bool]] = [
    ("true", True, True),
    ("false", False, True),
    ("True", True, False),
    ("lower(TRUE)", True, True),
    ("wildcard(*ru*)", True, True),
    ("1", True, False),
    ("0", False, False),
    ("gt(0)", True, False),
    ("", None, False),
    ("null", None, False),
    ("None", None, False),
    ("wildcard(*)", None, False),
    ("regex(^$)", "", True),
    ("regex(^$)", None, False),
]


@pytest.mark.parametrize(("operand", "value", "expected"), VALUES)
def test_values(operand: str, value: Any, *, expected: bool) -> None:
    """A bool is compared as true or false, None counts as absent, and an empty text is a text."""
    assert matches(operand, value) is expected


def test_absent_variable() -> None:
    """Without the variable the comparison fails, so its negation holds."""
    assert holds(leaf("regex(.*)"), {}) is False
    assert holds({"not": leaf("regex(.*)")}, {}) is True
    assert holds({"not": leaf("regex(.*)")}, {"v": None}) is True


TRUE = {"custom_variable": {"v": "1"}}
FALSE = {"custom_variable": {"v": "2"}}
BROKEN: dict[str, Any] = {"and": "x"}

TREES: list[tuple[Any, bool]] = [
    ({}, True),
    ([], True),
    ({"and": []}, True),
    ({"or": []}, False),
    # The server writes an empty list as an empty object.
    ({"and": {}}, True),
    ({"or": {}}, False),
    ({"not": {"or": {}}}, True),
    ({"not": {"or": []}}, True),
    ({"and": [TRUE, TRUE]}, True),
    ({"and": [TRUE, FALSE]}, False),
    ({"or": [FALSE, TRUE]}, True),
    ({"or": [FALSE, FALSE]}, False),
    ({"not": TRUE}, False),
    ({"not": FALSE}, True),
    ({"not": {"not": TRUE}}, True),
    ({"and": [{"or": [FALSE, TRUE]}, {"not": FALSE}]}, True),
    # The first key says what a node is.
    ({"or": [TRUE], "and": [FALSE]}, True),
    ({"and": [FALSE], "or": [TRUE]}, False),
    ({"custom_variable": {"v": "1", "w": "5"}}, True),
    # An operator that is not known does not hold; its negation does.
    ({"xor": [TRUE]}, False),
    ({"not": {"xor": [TRUE]}}, True),
    ({"not": {"": None}}, True),
]


@pytest.mark.parametrize(("tree", "expected"), TREES)
def test_trees(tree: Any, *, expected: bool) -> None:
    """A tree holds according to its operators; an empty tree holds for everybody."""
    assert holds(tree, {"v": 1}) is expected


MALFORMED: list[Any] = [
    BROKEN,
    {"or": "x"},
    {"and": [BROKEN]},
    {"and": [[]]},
    {"and": [None]},
    {"and": [TRUE, {}]},
    {"or": [BROKEN, TRUE]},
    {"or": [5, TRUE]},
    {"not": BROKEN},
    {"not": {}},
    {"not": []},
    {"not": None},
    {"not": {"not": BROKEN}},
    {"not": {"user": 5}},
    {"not": {"user": ["Ashley"]}},
    {"not": {"custom_variable": {}}},
    {"not": {"custom_variable": "v"}},
    {"not": {"custom_variable": {"v": 1}}},
    {"not": {"custom_variable": {"v": None}}},
    {"not": {"custom_variable": {"v": ["1"]}}},
    [TRUE],
    "x",
    5,
    True,
    None,
]


@pytest.mark.parametrize("tree", MALFORMED, ids=repr)
def test_malformed_trees(tree: Any) -> None:
    """If evaluation reaches a malformed part, the whole tree does not hold, also under `not`."""
    assert holds(tree, {"v": 1}, LISTED) is False


SHORT: list[tuple[Any, bool]] = [
    ({"or": [TRUE, BROKEN]}, True),
    ({"and": [FALSE, BROKEN]}, False),
    ({"not": {"and": [FALSE, BROKEN]}}, True),
    ({"not": {"or": [TRUE, BROKEN]}}, False),
    ({"or": [{"and": [FALSE, BROKEN]}, TRUE]}, True),
    ({"not": {"custom_variable": {"absent": 5}}}, True),
]


@pytest.mark.parametrize(("tree", "expected"), SHORT)
def test_short_circuit(tree: Any, *, expected: bool) -> None:
    """A malformed part that is not evaluated has no effect."""
    assert holds(tree, {"v": 1}) is expected


USERS: list[tuple[str, str | None, bool]] = [
    ("Ashley", "Ashley", True),
    ("Bill,Ashley", "Ashley", True),
    (" Bill ,\tAshley ", "Ashley", True),
    ("Ashley", "ashley", False),
    ("Ashley Bill", "Ashley", False),
    ("Ash*", "Ashley", False),
    ("", "Ashley", False),
    (",", "Ashley", False),
    ("None", None, False),
    ("Ashley", None, False),
]


@pytest.mark.parametrize(("operand", "user_id", "expected"), USERS)
def test_user_operand(operand: str, user_id: str | None, *, expected: bool) -> None:
    """A user operand is a comma-separated list of ids, spaces ignored; outside whitelisting it matches nobody."""
    assert holds({"user": operand}, {}, user_id) is expected


def test_ids_are_no_variables() -> None:
    """A user operand only looks at the id, and a variable operand never does."""
    assert holds({"user": "Ashley"}, {"_vwo_user_id": "Ashley"}, "Bill") is False
    assert holds({"custom_variable": {"_vwo_user_id": "Ashley"}}, {}, "Ashley") is False


def test_text_subclass() -> None:
    """A value of a subclass of str, such as an enum member, is compared by its text."""

    class Text(str):
        __slots__ = ()

        def __str__(self) -> str:
            return "other"

    for operand in ("pro", "lower(PRO)", "wildcard(*r*)", "regex(^pro$)"):
        assert matches(operand, Text("pro"))


@pytest.mark.parametrize("pattern", ["[[:alpha:]]", "[a--b]", "[a||b]", "[a&&b]", "[a~~b]"])
def test_pattern_with_a_warning(pattern: str) -> None:
    """A pattern in the file cannot cause a Python warning, which many test suites turn into an error."""
    assert matches(f"regex({pattern})", "") is False


def test_pattern_with_flags_at_odds() -> None:
    """A pattern with contradictory flags is invalid and matches nothing."""
    assert matches("regex((?a)(?u))", "a") is False


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        ("^(a+)+$", "a" * 24 + "!"),
        (".*.*=x", "a" * 1500),
        # The same with repetitions that are bounded, but can be shared out in millions of ways.
        ("(a?){24}a{24}$", "a" * 23 + "!"),
        ("^(a|a){24}$", "a" * 24 + "!"),
        ("a?" * 24 + "a" * 24 + "$", "a" * 23 + "!"),
        # The whole is repeated at the end, where it need not be found at all.
        ("^(?:(a+)+b)?", "a" * 24),
        ("^((a|a)*b)*", "a" * 24),
    ],
    ids=["nested", "adjacent", "bounded", "branches", "optional", "tail", "tail-branches"],
)
def test_catastrophic_pattern(pattern: str, value: str) -> None:
    """A pattern in the file cannot block the event loop: it is evaluated within a fraction of a second."""
    predicate = compile_segment(leaf(f"regex({pattern})"))
    assert predicate is not None
    started = time.thread_time()
    predicate({"v": value}, None)
    assert_below(time.thread_time() - started, 0.25)


AGENT = (
    "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5_1 like Mac OS X) AppleWebKit/605.1.15 "
    "(KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)
URL = f"https://shop.example.com/checkout/cart?utm_source=mail&session={'0123456789abcdef' * 8}"


@pytest.mark.parametrize(
    ("pattern", "value"),
    [
        (".*iPhone.*", AGENT),
        ("iPhone|iPad|iPod", AGENT),
        ("iPhone.*Safari", AGENT),
        ("^Mozilla.*Mobile.*Safari", AGENT),
        ("^https?://.*/checkout", URL),
        (r"[?&]utm_source=\w+", URL),
        (".*/checkout/.*", URL),
        (r"^[\w.+-]+@[\w-]+\.[\w.-]+$", "first.last@mail.example.com"),
        (r"^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$", "192.168.100.200"),
        ("(?i)^(us|ca|mx)$", "CA"),
        ("^(foo|bar)+$", "foobarfoo"),
    ],
)
def test_everyday_pattern(pattern: str, value: str) -> None:
    """The bound on work does not affect usual patterns for user agents, URLs and addresses."""
    assert matches(f"regex({pattern})", value)


operands = st.one_of(
    st.sampled_from(["us", "10", "10.0", "true", "", "wildcard(*)", "regex(^a)", "gt(5)"]),
    st.builds(
        "{}({})".format,
        st.sampled_from(["lower", "wildcard", "gt", "gte", "lt", "lte", "equals"]),
        st.text(st.sampled_from("ab1.05*-e() "), max_size=6),
    ),
    # Short enough that no pattern can take long on a short value.
    st.builds("regex({})".format, st.text(st.sampled_from("ab1.*+?()|[]^$\\d"), max_size=5)),
    st.text(max_size=6),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.sampled_from(["us", "US", "10", "10.0", "", "a", "aab", "6", "-5", "1e3"]),
    st.text(max_size=8),
    st.integers(-(2**1023) + 1, 2**1023 - 1),
)
variables = st.dictionaries(st.sampled_from(["v", "w", "x"]), scalars, max_size=3)
leaves = st.one_of(
    st.builds(
        lambda name, operand: {"custom_variable": {name: operand}},
        st.sampled_from(["v", "w", "absent"]),
        operands,
    ),
    st.sampled_from([{"user": "Ashley,Bill"}, {"user": "nobody"}, {"unknown": []}]),
)


def branches(children: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.one_of(
        st.lists(children, max_size=3).map(lambda nodes: {"and": nodes}),
        st.lists(children, max_size=3).map(lambda nodes: {"or": nodes}),
        children.map(lambda node: {"not": node}),
    )


trees = st.recursive(leaves, branches, max_leaves=8)
# Trees with anything at all in places where a node or an operand belongs.
odd_trees = st.recursive(
    st.one_of(
        leaves,
        json_values(),
        st.builds(
            lambda kind, content: {kind: content},
            st.sampled_from(["and", "or", "not", "user", "custom_variable"]),
            json_values(),
        ),
        json_values().map(leaf),
    ),
    branches,
    max_leaves=6,
)


def checked(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return *values* as a call passes them on; skip values that a call refuses."""
    try:
        return User(LISTED, custom_variables=values).custom_variables
    except InvalidInputError:
        assume(False)
        raise


@given(odd_trees, variables, st.sampled_from([None, LISTED]))
@settings(max_examples=examples(400))
def test_never_raises(tree: Any, values: Mapping[str, Any], user_id: str | None) -> None:
    """Any JSON tree evaluates to true or false for any variables that a call accepts."""
    assert holds(tree, checked(values), user_id) in (True, False)


@given(trees, variables, st.sampled_from([None, LISTED]))
@settings(max_examples=examples(300))
def test_not_negates(tree: Any, values: Mapping[str, Any], user_id: str | None) -> None:
    """If every part can be evaluated, `not` negates, and a double negation changes nothing."""
    once = holds({"not": tree}, checked(values), user_id)
    assert once is not holds(tree, checked(values), user_id)
    assert holds({"not": {"not": tree}}, checked(values), user_id) is not once


@given(st.lists(trees, max_size=3), variables, st.sampled_from([None, LISTED]))
@settings(max_examples=examples(150))
def test_and_or(nodes: list[Any], values: Mapping[str, Any], user_id: str | None) -> None:
    """`and` holds if all children hold, `or` if any does."""
    each = [holds(node, checked(values), user_id) for node in nodes]
    assert holds({"and": nodes}, checked(values), user_id) is all(each)
    assert holds({"or": nodes}, checked(values), user_id) is any(each)


@given(
    st.one_of(
        st.integers(-(10**15), 10**15),
        st.floats(allow_nan=False, allow_infinity=False),
    )
)
def test_number_equals_its_spellings(number: float) -> None:
    """A number equals its own text, as a value and as an operand, and a Decimal of the same number."""
    text = repr(number)
    assert matches(text, number)
    assert matches(text, text)
    assert matches(text, Decimal(text))
    assert matches(f"gte({text})", number) and matches(f"lte({text})", text)
    assert not matches(f"gt({text})", number) and not matches(f"lt({text})", text)
