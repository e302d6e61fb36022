"""The events of the product that a test runs on, for tests of delivery that need no client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from chosen_product import is_fme, settings
from sample import ACCOUNT, KEY
from sample import settings as fullstack_settings

from vwo_async._client.fme_user import CallUser
from vwo_async._core.fme.decision import decide_feature
from vwo_async._core.fme.evaluation import NOTHING
from vwo_async._core.fme.lazy_plan import compile_fme_plan
from vwo_async._core.fme.plan import FlagDecision
from vwo_async._core.plan import Plan
from vwo_async._delivery.event import Event
from vwo_async._delivery.event_factory import EventFactory
from vwo_async._delivery.fme_event import FMEAccount
from vwo_async._delivery.fme_event_factory import FMEEventFactory
from vwo_async._delivery.request import Account
from vwo_async._settings import parse_fme_settings, parse_settings
from vwo_async._user import User

PLAN = Plan(parse_settings(fullstack_settings()))
_ACCOUNT: dict[str, Any] = {
    "account_id": ACCOUNT,
    "sdk_key": KEY,
    "collection_prefix": "",
    "sdk_name": "vwo-async",
    "sdk_version": "1",
}


class EventMaker:
    """Makes events of the campaign ``checkout`` as a client of the product does."""

    def __init__(
        self, wall_clock: Callable[[], float], *, is_arch: bool = False, is_batched: bool = False
    ) -> None:
        self._fullstack = EventFactory(
            Account(usage={}, **_ACCOUNT),
            is_arch=is_arch,
            is_batched=is_batched,
            wall_clock=wall_clock,
        )
        self._fme: FMEEventFactory | None = None
        if is_fme():
            account = FMEAccount(**_ACCOUNT)
            self._fme = FMEEventFactory(
                account, ACCOUNT, is_batched=is_batched, wall_clock=wall_clock
            )
            self._fme_plan = compile_fme_plan(parse_fme_settings(settings()))

    def make_conversion(self, user_id: str) -> Event:
        """Return a conversion of the goal ``signup``."""
        if self._fme is not None:
            return self._fme.make_metric(CallUser(user_id), "signup")
        campaign = PLAN.campaigns["checkout"]
        goal = campaign.goals["signup"]
        user = User(user_id)
        return self._fullstack.make_conversion(
            user, campaign, campaign.variations[0], goal, None, is_batch_only=False
        )

    def make_impression(self, user_id: str, user_agent: str = "") -> Event:
        """Return the report that a user was shown a variation."""
        if self._fme is None:
            campaign = PLAN.campaigns["checkout"]
            user = User(user_id, user_agent=user_agent)
            return self._fullstack.make_impression(user, campaign, campaign.variations[0])
        called = CallUser(user_id, user_agent=user_agent)
        decision = decide_feature(self._fme_plan, "checkout", called, NOTHING)
        assert isinstance(decision, FlagDecision)
        (event,) = self._fme.make_impressions(called, decision)
        return event
