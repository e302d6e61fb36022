"""The user of an FME call as callers may give it: a plain id, a context of the official SDKs, or an `FMEUser`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields
from typing import Any, Self, TypeAlias

from .._core.fme.user import FlagUser
from .._core.fme.visitor import is_web_id
from .._error import InvalidInputError
from .._plain import copy_mapping, is_kind, read_fields, read_foreign, to_plain
from .._user import Variables, encode_id, find_text_fault, show_key
from .._value import setters_of
from .arguments import read_name

_MAX_SESSION = 2**53
_MAX_NAMES = 1000
_LISTS = (list, tuple, set, frozenset)


@dataclass(frozen=True, repr=False, init=False)
class FMEUser:
    """A user of an `FMEClient`, for those who need to say more than his id.

    Attributes:
        id: His id: a text of at most 4096 bytes in UTF-8, or a whole number, which is sent as text.
        custom_variables: Values for pre-segmentation.
        variation_targeting_variables: Values for whitelisting.
        post_segmentation_variables: Names of those custom variables that are sent to VWO with what he was
            shown.
        user_agent: That of his browser.
        ip_address: His address.
        session_id: His session, as VWO's code in web pages names it: seconds since the epoch.
        bucketing_seed: Users with the same one get the same variations.
        use_id_for_web: Whether the id is to be the visitor id of VWO's code in web pages; any other is
            then refused.
        platform_variables: ``webTestingCampaigns``, as in the official SDKs.
        details: What a gateway knows of him: a mapping of ``location`` and ``userAgent``.
    """

    __slots__ = (
        "bucketing_seed",
        "custom_variables",
        "details",
        "id",
        "ip_address",
        "platform_variables",
        "post_segmentation_variables",
        "session_id",
        "use_id_for_web",
        "user_agent",
        "variation_targeting_variables",
    )

    id: str | int
    custom_variables: Variables | None
    variation_targeting_variables: Variables | None
    post_segmentation_variables: Sequence[str] | None
    user_agent: str | None
    ip_address: str | None
    session_id: int | None
    bucketing_seed: str | None
    use_id_for_web: bool
    platform_variables: Mapping[str, Any] | None
    details: Mapping[str, Any] | None

    def __init__(
        self,
        id: str | int,  # noqa: A002 - as in a context of the official SDKs
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        post_segmentation_variables: Sequence[str] | None = None,
        user_agent: str | None = None,
        ip_address: str | None = None,
        session_id: int | None = None,
        bucketing_seed: str | None = None,
        use_id_for_web: bool = False,  # noqa: FBT002 - a field like the others
        platform_variables: Mapping[str, Any] | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        _set_id(self, id)
        _set_custom_variables(self, custom_variables)
        _set_targeting_variables(self, variation_targeting_variables)
        _set_post_segmentation_variables(self, post_segmentation_variables)
        _set_user_agent(self, user_agent)
        _set_ip_address(self, ip_address)
        _set_session_id(self, session_id)
        _set_bucketing_seed(self, bucketing_seed)
        _set_use_id_for_web(self, use_id_for_web)
        _set_platform_variables(self, platform_variables)
        _set_details(self, details)

    def __reduce__(self) -> tuple[Any, ...]:
        return FMEUser, tuple([getattr(self, name) for name in _NAMES])

    def __repr__(self) -> str:
        return "<FMEUser>"


(
    _set_id,
    _set_custom_variables,
    _set_targeting_variables,
    _set_post_segmentation_variables,
    _set_user_agent,
    _set_ip_address,
    _set_session_id,
    _set_bucketing_seed,
    _set_use_id_for_web,
    _set_platform_variables,
    _set_details,
) = setters_of(FMEUser)

AnyUser: TypeAlias = str | int | Mapping[str, Any] | FMEUser

_NAMES = tuple(one.name for one in fields(FMEUser))
# What one may write in a context beside the names of `FMEUser` and these in camel case.
_OTHER_NAMES = {
    "_vwo": "details",
    "_wingify": "details",
    "ip": "ip_address",
    "user_ip_address": "ip_address",
    "userIpAddress": "ip_address",
    "user_id": "id",
    "userId": "id",
}
# What the official SDKs know and nothing here depends on.
_IGNORED = frozenset({"uuid", "is_dev_mode", "isDevMode"})


def _to_camel(name: str) -> str:
    return re.sub(r"_(.)", lambda match: match[1].upper(), name)


_READ_AS = {**{_to_camel(name): name for name in _NAMES}, **_OTHER_NAMES} | {
    name: name for name in _NAMES
}


class CallUser(FlagUser):
    """The user of one call, with what is reported about him.

    Attributes:
        session_id: His session, 0 where none was given.
        reported_variables: Names of the custom variables that are sent to VWO with what he was shown.
    """

    session_id: int = 0
    reported_variables: Sequence[str] = ()

    def rename(self, user_id: str) -> Self:
        """Return the same user under another id, which can be hashed."""
        user = copy(self)
        user.id, user.id_bytes = user_id, user_id.encode()
        if not self.has_seed:
            user.hash_bytes = user.id_bytes
        return user


def read_user(user: object, *, has_web_ids: bool = True) -> CallUser:
    """Return the user that a caller gave.

    Args:
        user: See `FMEClient`.
        has_web_ids: Whether the file lets a web visitor id that is given as user id be used as it is.
            Where it does not, `use_id_for_web` means nothing, as in the official SDKs.

    Raises:
        InvalidInputError: He has no id that can be hashed and sent, or variables are no mapping.
    """
    if type(user) is str:
        return CallUser(user)
    if type(user) is FMEUser:
        try:
            return _read_own(user, has_web_ids)
        except AttributeError:
            # It was made without its fields: what follows says so.
            pass
    if is_kind(user, FMEUser):
        fields = read_foreign(lambda: {name: getattr(user, name) for name in _NAMES}, "the user")
        return _read_fields(fields, [], has_web_ids)
    if is_kind(user, Mapping):
        notes: list[str] = []
        return _read_fields(_read_context(user, notes), notes, has_web_ids)
    return CallUser(_read_plain_id(user))


def read_user_id(user: object) -> str:
    """Return the id of the user that a caller gave.

    Raises:
        InvalidInputError: He has no id that can be hashed and sent.
    """
    if is_kind(user, FMEUser):
        given = _read_id(read_foreign(lambda: getattr(user, "id", None), "the user"))
    elif is_kind(user, Mapping):
        given = _read_id(_read_context(user, []).get("id"))
    else:
        given = _read_plain_id(user)
    return CallUser(given).id


def read_alias(user_id: str, alias_id: object) -> tuple[str, str]:
    """Return a user id and an alias of it, without blanks at the ends, as the official SDKs send them.

    Raises:
        InvalidInputError: One of them is no id, or they are the same.
    """
    own, alias = user_id.strip(), read_name(alias_id, "alias_id").strip()
    encode_id(own, "id")
    encode_id(alias, "alias_id")
    if own == alias:
        raise InvalidInputError("alias_id must differ from the id of the user")
    return own, alias


def _read_context(context: object, notes: list[str]) -> dict[str, Any]:
    """Return what an official context says, by the names of `FMEUser`."""
    given = copy_mapping(context, "the user")
    found: dict[str, Any] = {}
    unknown: list[object] = []
    for key, value in ((to_plain(key), one) for key, one in given.items()):
        name = _READ_AS.get(key) if type(key) is str else None
        if name is not None:
            # The names of this package go first.
            if found.get(name) is None or key == name:
                found[name] = value
        elif type(key) is not str or key not in _IGNORED:
            unknown.append(key)
    # One text however many they are: a context may be whatever a visitor has sent.
    if unknown:
        others = f" and {len(unknown) - 1} others" if len(unknown) > 1 else ""
        notes.append(
            f"fields of the user are left out, for their names: {show_key(unknown[0])}{others}"
        )
    return found


def _read_own(given: FMEUser, has_web_ids: bool) -> CallUser:
    """Return the user that an `FMEUser` describes; one of a class derived from it may run foreign code."""
    if given.platform_variables is not None or given.post_segmentation_variables is not None:
        return _read_fields({name: getattr(given, name) for name in _NAMES}, [], has_web_ids)
    user = CallUser(
        _read_id(given.id),
        given.custom_variables,
        given.variation_targeting_variables,
        given.user_agent,
        given.ip_address,
        given.bucketing_seed,
        None,
        given.details,
    )
    if given.use_id_for_web is True:
        _check_web_id(user, has_web_ids)
    if given.session_id is not None:
        _set_session(user, given.session_id)
    return user


def _check_web_id(user: CallUser, has_web_ids: bool) -> None:
    if has_web_ids and not is_web_id(user.id):
        raise InvalidInputError(
            "use_id_for_web: the id is no visitor id of VWO's code in web pages"
        )


def _set_session(user: CallUser, session_id: object) -> None:
    notes: list[str] = []
    user.session_id = _read_session(session_id, notes)
    if notes:
        user.notes = (*user.notes, *notes)


def _read_fields(given: Mapping[str, Any], notes: list[str], has_web_ids: bool) -> CallUser:
    campaigns = _read_web_campaigns(given.get("platform_variables"), notes)
    user = CallUser(
        _read_id(given.get("id")),
        given.get("custom_variables"),
        given.get("variation_targeting_variables"),
        given.get("user_agent"),
        given.get("ip_address"),
        given.get("bucketing_seed"),
        campaigns,
        given.get("details"),
    )
    if given.get("use_id_for_web") is True:
        _check_web_id(user, has_web_ids)
    if given.get("session_id") is not None:
        _set_session(user, given["session_id"])
    if given.get("post_segmentation_variables") is not None:
        user.reported_variables = _read_names(given["post_segmentation_variables"], notes)
    if notes:
        user.notes = (*user.notes, *notes)
    return user


def _read_web_campaigns(platform: object, notes: list[str]) -> object:
    if platform is None:
        return None
    if not is_kind(platform, Mapping):
        notes.append("platform_variables is no mapping: it is left out")
        return None
    try:
        fields = read_fields(platform, "platform_variables")
    except InvalidInputError as error:
        notes.append(f"{error}: it is left out")
        return None
    return fields.get("webTestingCampaigns", fields.get("web_testing_campaigns"))


def _read_id(user_id: object) -> Any:
    """Return an id; a whole number becomes its text, as in the Node SDK. Any other is for `User` to refuse."""
    if type(user_id) is str:
        return user_id
    plain = to_plain(user_id)
    if type(plain) is int and plain.bit_length() < 256:
        return str(plain)
    return plain


def _read_plain_id(user: object) -> Any:
    """Return the id of a user who is given by it alone.

    Raises:
        InvalidInputError: What was given is no user at all.
    """
    found = _read_id(user)
    if type(found) is not str:
        raise InvalidInputError("user must be an id, a mapping with the key 'id', or an FMEUser")
    return found


def _read_session(session_id: object, notes: list[str]) -> int:
    plain = to_plain(session_id)
    if type(plain) is int and 0 <= plain < _MAX_SESSION:
        return plain
    notes.append("session_id is no whole number of seconds: the present time stands for it")
    return 0


def _read_names(names: object, notes: list[str]) -> Sequence[str]:
    given: Any = names
    try:
        found = read_foreign(lambda: list(given), "the names") if is_kind(names, *_LISTS) else None
    except InvalidInputError:
        found = None
    if found is None or len(found) > _MAX_NAMES:
        notes.append("post_segmentation_variables is no list of names: it is left out")
        return ()
    return [one for one in map(to_plain, found) if not find_text_fault(one)]
