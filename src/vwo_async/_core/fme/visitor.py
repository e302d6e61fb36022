"""The visitor id of an FME user: a web visitor id is used as it is, anything else is hashed."""

from __future__ import annotations

import re

from ..visitor import Namer
from .user import FlagUser

WEB_ID_LENGTH = 33
_WEB_ID = re.compile(r"[DJ][0-9A-Fa-f]{32}").fullmatch


def is_web_id(user_id: str) -> bool:
    """Tell whether *user_id* is the visitor id that VWO's code in a web page gave to a browser."""
    return _WEB_ID(user_id) is not None


def find_visitor_id(
    user: FlagUser, name_visitor: Namer, *, is_web_connectivity_enabled: bool
) -> str:
    """Return the id under which VWO knows *user*.

    Args:
        user: The user.
        name_visitor: Makes the visitor ids of the account, see `make_namer`.
        is_web_connectivity_enabled: As in the settings file.
    """
    if is_web_connectivity_enabled and is_web_id(user.id):
        return user.id
    return name_visitor(user.id_bytes)
