"""Frozen models of the whole settings file.

What is accepted is what at least one official SDK accepts and works with, less what could lead to a
wrong decision or an unusable request: each such refusal names the path of the field. Wire names live
in the aliases of this module.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from math import isfinite
from typing import Annotated, Any, TypeAlias

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    Strict,
    ValidationError,
)
from pydantic_core import ErrorDetails

from ..error import SettingsError

MAX_SETTINGS_BYTES = 10_000_000
MAX_TREE_DEPTH = 50
MAX_TREE_NODES = 100_000
MAX_FAULTS = 20
# The largest whole number that every SDK's language can hold exactly.
MAX_ID = 2**53 - 1

_DIGITS = re.compile(r"0|-?[1-9][0-9]*")
_PREFIX = re.compile(r"[A-Za-z0-9_-]*")
_KEY = re.compile(r"[!-~]{1,256}")


def _check_encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("holds a lone surrogate") from None
    return text


def _to_id(value: object) -> object:
    """Numeric text is a number, as in the Node SDK, so long as it prints back to the same text."""
    if isinstance(value, bool):
        raise ValueError("must be a whole number")
    if isinstance(value, str) and _DIGITS.fullmatch(value) and len(value) <= 17:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or abs(value) > MAX_ID:
        raise ValueError("must be a whole number")
    return value


def _to_account_id(value: object) -> object:
    """Kept as given, since the text form is hashed; only an integral float prints as an integer."""
    if isinstance(value, str) and value:
        return _check_encodable(value)
    return _to_id(value)


def _to_list(value: object) -> object:
    """The server writes an empty list as an empty object."""
    return [] if value == {} else value


def _to_campaign_list(value: object) -> object:
    return [] if value is None else _to_list(value)


def _to_map(value: object) -> object:
    """PHP writes an empty map as an empty list."""
    return {} if value is None or value == [] else value


def _to_key(value: object) -> object:
    """The key goes into a header and a query, so only visible ASCII is let in."""
    if value is None:
        return None
    text = value if isinstance(value, str) else _to_json(value)
    if text and not _KEY.fullmatch(text):
        raise ValueError("must be visible ASCII text of at most 256 characters")
    return text or None


def _to_json(value: object) -> str:
    try:
        return json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        raise ValueError("must be text") from None


def _check_version(value: object) -> object:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise ValueError("must be a number or text")
    if isinstance(value, str):
        return _check_encodable(value)
    if not isfinite(value):
        raise ValueError("must be finite")
    return value


def _to_goal_limit(value: object) -> object:
    """Goals are validated by no official SDK; what is not a number means the same as absent."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value != value // 1:
        return None
    return int(value)


def _check_prefix(value: str) -> str:
    """It is joined into the path of every request, so ``../x`` and ``a?b=`` must not pass."""
    if not _PREFIX.fullmatch(value):
        raise ValueError("may hold only letters, digits, '_' and '-'")
    return value


def _check_tree(value: Any) -> Any:
    """Bound depth and size of a free-form JSON value without recursion."""
    level, nodes = [value], 0
    for _ in range(MAX_TREE_DEPTH):
        children = [child for parent in level for child in _children(parent)]
        nodes += len(children)
        if nodes > MAX_TREE_NODES:
            raise ValueError(f"has more than {MAX_TREE_NODES} nodes")
        if not children:
            return value
        level = children
    raise ValueError(f"is nested deeper than {MAX_TREE_DEPTH}")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return (*value.keys(), *value.values())
    if isinstance(value, (list, tuple)):
        return value
    if isinstance(value, str):
        _check_encodable(value)
    elif isinstance(value, float) and not isfinite(value):
        raise ValueError("holds a number that is not finite")
    elif value is not None and not isinstance(value, (bool, int, float)):
        raise ValueError("holds a value that JSON does not know")
    return ()


Text: TypeAlias = Annotated[str, Strict(), AfterValidator(_check_encodable)]
Name: TypeAlias = Annotated[Text, Field(min_length=1)]
Id: TypeAlias = Annotated[int, BeforeValidator(_to_id)]
AccountId: TypeAlias = Annotated[int | str, BeforeValidator(_to_account_id)]
Percentage: TypeAlias = Annotated[float, Strict(), Field(ge=0, le=100)]
Weight: TypeAlias = Annotated[float, Field(ge=0, le=100)]
Flag: TypeAlias = Annotated[bool, BeforeValidator(bool)]
Json: TypeAlias = Annotated[Any, AfterValidator(_check_tree)]


class _Model(BaseModel):
    model_config = ConfigDict(
        frozen=True, extra="ignore", allow_inf_nan=False, hide_input_in_errors=True
    )


class Variable(_Model):
    """A feature variable. *value* is whatever the file holds; reading it casts by *type*."""

    key: Text | None = None
    type: Text | None = None
    value: Json = None


class Goal(_Model):
    """A goal. No official SDK validates goals, so every field may be missing."""

    id: Id | None = None
    identifier: Text | None = None
    type: Text | None = None
    revenue_prop: Text | None = Field(None, alias="revenueProp")
    mca: Annotated[int | None, BeforeValidator(_to_goal_limit)] = None
    has_props: Flag = Field(default=False, alias="hasProps")


class Variation(_Model):
    """A variation. A missing weight is 0, a missing id its position counted from 1."""

    id: Id | None = None
    name: Name
    weight: Weight = 0
    segments: Json = Field(default_factory=dict)
    is_feature_enabled: Flag = Field(default=False, alias="isFeatureEnabled")
    variables: Annotated[tuple[Variable, ...], BeforeValidator(_to_list)] = ()


class Campaign(_Model):
    """A campaign as the file describes it."""

    id: Id
    key: Name
    name: Text | None = None
    type: Text
    status: Text
    percent_traffic: Percentage = Field(alias="percentTraffic")
    segments: Json = Field(default_factory=dict)
    variations: Annotated[tuple[Variation, ...], BeforeValidator(_to_list)]
    variables: Annotated[tuple[Variable, ...], BeforeValidator(_to_list)] = ()
    goals: Annotated[tuple[Goal, ...], BeforeValidator(_to_list)]
    is_forced_variation_enabled: Flag = Field(default=False, alias="isForcedVariationEnabled")
    is_user_list_enabled: Flag = Field(default=False, alias="isUserListEnabled")
    is_bucketing_seed_enabled: Flag = Field(default=False, alias="isBucketingSeedEnabled")
    is_ob: Flag = Field(default=False, alias="isOB")
    is_obv2: Flag = Field(default=False, alias="isOBv2")
    is_mab: Flag = Field(default=False, alias="isMAB")


class Group(_Model):
    """A mutually exclusive group: *et* 1 shares equally, any other goes by *p*, then *wt*."""

    name: Text | None = None
    campaigns: Annotated[tuple[Id, ...], BeforeValidator(_to_list)] = ()
    et: Id = 1
    p: Annotated[tuple[Id, ...], BeforeValidator(_to_list)] = ()
    wt: Annotated[dict[Text, Weight], BeforeValidator(_to_map)] = Field(default_factory=dict)


class Settings(_Model):
    """A whole settings file.

    Attributes:
        sdk_key: Held as a secret: it appears in no repr.
        account_id: Number or text, as given: its text form is part of what is hashed.
    """

    sdk_key: Annotated[SecretStr | None, BeforeValidator(_to_key)] = Field(None, alias="sdkKey")
    account_id: AccountId = Field(alias="accountId")
    version: Annotated[Any, AfterValidator(_check_version)]
    campaigns: Annotated[tuple[Campaign, ...], BeforeValidator(_to_campaign_list)] = ()
    campaign_groups: Annotated[dict[Text, Annotated[int, Strict()]], BeforeValidator(_to_map)] = (
        Field(default_factory=dict, alias="campaignGroups")
    )
    groups: Annotated[dict[Text, Group], BeforeValidator(_to_map)] = Field(default_factory=dict)
    is_nb: Flag = Field(default=False, alias="isNB")
    is_nbv2: Flag = Field(default=False, alias="isNBv2")
    is_event_arch_enabled: Flag = Field(default=False, alias="isEventArchEnabled")
    collection_prefix: Annotated[Text, AfterValidator(_check_prefix)] = Field(
        "", alias="collectionPrefix"
    )


def parse_settings(source: Settings | bytes | bytearray | str | Mapping[str, Any]) -> Settings:
    """Return the settings that *source* describes.

    Args:
        source: The file's bytes or text, its decoded form, or settings already parsed.

    Raises:
        SettingsError: It is too large, not JSON, or some field cannot be used. Every fault is named
            by its path, and no value of the file is shown.
    """
    if isinstance(source, Settings):
        return source
    settings = _validate(source)
    # Raised outside any handler: the error of pydantic holds the file, and would be the context of ours.
    faults = list(_duplicates(settings)) if isinstance(settings, Settings) else settings
    if faults:
        raise SettingsError(faults[:MAX_FAULTS])
    assert isinstance(settings, Settings)
    return settings


def _validate(source: bytes | bytearray | str | Mapping[str, Any]) -> Settings | list[str]:
    """Return the settings, or what is wrong with the file."""
    try:
        if isinstance(source, Mapping):
            return Settings.model_validate(dict(source))
        return Settings.model_validate_json(_bounded(source))
    except ValidationError as error:
        return _faults(error)
    except _UnreadableError as error:
        return [str(error)]
    except RecursionError:
        return ["the file is nested too deeply"]


class _UnreadableError(Exception):
    """The source is nothing that could be parsed."""


def _bounded(source: object) -> bytes:
    if isinstance(source, str):
        try:
            source = source.encode()
        except UnicodeEncodeError:
            raise _UnreadableError("the text holds a lone surrogate") from None
    if not isinstance(source, (bytes, bytearray)):
        raise _UnreadableError("settings must be bytes, a str or a mapping")
    if len(source) > MAX_SETTINGS_BYTES:
        raise _UnreadableError(f"the file is larger than {MAX_SETTINGS_BYTES} bytes")
    return bytes(source)


def _faults(error: ValidationError) -> list[str]:
    details = error.errors(include_url=False, include_context=False, include_input=False)
    return [_fault(detail) for detail in details[:MAX_FAULTS]]


def _fault(detail: ErrorDetails) -> str:
    path = ".".join(
        ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in detail["loc"]
    )
    message = detail["msg"].removeprefix("Value error, ")
    return f"{path[:200]}: {message}" if path else message


def _duplicates(settings: Settings) -> Iterable[str]:
    campaigns = settings.campaigns
    yield from _repeated("campaigns", "id", (campaign.id for campaign in campaigns))
    yield from _repeated("campaigns", "key", (campaign.key for campaign in campaigns))
    for index, campaign in enumerate(campaigns):
        path = f"campaigns.{index}"
        yield from _repeated(f"{path}.variations", "id", _numbers(campaign.variations))
        yield from _repeated(f"{path}.goals", "id", (goal.id for goal in campaign.goals))


def _numbers(variations: tuple[Variation, ...]) -> Iterable[int]:
    for position, variation in enumerate(variations, start=1):
        yield position if variation.id is None else variation.id


def _repeated(path: str, field: str, values: Iterable[object]) -> Iterable[str]:
    counts = Counter(value for value in values if value is not None)
    for times in counts.values():
        if times > 1:
            yield f"{path}: {times} entries have the same {field}"
