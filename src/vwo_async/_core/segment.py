"""Segment trees, compiled once into predicates.

A tree is JSON from the settings file: an object whose first key names its kind. A predicate takes the
user's variables and the id with which `user` operands are compared (None outside whitelisting).
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

from .number import format_number, parse_number, to_number, to_text
from .regex_bound import compile_pattern

Predicate: TypeAlias = Callable[[Mapping[str, Any], str | None], bool]
Test: TypeAlias = Callable[[Any], bool]

_OPERAND = re.compile(r"(lower|wildcard|regex|gte?|lte?)\((.*)\)")
_COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


class _MalformedTreeError(Exception):
    """Evaluation reached a part that no SDK can evaluate: the whole tree does not hold."""


def compile_segment(tree: Any) -> Predicate | None:
    """Return the predicate of *tree*, or None for an empty tree, which everybody passes."""
    if not tree and isinstance(tree, (dict, list)):
        return None
    predicate = _compile_node(tree, _find_share(tree))

    def holds(variables: Mapping[str, Any], user_id: str | None) -> bool:
        try:
            return predicate(variables, user_id)
        except _MalformedTreeError:
            return False

    return holds if _is_malformed(tree) else predicate


def _is_malformed(tree: Any) -> bool:
    """Tell whether evaluating *tree* could reach a part that cannot be evaluated."""
    if not isinstance(tree, dict) or not tree:
        return True
    kind, content = next(iter(tree.items()))
    if kind in ("and", "or"):
        return not _is_list(content) or any(map(_is_malformed, content))
    if kind == "not":
        return _is_malformed(content)
    if kind == "custom_variable":
        return not isinstance(content, dict) or not isinstance(
            next(iter(content.values()), None), str
        )
    return kind == "user" and not isinstance(content, str)


def _find_share(tree: Any) -> float:
    """Return each regex's share of the work that one decision may take; all regexes have equal shares."""
    return 1 / max(_count_patterns(tree), 1)


def _count_patterns(tree: Any) -> int:
    """Count the regex operands of *tree*."""
    if isinstance(tree, str):
        return tree.startswith("regex(")
    if isinstance(tree, (dict, list)):
        return sum(map(_count_patterns, tree.values() if isinstance(tree, dict) else tree))
    return 0


def _compile_node(node: Any, share: float) -> Predicate:
    if not isinstance(node, dict) or not node:
        return _malformed
    kind, content = next(iter(node.items()))
    compile_kind = _KINDS.get(kind)
    return _never if compile_kind is None else compile_kind(content, share)


def _malformed(variables: Mapping[str, Any], user_id: str | None) -> bool:
    raise _MalformedTreeError


def _never(variables: Mapping[str, Any], user_id: str | None) -> bool:
    return False


def _is_list(content: Any) -> bool:
    """Tell whether *content* is a list; the server writes an empty list as an empty object."""
    return isinstance(content, list) or content == {}


def _compile_and(content: Any, share: float) -> Predicate:
    if not _is_list(content):
        return _malformed
    children = [_compile_node(child, share) for child in content]
    if len(children) == 1:
        return children[0]
    if len(children) == 2:
        first, second = children
        return lambda variables, user_id: first(variables, user_id) and second(variables, user_id)

    def every(variables: Mapping[str, Any], user_id: str | None) -> bool:
        for child in children:  # noqa: SIM110 - a generator costs more than the children
            if not child(variables, user_id):
                return False
        return True

    return every


def _compile_or(content: Any, share: float) -> Predicate:
    if not _is_list(content):
        return _malformed
    children = [_compile_node(child, share) for child in content]
    if len(children) == 1:
        return children[0]
    if len(children) == 2:
        first, second = children
        return lambda variables, user_id: first(variables, user_id) or second(variables, user_id)

    def some(variables: Mapping[str, Any], user_id: str | None) -> bool:
        for child in children:  # noqa: SIM110 - a generator costs more than the children
            if child(variables, user_id):
                return True
        return False

    return some


def _compile_not(content: Any, share: float) -> Predicate:
    child = _compile_node(content, share)
    return lambda variables, user_id: not child(variables, user_id)


def _compile_user(content: Any, share: float) -> Predicate:
    if not isinstance(content, str):
        return _malformed
    listed = frozenset(part.strip() for part in content.split(","))
    return lambda variables, user_id: user_id in listed


def _compile_custom_variable(content: Any, share: float) -> Predicate:
    if not isinstance(content, dict) or not content:
        return _malformed
    name, operand = next(iter(content.items()))
    test = compile_operand(operand, share) if isinstance(operand, str) else _malformed_test
    if (
        isinstance(operand, str)
        and _OPERAND.match(operand) is None
        and parse_number(operand) is None
    ):
        return _compile_plain_equality(name, operand, test)

    def holds(variables: Mapping[str, Any], user_id: str | None) -> bool:
        value = variables.get(name)
        return value is not None and test(value)

    return holds


def _compile_plain_equality(name: str, operand: str, test: Test) -> Predicate:
    """The usual case, a text operand and a text value, without a further function call."""

    def holds(variables: Mapping[str, Any], user_id: str | None) -> bool:
        value = variables.get(name)
        if type(value) is str:
            return value == operand
        return value is not None and test(value)

    return holds


def _malformed_test(value: Any) -> bool:
    raise _MalformedTreeError


_KINDS: Mapping[str, Callable[[Any, float], Predicate]] = {
    "and": _compile_and,
    "or": _compile_or,
    "not": _compile_not,
    "user": _compile_user,
    "custom_variable": _compile_custom_variable,
}


def compile_operand(operand: str, share: float = 1.0) -> Test:
    """Return the test of a variable's value that *operand* describes; *share*: see `compile_pattern`."""
    match = _OPERAND.match(operand)
    if match is None:
        return _compile_equality(operand)
    kind, content = match[1], match[2]
    if kind in _COMPARISONS:
        return _compile_comparison(kind, content, operand)
    if kind == "lower":
        return _compile_text_test(content.lower(), lambda text, wanted: text.lower() == wanted)
    if kind == "wildcard":
        return _compile_wildcard(content)
    return _compile_regex(content, share)


def _compile_equality(content: str) -> Test:
    number = parse_number(content)
    if number is None:
        return lambda value: (value if type(value) is str else to_text(value)) == content

    # Numbers are compared by value: 1, 1.0 and 01 are equal.
    def equals(value: Any) -> bool:
        other = to_number(value)
        return to_text(value) == content if other is None else other == number

    return equals


def _compile_comparison(kind: str, content: str, operand: str) -> Test:
    number = parse_number(content)
    if number is None:
        return _compile_equality(operand)
    compare = _COMPARISONS[kind]

    def holds(value: Any) -> bool:
        if type(value) is int or type(value) is float:
            return compare(float(value), number)
        other = to_number(value)
        return other is not None and compare(other, number)

    return holds


def _compile_wildcard(content: str) -> Test:
    leading, trailing = content.startswith("*"), content.endswith("*") and content != "*"
    inner = content[leading : len(content) - trailing]
    if leading and trailing:
        return _compile_text_test(inner, lambda text, wanted: wanted in text)
    if leading:
        return _compile_text_test(inner, str.endswith)
    if trailing:
        return _compile_text_test(inner, str.startswith)
    return _compile_equality(inner)


def _compile_regex(content: str, share: float) -> Test:
    patterns = {one: compile_pattern(one, share) for one in (content, _canonical(content))}

    def search(text: str, wanted: str) -> bool:
        pattern = patterns[wanted]
        return pattern is not None and pattern.is_in(text)

    return _compile_text_test(content, search)


def find_refused_patterns(tree: Any) -> Iterator[str]:
    """Yield the regexes of *tree* that match nothing because they are invalid or could take too long."""
    return _find_refused(tree, _find_share(tree))


def _find_refused(tree: Any, share: float) -> Iterator[str]:
    if isinstance(tree, str):
        match = _OPERAND.match(tree)
        if match is not None and match[1] == "regex" and compile_pattern(match[2], share) is None:
            yield match[2]
    elif isinstance(tree, (dict, list)):
        for part in tree.values() if isinstance(tree, dict) else tree:
            yield from _find_refused(part, share)


def _compile_text_test(content: str, test: Callable[[str, str], bool]) -> Test:
    """Return a test of texts; if operand and value are both numbers, both are in canonical form."""
    number = parse_number(content)
    if number is None:
        return lambda value: test(value if type(value) is str else to_text(value), content)
    canonical = format_number(number)

    def holds(value: Any) -> bool:
        other = to_number(value)
        if other is None:
            return test(to_text(value), content)
        return test(format_number(other), canonical)

    return holds


def _canonical(content: str) -> str:
    number = parse_number(content)
    return content if number is None else format_number(number)
