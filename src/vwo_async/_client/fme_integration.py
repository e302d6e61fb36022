"""What the integrations callback of an `FMEClient` is told: the fields of the official Python SDK (section F11)."""

from __future__ import annotations

from typing import Any

from .._core.fme.plan import FlagDecision, Variation
from .._reason import Reason
from .fme_user import CallUser


def make_flag_payload(decision: FlagDecision, user: CallUser) -> dict[str, Any] | None:
    """Return what is told of the decision of a flag; None for what was on record and is not told again."""
    feature = decision.feature
    is_held = decision.reason is Reason.IN_HOLDOUT
    if feature is None or (is_held and not decision.judged_holdouts):
        return None
    if decision.experiment is not None and decision.reason is Reason.STORED:
        return None
    payload: dict[str, Any] = {
        "featureName": feature.name,
        "featureId": feature.id,
        "featureKey": feature.key,
        "userId": user.id,
        "api": "getFlag",
        "holdoutIDs": [one.id for one, is_in in decision.judged_holdouts if is_in],
        "isPartOfHoldout": is_held,
        "isHoldoutPresent": bool(feature.holdouts),
        "isUserPartOfCampaign": decision.is_enabled,
        "custom_variables": {**user.custom_variables, "_vwoUserId": user.id},
        "variation_targeting_variables": {
            **user.variation_targeting_variables,
            "_vwoUserId": user.id,
        },
    }
    if is_held:
        payload["isEnabled"] = False
    reported = {(one.campaign_id, one.variation_id) for one in decision.impressions}
    for kind, given in (("rollout", decision.rollout), ("experiment", decision.experiment)):
        # What is on record was told when it was decided.
        if given is not None and (given.campaign_id, given.id) in reported:
            payload |= _describe(kind, given)
    return payload


def _describe(kind: str, variation: Variation) -> dict[str, Any]:
    return {
        f"{kind}Id": variation.campaign_id,
        f"{kind}Key": variation.campaign_key,
        f"{kind}VariationId": variation.id,
    }


def make_event_payload(event_name: str) -> dict[str, Any]:
    """Return what is told of an event that was accepted."""
    return {"event_name": event_name, "api": "trackEvent"}
