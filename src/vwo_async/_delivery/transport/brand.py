"""The two brands of FME, and the hosts of each (section F14): Wingify has one for files and one for events."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple, TypeAlias

from ..._error import InvalidInputError
from ..._plain import to_plain
from .protocol import VWO_BASE_URL

Brand: TypeAlias = Literal["vwo", "wingify"]


class Hosts(NamedTuple):
    """The addresses of one brand.

    Attributes:
        settings_url: Where the settings file is.
        events_url: Where events go.
    """

    settings_url: str
    events_url: str


HOSTS: Mapping[str, Hosts] = {
    "vwo": Hosts(VWO_BASE_URL, VWO_BASE_URL),
    "wingify": Hosts("https://edge.wingify.net", "https://collect.wingify.net"),
}


def read_brand(value: object) -> str:
    """Return the brand that *value* names.

    Raises:
        InvalidInputError: It names none.
    """
    plain = to_plain(value)
    if type(plain) is not str or plain not in HOSTS:
        raise InvalidInputError(f"must be {' or '.join(map(repr, HOSTS))}")
    return plain


def find_fme_address(brand: object, base_url: str | None) -> str:
    """Return where the settings file is: at *base_url* where one is given, else at the brand's host.

    Raises:
        InvalidInputError: There is no such brand.
    """
    try:
        hosts = HOSTS[read_brand(brand)]
    except InvalidInputError as error:
        fault = f"brand {error}"
    else:
        return hosts.settings_url if base_url is None else base_url
    raise InvalidInputError(fault)
