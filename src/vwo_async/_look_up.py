"""Why a user gets what he gets, by a settings file of either product: what page and command show.

Users are as new: there is no user storage and no gateway.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from ._client.fme_user import CallUser
from ._core.api_method import DECIDE_ALL
from ._core.decision import find_refusal
from ._core.fme.evaluation import NOTHING
from ._core.fme.plan import FMEPlan
from ._core.fme.trace import trace_feature
from ._core.plan import Campaign, Plan
from ._core.trace import trace
from ._explanation import Explanation, FlagExplanation, Step
from ._settings import parse_fme_settings, parse_settings
from ._user import User

__all__ = ["AskedUser", "LookUp", "explain_campaign", "explain_feature", "load_look_up"]


class AskedUser(NamedTuple):
    """Who is asked about.

    Attributes:
        id: The user id.
        custom_variables: Values for pre-segmentation.
        variation_targeting_variables: Values for whitelisting.
        user_agent: The visitor's, None where unknown.
        ip_address: The visitor's, None where unknown.
        bucketing_seed: What is hashed in place of the id, in FME alone.
    """

    id: str
    custom_variables: Mapping[str, Any] | None = None
    variation_targeting_variables: Mapping[str, Any] | None = None
    user_agent: str | None = None
    ip_address: str | None = None
    bucketing_seed: str | None = None


class LookUp(Protocol):
    """A settings file, compiled.

    Attributes:
        keys: The keys of its campaigns or features, in the order of the file.
    """

    keys: Sequence[str]

    def explain(self, asked: AskedUser, keys: Sequence[str]) -> list[dict[str, Any]]:
        """Return the steps of each decision, as JSON-ready values.

        Raises:
            ValueError: Such a user cannot be decided. The text never holds values.
        """
        ...


def load_look_up(source: bytes, *, is_fme: bool) -> LookUp:
    """Return a settings file, compiled.

    Raises:
        ValueError: The client of this product could not use it.
    """
    return _FMELookUp(source) if is_fme else _FullStackLookUp(source)


def explain_campaign(plan: Plan, campaign: Campaign, user: User) -> Explanation:
    """Return the steps of a decision of FullStack."""
    refusal = find_refusal(campaign, DECIDE_ALL, has_storage=True)
    if refusal is not None:
        text = refusal.value.replace("_", " ")
        return Explanation(campaign.key, None, refusal, (Step("campaign", False, text),))
    found = trace(plan, campaign, user, DECIDE_ALL, None)
    assert isinstance(found, Explanation)
    return found


def explain_feature(plan: FMEPlan, key: str, user: CallUser) -> FlagExplanation:
    """Return the steps of a decision of FME."""
    found = trace_feature(plan, key, user, NOTHING)
    assert isinstance(found, FlagExplanation)
    return found


class _FullStackLookUp:
    def __init__(self, source: bytes) -> None:
        self._plan = Plan(parse_settings(source))
        self.keys: Sequence[str] = list(self._plan.campaigns)

    def explain(self, asked: AskedUser, keys: Sequence[str]) -> list[dict[str, Any]]:
        plan, user = self._plan, User(*asked[:5])
        return [explain_campaign(plan, plan.campaigns[key], user).as_json() for key in keys]


class _FMELookUp:
    def __init__(self, source: bytes) -> None:
        self._plan = FMEPlan(parse_fme_settings(source))
        self.keys: Sequence[str] = list(self._plan.features)

    def explain(self, asked: AskedUser, keys: Sequence[str]) -> list[dict[str, Any]]:
        user = CallUser(*asked)
        return [explain_feature(self._plan, key, user).as_json() for key in keys]
