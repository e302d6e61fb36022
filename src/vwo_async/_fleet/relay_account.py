"""In whose name a relay delivers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from .._delivery.outbox.row import fingerprint
from .._delivery.transport.intermediary import GatewayService, find_destination
from .._delivery.transport.protocol import VWO_BASE_URL, check_base_url, choose_base_url
from .._error import InvalidInputError
from .._plain import is_kind
from .._refresh.fetch import read_account
from .._sdk_key import SdkKey
from .entry import make_account

SHOWN_FINGERPRINT = 8


@dataclass(frozen=True)
class RelayAccount:
    """One account and environment whose events a relay delivers.

    Args:
        account_id: The VWO account.
        sdk_key: The key of the environment, a `str` or what holds one without showing it.
        product: ``fullstack`` or ``fme``.
        base_url: Where its events go, for the brand Wingify of FME ``https://collect.wingify.net``; https, or http on a
            loopback host.
        gateway_service: For FME where the gateway service is that the pods have as launch option, in place of
            *base_url*.
        proxy_url: For FME where a proxy is, in place of *base_url*; see the launch option.

    Attributes:
        base_url: Where its events go.
        allows_http: Whether that may be plain HTTP to any host.

    Raises:
        InvalidInputError: An argument cannot be used.
    """

    account_id: int | str
    sdk_key: SdkKey
    product: Literal["fullstack", "fme"] = "fullstack"
    base_url: str = VWO_BASE_URL
    allows_http: bool = False

    def __init__(
        self,
        account_id: int | str,
        sdk_key: str | SdkKey,
        *,
        product: Literal["fullstack", "fme"] = "fullstack",
        base_url: str | None = None,
        gateway_service: GatewayService | None = None,
        proxy_url: str | None = None,
    ) -> None:
        if product not in ("fullstack", "fme"):
            raise InvalidInputError("product must be fullstack or fme")
        if product != "fme" and (gateway_service is not None or proxy_url is not None):
            raise InvalidInputError("gateway_service and proxy_url are of the product fme")
        base_url = choose_base_url(base_url)
        check_base_url(base_url)
        destination = find_destination(base_url, gateway_service, proxy_url)
        set_field = object.__setattr__
        set_field(self, "account_id", read_account(account_id))
        try:
            set_field(self, "sdk_key", SdkKey.read(sdk_key))
        finally:
            # Tools that report errors show the locals of each frame.
            del sdk_key
        set_field(self, "product", product)
        set_field(self, "base_url", destination.base_url)
        set_field(self, "allows_http", destination.allows_http)

    @property
    def name(self) -> str:
        """What it is called in reports, where no other environment of the account is there: product and account."""
        return f"{self.product}:{self.account_id}"

    @property
    def fingerprint(self) -> str:
        """What its streams are called, see `StreamKeys`."""
        facts = {
            "product": self.product,
            "account_id": self.account_id,
            "collection_prefix": "",
            "sdk_name": "",
            "sdk_version": "",
        }
        more: dict[str, object] = {} if self.product == "fme" else {"usage": {}}
        return fingerprint(make_account({**facts, **more}, self.sdk_key.get_secret_value()))


def name_accounts(accounts: Sequence[RelayAccount]) -> Mapping[str, RelayAccount]:
    """Return *accounts* by what each is called in reports.

    Where several are environments of one account and product, the beginning of the name of their streams tells
    them apart.

    Raises:
        InvalidInputError: One is there twice, none is, or one is no `RelayAccount`.
    """
    if not is_kind(accounts, list, tuple) or not all(
        is_kind(one, RelayAccount) for one in accounts
    ):
        raise InvalidInputError("accounts must be a list of RelayAccount")
    if not accounts:
        raise InvalidInputError("accounts must name at least one account")
    times = Counter(one.name for one in accounts)
    named = {
        one.name
        if times[one.name] == 1
        else f"{one.name}:{one.fingerprint[:SHOWN_FINGERPRINT]}": one
        for one in accounts
    }
    if len(named) < len(accounts):
        raise InvalidInputError("accounts names an environment of an account twice")
    return named
