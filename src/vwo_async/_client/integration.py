"""What the integrations callback is told of a decision."""

from __future__ import annotations

from typing import Any

from .._core.api_method import Api
from .._core.plan import Decision
from .._core.visitor import Namer
from .._reason import Reason
from .._settings.campaign_type import FEATURE_ROLLOUT, FEATURE_TEST
from .._user import User


def make_payload(
    name_visitor: Namer,
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
        "vwo_user_id": name_visitor(user.id_bytes),
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
