"""Web visitor ids: given as the id of a user, one is his visitor id as it is (section F2.3)."""

from __future__ import annotations

import re

WEB_ID_LENGTH = 33
_WEB_ID = re.compile(r"[DJ][0-9A-Fa-f]{32}").fullmatch


def is_web_id(user_id: str) -> bool:
    """Tell whether *user_id* is the visitor id that VWO's code in a web page gave to a browser."""
    return _WEB_ID(user_id) is not None
