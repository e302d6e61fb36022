"""Frozen models of a v2 settings file, which VWO FME (Wingify FME) serves: section F1 of the FME reference.

A file is accepted if at least one official SDK accepts it and works with it, unless it could lead to a
wrong decision or an unusable request; then the error gives the path of the field. The names of fields in
the file are the aliases in this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    GetPydanticSchema,
    PlainValidator,
    Strict,
    WrapSerializer,
)

from .._home import set_home
from .field_type import (
    MAX_ID,
    AccountId,
    Flag,
    Id,
    Json,
    Key,
    Name,
    Prefix,
    SettingsModel,
    Text,
    Tree,
    Version,
    dump_entries,
    to_group_type,
    to_list,
    to_map,
    to_optional_list,
)
from .model import Goal
from .product import check_fme_type, refuse_fullstack

_MAX_POLL_MS = 2**53


def _to_percentage(value: object) -> float:
    """Return a share; more than all is all. As text it is accepted like a number, as in the Node SDK."""
    if isinstance(value, str) and len(value) <= 30:
        try:
            value = float(value)
        except ValueError:
            value = None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("must be a number")
    if abs(value) > MAX_ID or not isfinite(value) or value < 0:
        raise ValueError("must be a number from 0 to 100")
    return min(float(value), 100.0)


def _to_number_percentage(value: object) -> float | None:
    if isinstance(value, str):
        raise ValueError("must be a number")
    # As both official SDKs, a negative one admits nobody.
    is_negative = isinstance(value, (int, float)) and -MAX_ID < value < 0
    return None if value is None or is_negative else _to_percentage(value)


def _to_salt(value: object) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int, type(None))):
        raise ValueError("must be text")
    return "" if value is None else str(value)


def _to_flag(value: object) -> object:
    if value is None:
        return False
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def _to_members(value: object) -> object:
    """Return the names of members; numbers are campaigns."""
    if value is None or value == {}:
        return []
    if not isinstance(value, (list, tuple)):
        return value
    return [str(one) if type(one) is int else one for one in value]


def _to_object(value: object) -> object:
    """Null is as absent, and PHP writes an empty object as an empty list."""
    return {} if value is None or value == [] else value


def _check_given(value: Any) -> Any:
    if value is None:
        raise ValueError("must not be null")
    return value


def _to_milliseconds(value: object) -> float | None:
    """Return an interval, None if it is none that can be used: it changes no decision."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return float(value) if 0 < value < _MAX_POLL_MS else None


Share: TypeAlias = Annotated[float, BeforeValidator(_to_percentage)]
Traffic: TypeAlias = Annotated[float | None, BeforeValidator(_to_number_percentage)]
Salt: TypeAlias = Annotated[Text, BeforeValidator(_to_salt)]
Bool: TypeAlias = Annotated[bool, BeforeValidator(_to_flag)]
Members: TypeAlias = Annotated[tuple[Text, ...], BeforeValidator(_to_members)]
RequiredTree: TypeAlias = Annotated[Json, AfterValidator(_check_given)]
Whole: TypeAlias = Annotated[int, Strict(), Field(ge=-MAX_ID, le=MAX_ID)]
# Metrics serve reporting alone, and have the fields of FullStack's goals.
Metrics: TypeAlias = tuple[Goal, ...]
# What only files of the other product have.
Foreign: TypeAlias = Annotated[None, PlainValidator(refuse_fullstack)]


class Variable(SettingsModel):
    """A variable of a flag; its value is as in the file, whatever its type says."""

    id: Id
    key: Text
    type: Text
    value: RequiredTree


class Variation(SettingsModel):
    """A variation; of a rollout or personalize campaign its weight is the traffic."""

    id: Id
    name: Text
    weight: Share
    segments: Tree = Field(default_factory=dict)
    variables: Annotated[tuple[Variable, ...], BeforeValidator(to_optional_list)] = ()
    salt: Salt = ""


class Campaign(SettingsModel):
    """A campaign, which rules refer to by its id."""

    id: Id
    key: Name
    name: Text
    type: Annotated[Text, AfterValidator(check_fme_type)]
    status: Text
    percent_traffic: Traffic = Field(None, alias="percentTraffic")
    segments: RequiredTree
    variations: Annotated[tuple[Variation, ...], BeforeValidator(to_list)]
    is_forced_variation_enabled: Bool = Field(default=False, alias="isForcedVariationEnabled")
    is_user_list_enabled: Flag = Field(default=False, alias="isUserListEnabled")
    salt: Salt = ""
    # As in `FMESettings`.
    goals: Foreign = Field(None, repr=False, exclude=True)


class Rule(SettingsModel):
    """A rule of a feature. Its type is not used: that of its campaign counts."""

    type: Text
    rule_key: Text = Field(alias="ruleKey")
    campaign_id: Whole = Field(alias="campaignId")
    variation_id: Whole | None = Field(None, alias="variationId")


class ImpactCampaign(SettingsModel):
    """The campaign that measures the impact of a feature."""

    campaign_id: Id | None = Field(None, alias="campaignId")
    type: Text | None = None


class Feature(SettingsModel):
    """A feature, that is, a flag. No official SDK looks at its status."""

    id: Id
    key: Name
    name: Text
    type: Text
    status: Text
    metrics: Annotated[Metrics, BeforeValidator(to_list)]
    rules: Annotated[tuple[Rule, ...], BeforeValidator(to_optional_list)] = ()
    impact_campaign: Annotated[ImpactCampaign, BeforeValidator(_to_object)] = Field(
        default=ImpactCampaign(campaignId=None), alias="impactCampaign"
    )


class Group(SettingsModel):
    """A mutually exclusive group: with *et* 1 in equal shares, else by priority *p*, then weights *wt*."""

    name: Text | None = None
    campaigns: Members = ()
    et: Annotated[float, BeforeValidator(to_group_type)] = 1
    p: Members = ()
    wt: Annotated[dict[Text, Share], BeforeValidator(to_map)] = Field(default_factory=dict)


class Holdout(SettingsModel):
    """A share of users that gets none of some features, or of all."""

    id: Id
    name: Text | None = None
    segments: Tree = Field(default_factory=dict)
    percent_traffic: Share = Field(alias="percentTraffic")
    is_global: Flag = Field(default=False, alias="isGlobal")
    feature_ids: Annotated[tuple[Id, ...], BeforeValidator(to_optional_list)] = Field(
        (), alias="featureIds"
    )
    metrics: Annotated[Metrics, BeforeValidator(to_optional_list)] = ()


class SdkMetaInfo(SettingsModel):
    """What VWO knows of the SDKs of this account."""

    was_initialized_earlier: Flag = Field(default=False, alias="wasInitializedEarlier")


# Tuples; in a large file `FeatureTexts` and `FlagCampaignTexts`.
Features: TypeAlias = Annotated[
    Sequence[Feature],
    GetPydanticSchema(lambda _, handler: handler(tuple[Feature, ...])),
    BeforeValidator(to_optional_list),
    WrapSerializer(dump_entries),
]
Campaigns: TypeAlias = Annotated[
    Sequence[Campaign],
    GetPydanticSchema(lambda _, handler: handler(tuple[Campaign, ...])),
    BeforeValidator(to_optional_list),
    WrapSerializer(dump_entries),
]


class FMESettings(SettingsModel):
    """A whole v2 settings file. The features and campaigns of a large one are kept as text, and parsed on each access.

    Attributes:
        sdk_key: The SDK key; no repr, pickle or JSON of the settings holds it.
        account_id: Number or text, as in the file: its text form is hashed.
        poll_interval_ms: How often VWO wants the file to be fetched again, None if it does not say.
        is_web_connectivity_enabled: Whether a web visitor id that is given as user id is used as it is.
        is_mau: Whether calls that report nothing else report that the SDK is used.
    """

    sdk_key: Key = Field(None, alias="sdkKey")
    account_id: AccountId = Field(alias="accountId")
    version: Version
    features: Features = ()
    campaigns: Campaigns = ()
    campaign_groups: Annotated[dict[Text, Id], BeforeValidator(to_map)] = Field(
        default_factory=dict, alias="campaignGroups"
    )
    groups: Annotated[dict[Text, Group], BeforeValidator(to_map)] = Field(default_factory=dict)
    holdouts: Annotated[tuple[Holdout, ...], BeforeValidator(to_optional_list)] = ()
    collection_prefix: Prefix = Field("", alias="collectionPrefix")
    poll_interval_ms: Annotated[float | None, PlainValidator(_to_milliseconds)] = Field(
        None, alias="pollInterval"
    )
    sdk_meta_info: Annotated[SdkMetaInfo, BeforeValidator(_to_object)] = Field(
        default=SdkMetaInfo(), alias="sdkMetaInfo"
    )
    is_web_connectivity_enabled: Annotated[
        bool, PlainValidator(lambda value: value is not False)
    ] = Field(default=True, alias="isWebConnectivityEnabled")
    is_mau: Flag = Field(default=False, alias="isMAU")
    # Files of this product have none of these: they are here to be refused.
    is_nb: Foreign = Field(None, alias="isNB", repr=False, exclude=True)
    is_nbv2: Foreign = Field(None, alias="isNBv2", repr=False, exclude=True)
    is_event_arch_enabled: Foreign = Field(
        None, alias="isEventArchEnabled", repr=False, exclude=True
    )


set_home(FMESettings, "vwo_async")
