"""The settings compiled for deciding, so that a decision need not parse or allocate anything."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .._reason import Reason
from .._settings.campaign_type import FULLSTACK_TYPES, RUNNING
from .api_method import APIS, Api
from .bucketing import Bucketer, Ranges
from .segment import Predicate, compile_segment, note_patterns
from .visitor import make_namer, make_namespace

if TYPE_CHECKING:
    from .._settings import model

_IS_NUMBER = re.compile(r"[0-9]{1,17}").fullmatch
REVENUE_GOAL = "REVENUE_TRACKING"
REPEATABLE = -1


class Goal:
    """A goal of one campaign."""

    __slots__ = (
        "has_props",
        "id",
        "identifier",
        "is_repeatable",
        "is_revenue",
        "revenue_prop",
        "type",
    )

    def __init__(self, goal: model.Goal, goal_id: int, identifier: str) -> None:
        self.id = goal_id
        self.identifier = identifier
        self.type = goal.type
        self.is_revenue = goal.type == REVENUE_GOAL
        self.is_repeatable = goal.mca == REPEATABLE
        self.has_props = goal.has_props
        self.revenue_prop = goal.revenue_prop or None


class Variation:
    """A variation of one campaign, with one shared `Decision` for each reason to give it to a user."""

    __slots__ = (
        "assigned",
        "id",
        "is_feature_enabled",
        "name",
        "stored",
        "variables",
        "weight",
        "whitelisted",
    )

    def __init__(self, variation: model.Variation, position: int, campaign: Campaign) -> None:
        self.id = position if variation.id is None else variation.id
        self.name = variation.name
        self.weight = variation.weight
        self.is_feature_enabled = variation.is_feature_enabled
        self.variables = _index_variables(variation.variables)
        self.assigned = Decision(campaign, self, Reason.ASSIGNED)
        self.stored = Decision(campaign, self, Reason.STORED)
        self.whitelisted = Decision(campaign, self, Reason.WHITELISTED)


class Decision:
    """The decision for a user in a campaign; immutable by convention and shared by all users.

    Attributes:
        campaign: The campaign.
        variation: The variation, or None.
        reason: Why the user gets this variation, or why none.
    """

    __slots__ = ("campaign", "reason", "variation")

    def __init__(self, campaign: Campaign, variation: Variation | None, reason: Reason) -> None:
        self.campaign = campaign
        self.variation = variation
        self.reason = reason

    def __repr__(self) -> str:
        name = None if self.variation is None else self.variation.name
        return f"<Decision {self.campaign.key!r} {name!r} {self.reason}>"


class Group:
    """A mutually exclusive group; *members* are in the order of the file."""

    __slots__ = ("id", "is_equal", "members", "name", "priority", "seed_prefix", "weights")

    def __init__(self, group_id: str, group: model.Group, members: Sequence[Campaign]) -> None:
        self.id = int(group_id) if _IS_NUMBER(group_id) else group_id
        self.name = group.name
        self.members = tuple(members)
        self.is_equal = group.et == 1
        self.priority = group.p
        self.weights = group.wt
        self.seed_prefix = f"{group_id}_".encode()


class Campaign:
    """A campaign ready to decide.

    Attributes:
        refusal: Why no API applies to this campaign (it is not running, or its group is missing), or None.
        percent_traffic: 0..100.
        seed_prefix: Prefix of the user id in the seed of traffic and whitelisting.
        bucket_prefix: Prefix of the user id in the seed of the variation bucket.
        bucket_multiplier: Factor of the bucket value, for campaigns whose traffic and bucket share a seed.
        segment: Pre-segmentation, None if everybody passes.
        segment_tree: The pre-segmentation as in the file.
        bucketer: Decides by the user's hash alone.
        whitelist: (predicate, variation) for each variation that can be forced.
        group: The mutually exclusive group, if any.
    """

    __slots__ = (
        "_refusals",
        "bucket_multiplier",
        "bucket_prefix",
        "bucketer",
        "goals",
        "group",
        "hashes_user_list",
        "id",
        "is_forced_variation_enabled",
        "is_mab",
        "key",
        "name",
        "percent_traffic",
        "ranges",
        "refusal",
        "seed_prefix",
        "segment",
        "segment_tree",
        "type",
        "variables",
        "variations",
        "variations_by_name",
        "whitelist",
    )

    def __init__(self, settings: model.Settings, campaign: model.Campaign) -> None:
        self.id = campaign.id
        self.key = campaign.key
        self.name = campaign.name
        self.type = campaign.type
        self.refusal = None if campaign.status == RUNNING else Reason.CAMPAIGN_NOT_RUNNING
        self.is_mab = campaign.is_mab
        self.is_forced_variation_enabled = campaign.is_forced_variation_enabled
        self.percent_traffic = campaign.percent_traffic
        self.segment_tree = campaign.segments
        self.segment = compile_segment(campaign.segments)
        self.group: Group | None = None
        self.goals = _index_goals(campaign.goals)
        self.variables = _index_variables(campaign.variables)
        self._refusals: dict[Reason, Decision] = {}
        self._compile_variations(campaign)
        self._compile_seeds(settings, campaign)
        self.bucketer: Bucketer[Decision] = Bucketer(
            self.seed_prefix,
            self.percent_traffic,
            self.bucket_prefix,
            self.bucket_multiplier,
            Ranges((variation.weight, variation.assigned) for variation in self.variations),
            not_in_traffic=self.refuse(Reason.NOT_IN_TRAFFIC),
            unowned=self.refuse(Reason.NO_VARIATION),
        )

    def _compile_variations(self, campaign: model.Campaign) -> None:
        self.variations = tuple(
            Variation(variation, position, self)
            for position, variation in enumerate(campaign.variations, start=1)
        )
        self.variations_by_name = {
            variation.name: variation for variation in reversed(self.variations)
        }
        self.ranges = Ranges((variation.weight, variation) for variation in self.variations)
        self.hashes_user_list = campaign.is_user_list_enabled
        self.whitelist = _compile_whitelist(campaign, self.variations)

    def _compile_seeds(self, settings: model.Settings, campaign: model.Campaign) -> None:
        """Choose seeds and multiplier by the flags of old and new bucketing (docs/reference.md, section 3)."""
        by_campaign = settings.is_nb or campaign.is_bucketing_seed_enabled
        self.seed_prefix = f"{campaign.id}_".encode() if by_campaign else b""
        self.bucket_multiplier = 1.0
        if not (settings.is_nb or settings.is_nbv2) or (settings.is_nb and campaign.is_ob):
            self.bucket_prefix = self.seed_prefix
            # Below one percent nobody is in the traffic, and the quotient could be infinite.
            if campaign.percent_traffic >= 1:
                self.bucket_multiplier = 10_000 / campaign.percent_traffic / 100
        elif campaign.is_obv2 if settings.is_nbv2 else True:
            self.bucket_prefix = b""
        else:
            self.bucket_prefix = f"{campaign.id}_{settings.account_id}_".encode()

    def refuse(self, reason: Reason) -> Decision:
        """Return the decision that a user gets no variation of this campaign for this *reason*."""
        decision = self._refusals.get(reason)
        if decision is None:
            # Made when first needed: a campaign uses only a few of the reasons.
            decision = self._refusals[reason] = Decision(self, None, reason)
        return decision

    def __repr__(self) -> str:
        return f"<Campaign {self.key!r}>"


class Plan:
    """A whole settings file compiled; immutable by convention and replaced as a whole.

    Attributes:
        campaigns: By key, in the order of the file.
        ready: For each API name, the campaigns (by key) to which it applies with or without a user storage.
        goals: For each goal identifier, the campaigns with such a goal, each with that goal.
        name_visitor: Returns the visitor id of a user of this account, given the user id in UTF-8.
        notes: Which parts of the file are not used, and why.
    """

    __slots__ = ("campaigns", "goals", "is_event_arch", "name_visitor", "notes", "ready")

    def __init__(self, settings: model.Settings) -> None:
        campaigns = [Campaign(settings, campaign) for campaign in settings.campaigns]
        self.campaigns: Mapping[str, Campaign] = {campaign.key: campaign for campaign in campaigns}
        self.goals = _index_by_goal(campaigns)
        self.name_visitor = make_namer(make_namespace(settings.account_id))
        self.is_event_arch = settings.is_event_arch_enabled
        self.notes = (*note_groups(settings), *_note_campaigns(settings))
        _link_groups(settings, campaigns)
        self.ready: Mapping[str, Mapping[str, Campaign]] = {
            api.name: {one.key: one for one in campaigns if _is_ready(one, api)} for api in APIS
        }


def _is_ready(campaign: Campaign, api: Api) -> bool:
    is_refused = campaign.refusal is not None or (campaign.is_mab and api.refuses_mab)
    return not is_refused and campaign.type in api.types


def _index_variables(variables: Sequence[model.Variable]) -> Mapping[str, tuple[str | None, Any]]:
    """Map each key to (type, value); if a key occurs twice, the first one counts."""
    return {
        variable.key: (variable.type, variable.value)
        for variable in reversed(variables)
        if variable.key is not None
    }


def _index_goals(goals: Sequence[model.Goal]) -> Mapping[str, Goal]:
    """Map each identifier to its first goal; goals without an id, which cannot be sent, are left out."""
    return {
        goal.identifier: Goal(goal, goal.id, goal.identifier)
        for goal in reversed(goals)
        if goal.identifier and goal.id is not None
    }


def _index_by_goal(campaigns: Sequence[Campaign]) -> Mapping[str, Sequence[tuple[Campaign, Goal]]]:
    index: dict[str, list[tuple[Campaign, Goal]]] = {}
    for campaign in campaigns:
        for identifier, goal in campaign.goals.items():
            index.setdefault(identifier, []).append((campaign, goal))
    return index


def _compile_whitelist(
    campaign: model.Campaign, variations: Sequence[Variation]
) -> tuple[tuple[Predicate, Variation], ...]:
    if not campaign.is_forced_variation_enabled:
        return ()
    predicates = (compile_segment(variation.segments) for variation in campaign.variations)
    pairs = zip(predicates, variations, strict=True)
    return tuple((predicate, variation) for predicate, variation in pairs if predicate is not None)


def _link_groups(settings: model.Settings, campaigns: Sequence[Campaign]) -> None:
    by_id = {campaign.id: campaign for campaign in campaigns}
    groups = {
        group_id: Group(group_id, group, [by_id[id_] for id_ in group.campaigns if id_ in by_id])
        for group_id, group in settings.groups.items()
    }
    for campaign in campaigns:
        group_id = settings.campaign_groups.get(str(campaign.id))
        if group_id is None:
            continue
        campaign.group = groups.get(str(group_id))
        if campaign.group is None and campaign.refusal is None:
            # The official SDKs fail on such a campaign, so with them nobody gets it.
            campaign.refusal = Reason.NOT_GROUP_WINNER


def note_groups(settings: model.Settings) -> Iterator[str]:
    """Yield a note for each group that is missing."""
    for campaign_id, group_id in settings.campaign_groups.items():
        if str(group_id) not in settings.groups:
            text = "the group is not there, so nobody gets this campaign"
            yield f"campaignGroups.{ascii(campaign_id[:20])[1:-1]}: {text}"


def _note_campaigns(settings: model.Settings) -> Iterator[str]:
    for index, campaign in enumerate(settings.campaigns):
        yield from note_campaign(index, campaign)


def note_campaign(index: int, campaign: model.Campaign) -> Iterator[str]:
    """Yield which parts of the campaign at *index* in the file are not used, and why."""
    if campaign.type not in FULLSTACK_TYPES:
        yield f"campaigns.{index}.type: not known, so no API applies to this campaign"
    trees = {"segments": campaign.segments}
    for number, variation in enumerate(campaign.variations):
        trees[f"variations.{number}.segments"] = variation.segments
    for name, tree in trees.items():
        yield from note_patterns(f"campaigns.{index}.{name}", tree)
