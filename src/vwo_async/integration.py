"""The integrations callback: told of every decision that gave a variation."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable
from typing import Any

from ._core.api import FEATURE_ROLLOUT, FEATURE_TEST, Api
from ._core.plan import Decision
from ._core.visitor import make_visitor_id
from .options import Integration
from .reason import Reason
from .user import User

logger = logging.getLogger("vwo_async")


class IntegrationCaller:
    """Calls the user's function and keeps what it does from the call it is about.

    Args:
        integration: A plain or an async function. An async one runs in a task of its own, so that it
            does not hold the caller.
    """

    def __init__(self, integration: Integration) -> None:
        self._integration = integration
        self._tasks: set[asyncio.Task[None]] = set()
        self.errors = 0

    def call(self, payload: dict[str, Any]) -> None:
        """Hand over one decision. What the function raises is counted and logged."""
        try:
            returned = self._integration(payload)
        except Exception as error:
            self._failed(error)
            return
        if inspect.isawaitable(returned):
            task = asyncio.create_task(self._finish(returned))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _finish(self, awaitable: Awaitable[Any]) -> None:
        try:
            await awaitable
        except Exception as error:
            self._failed(error)

    def _failed(self, error: Exception) -> None:
        self.errors += 1
        if self.errors & (self.errors - 1) == 0:
            logger.error("integrations: the callback raised %s", type(error).__name__)

    def is_running_here(self) -> bool:
        """Tell whether the current task is one of these calls."""
        return asyncio.current_task() in self._tasks

    async def settle(self, timeout_s: float) -> None:
        """Let running calls end for at most *timeout_s*, then cancel them."""
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=timeout_s)
            for task in late:
                task.cancel()


def make_payload(
    namespace: bytes,
    decision: Decision,
    user: User,
    api: Api,
    sdk_version: str,
    goal_identifier: str | None = None,
) -> dict[str, Any]:
    """Return what the integrations callback is told: the documents' keys in snake_case.

    *decision* must have a variation. A rollout reports ``is_feature_enabled`` in place of a variation;
    group fields are there only for a campaign in a group.
    """
    campaign, variation = decision.campaign, decision.variation
    assert variation is not None
    payload: dict[str, Any] = {
        "event": "CAMPAIGN_DECISION",
        "source": api.name,
        "campaign_id": campaign.id,
        "campaign_key": campaign.key,
        "campaign_name": campaign.name,
        "campaign_type": campaign.type,
        "user_id": user.id,
        "vwo_user_id": make_visitor_id(namespace, user.id_bytes),
        "custom_variables": dict(user.custom_variables),
        "variation_targeting_variables": dict(user.variation_targeting_variables),
        "is_forced_variation_enabled": campaign.is_forced_variation_enabled,
        "is_user_whitelisted": decision.reason is Reason.WHITELISTED,
        "from_user_storage_service": decision.reason is Reason.STORED,
        "sdk_version": sdk_version,
    }
    if goal_identifier is not None:
        payload["goal_identifier"] = goal_identifier
    if campaign.type == FEATURE_ROLLOUT:
        payload["is_feature_enabled"] = True
    else:
        payload["variation_id"] = variation.id
        payload["variation_name"] = variation.name
        if campaign.type == FEATURE_TEST:
            payload["is_feature_enabled"] = variation.is_feature_enabled
    if campaign.group is not None:
        payload["group_id"] = campaign.group.id
        payload["group_name"] = campaign.group.name
    return payload
