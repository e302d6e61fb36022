"""What one open page has seen, and what is new for it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from ..catalogue import Campaign
from ..inbox import Inbox
from ..ledger import CampaignId
from .count import CampaignCount
from .entry import EntryFilter
from .summary import CampaignSummary, summarize

__all__ = ["Watcher", "list_summaries", "write_message"]

# Of more entries the page says only how many there are; the newest are shown first.
MAX_ENTRIES = 50
# More campaigns change in one step only where there are very many; the others follow.
MAX_CAMPAIGNS = 50


class Watcher:
    """One open page.

    Args:
        inbox: What it shows.
        wanted: Which entries it shows.
    """

    def __init__(self, inbox: Inbox, wanted: EntryFilter) -> None:
        self._inbox = inbox
        self._wanted = wanted
        self._files = inbox.files
        self._forget()

    def _forget(self) -> None:
        self._resets = self._inbox.resets
        self._shown: dict[CampaignId, int] = {}
        self._last_number = 0
        self._turn = 0

    async def read(self, state: Mapping[str, Any]) -> list[str]:
        """Return the messages that bring the page up to date; the first ones bring it everything.

        Args:
            state: What there is to say besides campaigns and entries.
        """
        messages = []
        if self._resets != self._inbox.resets or self._files is not self._inbox.files:
            self._files = self._inbox.files
            self._forget()
            messages.append(write_message("reset", {}))
        messages.append(write_message("state", state))
        summaries = self._take_changed()
        if summaries:
            # Statistics take milliseconds each, and other requests shall not wait for them.
            messages.append(await asyncio.to_thread(_write_summaries, summaries))
        entries, more = self._inbox.entries.find(self._wanted, self._last_number, MAX_ENTRIES)
        self._last_number = self._inbox.entries.last_number
        if entries:
            rows = [entry._asdict() for entry in entries]
            messages.append(write_message("entries", {"entries": rows, "more": more}))
        return messages

    def _take_changed(self) -> list[CampaignSummary]:
        """Return what has changed, beginning where there was no more room the last time."""
        campaigns = _list_campaigns(self._inbox)
        start, self._turn = self._turn, 0
        found: list[CampaignSummary] = []
        for place in (*range(start, len(campaigns)), *range(min(start, len(campaigns)))):
            count, campaign = campaigns[place]
            key = count.account, count.campaign_id
            if self._shown.get(key) == count.version:
                continue
            if len(found) >= MAX_CAMPAIGNS:
                self._turn = place
                break
            self._shown[key] = count.version
            found.append(summarize(count, campaign))
        return found


def list_summaries(inbox: Inbox) -> list[CampaignSummary]:
    """Return the counts of all campaigns, by account and number."""
    return [summarize(*one) for one in _list_campaigns(inbox)]


def write_message(name: str, document: object) -> str:
    """Return a server-sent event."""
    return f"event: {name}\ndata: {json.dumps(document)}\n\n"


def _list_campaigns(inbox: Inbox) -> list[tuple[CampaignCount, Campaign | None]]:
    known = {
        (file.account, campaign.id): campaign
        for file in inbox.files.files
        for campaign in file.campaigns.values()
    }
    counts = inbox.tally.campaigns
    return [
        (counts.get(one) or CampaignCount(*one), known.get(one))
        for one in sorted(known.keys() | counts.keys())
    ]


def _write_summaries(summaries: list[CampaignSummary]) -> str:
    return write_message("campaigns", [one.as_dict() for one in summaries])
