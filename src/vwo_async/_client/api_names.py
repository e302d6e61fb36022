"""The names of the API methods by product, and the launch option that says which of them await delivery."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from .._error import InvalidInputError
from .._plain import copy_mapping, is_kind, read_foreign, to_plain
from .option_readers import Reader

ALL = "all"


class ApiNames(NamedTuple):
    """The API methods of one client.

    Attributes:
        client: Its class.
        sending: Those that send, and so can await delivery.
        silent: Those that send nothing, so that waiting for delivery changes nothing.
    """

    client: str
    sending: frozenset[str]
    silent: frozenset[str]


_BOTH = frozenset({"flush_events", "refresh_settings", "room", "set_opt_out"})
FULLSTACK = ApiNames(
    "VWOClient",
    frozenset({"activate", "decide", "is_feature_enabled", "push", "track"}),
    _BOTH
    | {
        "decide_all",
        "explain",
        "get_and_update_settings_file",
        "get_feature_variable_value",
        "get_variation",
        "get_variation_name",
    },
)
FME = ApiNames(
    "FMEClient",
    frozenset({"get_flag", "set_attribute", "track_event"}),
    _BOTH | {"explain", "get_flags", "set_alias"},
)


def awaiting_methods(own: ApiNames, other: ApiNames) -> Reader:
    """Return a reader of ``return_promise_for``, which returns the methods that are to await delivery.

    Args:
        own: The methods of the client that is launched.
        other: Those of the client of the other product, to tell the two apart.
    """

    def read(value: object) -> frozenset[str]:
        if value is None:
            return frozenset()
        chosen = list(_list_choices(value))
        faults = _find_faults([name for name, _ in chosen], own, other)
        if faults:
            raise InvalidInputError(
                f"{', '.join(faults)}: choose of {', '.join(sorted(own.sending))}"
            )
        wanted = {to_snake(name) for name, is_wanted in chosen if is_wanted}
        return own.sending if ALL in wanted else own.sending & wanted

    return read


def _list_choices(value: object) -> Iterable[tuple[Any, bool]]:
    """Return each name that was given, with whether its method is to await delivery."""
    if is_kind(value, Mapping):
        pairs = [(to_plain(name), one) for name, one in copy_mapping(value, "it").items()]
        if any(type(one) is not bool for _, one in pairs):
            raise InvalidInputError("must map API names to bool")
        return pairs
    if is_kind(value, str) or not is_kind(value, Iterable):
        raise InvalidInputError("must be a mapping from API names to bool, or a set of API names")
    names: Any = value
    return [(to_plain(name), True) for name in read_foreign(lambda: list(names), "it")]


def _find_faults(names: Iterable[object], own: ApiNames, other: ApiNames) -> list[str]:
    """Return what is wrong with each of *names*; of a name that is like none, nothing is shown."""
    known = own.sending | own.silent | {ALL}
    faults: list[str] = []
    strange = 0
    for name in names:
        own_name = to_snake(name)
        if own_name in known:
            continue
        if own_name in other.sending | other.silent:
            faults.append(f"{name!r} is a method of {other.client}")
        elif near := find_nearest(name, known):
            faults.append(f"{name!r} is no API method, perhaps {near!r} is meant")
        else:
            strange += 1
    if strange:
        are = "is no API method" if strange == 1 else "are no API methods"
        faults.append(f"{strange} of the names {are}")
    return faults


def to_snake(name: Any) -> Any:
    """Return the name that this package has for what the official SDKs write in camel case."""
    return re.sub(r"(?<=[a-z])[A-Z]", r"_\g<0>", name).lower() if type(name) is str else name


def find_nearest(name: object, known: Iterable[str]) -> str:
    """Return the one of *known* that is probably meant by *name*; empty where none is like it."""
    from difflib import get_close_matches  # noqa: PLC0415 - only where something is wrong

    near = get_close_matches(to_snake(name), known, 1, 0.7) if type(name) is str else ()
    return near[0] if near else ""
