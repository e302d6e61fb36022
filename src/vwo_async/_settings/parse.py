"""Parses a settings file: returns the settings, or raises with all faults of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Generic, NamedTuple, TypeVar, cast

from pydantic import ValidationError

from .._error import SettingsError
from .._plain import is_kind, to_bytes, to_plain
from .fault import MAX_FAULTS, describe_all, find_duplicates, find_inner_duplicates, list_errors
from .fme import FMESettings
from .fme_duplicates import find_fme_duplicates
from .large_file import read_large
from .large_fme_file import read_large_fme
from .lazy_campaigns import CampaignTexts
from .model import Settings
from .product import FME_FILE, FULLSTACK_FILE, keep_wrong_product
from .size_limit import MAX_SETTINGS_BYTES
from .wrong_file import describe_path, describe_wrong_file

# A larger file is parsed in small steps.
LARGE_BYTES = 250_000


_SettingsT = TypeVar("_SettingsT", Settings, FMESettings)


class _Product(NamedTuple, Generic[_SettingsT]):
    """How the files of one product are read.

    Attributes:
        model: The model of its files.
        find_duplicates: Yields the faults that no single field has.
        read_large: Reads a large file in small steps.
    """

    model: type[_SettingsT]
    find_duplicates: Callable[[_SettingsT], Iterator[str]]
    read_large: Callable[[bytes, Callable[[], object]], _SettingsT | list[str]]


def read_any(source: Settings | bytes | bytearray | str | Mapping[str, Any]) -> Settings:
    """Return the settings that *source* describes, see `vwo_async.parse_settings`."""
    if is_kind(source, Settings):
        return cast("Settings", source)
    if is_kind(source, FMESettings):
        raise SettingsError([FME_FILE])
    return _parse(_FULLSTACK, source, lambda: None)


def parse_with_pauses(
    source: bytes | bytearray | str | Mapping[str, Any], pause: Callable[[], object]
) -> Settings:
    """Return the settings that *source* describes; *pause* is called between two small steps.

    Raises:
        SettingsError: See `vwo_async.parse_settings`.
    """
    return _parse(_FULLSTACK, source, pause)


def read_any_fme(source: FMESettings | bytes | bytearray | str | Mapping[str, Any]) -> FMESettings:
    """Return the v2 settings that *source* describes, see `parse_fme_settings`."""
    if is_kind(source, FMESettings):
        return cast("FMESettings", source)
    if is_kind(source, Settings):
        raise SettingsError([FULLSTACK_FILE])
    return _parse(_FME, source, lambda: None)


def parse_fme_with_pauses(
    source: bytes | bytearray | str | Mapping[str, Any], pause: Callable[[], object]
) -> FMESettings:
    """Return the v2 settings that *source* describes; *pause* is called between two small steps.

    Raises:
        SettingsError: See `parse_fme_settings`.
    """
    return _parse(_FME, source, pause)


def _parse(
    product: _Product[_SettingsT],
    source: object,
    pause: Callable[[], object],
) -> _SettingsT:
    settings = _read(product, source, pause)
    # Raised outside any except block: pydantic's error holds the file and would become our __context__.
    if not isinstance(settings, list):
        faults = list(product.find_duplicates(settings))
        if not faults:
            return settings
    else:
        faults = keep_wrong_product(settings)
    raise SettingsError(faults[:MAX_FAULTS])


def _read(
    product: _Product[_SettingsT], source: object, pause: Callable[[], object]
) -> _SettingsT | list[str]:
    """Return the settings, or the faults of the file."""
    try:
        if is_kind(source, Mapping):
            return _read_mapping(product, source)
        body = _to_bytes(source)
        wrong = describe_wrong_file(body)
        if wrong:
            return [wrong]
        if len(body) > LARGE_BYTES:
            return product.read_large(body, pause)
        return product.model.model_validate_json(body)
    except ValidationError as error:
        return describe_all(list_errors(error))
    except _UnreadableError as error:
        return [str(error)]
    except RecursionError:
        return ["the file is nested too deeply"]


def _read_mapping(product: _Product[_SettingsT], source: Any) -> _SettingsT | list[str]:
    """Return the settings that are in a mapping, of which classes of the caller's own may be a part."""
    try:
        return product.model.model_validate(dict(source))
    except (ValidationError, RecursionError):
        raise
    except Exception as error:  # noqa: BLE001 - they may raise anything
        return [f"reading the settings raised {type(error).__name__}"]


class _UnreadableError(Exception):
    """The source cannot be parsed at all."""


def _to_bytes(source: object) -> bytes:
    text = to_plain(source)
    if type(text) is str:
        try:
            body: bytes | None = text.encode()
        except UnicodeEncodeError:
            raise _UnreadableError("the text holds a lone surrogate") from None
    else:
        body = to_bytes(source)
    if body is None:
        raise _UnreadableError(
            describe_path(source) or "settings must be bytes, a str or a mapping"
        )
    if len(body) > MAX_SETTINGS_BYTES:
        raise _UnreadableError(f"the file is larger than {MAX_SETTINGS_BYTES} bytes")
    return body


def _find_duplicates(settings: Settings) -> Iterator[str]:
    campaigns = settings.campaigns
    if isinstance(campaigns, CampaignTexts):
        # They were checked while they were parsed.
        return
    yield from find_duplicates((one.id for one in campaigns), (one.key for one in campaigns))
    for index, campaign in enumerate(campaigns):
        yield from find_inner_duplicates(index, campaign)


_FULLSTACK = _Product(Settings, _find_duplicates, read_large)
_FME = _Product(FMESettings, find_fme_duplicates, read_large_fme)
