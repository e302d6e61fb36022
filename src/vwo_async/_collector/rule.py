"""The checks that all endpoints share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote

from .catalogue import Campaign, Catalogue, Goal
from .error import WireError
from .field import STATISTICS, Fields
from .product import Account, Product
from .request import Endpoint, WireRequest

__all__ = ["IP_HEADER", "USER_AGENT_HEADER", "Rules"]

USER_AGENT_HEADER = "x-device-user-agent"
IP_HEADER = "vwo-x-forwarded-for"

_NOBODYS = Account(Product.FULLSTACK, "")
_STATISTIC = re.compile(r"[1-9]\d{0,8}", re.ASCII)
_PREFIX = re.compile(r"[A-Za-z0-9_-]+")


# Two days: an event may be a day old when it is sent again.
CLOCK_WINDOW_S = 172_800.0


@dataclass(frozen=True, slots=True)
class Rules:
    """The rules by which requests are checked.

    Attributes:
        catalogue: The settings file in force; without one, only the form of ids, account and key is
            checked.
        account: The account that a request is about: that of the file, else the one that it names.
        strict: Whether to refuse requests that have the right facts in a looser form: with additional
            fields, headers that differ from the query, old times, a missing or wrong prefix, or custom
            dimensions that are not text.
        clock_window_s: How far times in requests may be from now, in seconds.
        is_gateway: Whether SDKs of FME speak to a gateway service, which takes no prefix and no batches.
    """

    catalogue: Catalogue | None = None
    strict: bool = True
    clock_window_s: float = CLOCK_WINDOW_S
    account: Account = _NOBODYS
    is_gateway: bool = False

    def check_prefix(self, endpoint: Endpoint, prefix: str) -> None:
        """Refuse a prefix other than the account's; requests for settings have none."""
        if not self.strict:
            return
        if self.is_gateway and self.account.product is Product.FME and not endpoint.is_retrieval:
            self._check_gateway(endpoint, prefix)
        elif endpoint.is_retrieval:
            if prefix:
                raise WireError("path", "settings files are asked for without collectionPrefix")
        elif self.catalogue is not None:
            if prefix != self.catalogue.prefix.strip("/"):
                raise WireError("path", "not the collectionPrefix of the settings file")
        elif prefix and _PREFIX.fullmatch(prefix) is None:
            raise WireError("path", "no collectionPrefix has this form")

    def _check_gateway(self, endpoint: Endpoint, prefix: str) -> None:
        if prefix:
            raise WireError("path", "a gateway service is sent events without collectionPrefix")
        if endpoint is Endpoint.BATCH_V2:
            raise WireError("path", "a gateway service is sent each event alone")

    def check_only(self, fields: Fields, allowed: frozenset[str]) -> None:
        """Refuse additional fields."""
        if self.strict:
            fields.check_only(allowed)

    def check_account(self, fields: Fields, name: str) -> None:
        """Refuse another account."""
        if self.catalogue is None:
            fields.digits(name)
        elif fields.text(name) != self.catalogue.account_id:
            fields.fail(name, "not the account of the settings file")

    def check_key(self, fields: Fields, name: str) -> None:
        """Refuse another SDK key."""
        found = fields.filled(name)
        if self.catalogue is not None and self.catalogue.sdk_key not in {None, found}:
            fields.fail(name, "not the SDK key of the settings file")

    def check_sdk(self, fields: Fields, name: str = "sdk", version: str = "sdk-v") -> None:
        """Refuse an SDK without name or version."""
        fields.filled(name)
        fields.filled(version)

    def check_seconds(self, fields: Fields, name: str, at_s: float, now_s: float) -> None:
        """Refuse a time, in seconds since 1970, that is far from now."""
        if self.strict and abs(at_s - now_s) > self.clock_window_s:
            fields.fail(name, f"more than {self.clock_window_s:g} s from now")

    def check_milliseconds(self, fields: Fields, name: str, at_ms: int, now_s: float) -> None:
        """Refuse a time, in milliseconds since 1970, that is far from now."""
        self.check_seconds(fields, name, at_ms / 1000, now_s)

    def check_statistics(self, fields: Fields) -> None:
        """Refuse usage statistics that are zero, or not announced by ``_l=1``."""
        found = STATISTICS.intersection(fields.values)
        if not self.strict or not found:
            return
        for name in found:
            if _STATISTIC.fullmatch(fields.text(name)) is None:
                fields.fail(name, "must be a whole number above 0")
        fields.check_equal("_l", "1", "must be 1")

    def check_no_visitor_headers(self, request: WireRequest) -> None:
        """Refuse headers about one visitor in a request about many."""
        for header in (USER_AGENT_HEADER, IP_HEADER):
            if self.strict and header in request.headers:
                raise WireError(f"header {header}", "not part of a batch")

    def read_user_agent_and_ip(self, request: WireRequest, fields: Fields) -> tuple[str, str]:
        """Return user agent and IP address; unless they are empty, the headers must repeat them."""
        user_agent, ip = fields.text("visitor_ua"), fields.text("visitor_ip")
        self.check_visitor_headers(request, user_agent, ip)
        return user_agent, ip

    def check_visitor_headers(self, request: WireRequest, user_agent: str, ip: str) -> None:
        """Refuse headers that do not repeat the user agent and the IP address."""
        if self.strict:
            _check_header(request, USER_AGENT_HEADER, user_agent)
            _check_header(request, IP_HEADER, ip)

    def find_campaign(self, fields: Fields, name: str, campaign_id: int) -> Campaign | None:
        """Return a campaign of the settings file, None without a settings file."""
        if self.catalogue is None:
            return None
        campaign = self.catalogue.campaigns.get(campaign_id)
        if campaign is None:
            fields.fail(name, "no campaign of the settings file")
        return campaign

    def check_variation(
        self, fields: Fields, name: str, campaign: Campaign | None, found: int
    ) -> None:
        """Refuse a variation that the campaign does not have."""
        if campaign is not None and found not in campaign.variations:
            fields.fail(name, "no variation of this campaign")

    def find_goal(
        self, fields: Fields, name: str, campaign: Campaign | None, found: int
    ) -> Goal | None:
        """Return a goal of the campaign, None without a settings file."""
        if campaign is None:
            return None
        goal = campaign.goals.get(found)
        if goal is None:
            fields.fail(name, "no goal of this campaign")
        return goal

    def check_feature(self, fields: Fields, name: str, feature_id: int) -> None:
        """Refuse a feature that the settings file does not have."""
        if self.catalogue is not None and feature_id not in self.catalogue.features:
            fields.fail(name, "no feature of the settings file")

    def find_metrics(self, fields: Fields, name: str, event_name: str) -> tuple[Goal, ...]:
        """Return the metrics that count an event, none without a settings file."""
        if self.catalogue is None:
            return ()
        metrics = self.catalogue.metrics.get(event_name)
        if metrics is None:
            fields.fail(name, "no event that a metric of the settings file counts")
        return metrics


def _check_header(request: WireRequest, header: str, expected: str) -> None:
    found = request.headers.get(header)
    if found is None and not expected:
        return
    if found is None:
        raise WireError(f"header {header}", "missing although the query has the value")
    if not expected or not _repeats(found, expected):
        raise WireError(f"header {header}", "differs from the query")


def _repeats(header: str, expected: str) -> bool:
    """Tell whether a header says the same as another part of the request.

    One official SDK percent-encodes it, one sends raw Latin-1 and one raw UTF-8, and HTTP trims them.
    """
    trimmed = expected.strip(" \t")
    as_utf8 = header.encode("latin-1").decode("utf-8", "replace")
    return trimmed in (header, as_utf8) or unquote(header) == expected
