"""Frozen models of a FullStack settings file.

A file is accepted if at least one official SDK accepts it and works with it, unless it could lead to a
wrong decision or an unusable request; then the error gives the path of the field. The names of fields in
the file are the aliases in this module.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, TypeAlias

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
    AccountId,
    Flag,
    Id,
    Json,
    Key,
    Name,
    Percentage,
    Prefix,
    SettingsModel,
    Text,
    Tree,
    Version,
    Weight,
    dump_entries,
    to_goal_limit,
    to_group_type,
    to_list,
    to_map,
    to_optional_list,
)
from .product import check_fullstack_type, refuse_fme


class Variable(SettingsModel):
    """A feature variable. *value* is as in the file; it is cast by *type* when it is read."""

    key: Text | None = None
    type: Text | None = None
    value: Json = None


class Goal(SettingsModel):
    """A goal. No official SDK validates goals, so every field may be missing."""

    id: Id | None = None
    identifier: Text | None = None
    type: Text | None = None
    revenue_prop: Text | None = Field(None, alias="revenueProp")
    mca: Annotated[int | None, BeforeValidator(to_goal_limit)] = None
    has_props: Flag = Field(default=False, alias="hasProps")


class Variation(SettingsModel):
    """A variation. A missing weight is 0; a missing id is the position, counted from 1."""

    id: Id | None = None
    name: Name
    weight: Weight = 0
    segments: Tree = Field(default_factory=dict)
    is_feature_enabled: Flag = Field(default=False, alias="isFeatureEnabled")
    variables: Annotated[tuple[Variable, ...], BeforeValidator(to_optional_list)] = ()


class Campaign(SettingsModel):
    """A campaign as in the file."""

    id: Id
    key: Name
    name: Text | None = None
    type: Annotated[Text, AfterValidator(check_fullstack_type)]
    status: Text
    percent_traffic: Percentage = Field(alias="percentTraffic")
    segments: Tree = Field(default_factory=dict)
    variations: Annotated[tuple[Variation, ...], BeforeValidator(to_list)]
    variables: Annotated[tuple[Variable, ...], BeforeValidator(to_optional_list)] = ()
    goals: Annotated[tuple[Goal, ...], BeforeValidator(to_list)]
    is_forced_variation_enabled: Flag = Field(default=False, alias="isForcedVariationEnabled")
    is_user_list_enabled: Flag = Field(default=False, alias="isUserListEnabled")
    is_bucketing_seed_enabled: Flag = Field(default=False, alias="isBucketingSeedEnabled")
    is_ob: Flag = Field(default=False, alias="isOB")
    is_obv2: Flag = Field(default=False, alias="isOBv2")
    is_mab: Flag = Field(default=False, alias="isMAB")


class Group(SettingsModel):
    """A mutually exclusive group: with *et* 1 in equal shares, else by priority *p*, then weights *wt*."""

    name: Text | None = None
    campaigns: Annotated[tuple[Id, ...], BeforeValidator(to_optional_list)] = ()
    et: Annotated[Id, BeforeValidator(to_group_type)] = 1
    p: Annotated[tuple[Id, ...], BeforeValidator(to_optional_list)] = ()
    wt: Annotated[dict[Text, Weight], BeforeValidator(to_map)] = Field(default_factory=dict)


# A tuple; in a large file `CampaignTexts`.
Campaigns: TypeAlias = Annotated[
    Sequence[Campaign],
    GetPydanticSchema(lambda _, handler: handler(tuple[Campaign, ...])),
    BeforeValidator(to_optional_list),
    WrapSerializer(dump_entries),
]


class Settings(SettingsModel):
    """A whole settings file.

    Attributes:
        sdk_key: The SDK key; no repr, pickle or JSON of the settings holds it.
        account_id: Number or text, as in the file: its text form is hashed.
        campaigns: In the order of the file. The campaigns of a large file are kept as text, and parsed
            on each access.
    """

    sdk_key: Key = Field(None, alias="sdkKey")
    account_id: AccountId = Field(alias="accountId")
    version: Version
    campaigns: Campaigns = ()
    campaign_groups: Annotated[dict[Text, Annotated[int, Strict()]], BeforeValidator(to_map)] = (
        Field(default_factory=dict, alias="campaignGroups")
    )
    groups: Annotated[dict[Text, Group], BeforeValidator(to_map)] = Field(default_factory=dict)
    is_nb: Flag = Field(default=False, alias="isNB")
    is_nbv2: Flag = Field(default=False, alias="isNBv2")
    is_event_arch_enabled: Flag = Field(default=False, alias="isEventArchEnabled")
    collection_prefix: Prefix = Field("", alias="collectionPrefix")
    # Files of this product have none of these: they are here to be refused.
    features: Annotated[None, PlainValidator(refuse_fme)] = Field(None, repr=False, exclude=True)
    holdouts: Annotated[None, PlainValidator(refuse_fme)] = Field(None, repr=False, exclude=True)


class CampaignList(SettingsModel):
    """A part of a file's campaigns, as a JSON object of its own."""

    campaigns: Campaigns


set_home(Settings, "vwo_async")
