"""Segment trees, compiled once into predicates.

A tree is JSON from the settings file: an object whose first key names its kind. A predicate takes the
user's variables and the subject: what the other leaves ask about. In FullStack that is the id with which
`user` operands are compared (None outside whitelisting). A `Dialect` holds what differs between products.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from .number import format_number, parse_number, to_canonical, to_number, to_text
from .regex_bound import compile_pattern

Predicate: TypeAlias = Callable[[Mapping[str, Any], Any], bool]
Test: TypeAlias = Callable[[Any], bool]

OPERAND = re.compile(r"(lower|wildcard|regex|gte?|lte?)\((.*)\)")
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "gte": operator.ge,
    "lt": operator.lt,
    "lte": operator.le,
}


class MalformedTreeError(Exception):
    """Evaluation reached a part that no SDK can evaluate."""


class Dialect(NamedTuple):
    """What one product makes of a tree.

    Attributes:
        kinds: For each kind of node, what compiles its content.
        compile_operand: Compiles the operand of a custom variable; the number is as in `compile_operand`.
        empty: The predicate of an empty object below the top.
        find_patterns: Yields the patterns of a tree, besides its regex operands, that share the work.
    """

    kinds: Mapping[str, Callable[[Any, Scope], Predicate]]
    compile_operand: Callable[[str, float], Test]
    empty: Predicate
    find_patterns: Callable[[Any], Iterable[str]] = lambda tree: ()


class Scope(NamedTuple):
    """The tree that a node is part of.

    Attributes:
        dialect: What compiles its nodes.
        share: The share of the work that each regex may take, see `compile_pattern`.
    """

    dialect: Dialect
    share: float


def compile_segment(tree: Any) -> Predicate | None:
    """Return the FullStack predicate of *tree*, or None for an empty tree, which everybody passes.

    A tree does not hold if evaluating it reaches a malformed part.
    """
    predicate = compile_tree(tree, _FULLSTACK)
    if predicate is None or not _is_malformed(tree):
        return predicate

    def holds(variables: Mapping[str, Any], user_id: str | None) -> bool:
        try:
            return predicate(variables, user_id)
        except MalformedTreeError:
            return False

    return holds


def compile_tree(tree: Any, dialect: Dialect) -> Predicate | None:
    """Return the predicate of *tree*, or None for an empty tree, which everybody passes.

    The predicate raises `MalformedTreeError` when it reaches a part that cannot be evaluated.
    """
    if not tree and isinstance(tree, (dict, list)):
        return None
    return compile_node(tree, Scope(dialect, find_share(tree, dialect)))


def _is_malformed(tree: Any) -> bool:
    """Tell whether evaluating *tree* could reach a part that cannot be evaluated."""
    if not isinstance(tree, dict) or not tree:
        return True
    kind, content = next(iter(tree.items()))
    if kind in ("and", "or"):
        return not is_list(content) or any(map(_is_malformed, content))
    if kind == "not":
        return _is_malformed(content)
    if kind == "custom_variable":
        return not isinstance(content, dict) or not isinstance(
            next(iter(content.values()), None), str
        )
    return kind == "user" and not isinstance(content, str)


def find_share(tree: Any, dialect: Dialect) -> float:
    """Return each regex's share of the work that one decision may take; all regexes have equal shares."""
    others = sum(1 for _ in dialect.find_patterns(tree))
    return 1 / max(_count_patterns(tree) + others, 1)


def _count_patterns(tree: Any) -> int:
    """Count the regex operands of *tree*."""
    if isinstance(tree, str):
        return tree.startswith("regex(")
    if isinstance(tree, (dict, list)):
        return sum(map(_count_patterns, tree.values() if isinstance(tree, dict) else tree))
    return 0


def compile_node(node: Any, scope: Scope) -> Predicate:
    """Return the predicate of one node; of a kind that is not known, one that never holds."""
    if not isinstance(node, dict):
        return malformed
    if not node:
        return scope.dialect.empty
    kind, content = next(iter(node.items()))
    compile_kind = scope.dialect.kinds.get(kind)
    return never if compile_kind is None else compile_kind(content, scope)


def malformed(variables: Mapping[str, Any], subject: Any) -> bool:
    """The predicate of a part that cannot be evaluated."""
    raise MalformedTreeError


def never(variables: Mapping[str, Any], subject: Any) -> bool:
    """The predicate that holds for nobody."""
    return False


def is_list(content: Any) -> bool:
    """Tell whether *content* is a list; the server writes an empty list as an empty object."""
    return isinstance(content, list) or content == {}


def _compile_and(content: Any, scope: Scope) -> Predicate:
    if not is_list(content):
        return malformed
    return join_all([compile_node(child, scope) for child in content])


def join_all(children: Sequence[Predicate]) -> Predicate:
    """Return the predicate that holds if every one of *children* does."""
    if len(children) == 1:
        return children[0]
    if len(children) == 2:
        first, second = children
        return lambda variables, subject: first(variables, subject) and second(variables, subject)

    def every(variables: Mapping[str, Any], subject: Any) -> bool:
        for child in children:  # noqa: SIM110 - a generator costs more than the children
            if not child(variables, subject):
                return False
        return True

    return every


def _compile_or(content: Any, scope: Scope) -> Predicate:
    if not is_list(content):
        return malformed
    return join_any([compile_node(child, scope) for child in content])


def join_any(children: Sequence[Predicate]) -> Predicate:
    """Return the predicate that holds if one of *children* does."""
    if len(children) == 1:
        return children[0]
    if len(children) == 2:
        first, second = children
        return lambda variables, subject: first(variables, subject) or second(variables, subject)

    def some(variables: Mapping[str, Any], subject: Any) -> bool:
        for child in children:  # noqa: SIM110 - a generator costs more than the children
            if child(variables, subject):
                return True
        return False

    return some


def _compile_not(content: Any, scope: Scope) -> Predicate:
    child = compile_node(content, scope)
    return lambda variables, subject: not child(variables, subject)


def _compile_user(content: Any, scope: Scope) -> Predicate:
    if not isinstance(content, str):
        return malformed
    listed = split_users(content)
    return lambda variables, user_id: user_id in listed


def split_users(content: str) -> frozenset[str]:
    """Return the ids that a `user` operand lists."""
    return frozenset(part.strip() for part in content.split(","))


def compile_custom_variable(content: Any, scope: Scope) -> Predicate:
    """Return the predicate of a custom variable: it is there, and its value passes the operand."""
    if not isinstance(content, dict):
        return malformed
    if not content:
        return scope.dialect.empty
    name, operand = next(iter(content.items()))
    is_text = isinstance(operand, str)
    test = scope.dialect.compile_operand(operand, scope.share) if is_text else malformed_test
    if is_text and OPERAND.match(operand) is None and parse_number(operand) is None:
        return _compile_plain_equality(name, operand, test)

    def holds(variables: Mapping[str, Any], subject: Any) -> bool:
        value = variables.get(name)
        return value is not None and test(value)

    return holds


def _compile_plain_equality(name: str, operand: str, test: Test) -> Predicate:
    """The usual case, a text operand and a text value, without a further function call."""

    def holds(variables: Mapping[str, Any], subject: Any) -> bool:
        value = variables.get(name)
        if type(value) is str:
            return value == operand
        return value is not None and test(value)

    return holds


def malformed_test(value: Any) -> bool:
    """The test of an operand that cannot be evaluated."""
    raise MalformedTreeError


def compile_operand(operand: str, share: float = 1.0) -> Test:
    """Return the test of a variable's value that *operand* describes; *share*: see `compile_pattern`."""
    match = OPERAND.match(operand)
    if match is None:
        return compile_equality(operand)
    kind, content = match[1], match[2]
    if kind in COMPARISONS:
        return _compile_comparison(kind, content, operand)
    if kind == "lower":
        return _compile_text_test(content.lower(), lambda text, wanted: text.lower() == wanted)
    if kind == "wildcard":
        return _compile_wildcard(content)
    return _compile_regex(content, share)


KINDS: Mapping[str, Callable[[Any, Scope], Predicate]] = {
    "and": _compile_and,
    "or": _compile_or,
    "not": _compile_not,
    "user": _compile_user,
    "custom_variable": compile_custom_variable,
}
_FULLSTACK = Dialect(KINDS, compile_operand, malformed)


def compile_equality(content: str) -> Test:
    """Return the test whether a value is equal to *content*, as numbers where both are."""
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
        return compile_equality(operand)
    compare = COMPARISONS[kind]

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
    return compile_equality(inner)


def _compile_regex(content: str, share: float) -> Test:
    patterns = {one: compile_pattern(one, share) for one in (content, to_canonical(content))}

    def search(text: str, wanted: str) -> bool:
        pattern = patterns[wanted]
        return pattern is not None and pattern.is_in(text)

    return _compile_text_test(content, search)


def note_patterns(path: str, tree: Any, dialect: Dialect = _FULLSTACK) -> Iterator[str]:
    """Yield a note for each regex of *tree* that matches nothing; *path* says where in the file the tree is."""
    for pattern in _find_refused(tree, find_share(tree, dialect)) if tree else ():
        text = "is invalid or could run away, so it matches nothing"
        yield f"{path}: regex {pattern[:100]!a} {text}"


def _find_refused(tree: Any, share: float) -> Iterator[str]:
    """Yield the regexes of *tree* that are invalid or could take too long."""
    if isinstance(tree, str):
        match = OPERAND.match(tree)
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
