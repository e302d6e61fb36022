"""A v2 settings file compiled for deciding, so that a decision need not parse anything (section F1.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from ..._flag import FlagRule, FlagVariation
from ..._reason import Reason
from ..._settings.campaign_type import FME_TYPES, PERSONALIZE, ROLLOUT, TESTING
from ..bucketing import Bucketer, Ranges
from ..segment import Predicate
from ..visitor import make_namer, make_namespace
from .record import GROUP_KEY, FeatureRecord, StoredVariation, make_row
from .segment import (
    asks_variables_alone,
    compile_fme_segment,
    find_feature_ids,
    needs_gateway,
    note_fme_patterns,
)

if TYPE_CHECKING:
    from ..._settings import fme as model

IMPACT_OFF = 1
IMPACT_ON = 2

# The member of a group: a campaign, and for a personalize rule its variation.
Member: TypeAlias = tuple[int, int | None]


class Variation:
    """A variation of one campaign.

    Attributes:
        id: Its id, unique within the campaign.
        campaign_id: The id of its campaign.
        campaign_key: The key of its campaign.
        name: Its name.
        weight: 0..100.
        variables: The flag's variables, in the order of the file.
        stored: What stands in a stored record for this variation.
        shown: What callers get of it.
    """

    __slots__ = (
        "_has_mutable",
        "_variables",
        "campaign_id",
        "campaign_key",
        "id",
        "name",
        "shown",
        "stored",
        "variables",
        "weight",
    )

    def __init__(self, campaign: model.Campaign, variation: model.Variation) -> None:
        self.id = variation.id
        self.campaign_id = campaign.id
        self.campaign_key = campaign.key
        self.name = variation.name
        self.weight = variation.weight
        self.stored = StoredVariation(campaign.id, campaign.key, variation.id)
        self.variables = variation.variables
        self.shown = FlagVariation(variation.id, variation.name, campaign.id, campaign.key)
        self._variables = tuple(
            {"key": one.key, "value": one.value, "type": one.type, "id": one.id}
            for one in variation.variables
        )
        values = [one.value for one in variation.variables]
        self._has_mutable = not all(isinstance(value, (str, int, float)) for value in values)

    def copy_variables(self) -> tuple[dict[str, Any], ...]:
        """Return the variables as callers get them, of which nothing is shared: a caller may change them."""
        return deepcopy(self._variables) if self._has_mutable else tuple(map(dict, self._variables))

    def __repr__(self) -> str:
        return f"<Variation {self.campaign_key!r} {self.name!r}>"


class RuleResult:
    """What one rule gives to a user, or why it gives nothing; shared by all users.

    Attributes:
        rule: The rule; None if the variation was on record.
        variation: The variation, or None.
        reason: Why this one, or why none.
    """

    __slots__ = ("reason", "rule", "variation")

    def __init__(self, rule: Rule | None, variation: Variation | None, reason: Reason) -> None:
        self.rule = rule
        self.variation = variation
        self.reason = reason


class Impression(NamedTuple):
    """That a user was shown something, as it is reported.

    Attributes:
        campaign_id: The campaign's, the holdout's or the impact campaign's id.
        variation_id: The variation's id; of a holdout 1 for in and 2 for not in; of an impact campaign 2 for on.
        is_holdout: Whether it is a holdout's.
    """

    campaign_id: int
    variation_id: int
    is_holdout: bool = False


class FlagDecision:
    """The decision of a flag; immutable by convention, and shared by all users where nothing is their own.

    Attributes:
        feature: The feature, None if the file has none of that key.
        reason: Why the flag is on or off.
        rollout: The variation of the rollout that the user passed, if any.
        experiment: The variation of the test or personalisation that the user got, if any.
        variation: The one of these two whose variables the flag has; they are never merged.
        rule: The rule that gave the variation or refused it last; None for a stored decision and without rules.
        judged_holdouts: The holdouts that were judged for the first time, and whether the user is in them.
        impressions: What is to be reported, in order.
        records: The records to store, by key, each with the id of its feature if it is one's.
        notes: What was left out, and why.
    """

    __slots__ = (
        "experiment",
        "feature",
        "impressions",
        "judged_holdouts",
        "notes",
        "reason",
        "records",
        "rollout",
        "rule",
        "variation",
    )

    def __init__(
        self,
        feature: Feature | None,
        rollout: RuleResult | None = None,
        experiment: RuleResult | None = None,
        reason: Reason = Reason.NO_RULE,
    ) -> None:
        self.feature = feature
        self.rollout = None if rollout is None else rollout.variation
        self.experiment = None if experiment is None else experiment.variation
        self.variation = self.experiment or self.rollout
        # A refusal counts only if nothing was given before it.
        last = rollout if experiment is None or self.variation is self.rollout else experiment
        last = last or experiment
        self.reason = reason if last is None else last.reason
        self.rule = None if last is None else last.rule
        self.judged_holdouts: tuple[tuple[Holdout, bool], ...] = ()
        self.impressions = tuple(_list_impressions(feature, rollout, experiment))
        self.records: Mapping[str, tuple[FeatureRecord, int | None]] = {}
        self.notes: tuple[str, ...] = ()

    @property
    def is_enabled(self) -> bool:
        """Whether the flag is on."""
        return self.variation is not None

    def make_rows(self, user_id: str) -> list[dict[str, Any]]:
        """Return the records to store, in the official shape and in order."""
        return [
            make_row(key, user_id, record, feature_id)
            for key, (record, feature_id) in self.records.items()
        ]

    def __repr__(self) -> str:
        key = None if self.feature is None else self.feature.key
        return f"<FlagDecision {key!r} {'on' if self.is_enabled else 'off'} {self.reason}>"


def _list_impressions(
    feature: Feature | None, rollout: RuleResult | None, experiment: RuleResult | None
) -> Iterator[Impression]:
    given = [one for one in (rollout, experiment) if one is not None and one.variation is not None]
    for result in given:
        # What is on record was reported when it was stored.
        if result.reason is not Reason.STORED and result.variation is not None:
            yield Impression(result.variation.campaign_id, result.variation.id)
    is_settled = experiment is not None and experiment.reason is Reason.STORED
    if feature is not None and feature.impact_campaign_id is not None and not is_settled:
        yield Impression(feature.impact_campaign_id, IMPACT_ON if given else IMPACT_OFF)


class Group:
    """A mutually exclusive group.

    Attributes:
        id: Its id, as text.
        is_random: Whether all competitors have equal shares; else priority decides, then weights.
        priority: Names of members, see `Rule.names`; the first that competes wins.
        weights: For names of members, percentages.
        seed_prefix: Prefix of the hashed bytes in the seed.
        record_key: The key under which the winner is stored.
        entrants: The features of the group, each with its rules that are members; in the order of the members.
        record_keys: The keys of all records that deciding the group can need.
    """

    __slots__ = (
        "entrants",
        "id",
        "is_random",
        "priority",
        "record_key",
        "record_keys",
        "seed_prefix",
        "weights",
    )

    def __init__(
        self, group_id: str, group: model.Group, features: Mapping[str, Sequence[Feature]]
    ) -> None:
        self.id = group_id
        self.is_random = group.et == 1
        self.priority = group.p
        self.weights = group.wt
        self.seed_prefix = f"{group_id}_".encode()
        self.record_key = f"{GROUP_KEY}{group_id}"
        self.entrants = tuple(_find_entrants(group.campaigns, features))
        self.record_keys = (self.record_key, *(one.key for one, _ in self.entrants))


class Rule:
    """A rule of one feature.

    Attributes:
        key: Its key.
        type: ``FLAG_ROLLOUT``, ``FLAG_TESTING`` or ``FLAG_PERSONALIZE``: that of its campaign.
        campaign_id: The id of its campaign.
        campaign_key: The key of its campaign.
        variations: What the rule can give; a rollout or personalize rule gives the first one.
        member: What it is in its group.
        names: The texts that name it in a group.
        entry_names: The texts in a group for which its feature takes part.
        segment: Pre-segmentation, None if everybody passes.
        segment_tree: The same as in the file.
        bucketer: Decides by the user's hash alone.
        percent_traffic: 0..100.
        bucket_prefix: Prefix of the hashed bytes in the seed of the bucket.
        ranges: The owners of the bucket values.
        not_in_segment: The result of a user who does not pass the segment.
        not_winner: The result of a user whom another rule of the group has.
        whitelist: (predicate, result) for each variation that can be forced.
        whitelist_prefix: Prefix of the hashed bytes in the seed of the traffic, which also chooses among
            forced variations.
        group_id: The id of its group, if any.
        group: The group; None without one, and if it is not there.
        python_key: The key of its campaign as the Python SDK writes it in stored records.
        shown: What callers get of it.
    """

    __slots__ = (
        "bucket_prefix",
        "bucketer",
        "campaign_id",
        "campaign_key",
        "entry_names",
        "group",
        "group_id",
        "key",
        "member",
        "names",
        "not_in_segment",
        "not_winner",
        "percent_traffic",
        "python_key",
        "ranges",
        "segment",
        "segment_tree",
        "shown",
        "type",
        "variations",
        "whitelist",
        "whitelist_prefix",
    )

    def __init__(
        self,
        settings: model.FMESettings,
        feature: model.Feature,
        rule: model.Rule,
        campaign: model.Campaign,
    ) -> None:
        self.key = rule.rule_key
        self.type = campaign.type
        self.campaign_id = campaign.id
        self.campaign_key = campaign.key
        self.python_key = f"{feature.key}_{rule.rule_key}"
        self.shown = FlagRule(rule.rule_key, campaign.type, campaign.id)
        chosen = _narrow(campaign, rule.variation_id)
        variations = {one.id: Variation(campaign, one) for one in campaign.variations}
        self.variations = tuple(variations[one.id] for one in chosen)
        self.not_in_segment = RuleResult(self, None, Reason.NOT_IN_SEGMENT)
        self.not_winner = RuleResult(self, None, Reason.NOT_GROUP_WINNER)
        self.whitelist = self._compile_whitelist(campaign, chosen)
        if campaign.type == TESTING:
            self._compile_test(settings, campaign, chosen, variations)
        else:
            self._compile_single(campaign, chosen[0])
        self._join_group(settings)
        # What the file says counts here, also where the campaign has no such variation.
        self.entry_names = name_member(campaign.id, rule.variation_id)

    def _compile_whitelist(
        self, campaign: model.Campaign, chosen: Sequence[model.Variation]
    ) -> tuple[tuple[Predicate, RuleResult], ...]:
        if campaign.type != TESTING or not campaign.is_forced_variation_enabled:
            return ()
        hashes = campaign.is_user_list_enabled
        predicates = [compile_fme_segment(one.segments, hashes_user_list=hashes) for one in chosen]
        pairs = zip(predicates, self.variations, strict=True)
        return tuple(
            (predicate, RuleResult(self, variation, Reason.WHITELISTED))
            for predicate, variation in pairs
            if predicate is not None
        )

    def _compile_test(
        self,
        settings: model.FMESettings,
        campaign: model.Campaign,
        chosen: Sequence[model.Variation],
        variations: Mapping[int, Variation],
    ) -> None:
        """A testing rule is judged by its campaign, and has the ranges of all its variations (section F3.2)."""
        name = campaign.salt or str(campaign.id)
        results = [
            RuleResult(self, variations[one.id], Reason.ASSIGNED)
            if one in chosen
            else RuleResult(self, None, Reason.NO_VARIATION)
            for one in campaign.variations
        ]
        shares = zip((one.weight for one in campaign.variations), results, strict=True)
        seed, bucket_seed = f"{name}_".encode(), f"{name}_{settings.account_id}_".encode()
        self._set_bucketer(seed, campaign.percent_traffic or 0, bucket_seed, Ranges(shares))
        self.segment_tree = campaign.segments
        self.segment = compile_fme_segment(
            campaign.segments, hashes_user_list=campaign.is_user_list_enabled
        )

    def _compile_single(self, campaign: model.Campaign, first: model.Variation) -> None:
        """A rollout or personalize rule is judged by its first variation, whose weight is the traffic."""
        result = RuleResult(self, self.variations[0], Reason.ASSIGNED)
        seed = f"{first.salt or campaign.id}_".encode()
        self._set_bucketer(seed, first.weight, seed, Ranges([(100, result)]))
        self.segment_tree = first.segments
        self.segment = compile_fme_segment(
            first.segments, hashes_user_list=campaign.is_user_list_enabled
        )

    def _set_bucketer(
        self, seed: bytes, traffic: float, bucket_seed: bytes, ranges: Ranges[RuleResult]
    ) -> None:
        self.whitelist_prefix = seed
        self.percent_traffic, self.bucket_prefix = traffic, bucket_seed
        self.ranges = ranges
        self.bucketer: Bucketer[RuleResult] = Bucketer(
            seed,
            traffic,
            bucket_seed,
            1,
            ranges,
            not_in_traffic=RuleResult(self, None, Reason.NOT_IN_TRAFFIC),
            unowned=RuleResult(self, None, Reason.NO_VARIATION),
        )

    def _join_group(self, settings: model.FMESettings) -> None:
        first = self.variations[0].id if self.variations else None
        self.member: Member = (self.campaign_id, first if self.type == PERSONALIZE else None)
        self.names = name_member(self.campaign_id, first)
        name = self.names[self.type == PERSONALIZE]
        self.group_id = settings.campaign_groups.get(name)
        self.group: Group | None = None

    def __repr__(self) -> str:
        return f"<Rule {self.key!r}>"


class Holdout:
    """A share of all users that gets no feature of some, or of all.

    Attributes:
        id: Its id.
        is_global: Whether it holds back all features.
        feature_ids: Ids of the features that it holds back if it is not global.
        segment: Pre-segmentation, None if everybody passes.
        needs_details: Whether the segment asks what only a gateway knows of the user.
        watched_ids: Ids of the features whose records the segment asks about.
        bucketer: Tells whether the user is in its share; it is given the user id, never the seed.
        percent_traffic: Its share.
        seed_prefix: Prefix of the user id in the hashed seed.
    """

    __slots__ = (
        "bucketer",
        "feature_ids",
        "id",
        "is_global",
        "needs_details",
        "percent_traffic",
        "seed_prefix",
        "segment",
        "watched_ids",
    )

    def __init__(self, settings: model.FMESettings, holdout: model.Holdout) -> None:
        self.id = holdout.id
        self.is_global = holdout.is_global
        self.feature_ids = frozenset(holdout.feature_ids)
        self.segment = compile_fme_segment(holdout.segments)
        # Every feature asks for these two, so the tree is walked here, once.
        self.needs_details = needs_gateway(holdout.segments)
        self.watched_ids = frozenset(find_feature_ids(holdout.segments))
        prefix = f"{settings.account_id}_{holdout.id}_".encode()
        self.percent_traffic, self.seed_prefix = holdout.percent_traffic, prefix
        self.bucketer: Bucketer[bool] = Bucketer(
            prefix,
            holdout.percent_traffic,
            prefix,
            1,
            Ranges([(100, True)]),
            not_in_traffic=False,
            unowned=False,
        )

    def applies_to(self, feature_id: int) -> bool:
        """Tell whether the feature is one of those that it holds back."""
        return self.is_global or feature_id in self.feature_ids


class Feature:
    """A feature ready to decide.

    Attributes:
        id: Its id.
        key: Its key.
        name: Its name.
        rollout_rules: In the order of the file, as all rules.
        experiment_rules: The testing and the personalize rules.
        holdouts: Those that apply to it.
        impact_campaign_id: The campaign that measures its impact, if any.
        is_plain: Whether hashes and custom variables alone decide where there is no gateway: no whitelisting,
            group or holdout has a say, and no segment asks about anything else.
        needs_details: Whether a segment, or one of any holdout, asks what only a gateway knows of the user.
        watched_ids: Ids of the features whose records its segments, or those of any holdout, ask about.
    """

    __slots__ = (
        "_decisions",
        "experiment_rules",
        "holdouts",
        "id",
        "impact_campaign_id",
        "is_plain",
        "key",
        "name",
        "needs_details",
        "rollout_rules",
        "watched_ids",
    )

    def __init__(
        self,
        settings: model.FMESettings,
        feature: model.Feature,
        campaigns: Mapping[int, model.Campaign],
        holdouts: Sequence[Holdout],
    ) -> None:
        self.id = feature.id
        self.key = feature.key
        self.name = feature.name
        self.impact_campaign_id = feature.impact_campaign.campaign_id or None
        linked = [
            (one, campaigns[one.campaign_id]) for one in feature.rules if _is_usable(one, campaigns)
        ]
        rules = [Rule(settings, feature, one, campaign) for one, campaign in linked]
        self.rollout_rules = tuple(one for one in rules if one.type == ROLLOUT)
        self.experiment_rules = tuple(one for one in rules if one.type != ROLLOUT)
        self.holdouts = tuple(one for one in holdouts if one.applies_to(feature.id))
        trees = [tree for _, campaign in linked for tree in name_trees(campaign).values()]
        # *holdouts* are all of the file; here those that do not apply to the feature count too. As in the
        # official SDKs, whitelisting alone asks nobody.
        self.needs_details = any(one.needs_details for one in holdouts) or any(
            needs_gateway(rule.segment_tree) for rule in rules
        )
        self.watched_ids = frozenset[int]().union(
            *map(find_feature_ids, trees), *(one.watched_ids for one in holdouts)
        )
        self.is_plain = not self.holdouts and all(
            not one.whitelist and one.group_id is None and asks_variables_alone(one.segment_tree)
            for one in rules
        )
        self._decisions: dict[tuple[RuleResult | None, RuleResult | None], FlagDecision] = {}

    @property
    def rules(self) -> tuple[Rule, ...]:
        """All rules, the rollout rules first."""
        return (*self.rollout_rules, *self.experiment_rules)

    def find_decision(
        self, rollout: RuleResult | None, experiment: RuleResult | None
    ) -> FlagDecision:
        """Return the decision that these two results lead to; there are few, and each is made once."""
        pair = (rollout, experiment)
        decision = self._decisions.get(pair)
        if decision is None:
            decision = self._decisions[pair] = FlagDecision(self, rollout, experiment)
        return decision

    def __repr__(self) -> str:
        return f"<Feature {self.key!r}>"


class FMEPlan:
    """A whole v2 settings file compiled; immutable by convention and replaced as a whole.

    Attributes:
        features: By key, in the order of the file.
        features_by_id: The same by id.
        ready: Those of them, by key, that are compiled already: in a plain dict, and so found quickly.
        name_visitor: Returns the visitor id of a user of this account, given the user id in UTF-8.
        notes: Which parts of the file are not used, and why.
    """

    __slots__ = (
        "_campaigns",
        "_rules",
        "_stored",
        "features",
        "features_by_id",
        "name_visitor",
        "notes",
        "ready",
    )

    def __init__(
        self, settings: model.FMESettings, pause: Callable[[], object] = lambda: None
    ) -> None:
        campaigns = {one.id: one for one in settings.campaigns}
        holdouts = [Holdout(settings, one) for one in settings.holdouts]
        self.name_visitor = make_namer(make_namespace(settings.account_id))
        features = []
        for feature in settings.features:
            pause()
            features.append(Feature(settings, feature, campaigns, holdouts))
        self.ready = {one.key: one for one in features}
        self.features: Mapping[str, Feature] = self.ready
        self.features_by_id: Mapping[int, Feature] = {one.id: one for one in features}
        self._stored: dict[tuple[str, int], RuleResult] = {}
        self._campaigns: Mapping[str, model.Campaign] = {
            one.key: one for one in reversed(settings.campaigns)
        }
        self._rules: Mapping[str, Sequence[Rule]] = index_rules(features)
        link_groups(features, settings.campaign_groups, make_groups(settings, features))
        self.notes = tuple(_note(settings, campaigns, pause))

    def find_stored(self, stored: StoredVariation) -> RuleResult | None:
        """Return the result that gives the variation on record, None if it is no longer there."""
        if stored.variation_id is None:
            return None
        name = (stored.key, stored.variation_id)
        result = self._stored.get(name)
        if result is None:
            result = self._make_stored(stored.key, stored.variation_id)
            if result is not None:
                # Only for what is in the file: records could name anything.
                self._stored[name] = result
        return result

    def _make_stored(self, key: str, variation_id: int) -> RuleResult | None:
        """The campaign's own key goes first, then the Python SDK's form of it."""
        campaign = self._campaigns.get(key)
        if campaign is not None:
            for variation in campaign.variations:
                if variation.id == variation_id:
                    return RuleResult(None, Variation(campaign, variation), Reason.STORED)
        for rule in self._rules.get(key, ()):
            for one in rule.variations:
                if one.id == variation_id:
                    return RuleResult(None, one, Reason.STORED)
        return None

    def list_record_keys(self, feature: Feature) -> tuple[str, ...]:
        """Return the keys of all records that deciding *feature* can need, its own first."""
        keys, judged = {feature.key: None}, {feature: None}
        for rule in feature.rules:
            if rule.group is not None:
                keys |= dict.fromkeys(rule.group.record_keys)
                judged |= dict.fromkeys(entrant for entrant, _ in rule.group.entrants)
        for feature_id in frozenset[int]().union(*(one.watched_ids for one in judged)):
            watched = self.features_by_id.get(feature_id)
            if watched is not None:
                keys[watched.key] = None
        return tuple(keys)


def _is_usable(rule: model.Rule, campaigns: Mapping[int, model.Campaign]) -> bool:
    campaign = campaigns.get(rule.campaign_id)
    return campaign is not None and can_be_given(campaign.type, len(campaign.variations))


def can_be_given(campaign_type: str, variations: int) -> bool:
    """Tell whether a rule can give anything of a campaign of that type with so many variations."""
    if campaign_type not in FME_TYPES:
        return False
    # A rollout or personalize rule is judged by its first variation.
    return campaign_type == TESTING or variations > 0


def name_member(campaign_id: int, variation_id: int | None) -> tuple[str, str]:
    """Return the texts by which a group may name a member: a campaign, or one variation of it."""
    return str(campaign_id), f"{campaign_id}_{variation_id}"


def _narrow(campaign: model.Campaign, variation_id: int | None) -> Sequence[model.Variation]:
    """Return the variation that the rule names, or all if it names none or none of the campaign's."""
    return [one for one in campaign.variations if one.id == variation_id] or campaign.variations


def _find_entrants(
    members: Sequence[str], features: Mapping[str, Sequence[Feature]]
) -> Iterator[tuple[Feature, tuple[Rule, ...]]]:
    """Yield the features of a group, each once, with its rules that are members."""
    names = frozenset(members)
    for feature in dict.fromkeys(one for name in members for one in features.get(name, ())):
        competing = {rule.key: rule for rule in reversed(feature.rules) if names & {*rule.names}}
        yield feature, tuple(reversed(competing.values()))


def _index_members(
    settings: model.FMESettings, features: Sequence[Feature]
) -> Mapping[str, Sequence[Feature]]:
    """Map the name of each member of a group to the features that have such a rule, in the order of the file."""
    index: dict[str, dict[Feature, None]] = {
        name: {} for group in settings.groups.values() for name in group.campaigns
    }
    for feature in features if index else ():
        for rule in feature.rules:
            for name in rule.entry_names:
                if name in index:
                    index[name][feature] = None
    return {name: tuple(found) for name, found in index.items()}


def index_rules(features: Iterable[Feature]) -> dict[str, list[Rule]]:
    """Return the rules by the keys that their campaigns have in records of the Python SDK."""
    found: dict[str, list[Rule]] = {}
    for rule in (rule for feature in features for rule in feature.rules):
        found.setdefault(rule.python_key, []).append(rule)
    return found


def make_groups(settings: model.FMESettings, features: Sequence[Feature]) -> dict[str, Group]:
    """Return the groups by id; *features* are at least those that have a member."""
    members = _index_members(settings, features)
    return {group_id: Group(group_id, one, members) for group_id, one in settings.groups.items()}


def link_groups(
    features: Iterable[Feature], links: Mapping[str, int], groups: Mapping[str, Group]
) -> None:
    """Give each rule its group; *links* are those of the file."""
    for feature in features if links else ():
        for rule in feature.rules:
            if rule.group_id is not None:
                rule.group = groups.get(str(rule.group_id))


def name_trees(campaign: model.Campaign) -> dict[str, Any]:
    """Return all segments of a campaign by their places in it."""
    trees = {"segments": campaign.segments}
    for number, variation in enumerate(campaign.variations):
        trees[f"variations.{number}.segments"] = variation.segments
    return trees


def _note(
    settings: model.FMESettings,
    campaigns: Mapping[int, model.Campaign],
    pause: Callable[[], object],
) -> Iterator[str]:
    """Yield which parts of the file are not used, and why; *campaigns* are the file's by id."""
    for index, feature in enumerate(settings.features):
        for number, rule in enumerate(feature.rules):
            if not _is_usable(rule, campaigns):
                yield note_rule(index, number)
    yield from note_groups(settings)
    for index, campaign in enumerate(settings.campaigns):
        pause()
        yield from note_campaign(index, campaign)
    yield from note_holdouts(settings)


def note_rule(index: int, number: int) -> str:
    """Return the note of a rule that cannot be used: the one of that number, of the feature at *index*."""
    text = "its campaign is not there, or not of a kind that is known"
    return f"features.{index}.rules.{number}: {text}: the rule is left out"


def note_groups(settings: model.FMESettings) -> Iterator[str]:
    """Yield a note for each group that is missing."""
    for name, group_id in settings.campaign_groups.items():
        if str(group_id) not in settings.groups:
            text = "the group is not there, so nobody gets this rule"
            yield f"campaignGroups.{ascii(name[:20])[1:-1]}: {text}"


def note_campaign(index: int, campaign: model.Campaign) -> Iterator[str]:
    """Yield which patterns of the campaign at *index* match nothing."""
    for name, tree in name_trees(campaign).items():
        yield from note_fme_patterns(f"campaigns.{index}.{name}", tree)


def note_holdouts(settings: model.FMESettings) -> Iterator[str]:
    """Yield which patterns of holdouts match nothing."""
    for index, holdout in enumerate(settings.holdouts):
        yield from note_fme_patterns(f"holdouts.{index}.segments", holdout.segments)
