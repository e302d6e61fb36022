"""Numbers in segments: one text for each, JavaScript's, and which texts spell one."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vwo_async._core.fme.segment import compile_fme_segment
from vwo_async._core.number import format_number, parse_number, to_text
from vwo_async._core.segment import compile_segment


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (10.0, "10"),
        (-2.5, "-2.5"),
        (2.0**53, "9007199254740992"),
        (1e16, "10000000000000000"),
        (1.2345678901234567e19, "12345678901234567000"),
        (999999999999999900000.0, "999999999999999900000"),
        (1e21, "1e+21"),
        (-1.5e22, "-1.5e+22"),
        (1e300, "1e+300"),
        (0.00001, "0.00001"),
        (0.00012345, "0.00012345"),
        (1e-6, "0.000001"),
        (9.99e-7, "9.99e-7"),
        (1e-7, "1e-7"),
        (-1.5e-10, "-1.5e-10"),
        (5e-324, "5e-324"),
    ],
)
def test_text_is_that_of_javascript(number: float, text: str) -> None:
    """Each number has the text that ``String(number)`` gives in JavaScript (taken from Node.js)."""
    assert format_number(number) == text


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_text_means_the_number(number: float) -> None:
    """The text of a number spells that very number, in its shortest digits."""
    text = format_number(number)
    assert parse_number(text) == number
    digits = text.lstrip("-").partition("e")[0].replace(".", "").strip("0")
    assert len(digits) <= len(repr(abs(number)).partition("e")[0].replace(".", "").strip("0"))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (2**53 + 1, "9007199254740993"),
        (12345678901234567890, "12345678901234567890"),
        (10**30, "1" + "0" * 30),
        (Decimal("1e21"), "1e+21"),
        (Decimal("10.00"), "10"),
        (True, "true"),
        ("1E21", "1E21"),
    ],
)
def test_text_beside_what_is_no_number(value: Any, text: str) -> None:
    """An integer keeps the digits that the caller wrote, a text is left as it is."""
    assert to_text(value) == text


COMPARED: list[tuple[Any, str, bool]] = [
    # Both are numbers: both have JavaScript's text.
    (1e21, "wildcard(1E3*)", False),
    ("1e21", "wildcard(1E3*)", False),
    (10**21, "wildcard(1E3*)", False),
    (1e21, "1000000000000000000000", True),
    (10**21, "1e21", True),
    (1e21, "lower(1E21)", True),
    (1e20, "wildcard(1E3*)", True),
    (1e-7, "0.0000001", True),
    ("1E-7", "wildcard(1e-7*)", True),
    (1e-7, "wildcard(0*)", False),
    (1e-6, "wildcard(0*)", True),
    (0.00001, "wildcard(0*)", True),
    (2**53 + 1, "9007199254740992", True),
    ("9007199254740993", "wildcard(*2*)", True),
    # The operand is a text.
    (1e21, "regex(e\\+21$)", True),
    (1e-7, "regex(^1e-7$)", True),
    (0.00001, "regex(^0[.]00001$)", True),
    (1.2345678901234567e19, "regex(567000$)", True),
    (12345678901234567890, "regex(567890$)", True),
]


@pytest.mark.parametrize(("value", "operand", "expected"), COMPARED)
def test_row_85_numbers_as_texts(value: Any, operand: str, *, expected: bool) -> None:
    """From 1e21 on, below 1e-6 and beyond 2**53 a number has one text, whatever it was written as."""
    assert_compared(compile_segment, value, operand, expected=expected)


@pytest.mark.parametrize(("value", "operand", "expected"), COMPARED)
def test_row_85_numbers_as_texts_in_fme(value: Any, operand: str, *, expected: bool) -> None:
    """The same in the segments of FME."""
    assert_compared(compile_fme_segment, value, operand, expected=expected)


def assert_compared(
    compile_tree: Callable[[Any], Any], value: Any, operand: str, *, expected: bool
) -> None:
    holds = compile_tree({"custom_variable": {"number": operand}})
    assert holds is not None
    assert holds({"number": value}, None) is expected


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_equal_texts_are_equal_numbers(one: float, other: float) -> None:
    """Two numbers have one text exactly where they are the same number."""
    assert (format_number(one) == format_number(other)) is (one == other)
