"""Segments of FME (section F6): FullStack's nodes, and those that ask about more than custom variables.

Places count only among the children of an `and`, devices and other features only among those of an `or`;
as nodes of their own they never hold. A part that cannot be evaluated raises, and turns the flag off.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

from ..number import to_text
from ..segment import (
    KINDS,
    Dialect,
    Predicate,
    Scope,
    Test,
    compile_custom_variable,
    compile_node,
    compile_tree,
    find_share,
    is_list,
    join_all,
    join_any,
    malformed,
    malformed_test,
    never,
    note_patterns,
    split_users,
)
from .device import (
    DevicePatternError,
    compile_device_pattern,
    compile_device_regex,
    is_plain_pattern,
    read_device_pattern,
)
from .operand import compile_fme_operand, compile_version_operand
from .user import Details, FlagUser, Texts

PLACES = frozenset({"country", "region", "city"})
DEVICES = frozenset({"os", "browser_string", "device_type", "device"})
CAMPAIGN_VARIATION = "campaignVariation"
FEATURE = "featureId"

# What the official SDKs take for a question about a list, and the list that they then ask about.
_LIST_WORD = "inlist"
_IN_LIST = re.compile(r"inlist\(([^)]+)\)")
_ASKS_GATEWAY = re.compile(r"inlist\([^)]*\)")
_CAMPAIGN = re.compile(r"(!?)([0-9]+)|([0-9]+)_(!?)([0-9]+)")
_OUTER_QUOTES = re.compile(r'\A"|"\Z')
_IS_NUMBER = re.compile(r"[0-9]{1,17}").fullmatch
# Words anywhere in a tree that make the official SDKs ask the gateway.
_GATEWAY_WORD = re.compile(
    r"\b(?:country|region|city|os|device_type|browser_string|ua|browser_version|os_version)\b",
    re.IGNORECASE,
)


class Subject(Protocol):
    """What the leaves of a segment ask about, besides the custom variables."""

    @property
    def user(self) -> FlagUser:
        """The user."""
        ...

    def find_listed_id(self, *, is_hashed: bool) -> str | None:
        """Return the id that user lists hold, None where the user is not known yet."""
        ...

    def find_details(self) -> Details:
        """Return what is known of the user's place and browser."""
        ...

    def has_record(self, feature_id: int) -> bool:
        """Tell whether the user has a stored record in the feature; raises if there is no such feature."""
        ...

    def is_in_list(self, list_id: str, text: str) -> bool:
        """Tell whether the gateway's list holds the text."""
        ...


def compile_fme_segment(tree: Any, *, hashes_user_list: bool = False) -> Predicate | None:
    """Return the predicate of *tree*, or None for an empty tree, which everybody passes.

    The predicate's subject is a `Subject`. It raises `MalformedTreeError` when it reaches a part that cannot
    be evaluated, and whatever the subject raises.

    Args:
        tree: The segment.
        hashes_user_list: Whether `user` operands hold visitor ids in place of user ids.
    """
    predicate = compile_tree(tree, _BY_HASH if hashes_user_list else _BY_ID)
    if predicate is None or not any(kind == CAMPAIGN_VARIATION for kind, _ in walk(tree)):
        return predicate

    def holds(variables: Mapping[str, Any], subject: Subject) -> bool:
        if subject.user.web_testing_campaigns is None:
            return False
        return predicate(variables, subject)

    return holds


def walk(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield every key of *tree* with its value, at every depth."""
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield key, value
            yield from walk(value)
    elif isinstance(tree, list):
        for one in tree:
            yield from walk(one)


def needs_gateway(tree: Any) -> bool:
    """Tell whether the official SDKs ask the gateway about the user because of this segment (section F6.8)."""
    if isinstance(tree, str):
        return _GATEWAY_WORD.search(tree) is not None or _ASKS_GATEWAY.search(tree) is not None
    if isinstance(tree, dict):
        return any(needs_gateway(key) or needs_gateway(one) for key, one in tree.items())
    return isinstance(tree, list) and any(map(needs_gateway, tree))


def asks_variables_alone(tree: Any) -> bool:
    """Tell whether a segment asks about nothing but custom variables: its predicate needs no subject then.

    False for some that ask about no more, but look odd.
    """
    if isinstance(tree, list):
        return all(map(asks_variables_alone, tree))
    if not isinstance(tree, dict) or len(tree) > 1:
        return False
    return all(_asks_variables_alone(kind, content) for kind, content in tree.items())


def _asks_variables_alone(kind: str, content: Any) -> bool:
    if kind != "custom_variable":
        return kind in ("and", "or", "not") and asks_variables_alone(content)
    return isinstance(content, dict) and all(
        name != CAMPAIGN_VARIATION and isinstance(operand, str) and _LIST_WORD not in operand
        for name, operand in content.items()
    )


def find_feature_ids(tree: Any) -> set[int]:
    """Return the ids of the features whose stored records the segment asks about."""
    return {
        int(feature_id)
        for kind, content in walk(tree)
        if kind == FEATURE and isinstance(content, dict)
        for feature_id in content
        if _IS_NUMBER(str(feature_id))
    }


def find_device_patterns(tree: Any) -> Iterator[str]:
    """Yield the patterns of devices that are more than text and stars."""
    for kind, values in walk(tree):
        for one in values if isinstance(values, list) else [values]:
            if kind in DEVICES and isinstance(one, str):
                content = read_device_pattern(one.lower())
                if content is not None and not is_plain_pattern(content):
                    yield content


def note_fme_patterns(path: str, tree: Any) -> Iterator[str]:
    """Yield a note for each regex and each pattern of a device that matches nothing; see `note_patterns`."""
    yield from note_patterns(path, tree, _BY_ID)
    share = find_share(tree, _BY_ID)
    for content in find_device_patterns(tree):
        if compile_device_regex(content, share) is None:
            text = "is invalid or could run away, so it matches nothing"
            yield f"{path}: wildcard {content[:100]!a} {text}"


def _compile_and(content: Any, scope: Scope) -> Predicate:
    if not is_list(content):
        return malformed
    return join_all(list(_compile_every(content, scope)))


def _compile_every(children: Collection[Any], scope: Scope) -> Iterator[Predicate]:
    """Yield what has to hold. Places among other children are skipped; alone they are compared (section F6.3)."""
    places: dict[str, Any] = {}
    for child in children:
        found = {} if not isinstance(child, dict) else _pick(child, PLACES)
        if not found:
            yield compile_node(child, scope)
            continue
        places |= found
        if len(places) == len(children):
            yield _compile_places(places)
            return


def _pick(child: Mapping[str, Any], kinds: frozenset[str]) -> dict[str, Any]:
    return {kind: value for kind, value in child.items() if kind in kinds}


def _compile_places(places: Mapping[str, Any]) -> Predicate:
    if not all(isinstance(place, (str, int, float)) for place in places.values()):
        return never
    wanted = {kind: _trim(to_text(place)) for kind, place in places.items()}

    def holds(variables: Mapping[str, Any], subject: Subject) -> bool:
        location = subject.find_details().location
        # As in both official SDKs an address that is empty is one, but to `ip_address`.
        if location is None or not subject.user.has_address:
            return False
        return all(
            kind in location and _trim(location[kind]) == place for kind, place in wanted.items()
        )

    return holds


def _trim(text: str) -> str:
    return _OUTER_QUOTES.sub("", text).strip()


def _compile_or(content: Any, scope: Scope) -> Predicate:
    if not is_list(content):
        return malformed
    return join_any(list(_compile_some(iter(content), len(content), scope)))


def _compile_some(children: Iterator[Any], number: int, scope: Scope) -> Iterator[Predicate]:
    """Yield what may hold. Devices alone are compared; a feature's record decides the whole.

    See sections F6.4 and F6.7.

    Args:
        children: The children that are left.
        number: How many children there are, 0 where devices were compared already.
        scope: The tree.
    """
    devices: list[tuple[str, Any]] = []
    for child in children:
        if isinstance(child, dict):
            devices += _pick(child, DEVICES).items()
            decider = _compile_feature(child[FEATURE]) if FEATURE in child else None
            if decider is not None:
                yield decider
                return
            if devices and len(devices) == number:
                others = [compile_node(child, scope), *_compile_some(children, 0, scope)]
                yield _compile_devices(devices, join_any(others), scope.share)
                return
        yield compile_node(child, scope)


def _compile_devices(
    devices: list[tuple[str, Any]], otherwise: Predicate, share: float
) -> Predicate:
    """Return the predicate of devices; *otherwise* decides where a pattern is met that is none."""
    texts: dict[str, list[str]] = {}
    for kind, values in devices:
        given = values if isinstance(values, list) else [values]
        texts.setdefault(kind, []).extend(one.lower() for one in given if isinstance(one, str))
    wanted = {kind: _compile_device(several, share) for kind, several in texts.items()}

    def holds(variables: Mapping[str, Any], subject: Subject) -> bool:
        found = subject.find_details().user_agent
        if found is None or not subject.user.user_agent:
            return False
        try:
            return any(kind in wanted and wanted[kind](text) for kind, text in found.items())
        except DevicePatternError:
            return otherwise(variables, subject)

    return holds


def _compile_device(operands: Sequence[str], share: float) -> Callable[[str], bool]:
    """Return the test of a device's name; *operands* are in lower case, as the official SDKs make them."""
    names = frozenset(operands)
    patterns = [
        compile_device_pattern(content, share)
        for content in map(read_device_pattern, operands)
        if content is not None
    ]
    return lambda text: any(matches(text) for matches in patterns) or text.lower() in names


def _compile_feature(content: Any) -> Predicate | None:
    """Return the predicate of another feature's record, None if the node is as any unknown one."""
    if not isinstance(content, dict):
        return malformed
    feature_id, wanted = next(iter(content.items()), ("", None))
    if wanted not in ("on", "off"):
        return None
    if not _IS_NUMBER(feature_id):
        return never
    number, is_on = int(feature_id), wanted == "on"

    def holds(variables: Mapping[str, Any], subject: Subject) -> bool:
        try:
            return subject.has_record(number) is is_on
        except LookupError:
            return False

    return holds


def _compile_user(content: Any, scope: Scope, *, is_hashed: bool) -> Predicate:
    if not isinstance(content, str):
        return malformed
    listed = split_users(content)

    def holds(variables: Mapping[str, Any], subject: Subject) -> bool:
        return subject.find_listed_id(is_hashed=is_hashed) in listed

    return holds


def _compile_custom_variable(content: Any, scope: Scope) -> Predicate:
    name, operand = (
        next(iter(content.items()), ("", None)) if isinstance(content, dict) else ("", 0)
    )
    if not isinstance(operand, str) or _LIST_WORD not in operand:
        return compile_custom_variable(content, scope)
    match = _IN_LIST.search(operand)
    if match is None:
        return never
    list_id = match[1]

    def holds(variables: Mapping[str, Any], subject: Subject) -> bool:
        value = variables.get(name)
        return value is not None and subject.is_in_list(list_id, to_text(value))

    return holds


def _compile_user_agent(content: Any, scope: Scope) -> Predicate:
    test = compile_fme_operand(content, scope.share) if isinstance(content, str) else malformed_test

    def holds(variables: Mapping[str, Any], subject: Subject) -> bool:
        text = subject.user.user_agent
        return bool(text) and test(text)

    return holds


def _compile_address(content: Any, scope: Scope) -> Predicate:
    test = _compile_version(content, scope)

    def holds(variables: Mapping[str, Any], subject: Subject) -> bool:
        text = subject.user.user_ip_address
        return bool(text) and test(text)

    return holds


def _compile_version_of(kind: str, content: Any, scope: Scope) -> Predicate:
    """Return the predicate of a node of *kind*, a version of the user's browser or system."""
    test = _compile_version(content, scope)

    def holds(variables: Mapping[str, Any], subject: Subject) -> bool:
        found: Texts = subject.find_details().user_agent or {}
        return kind in found and test(found[kind])

    return holds


def _compile_version(content: Any, scope: Scope) -> Test:
    # What is no text is printed as one; only lists and objects cannot be compared.
    text = to_text(content) if isinstance(content, (str, int, float)) else None
    return (lambda value: False) if text is None else compile_version_operand(text, scope.share)


def _compile_campaign_variation(content: Any, scope: Scope) -> Predicate:
    is_plain = isinstance(content, (str, int, float)) and not isinstance(content, bool)
    match = _CAMPAIGN.fullmatch(to_text(content).strip()) if is_plain else None
    if match is None:
        return never
    outside, alone, campaign_id, differs, variation_id = match.groups()

    def holds(variables: Mapping[str, Any], subject: Subject) -> bool:
        found: Texts = subject.user.web_testing_campaigns or {}
        if alone is not None:
            return (alone in found) is not bool(outside)
        if campaign_id not in found:
            return False
        return (found[campaign_id] == variation_id) is not bool(differs)

    return holds


_NODES: Mapping[str, Callable[[Any, Scope], Predicate]] = {
    **KINDS,
    "and": _compile_and,
    "or": _compile_or,
    "custom_variable": _compile_custom_variable,
    "ua": _compile_user_agent,
    "ip_address": _compile_address,
    "browser_version": partial(_compile_version_of, "browser_version"),
    "os_version": partial(_compile_version_of, "os_version"),
    CAMPAIGN_VARIATION: _compile_campaign_variation,
}
_BY_ID, _BY_HASH = (
    Dialect(
        {**_NODES, "user": partial(_compile_user, is_hashed=is_hashed)},
        compile_fme_operand,
        never,
        find_device_patterns,
    )
    for is_hashed in (False, True)
)
