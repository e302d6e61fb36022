"""A settings file of either product, as the command asks it: who gets what, and why.

Users are as new: there is no user storage and no gateway.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from .._client.fme_user import CallUser
from .._core.api_method import DECIDE_ALL
from .._core.decision import decide, find_refusal
from .._core.feature_variable import is_enabled, read_variables
from .._core.fme.decision import decide_feature
from .._core.fme.evaluation import NOTHING
from .._core.fme.plan import FlagDecision, FMEPlan, Rule
from .._core.plan import Campaign, Decision, Plan
from .._explanation import Explanation, FlagExplanation
from .._look_up import explain_campaign, explain_feature
from .._reason import Reason
from .._settings.campaign_type import AB_TEST, TESTING
from .._user import User
from .._wording import count_of
from .exit_code import CommandError

if TYPE_CHECKING:
    from .._settings import FMESettings, Settings

ProductName: TypeAlias = Literal["FullStack", "FME"]
IdEncoding: TypeAlias = Literal["utf-8", "node"]


class UserFields(NamedTuple):
    """What is known of a user.

    Attributes:
        id: The user id.
        custom_variables: Values for pre-segmentation.
        variation_targeting_variables: Values for whitelisting.
        user_agent: The visitor's, None where unknown.
        ip_address: The visitor's, None where unknown.
        bucketing_seed: What is hashed in place of the id, in FME alone.
        id_encoding: How the id is hashed, in FullStack alone: ``node`` as the Node SDK does; None for UTF-8.
    """

    id: str
    custom_variables: Mapping[str, Any] | None = None
    variation_targeting_variables: Mapping[str, Any] | None = None
    user_agent: str | None = None
    ip_address: str | None = None
    bucketing_seed: str | None = None
    id_encoding: IdEncoding | None = None


class Outcome(NamedTuple):
    """What a user gets.

    Attributes:
        variation: The name of the variation, None for none.
        reason: Why.
        rule: The key of the rule of FME that gave or refused it, empty where there is none.
        is_on: Whether the feature is on; for an A/B test, whether there is a variation.
    """

    variation: str | None
    reason: Reason
    rule: str = ""
    is_on: bool = False


class Split(NamedTuple):
    """How a campaign or rule divides its users.

    Attributes:
        name: Key of the campaign or rule.
        weights: Of each variation, in the order of the file: its name, and its weight in percent.
    """

    name: str
    weights: Sequence[tuple[str, float]]


class Subject(ABC):
    """One settings file, compiled.

    Attributes:
        product: Whose it is.
        noun: What its keys name.
        settings: The file.
        keys: Keys of its campaigns or features, in the order of the file.
        notes: Which parts of the file are not used, and why.
    """

    product: ProductName
    noun: str
    settings: Settings | FMESettings
    keys: Sequence[str]
    notes: Sequence[str]

    @abstractmethod
    def make_user(self, fields: UserFields) -> Any:
        """Return the user as the core takes him.

        Raises:
            InvalidInputError: He cannot be hashed.
        """

    @abstractmethod
    def make_users(self, ids: Iterable[str], shared: UserFields) -> Iterable[Any]:
        """Return users of whom all but the id is the same, quickly."""

    @abstractmethod
    def check_fields(self, fields: UserFields) -> None:
        """Refuse options that the product has not.

        Raises:
            CommandError: One is given.
        """

    @abstractmethod
    def make_decider(self, key: str) -> Callable[[Any], Any]:
        """Return a quick function from a user to what he gets; users who get the same get equal values."""

    @abstractmethod
    def read_outcome(self, decided: Any) -> Outcome:
        """Return what a decider's value means."""

    @abstractmethod
    def explain(self, key: str, user: Any) -> Explanation | FlagExplanation:
        """Return the steps of a decision."""

    @abstractmethod
    def list_splits(self, key: str) -> Sequence[Split]:
        """Return what divides users among variations."""

    @abstractmethod
    def list_variations(self, key: str) -> Sequence[str]:
        """Return the names of the variations that somebody could get."""

    @abstractmethod
    def read_values(self, decided: Any) -> dict[str, Any]:
        """Return the variables of a feature that come with a decider's value."""

    @abstractmethod
    def describe(self) -> str:
        """Return what is in the file, in words."""

    def check_key(self, key: str) -> str:
        """Return *key*.

        Raises:
            CommandError: The file has none of that name.
        """
        if key in self.keys:
            return key
        near = get_close_matches(key, self.keys, 1)
        hint = f"did you mean {near[0]!r}?" if near else f"it has {', '.join(self.keys) or 'none'}"
        raise CommandError(f"the settings have no {self.noun} {key!r}: {hint}")


class FullStackSubject(Subject):
    """A settings file of FullStack."""

    product = "FullStack"
    noun = "campaign"

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._plan = Plan(settings)
        self.keys = list(self._plan.campaigns)
        self.notes = self._plan.notes

    def make_user(self, fields: UserFields) -> User:
        return User(*fields[:5], fields.id_encoding or "utf-8")

    def make_users(self, ids: Iterable[str], shared: UserFields) -> Iterable[User]:
        known = (*shared[1:5], shared.id_encoding or "utf-8")
        return (User(one, *known) for one in ids)

    def check_fields(self, fields: UserFields) -> None:
        if fields.bucketing_seed is not None:
            raise CommandError("FullStack has no bucketing seed: it is for settings of FME")

    def make_decider(self, key: str) -> Callable[[User], Decision]:
        plan, campaign = self._plan, self._plan.campaigns[key]
        refusal = _refuse(campaign)
        if refusal is not None:
            return lambda user: refusal
        return lambda user: decide(plan, campaign, user, DECIDE_ALL, None)

    def read_outcome(self, decided: Decision) -> Outcome:
        campaign, variation = decided.campaign, decided.variation
        if variation is None:
            return Outcome(None, decided.reason)
        is_on = campaign.type == AB_TEST or is_enabled(campaign, variation)
        return Outcome(variation.name, decided.reason, "", is_on)

    def explain(self, key: str, user: User) -> Explanation:
        return explain_campaign(self._plan, self._plan.campaigns[key], user)

    def list_splits(self, key: str) -> Sequence[Split]:
        campaign = self._plan.campaigns[key]
        return (Split(key, [(one.name, one.weight) for one in campaign.variations]),)

    def list_variations(self, key: str) -> Sequence[str]:
        return list(dict.fromkeys(one.name for one in self._plan.campaigns[key].variations))

    def read_values(self, decided: Decision) -> dict[str, Any]:
        if decided.variation is None or decided.campaign.type == AB_TEST:
            return {}
        return read_variables(decided.campaign, decided.variation)

    def describe(self) -> str:
        running = sum(one.refusal is None for one in self._plan.campaigns.values())
        return f"{count_of(len(self.keys), 'campaign')}, {running} running"


class FMESubject(Subject):
    """A v2 settings file of FME."""

    product = "FME"
    noun = "feature"

    def __init__(self, settings: FMESettings) -> None:
        self.settings = settings
        self._plan = FMEPlan(settings)
        self.keys = list(self._plan.features)
        self.notes = self._plan.notes

    def make_user(self, fields: UserFields) -> CallUser:
        return CallUser(*fields[:6])

    def make_users(self, ids: Iterable[str], shared: UserFields) -> Iterable[CallUser]:
        known = shared[1:6]
        return (CallUser(one, *known) for one in ids)

    def check_fields(self, fields: UserFields) -> None:
        if fields.id_encoding == "node":
            raise CommandError(
                "--user-id-encoding is for FullStack: all SDKs of FME hash ids in UTF-8"
            )

    def make_decider(self, key: str) -> Callable[[CallUser], Any]:
        plan = self._plan

        def read(user: CallUser) -> tuple[Rule | None, Any, Reason]:
            decision = decide_feature(plan, key, user, NOTHING)
            assert isinstance(decision, FlagDecision)
            # Not the decision itself, which is the user's own where a holdout was judged.
            return decision.rule, decision.variation, decision.reason

        return read

    def read_outcome(self, decided: Any) -> Outcome:
        rule, variation, reason = decided
        name = None if variation is None else variation.name
        return Outcome(name, reason, "" if rule is None else rule.key, variation is not None)

    def explain(self, key: str, user: CallUser) -> FlagExplanation:
        return explain_feature(self._plan, key, user)

    def list_splits(self, key: str) -> Sequence[Split]:
        return [
            Split(rule.key, [(one.name, one.weight) for one in rule.variations])
            for rule in self._plan.features[key].experiment_rules
            if rule.type == TESTING
        ]

    def list_variations(self, key: str) -> Sequence[str]:
        rules = self._plan.features[key].rules
        return list(dict.fromkeys(one.name for rule in rules for one in rule.variations))

    def read_values(self, decided: Any) -> dict[str, Any]:
        variation = decided[1]
        return {} if variation is None else {one.key: one.value for one in variation.variables}

    def describe(self) -> str:
        rules = sum(len(one.rules) for one in self._plan.features.values())
        return f"{count_of(len(self.keys), 'feature')} with {count_of(rules, 'rule')}"


def _refuse(campaign: Campaign) -> Decision | None:
    reason = find_refusal(campaign, DECIDE_ALL, has_storage=True)
    return None if reason is None else campaign.refuse(reason)
