"""Parses a settings file: returns the settings, or raises with all faults of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from .._error import SettingsError
from .fault import MAX_FAULTS, describe, find_duplicates, find_inner_duplicates, list_errors
from .large_file import read_large
from .lazy_campaigns import CampaignTexts
from .model import Settings
from .size_limit import MAX_SETTINGS_BYTES
from .wrong_file import describe_path, describe_wrong_file

# A larger file is parsed campaign by campaign, and its campaigns are kept as text.
LARGE_BYTES = 250_000


def read_any(source: Settings | bytes | bytearray | str | Mapping[str, Any]) -> Settings:
    """Return the settings that *source* describes, see `vwo_async.parse_settings`."""
    return source if isinstance(source, Settings) else parse_with_pauses(source, lambda: None)


def parse_with_pauses(
    source: bytes | bytearray | str | Mapping[str, Any], pause: Callable[[], object]
) -> Settings:
    """Return the settings that *source* describes; *pause* is called between two small steps.

    Raises:
        SettingsError: See `vwo_async.parse_settings`.
    """
    settings = _read(source, pause)
    # Raised outside any except block: pydantic's error holds the file and would become our __context__.
    faults = list(_find_duplicates(settings)) if isinstance(settings, Settings) else settings
    if faults:
        raise SettingsError(faults[:MAX_FAULTS])
    assert isinstance(settings, Settings)
    return settings


def _read(
    source: bytes | bytearray | str | Mapping[str, Any], pause: Callable[[], object]
) -> Settings | list[str]:
    """Return the settings, or the faults of the file."""
    try:
        if isinstance(source, Mapping):
            return Settings.model_validate(dict(source))
        body = _to_bytes(source)
        wrong = describe_wrong_file(body)
        if wrong:
            return [wrong]
        if len(body) > LARGE_BYTES:
            return read_large(body, pause)
        return Settings.model_validate_json(body)
    except ValidationError as error:
        return [describe(detail) for detail in list_errors(error)[:MAX_FAULTS]]
    except _UnreadableError as error:
        return [str(error)]
    except RecursionError:
        return ["the file is nested too deeply"]


class _UnreadableError(Exception):
    """The source cannot be parsed at all."""


def _to_bytes(source: object) -> bytes:
    if isinstance(source, str):
        try:
            source = source.encode()
        except UnicodeEncodeError:
            raise _UnreadableError("the text holds a lone surrogate") from None
    if not isinstance(source, (bytes, bytearray)):
        raise _UnreadableError(
            describe_path(source) or "settings must be bytes, a str or a mapping"
        )
    if len(source) > MAX_SETTINGS_BYTES:
        raise _UnreadableError(f"the file is larger than {MAX_SETTINGS_BYTES} bytes")
    return bytes(source)


def _find_duplicates(settings: Settings) -> Iterator[str]:
    campaigns = settings.campaigns
    if isinstance(campaigns, CampaignTexts):
        # They were checked while they were parsed.
        return
    yield from find_duplicates((one.id for one in campaigns), (one.key for one in campaigns))
    for index, campaign in enumerate(campaigns):
        yield from find_inner_duplicates(index, campaign)
