"""One track call: decide every campaign it means, put its conversions on the queue, then tell the storage.

The order is what keeps conversions: the storage learns of one only after the queue has accepted it, so
that none is marked as tracked that was never sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from math import isfinite
from typing import Any, NamedTuple

from .._core.api_method import TRACK
from .._core.decision import Stored
from .._core.goal import Revenue, Target, find_targets, is_repeat, lacks_revenue
from .._core.plan import Campaign, Decision, Goal, Variation
from .._delivery.event import Event
from .._delivery.event_factory import dump_properties
from .._error import InvalidInputError
from .._reason import Reason
from .._result import CampaignTrack, Receipt, receipt_of
from .._user import User, check_text
from ..storage.protocol import StoredDecision
from .options import GoalType, read_goal_type
from .snapshot import Snapshot
from .stored_records import StoredRecords

MAX_CAMPAIGN_KEYS = 1000
MAX_DIGITS = 100


class Properties(NamedTuple):
    """Event properties, and their JSON text less what only VWO's SDKs may set."""

    given: Mapping[str, Any]
    json: str


NO_PROPERTIES = Properties({}, "")


class TrackCall:
    """The checked arguments of one track call; a plain class, since one is made for each."""

    __slots__ = (
        "campaign_keys",
        "goal_identifier",
        "goal_type",
        "meta_data",
        "properties",
        "revenue",
        "tracks_returning_user",
        "user",
    )

    def __init__(
        self,
        user: User,
        campaign_keys: Sequence[str] | None,
        goal_identifier: str,
        goal_type: GoalType,
        revenue: Revenue,
        properties: Properties,
        tracks_returning_user: bool,
        meta_data: Mapping[str, Any],
    ) -> None:
        self.user = user
        self.campaign_keys = campaign_keys
        self.goal_identifier = goal_identifier
        self.goal_type = goal_type
        self.revenue = revenue
        self.properties = properties
        self.tracks_returning_user = tracks_returning_user
        self.meta_data = meta_data


class Conversion(NamedTuple):
    """A conversion that may be counted: a target with the user's variation."""

    campaign: Campaign
    goal: Goal
    decision: Decision
    variation: Variation


def read_campaign_keys(specifier: object) -> Sequence[str] | None:
    """Return the campaign keys that *specifier* names, None for all campaigns.

    Raises:
        InvalidInputError: It is no non-empty str, no list or tuple of str, and not None.
    """
    if isinstance(specifier, str):
        if specifier:
            check_text(specifier, "campaign_key")
            return (specifier,)
    elif specifier is None:
        return None
    elif isinstance(specifier, (list, tuple, set, frozenset)):
        return _read_key_list(list(specifier))
    raise InvalidInputError("campaign_key must be a non-empty str, a list of str, or None")


def _read_key_list(keys: list[Any]) -> Sequence[str]:
    if len(keys) > MAX_CAMPAIGN_KEYS:
        raise InvalidInputError(f"campaign_key names more than {MAX_CAMPAIGN_KEYS} campaigns")
    for key in keys:
        check_text(key, "a campaign key")
    return keys


def read_revenue(value: object) -> Revenue:
    """Return *value* as revenue; None, 0, False and an empty text mean none.

    True is passed through as the official SDKs do.

    Raises:
        InvalidInputError: It is not a finite int, float or Decimal or a text of at most 100 characters.
    """
    if value is None or isinstance(value, bool):
        return value or None
    if isinstance(value, str):
        check_text(value, "revenue_value", 100)
        if value.strip().lstrip("+-").lower() in ("nan", "inf", "infinity"):
            raise InvalidInputError("revenue_value must be finite")
        return value
    if not isinstance(value, (int, float, Decimal)):
        raise InvalidInputError("revenue_value must be an int, float, Decimal or str")
    if not _is_printable(value):
        raise InvalidInputError("revenue_value must be finite, with at most 100 digits")
    return value


def _is_printable(value: float | Decimal) -> bool:
    """Tell whether a number is finite and short: printing must not take long, whoever chose it."""
    if isinstance(value, Decimal):
        exponent = value.as_tuple().exponent
        return (
            isinstance(exponent, int) and exponent >= -MAX_DIGITS and value.adjusted() < MAX_DIGITS
        )
    return isfinite(value) if isinstance(value, float) else value.bit_length() < 3 * MAX_DIGITS


def read_properties(properties: object) -> Properties:
    """Return event properties with their JSON text.

    Raises:
        InvalidInputError: Not a dict, or not to be written as JSON.
    """
    if not isinstance(properties, dict):
        raise InvalidInputError("event_properties must be a dict")
    return Properties(properties, dump_properties(properties))


def read_goal_choice(value: object) -> GoalType:
    """Return the goal type that a call asks for.

    Raises:
        InvalidInputError: It names no goal type.
    """
    try:
        return read_goal_type(value)
    except InvalidInputError as error:
        raise InvalidInputError(f"goal_type_to_track {error}") from None


def sort_targets(
    snapshot: Snapshot, call: TrackCall, *, has_storage: bool
) -> tuple[list[Target], dict[str, CampaignTrack]]:
    """Return every target of the call, and by key those refused before any decision."""
    plan = snapshot.plan
    targets = find_targets(
        plan, call.campaign_keys, call.goal_identifier, call.goal_type, has_storage=has_storage
    )
    refused = {}
    for target in targets:
        refusal = target.refusal
        if (
            refusal is None
            and target.goal is not None
            and lacks_revenue(
                target.goal, call.revenue, call.properties.given, is_event_arch=plan.is_event_arch
            )
        ):
            refusal = Reason.REVENUE_REQUIRED
        if refusal is not None:
            refused[target.key] = CampaignTrack(False, refusal)
    return targets, refused


async def find_conversions(
    snapshot: Snapshot,
    call: TrackCall,
    targets: Sequence[Target],
    stored_records: StoredRecords,
    results: dict[str, CampaignTrack],
) -> list[Conversion]:
    """Decide the targets that are still open; what is refused goes into *results*."""
    open_targets = [
        (target.campaign, target.goal)
        for target in targets
        if target.key not in results and target.campaign is not None and target.goal is not None
    ]
    campaigns = [campaign for campaign, _ in open_targets]
    decisions = await stored_records.decide(snapshot.plan, campaigns, TRACK)
    conversions = []
    for (campaign, goal), decision in zip(open_targets, decisions, strict=True):
        variation = decision.variation
        if variation is None:
            results[campaign.key] = CampaignTrack(False, decision.reason)
        elif is_repeat(
            goal,
            _find_record(decision, stored_records),
            tracks_returning_user=call.tracks_returning_user,
        ):
            results[campaign.key] = CampaignTrack(False, Reason.ALREADY_TRACKED, variation.name)
        else:
            conversions.append(Conversion(campaign, goal, decision, variation))
    return conversions


def _find_record(decision: Decision, stored_records: StoredRecords) -> Stored | None:
    """Return the record by which the decision was made; one of a variation that is gone counts for nothing."""
    return stored_records.find(decision.campaign) if decision.reason is Reason.STORED else None


def make_events(
    snapshot: Snapshot, call: TrackCall, conversions: Sequence[Conversion], targets: int
) -> list[Event]:
    """Return the events of a call: one for each conversion, or on the event architecture one for all.

    Args:
        snapshot: In whose name.
        call: The call.
        conversions: At least one.
        targets: How many campaigns were asked for: several go in batch form although one is left.
    """
    factory = snapshot.event_factory
    if factory.is_arch:
        goals = [(one.campaign, one.goal) for one in conversions]
        return [
            factory.make_arch_conversion(
                call.user, call.goal_identifier, goals, call.revenue, call.properties.json
            )
        ]
    return [
        factory.make_conversion(
            call.user,
            one.campaign,
            one.variation,
            one.goal,
            _find_revenue(snapshot, call, one.goal),
            is_batch_only=targets > 1,
        )
        for one in conversions
    ]


def _find_revenue(snapshot: Snapshot, call: TrackCall, goal: Goal) -> Revenue:
    """Return the revenue of a classic event: only a revenue goal carries it.

    Batched events of the event architecture may have it from the property that the goal names.
    """
    if call.revenue and goal.is_revenue:
        return call.revenue
    if snapshot.plan.is_event_arch and goal.revenue_prop is not None:
        value = call.properties.given.get(goal.revenue_prop)
        return value if isinstance(value, (str, int, float, Decimal)) else None
    return None


def accept(
    conversions: Sequence[Conversion],
    receipts: Sequence[Receipt | None],
    results: dict[str, CampaignTrack],
) -> list[Conversion]:
    """Enter into *results* what the queue said of each conversion; return those that it accepted.

    Args:
        conversions: What was put.
        receipts: One for each, or a single one for all; None for what there was no room for.
        results: By campaign key.
    """
    if len(receipts) == 1:
        receipts = [receipts[0]] * len(conversions)
    accepted = []
    for one, receipt in zip(conversions, receipts, strict=True):
        if receipt is None:
            results[one.campaign.key] = CampaignTrack(False, Reason.QUEUE_FULL, one.variation.name)
        else:
            results[one.campaign.key] = CampaignTrack(
                True, Reason.TRACKED, one.variation.name, receipt
            )
            accepted.append(one)
    return accepted


def make_record(
    call: TrackCall, one: Conversion, stored_records: StoredRecords
) -> StoredDecision | None:
    """Return what the storage must learn of an accepted conversion, None for nothing.

    A forced variation must not stick, so a whitelisted user is not stored.
    """
    if one.decision.reason is Reason.WHITELISTED:
        return None
    stored = _find_record(one.decision, stored_records)
    goals = () if stored is None else stored.goals
    if one.goal.identifier in goals:
        return None
    return StoredDecision(
        call.user.id,
        one.campaign.key,
        one.variation.name,
        tuple(dict.fromkeys((*goals, one.goal.identifier))),
        call.meta_data,
    )


def conclude(results: Mapping[str, CampaignTrack]) -> dict[str, CampaignTrack]:
    """Return the results as they stand once delivery was awaited: tracked only what VWO received."""
    return {key: _conclude_one(one) for key, one in results.items()}


def _conclude_one(one: CampaignTrack) -> CampaignTrack:
    receipt = receipt_of(one)
    if receipt is None:
        return one
    outcome = receipt.outcome
    if outcome is None:
        return CampaignTrack(False, Reason.PENDING, one.variation_name, receipt)
    if not outcome:
        return CampaignTrack(False, Reason.NOT_DELIVERED, one.variation_name, receipt)
    return one


def in_order(
    targets: Sequence[Target], results: Mapping[str, CampaignTrack]
) -> dict[str, CampaignTrack]:
    """Return *results* in the order in which the campaigns were asked for."""
    return {target.key: results[target.key] for target in targets}
