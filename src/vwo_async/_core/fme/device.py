r"""Patterns of devices (section F6.4): the `wildcard(...)` of a browser, a system or a device.

To both official SDKs it is a regex of which each star is `.*`, whatever else is in it, and letters of either
case are the same. It is searched from the start of the name, as in the Python SDK. A pattern of text and stars,
which most are, needs no regex; any other has the bounds of `regex_bound`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from ..regex_bound import compile_pattern, is_regex

# Flags of the whole regex stand at its start or nowhere.
_FLAGS = re.compile(r"(?:\(\?[aimsux]+\))*")
_SPECIAL = re.compile(r"[.^$+?{}\[\]\\|()]")


class DevicePatternError(Exception):
    """A pattern was met that is no regex, which ends the comparison of devices in the official SDKs."""


def read_device_pattern(operand: str) -> str | None:
    """Return what stands in the `wildcard(...)` of an operand in lower case; None if it is another operand."""
    if operand.startswith("wildcard(") and operand.endswith(")"):
        return operand[len("wildcard(") : -1]
    return None


def is_plain_pattern(content: str) -> bool:
    """Tell whether there is nothing special in it but stars."""
    return _SPECIAL.search(content) is None


def compile_device_pattern(content: str, share: float) -> Callable[[str], bool]:
    """Return the test of a device's name, which raises `DevicePatternError` if the pattern is no regex.

    Args:
        content: The pattern, in lower case.
        share: As for `compile_pattern`; a pattern that could run away matches nothing.
    """
    if is_plain_pattern(content):
        return _compile_plain(content)
    if not is_regex(_to_regex(content)):
        return _refuse
    pattern = compile_device_regex(content, share)
    return (lambda text: False) if pattern is None else pattern


def compile_device_regex(content: str, share: float) -> Callable[[str], bool] | None:
    """Return the test of a pattern that is more than text and stars; None if it is invalid or could run away."""
    regex = _to_regex(content)
    # By itself: within a group more would be a regex.
    if not is_regex(regex):
        return None
    pattern = compile_pattern(_anchor(regex), share)
    return None if pattern is None else pattern.is_in


def _anchor(regex: str) -> str:
    """Return the regex that matches from the start of a name, whatever the case of its letters."""
    found = _FLAGS.match(regex)
    flags = found[0] if found else ""
    # A comment, which one of the flags allows, ends with its line.
    return rf"{flags}\A(?i:{regex[len(flags) :]}" + ("\n)" if "x" in flags else ")")


def _to_regex(content: str) -> str:
    return content.replace("*", ".*")


def _refuse(text: str) -> bool:
    raise DevicePatternError


def _compile_plain(content: str) -> Callable[[str], bool]:
    first, *others = content.split("*")

    # From the start and not to the end, as in the official Python SDK.
    def matches(text: str) -> bool:
        text = text.lower()
        at = len(first) if text.startswith(first) else -1
        for part in others:
            at = -1 if at < 0 else text.find(part, at)
            at = at if at < 0 else at + len(part)
        return at >= 0

    return matches
