"""The parts of a settings file that requests are checked against: account, key, campaigns, goals."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from .field import load_json

__all__ = ["Campaign", "Catalogue", "Goal"]

_REVENUE_TYPE = "REVENUE_TRACKING"
_EVERY_TIME = -1


@dataclass(frozen=True, slots=True)
class Goal:
    """A goal of a campaign; *revenue_prop* is the event property that carries its revenue."""

    id: int
    identifier: str
    is_revenue: bool
    revenue_prop: str | None
    is_repeatable: bool


@dataclass(frozen=True, slots=True)
class Campaign:
    """A campaign with its variations' names and its goals, both by id."""

    id: int
    key: str
    variations: Mapping[int, str]
    goals: Mapping[int, Goal]


@dataclass(frozen=True, slots=True)
class Catalogue:
    """A settings file, and the parts of it that requests are checked against.

    Attributes:
        source: The file, byte for byte as it was given.
        account_id: ``accountId`` as text, whether the file has a number or a text.
        sdk_key: ``sdkKey``, or None if the file has none.
        prefix: ``collectionPrefix``, empty if the file has none.
        campaigns: The campaigns by id.
    """

    source: bytes
    account_id: str
    sdk_key: str | None
    prefix: str
    campaigns: Mapping[int, Campaign]

    def __repr__(self) -> str:
        # The generated repr would show the SDK key.
        return f"<Catalogue account_id={self.account_id} campaigns={len(self.campaigns)}>"

    @classmethod
    def read(cls, settings: bytes | str | Mapping[str, object]) -> Catalogue:
        """Read a settings file.

        Args:
            settings: JSON as bytes or text, or the decoded JSON object.

        Raises:
            ValueError: It is not a settings file. The text never holds values of the file.
        """
        source = _to_bytes(settings)
        return _read(source, _as_object(_parse(source), "settings"))


def _to_bytes(settings: bytes | str | Mapping[str, object]) -> bytes:
    if isinstance(settings, bytes):
        return settings
    if isinstance(settings, str):
        return settings.encode()
    return json.dumps(settings).encode()


def _parse(source: bytes) -> object:
    try:
        return load_json(source)
    except ValueError:
        # The cause is hidden: it holds the document, and so the key.
        raise _malformed("not JSON") from None


def _read(source: bytes, settings: Mapping[str, object]) -> Catalogue:
    account_id = settings.get("accountId")
    if isinstance(account_id, bool) or not isinstance(account_id, int | str):
        raise _malformed("accountId must be a number or a text")
    sdk_key = settings.get("sdkKey")
    prefix = settings.get("collectionPrefix")
    campaigns = [_campaign(_as_object(c, "campaign")) for c in _as_list(settings, "campaigns")]
    return Catalogue(
        source=source,
        account_id=str(account_id),
        sdk_key=sdk_key if isinstance(sdk_key, str) and sdk_key else None,
        prefix=prefix if isinstance(prefix, str) else "",
        campaigns={campaign.id: campaign for campaign in campaigns},
    )


def _campaign(campaign: Mapping[str, object]) -> Campaign:
    variations = [_as_object(v, "variation") for v in _as_list(campaign, "variations")]
    goals = [_goal(_as_object(g, "goal")) for g in _as_list(campaign, "goals")]
    return Campaign(
        id=_id(campaign, "campaign"),
        key=str(campaign.get("key", "")),
        variations={_id(v, "variation"): str(v.get("name", "")) for v in variations},
        goals={goal.id: goal for goal in goals},
    )


def _goal(goal: Mapping[str, object]) -> Goal:
    prop = goal.get("revenueProp")
    return Goal(
        id=_id(goal, "goal"),
        identifier=str(goal.get("identifier", "")),
        is_revenue=goal.get("type") == _REVENUE_TYPE,
        revenue_prop=prop if isinstance(prop, str) and prop else None,
        is_repeatable=goal.get("mca") == _EVERY_TIME,
    )


def _id(value: Mapping[str, object], what: str) -> int:
    found = value.get("id")
    if isinstance(found, bool) or not isinstance(found, int | str):
        raise _malformed(f"a {what} has no id")
    try:
        return int(found)
    except ValueError:
        raise _malformed(f"the id of a {what} is not a whole number") from None


def _as_object(value: object, what: str) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise _malformed(f"a {what} must be an object")
    return value


def _as_list(value: Mapping[str, object], key: str) -> list[object]:
    """Return a list; VWO's server writes an empty one as ``{}`` or leaves it out."""
    found = value.get(key) or []
    if not isinstance(found, list):
        raise _malformed(f"{key} must be a list")
    return found


def _malformed(problem: str) -> ValueError:
    return ValueError(f"settings: {problem}")
