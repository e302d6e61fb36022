"""Patterns of the settings file: the bound on their work, and that RE2 means the same as Python."""

from __future__ import annotations

import re
import signal
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from re import _casefix as casefix  # type: ignore[attr-defined]
from re import _parser as parser  # type: ignore[attr-defined]
from types import ModuleType
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from own_time import assert_below
from search_effort import examples

from vwo_async._core.re2 import compile_re2
from vwo_async._core.regex_bound import LENGTHS, Pattern, compile_pattern, is_regex

# Beyond this a search of Python's, which is compared with, is given up.
PATIENCE_S = 0.2


class _TooSlowError(Exception):
    """A search took longer than a test can wait."""


@contextmanager
def time_limit() -> Iterator[None]:
    """Raise in a search that takes too long; the regex engine checks for signals now and then."""

    def give_up(*_: object) -> None:
        raise _TooSlowError

    before = signal.signal(signal.SIGVTALRM, give_up)
    signal.setitimer(signal.ITIMER_VIRTUAL, PATIENCE_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


@pytest.fixture
def no_re2(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the library RE2."""
    monkeypatch.setitem(sys.modules, "re2", None)


# The bound


@pytest.mark.usefixtures("no_re2")
@pytest.mark.parametrize(
    "text",
    [
        "^(a+)+$",
        "^((a|a)*b)*",
        # Each letter fits both branches.
        "(?i)^(?:ab|Ab)*$",
        "(?i:(?:kb|\u212ab)*$)",
        # Repetitions of nothing: each takes memory.
        "(?:){4294967294}x",
        "(?:(?:a{0}){1000}){1000}x",
        "^(?:(?=a){3000000})x",
        # What it is compiled into would take a second or more.
        "[\x00-\U0010ffff]" * 100,
        "(" * 333 + ")" * 333,
        "(?:" * 101 + ")" * 101,
        "a" * 1001,
        # Invalid.
        "(",
        "*",
        "a{2,1}",
        "a**",
        r"\1",
        "(?<=a+)b",
        "a{4294967296}",
        "(?z)",
        r"\N{NO SUCH NAME}",
    ],
    # A test whose id has a backslash cannot be named on a command line.
    ids=lambda text: ascii(text)[:30].replace("\\", "/"),
)
def test_refused(text: str) -> None:
    """What is invalid, or could take long on the shortest useful text, is refused."""
    assert compile_pattern(text) is None


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("^checkout$", 4096),
        ("^(us|ca|mx)$", 4096),
        ("(?i)^(?:foo|bar)+$", 4096),
        ("^(foo|bar),(foo|bar)$", 4096),
        ("^https?://.*/checkout", 4096),
        (r"^\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}$", 4096),
        (".*iPhone.*", 512),
        ("^/product/[^/]+/[^/]+/?$", 512),
        (r"^[\w.+-]+@[\w-]+\.[\w.-]+$", 128),
        ("(a{1000}){1000}", 4096),
        ("", 4096),
    ],
)
def test_everyday_patterns(text: str, least: int) -> None:
    """Patterns that people write are searched even in the longest texts that they meet."""
    found = compile_pattern(text)
    assert found is not None
    assert found.max_length >= least


@pytest.mark.parametrize("text", [".*iPhone.*", r"^[\w.+-]+@[\w-]+\.[\w.-]+$", "(?:a|b)*x"])
def test_shares(text: str) -> None:
    """Patterns of one decision share its work, so each is searched in shorter texts."""
    whole, part = compile_pattern(text), compile_pattern(text, 1 / 10)
    assert whole is not None and part is not None
    assert part.max_length < whole.max_length


@pytest.mark.parametrize("text", ["a", r"^\w+$", "a*b"])
def test_longer_texts(text: str) -> None:
    """In a text that is longer than the bound on the work allows, a pattern does not match."""
    found = compile_pattern(text)
    assert found is not None
    searched = "a" * (found.max_length - 1) + "b"
    assert found.is_in(searched)
    assert not found.is_in(f"a{searched}")


@pytest.mark.parametrize("code", list(casefix._EXTRA_CASES))
def test_branches_that_are_one_letter(code: int) -> None:
    """Letters that are one letter where case is ignored do not make branches differ."""
    for other in casefix._EXTRA_CASES[code]:
        found = compile_pattern(f"(?i)^(?:{chr(code)}b|{chr(other)}b)*$")
        assert found is None or found.is_ascii


# Parts that make patterns expensive, alone and together.
parts = st.one_of(
    st.sampled_from(["a", "b", ".", "aa", "ab", "[ab]", "[^b]", r"\w", r"\s", "^", "$", "", "\n"]),
    st.sampled_from([r"[a-z0-9_.-]", "[a\u00e9\u20ac]", "(?=a)", "(?<=a)", r"\1", r"\b", "a{20}b"]),
)
quantifiers = st.one_of(
    st.sampled_from(["", "*", "+", "?", "*?", "+?", "??", "*+", "++"]),
    st.sampled_from(["", "{2}", "{3,}", "{0,30}", "{5,50}?", "{1000}", "{0,1000}", "{100000}"]),
)


def combined(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=1, max_size=4)
    return st.one_of(
        st.builds("".join, several),
        st.builds(
            "{}{}){}".format,
            st.sampled_from(["(", "(?:", "(?>", "(?i:", "(?s:", "(?=", "(?!"]),
            st.builds("|".join, several),
            quantifiers,
        ),
        st.builds("(?(1){}|{})".format, inner, inner),
    )


expensive = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "^", "(?i)", "(?m)^", "(?s)"]),
    st.recursive(st.builds("{}{}".format, parts, quantifiers), combined, max_leaves=12),
    st.sampled_from(["", "$", "x", "!", "(?:aaaaaaaa|x)y", r"\1z"]),
)


def held_s(found: Pattern, searched: str) -> float:
    """Return the processor time of one search."""
    began = time.thread_time()
    found.is_in(searched)
    return time.thread_time() - began


@given(expensive)
@settings(max_examples=examples(500))
def test_any_pattern_is_bounded(text: str) -> None:
    """No pattern, however it is nested, takes longer than a twentieth of a second on any text."""
    began = time.thread_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = compile_pattern(text)
    assert_below(time.thread_time() - began, 0.5)
    if found is None:
        return
    length = found.max_length
    assert length in LENGTHS
    for unit in ("a", "ab", "aaab", "\n", "a" * 20 + "\n"):
        searched = (unit * length)[:length]
        with time_limit():
            # The better of two, since the first of a process is slow, and so is one that is interrupted.
            assert min(held_s(found, searched), held_s(found, searched)) < 0.05, (text, unit)


@pytest.mark.parametrize(
    ("text", "length", "shared"),
    [
        ("a.*b.*c", 192, 64),
        ("(?i)a.*b.*c", 192, 48),
        (r"(a+)b\1.*c", 192, 48),
        (r"(?i)(a+)b\1.*c", 128, 48),
        (".*?a.*?b", 192, 48),
        ("(?:ab|cd)*x.*y", 256, 64),
        ("(?m)^a.*b.*c", 192, 64),
        (r"(?m)\Aa.*b.*c.*d", 192, 64),
        ("(?:a.b)*c(?:d.e)*f", 256, 96),
        ("(?:(?:a.b)+c)+", 128, 32),
        ("[abc].*[def].*[ghi]", 192, 48),
        ("(?i)[abc].*[def].*[ghi]", 128, 48),
        ("(?a:[abc].*[def]).*[ghi]", 128, 32),
    ],
)
def test_how_long_a_text_is_searched(text: str, length: int, shared: int) -> None:
    """The estimate of each kind of part stays what it was measured for; of less work shorter texts come."""
    whole, part = compile_pattern(text), compile_pattern(text, 0.03)
    assert whole is not None and part is not None
    assert (whole.max_length, part.max_length) == (length, shared)


@pytest.mark.usefixtures("re2")
def test_how_long_a_text_re2_searches() -> None:
    """What RE2 may search in gets shorter with its share of the work as well."""
    whole, part = (compile_pattern("(?:ab?){1,30}c.*d", share) for share in (1.0, 0.03))
    assert whole is not None and part is not None
    assert whole.is_ascii and part.is_ascii
    assert whole.max_length == 4096 and part.max_length < 1000


def test_sets_beyond_latin_1_are_counted() -> None:
    """Ten sets with such letters are compiled, and any number of others."""
    assert compile_pattern("[\u00fe\u00ff]" * 11) is not None
    assert compile_pattern("[\u0100\u0101]" * 10) is not None
    assert compile_pattern("[\u0100\u0101]" * 11) is None


def test_what_is_too_long_to_look_at_counts_as_valid() -> None:
    """Nobody reads a pattern of more than a thousand characters to say that it is no regex."""
    assert not is_regex("(" * 1000)
    assert is_regex("(" * 1001)


# RE2


@pytest.fixture(scope="module")
def re2() -> ModuleType:
    """Skip the test if the library RE2 is not installed."""
    return pytest.importorskip("re2")  # type: ignore[no-any-return]


@pytest.mark.usefixtures("re2")
@pytest.mark.parametrize(
    ("text", "searched", "is_found"),
    [
        ("^(a+)+$", "a" * 4000, True),
        ("^(a+)+$", "a" * 4000 + "!", False),
        ("^(a+)+$", "aaa\n", True),
        ("^(a+)+$", "aaa\n\n", False),
        (r"^(\w+\s?)*$", "so many words", True),
        (r"^(\w+\s?)*$", "so many words!", False),
        (r"^(\w+\s?)*$", "a\x1cb", True),
        (r"(?i)^([a-c]+)+\Z", "aBC", True),
        (r"(?i)^([a-c]+)+\Z", "aBC\n", False),
        (r"(?m)^(b+)+$", "a\nbb\nc", True),
        (r"(.*\d)+\u00e9", "a1", False),
        (r"^(?:(a+)+|b)$", "b\n", True),
        (r"(?:(a+)+x$|b$)", "b\n", True),
        (r"^([ab]+)+$", "aXb", False),
        (r"(\x00+)+$", "a\x00", True),
    ],
)
def test_re2_in_place_of_refusal(text: str, searched: str, *, is_found: bool) -> None:
    """With RE2, patterns that would be refused match exactly where Python would find them."""
    found = compile_pattern(text)
    assert found is not None
    assert found.is_in(searched) is is_found
    if len(searched) < 30:
        assert (re.search(text, searched) is not None) is is_found


@pytest.mark.usefixtures("re2")
def test_re2_in_other_texts() -> None:
    """Outside ASCII the two libraries differ, so nothing is found there."""
    found = compile_pattern(r"^(\w+)+$")
    assert found is not None
    assert found.is_in("Mueller")
    assert not found.is_in("M\u00fcller")


@pytest.mark.usefixtures("re2")
@pytest.mark.parametrize(
    "text",
    [
        r"(a+)+\1",
        "(?=(a+)+$)",
        "(?!(a+)+$)b",
        "(?<=a)(a+)+$",
        "(?>(a+)+b)*",
        "(a+)++b",
        "(?:(a+)+$)?b",
        "(?:(a+)+$)*",
        r"(a+)+\B",
        "(a)?(b+)+(?(1)c|d)$",
        "(a+)+(?:b{1000}){2}",
        r"(?a:\S)(a+)+$",
    ],
)
def test_re2_cannot_mean_the_same(text: str) -> None:
    """Patterns that RE2 cannot express, or would read differently, stay refused."""
    assert compile_pattern(text) is None


@pytest.mark.parametrize("other", [None, ModuleType("re2")], ids=["absent", "another library"])
def test_without_re2(monkeypatch: pytest.MonkeyPatch, other: Any) -> None:
    """Without the library, and with another of its name, such patterns are refused."""
    monkeypatch.setitem(sys.modules, "re2", other)
    assert compile_pattern("^(a+)+$") is None
    assert compile_pattern("^a+$") is not None


letters = st.one_of(
    st.sampled_from(
        ["a", "b", "A", "1", "_", " ", "\n", r"\.", r"\x00", ".", "ab", "[ab]", "[A-z]"]
    ),
    st.sampled_from(
        [r"\w", r"\W", r"\d", r"\D", r"\s", r"\S", "[^a]", r"[\w-]", r"[^\d_]", "[^\n]"]
    ),
    # The last two are s and k where case is ignored.
    st.sampled_from(["\u00e9", "[\u00e9]", "[^\u00e9]", "\u017f", "\u212a"]),
    st.sampled_from(["", "^", "$", r"\b", r"\A", r"\Z", "(?:)"]),
)
limits = st.sampled_from(
    ["", "", "", "*", "+", "?", "*?", "+?", "??", "{2}", "{0,2}", "{2,}", "{1,3}?", "{0}"]
)


def grouped(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    several = st.lists(inner, min_size=1, max_size=3)
    return st.one_of(
        st.builds("".join, several),
        st.builds(
            "{}{}){}".format,
            st.sampled_from(["(", "(?:", "(?P<n>", "(?i:", "(?s:", "(?m:", "(?a:", "(?-i:"]),
            st.builds("|".join, several),
            limits,
        ),
    )


regular = st.builds(
    "{}{}{}".format,
    st.sampled_from(["", "", "(?i)", "(?m)", "(?s)", "(?a)", "(?im)"]),
    st.recursive(st.builds("{}{}".format, letters, limits), grouped, max_leaves=8),
    st.sampled_from(["", "$", r"\Z", "|b"]),
)
ascii_texts = st.text(st.sampled_from("aabAB1 _-.\n\x00\x1c\x1fskK"), max_size=9)


@pytest.mark.usefixtures("re2")
@given(regular, st.lists(ascii_texts, min_size=5, max_size=15))
@settings(max_examples=examples(500), suppress_health_check=[HealthCheck.filter_too_much])
def test_re2_means_the_same(text: str, texts: list[str]) -> None:
    """Every pattern that RE2 gets matches where Python matches, and nowhere else."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled, tree = re.compile(text), parser.parse(text)
    except re.error:
        # The same name of a group twice.
        assume(False)
        raise
    re2_pattern = compile_re2(tree, compiled.flags)
    if re2_pattern is None:
        # An end that is not the end of the pattern, a repetition that gives nothing back, and a group
        # with a notion of letters of its own.
        assert "$" in text or "(?a:" in text or "POSSESSIVE_REPEAT" in repr(tree)
        return
    for searched in texts:
        try:
            with time_limit():
                expected = compiled.search(searched) is not None
        except _TooSlowError:
            continue
        assert (re2_pattern.search(searched) is not None) is expected, (text, searched)


def test_re2_is_used_at_all(re2: ModuleType) -> None:
    """The library that these tests run with is the one that is meant."""
    assert re2.compile("a").programsize > 0
