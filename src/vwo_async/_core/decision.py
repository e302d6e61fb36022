"""The decision for one user and one campaign.

In the middle of a decision the user storage may have to be read, which means waiting, and this package
never waits. So `decide` returns either the decision or a `Needs`: the keys of the records that it still
needs. The caller reads them and calls `decide` again with more records.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias, overload

from .._reason import Reason
from .._user import User
from .api_method import Api
from .bucketing import draw, rescale
from .group import find_winner
from .plan import Campaign, Decision, Group, Plan, Variation


class Stored(NamedTuple):
    """The stored record of a user in a campaign.

    Attributes:
        variation_name: The variation that the user keeps.
        goals: The goals already tracked.
        rest: What else the record holds, on which no decision depends.
    """

    variation_name: str
    goals: tuple[str, ...] = ()
    rest: Mapping[str, Any] = MappingProxyType({})

    def __repr__(self) -> str:
        """Do not show the rest, in which anything may stand."""
        return f"<Stored {self.variation_name!a}>"


class Needs(NamedTuple):
    """Keys of campaigns whose records must be read before a decision is possible."""

    keys: tuple[str, ...]


Records: TypeAlias = Mapping[str, Stored | None]


def find_refusal(campaign: Campaign | None, api: Api, *, has_storage: bool) -> Reason | None:
    """Return why *api* does not apply to *campaign*, or None if it does."""
    if campaign is None:
        return Reason.CAMPAIGN_NOT_FOUND
    if campaign.refusal is not None:
        return campaign.refusal
    if campaign.is_mab and api.refuses_mab and not has_storage:
        return Reason.STORAGE_REQUIRED
    if campaign.type not in api.types:
        return Reason.CAMPAIGN_TYPE_MISMATCH
    return None


@overload
def decide(plan: Plan, campaign: Campaign, user: User, api: Api, records: None) -> Decision: ...
@overload
def decide(
    plan: Plan, campaign: Campaign, user: User, api: Api, records: Records | None
) -> Decision | Needs: ...
def decide(
    plan: Plan, campaign: Campaign, user: User, api: Api, records: Records | None
) -> Decision | Needs:
    """Decide one campaign for one user.

    Args:
        plan: The compiled settings.
        campaign: A campaign of *plan* to which *api* applies.
        user: The user.
        api: The API method that was called.
        records: The user's stored records by campaign key, as far as they were read; the value None
            says that there is no record. None if there is no user storage.
    """
    if campaign.whitelist:
        forced = find_forced(plan, campaign, user)
        if forced is not None:
            return forced.whitelisted
    if records is not None:
        settled = _look_up(campaign, api, records)
        if settled is not None:
            return settled
    if campaign.segment is not None and not campaign.segment(user.custom_variables, None):
        return campaign.refuse(Reason.NOT_IN_SEGMENT)
    if campaign.group is not None and campaign.bucketer.is_in_traffic(user.hash_bytes):
        blocked = _check_group(plan, campaign, campaign.group, user, records)
        if blocked is not None:
            return blocked
    return campaign.bucketer.assign(user.hash_bytes)


def _look_up(campaign: Campaign, api: Api, records: Records) -> Decision | Needs | None:
    """Return what the user storage settles, what must be read first, or None."""
    if campaign.key not in records:
        return Needs((campaign.key,))
    record = records[campaign.key]
    if record is None:
        return None if api.assigns else campaign.refuse(Reason.NOT_ACTIVATED)
    # A variation that the campaign no longer has is as good as none.
    variation = campaign.variations_by_name.get(record.variation_name)
    return None if variation is None else variation.stored


def find_forced(plan: Plan, campaign: Campaign, user: User) -> Variation | None:
    """Return the variation that whitelisting forces on the user, if any.

    If several variations match, the user's bucket value chooses among them by their weights, rescaled to
    100 percent. If no range covers the value, none is forced.
    """
    user_id = plan.name_visitor(user.id_bytes) if campaign.hashes_user_list else user.id
    variables = user.variation_targeting_variables
    matches = [variation for holds, variation in campaign.whitelist if holds(variables, user_id)]
    if len(matches) < 2:
        return matches[0] if matches else None
    shares = rescale([(one.weight, one) for one in matches])
    return draw(shares, campaign.seed_prefix + user.hash_bytes)


def _check_group(
    plan: Plan, campaign: Campaign, group: Group, user: User, records: Records | None
) -> Decision | Needs | None:
    """Return the refusal if *group* gives the user to another campaign, what must be read first, or None."""
    others = [member for member in group.members if member is not campaign]
    if any(find_forced(plan, other, user) is not None for other in others if other.whitelist):
        return campaign.refuse(Reason.NOT_GROUP_WINNER)
    if records is not None:
        missing = tuple(other.key for other in others if other.key not in records)
        if missing:
            return Needs(missing)
        if any(_has_variation(other, records[other.key]) for other in others):
            return campaign.refuse(Reason.NOT_GROUP_WINNER)
    eligible = find_eligible(campaign, group, user)
    if eligible and find_winner(group, eligible, user.hash_bytes) is campaign:
        return None
    return campaign.refuse(Reason.NOT_GROUP_WINNER)


def find_eligible(campaign: Campaign, group: Group, user: User) -> list[Campaign]:
    """Return *campaign* and the other group members whose segments and traffic the user passes."""
    return [member for member in group.members if member is campaign or _is_eligible(member, user)]


def _has_variation(campaign: Campaign, record: Stored | None) -> bool:
    return record is not None and record.variation_name in campaign.variations_by_name


def _is_eligible(campaign: Campaign, user: User) -> bool:
    """Tell whether the user passes segments and traffic; a paused campaign competes too."""
    if campaign.segment is not None and not campaign.segment(user.custom_variables, None):
        return False
    return campaign.bucketer.is_in_traffic(user.hash_bytes)
