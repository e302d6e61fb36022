"""Where requests go and by what means: one value, from those who are told it to the transport."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, fields
from typing import Any

from .protocol import VWO_BASE_URL, Timeouts


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """What a built-in transport is made from.

    Its fields are the keyword arguments of the transports' constructors.

    Attributes:
        base_url: Where VWO is, see `check_base_url`.
        timeouts: Limits of one try.
        user_agent: The header of every request.
        ssl_context: To trust other certificates than the system's; verification cannot be turned off.
        proxy: URL of a proxy, see `read_proxy`; the environment's proxy variables are not read.
        allows_http: Whether *base_url* may be plain HTTP to any host, see `intermediary`.
    """

    base_url: str = VWO_BASE_URL
    timeouts: Timeouts | None = None
    user_agent: str = "vwo_async"
    ssl_context: ssl.SSLContext | None = None
    # It may hold a password.
    proxy: str | None = field(default=None, repr=False)
    allows_http: bool = False

    def as_arguments(self) -> dict[str, Any]:
        """Return the fields by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}
