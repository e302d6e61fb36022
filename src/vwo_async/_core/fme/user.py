"""The user of one FME call: what `User` holds, and what only FME asks about (section F2)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

from ..._error import InvalidInputError
from ..._plain import copy_mapping, is_plain, to_plain
from ..._user import User, Variables, find_text_fault
from ..number import to_text

Texts: TypeAlias = Mapping[str, str]

_MAX_ENTRIES = 1000


class Details(NamedTuple):
    """What a gateway knows of a user's address and browser.

    Attributes:
        location: country, region and city; None if not known.
        user_agent: os, browser_string, device_type, device, browser_version and os_version; None if not known.
    """

    location: Texts | None = None
    user_agent: Texts | None = None

    def __repr__(self) -> str:
        return "<Details>"


class FlagUser(User):
    """The user of one FME call; made once per call and never changed.

    Attributes:
        hash_bytes: What is hashed for bucketing: the bucketing seed where one is given, else the id.
        has_seed: Whether that is a bucketing seed.
        has_address: Whether an address was given, be it an empty one.
        details: The details that the caller gave, None if he gave none.
        web_testing_campaigns: For each web testing campaign of the user his variation, None if not given.
    """

    _ID_NAME = "id"
    _ADDRESS_NAME = "ip_address"

    # Most users have none of these: then nothing is set.
    has_seed = False
    has_address = False
    details: Details | None = None
    web_testing_campaigns: Texts | None = None

    def __init__(
        self,
        user_id: str,
        custom_variables: Variables | None = None,
        variation_targeting_variables: Variables | None = None,
        user_agent: str | None = None,
        user_ip_address: str | None = None,
        bucketing_seed: object = None,
        web_testing_campaigns: object = None,
        details: object = None,
    ) -> None:
        """Check and encode everything.

        Args:
            user_id: As for `User`, like the four that follow.
            custom_variables: Values for segments.
            variation_targeting_variables: Values for whitelisting.
            user_agent: The visitor's user agent.
            user_ip_address: The visitor's address.
            bucketing_seed: Users with the same one get the same variation; a text that is not blank, used
                untrimmed. Anything else is as none, and noted.
            web_testing_campaigns: A mapping from campaign id to variation id, or a JSON text of one.
                Anything else is as an empty mapping, and noted.
            details: A mapping of `location` and `userAgent`, as a gateway answers.

        Raises:
            InvalidInputError: The id cannot be hashed, or variables are no mapping.
        """
        User.__init__(
            self,
            user_id,
            custom_variables,
            variation_targeting_variables,
            user_agent,
            user_ip_address,
        )
        if user_ip_address is not None:
            self.has_address = True
        if bucketing_seed is None and web_testing_campaigns is None and details is None:
            return
        notes = list(self.notes)
        seed = _read_seed(bucketing_seed, notes)
        if seed:
            self.has_seed, self.hash_bytes = True, seed
        self.web_testing_campaigns = _read_campaigns(web_testing_campaigns, notes)
        self.details = None if details is None else read_details(details, notes)
        self.notes = tuple(notes)


def read_details(details: object, notes: list[str]) -> Details:
    """Return what *details*, a gateway's answer or a caller's own, says that can be used.

    Args:
        details: A mapping of `location` and `userAgent`, each a mapping of texts.
        notes: Takes a text for what cannot be used.
    """
    given = _read_mapping(details)
    if given is None:
        notes.append("the details of the user are no mapping that can be used: they are left out")
        return Details()
    return Details(_read_texts(given.get("location")), _read_texts(given.get("userAgent")))


def _read_mapping(value: object) -> dict[Any, Any] | None:
    """Return what is in a mapping, by plain keys; None for what is none, is too long or cannot be read."""
    try:
        found = copy_mapping(value, "")
    except InvalidInputError:
        return None
    if len(found) > _MAX_ENTRIES:
        return None
    plain = ((to_plain(key), to_plain(one)) for key, one in found.items())
    return {key: one for key, one in plain if is_plain(key)}


def _read_texts(values: object) -> Texts | None:
    found = _read_mapping(values)
    if found is None:
        return None
    return {str(key): to_text(value) for key, value in found.items() if _has_text(value)}


def _has_text(value: object) -> bool:
    if type(value) is str:
        return not find_text_fault(value)
    return type(value) in (int, float, bool)


def _read_seed(seed: object, notes: list[str]) -> bytes:
    text = to_plain(seed)
    if text is None:
        return b""
    if find_text_fault(text) or not text.strip():
        notes.append("bucketing_seed is no text that can be hashed: the id is hashed in its place")
        return b""
    encoded: bytes = text.encode()
    return encoded


def _read_campaigns(campaigns: object, notes: list[str]) -> Texts | None:
    plain = to_plain(campaigns)
    if plain is None or (type(plain) is str and not plain):
        return None
    found = _read_mapping(_decode(plain) if type(plain) is str else plain)
    if found is None:
        notes.append("web_testing_campaigns is no mapping that can be used: it is as if empty")
        return {}
    return {
        to_text(key): to_text(value)
        for key, value in found.items()
        if _has_text(key) and _has_text(value)
    }


def _decode(text: str) -> Any:
    if find_text_fault(text):
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
