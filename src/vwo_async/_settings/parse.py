"""Reading a settings file: the settings that it describes, or all that is wrong with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from .._error import SettingsError
from .fault import MAX_FAULTS, describe, find_inner_twins, find_twins, list_errors
from .large_file import read_large
from .lazy_campaigns import CampaignTexts
from .model import Settings
from .size_limit import MAX_SETTINGS_BYTES
from .wrong_file import describe_path, describe_wrong_file

# From here on a file is read campaign by campaign, and its campaigns are kept as text.
LARGE_BYTES = 250_000


def read_any(source: Settings | bytes | bytearray | str | Mapping[str, Any]) -> Settings:
    """Return *source*, or the settings that it describes: see `vwo_async.parse_settings`."""
    return source if isinstance(source, Settings) else parse_paced(source, lambda: None)


def parse_paced(
    source: bytes | bytearray | str | Mapping[str, Any], pause: Callable[[], object]
) -> Settings:
    """Return the settings that *source* describes; *pause* is called between two small steps.

    Raises:
        SettingsError: See `vwo_async.parse_settings`.
    """
    settings = _read(source, pause)
    # Raised outside any handler: the error of pydantic holds the file, and would be the context of ours.
    faults = list(_duplicates(settings)) if isinstance(settings, Settings) else settings
    if faults:
        raise SettingsError(faults[:MAX_FAULTS])
    assert isinstance(settings, Settings)
    return settings


def _read(
    source: bytes | bytearray | str | Mapping[str, Any], pause: Callable[[], object]
) -> Settings | list[str]:
    """Return the settings, or what is wrong with the file."""
    try:
        if isinstance(source, Mapping):
            return Settings.model_validate(dict(source))
        body = _bounded(source)
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
    """The source is nothing that could be parsed."""


def _bounded(source: object) -> bytes:
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


def _duplicates(settings: Settings) -> Iterator[str]:
    campaigns = settings.campaigns
    if isinstance(campaigns, CampaignTexts):
        # Looked for while they were read.
        return
    yield from find_twins((one.id for one in campaigns), (one.key for one in campaigns))
    for index, campaign in enumerate(campaigns):
        yield from find_inner_twins(index, campaign)
