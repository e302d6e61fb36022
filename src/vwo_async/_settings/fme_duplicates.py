"""What stands twice in a v2 settings file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from .entry_texts import EntryTexts
from .fault import find_repeated
from .fme import Campaign, Feature, FMESettings
from .lazy_entries import FlagCampaignTexts


def find_fme_duplicates(settings: FMESettings) -> Iterator[str]:
    """Yield a fault for each id, and each key of a feature, that several entries of one list share."""
    features, campaigns = settings.features, settings.campaigns
    yield from find_repeated("features", "id", _list_ids(features))
    keys = features.keys if isinstance(features, EntryTexts) else [one.key for one in features]
    yield from find_repeated("features", "key", keys)
    yield from find_repeated("campaigns", "id", _list_ids(campaigns))
    if isinstance(campaigns, FlagCampaignTexts):
        yield from campaigns.repeated
    else:
        for index, campaign in enumerate(campaigns):
            yield from find_repeated_variations(index, campaign)
    yield from find_repeated("holdouts", "id", [one.id for one in settings.holdouts])


def find_repeated_variations(index: int, campaign: Campaign) -> Iterator[str]:
    """Yield a fault for each id that several variations of the campaign at *index* share."""
    ids = [one.id for one in campaign.variations]
    yield from find_repeated(f"campaigns.{index}.variations", "id", ids)


def _list_ids(entries: Sequence[Feature] | Sequence[Campaign]) -> Sequence[int]:
    return entries.ids if isinstance(entries, EntryTexts) else [one.id for one in entries]
