"""The certificate authorities that HTTPS connections trust."""

from __future__ import annotations

import asyncio
import ssl

from anyio import to_thread

from ..._error import InvalidInputError
from ..._plain import is_kind


def check_ssl_context(context: ssl.SSLContext) -> None:
    """Refuse a context by which anybody could be VWO.

    Raises:
        InvalidInputError: It is none, or does not verify certificates and host names.
    """
    if not is_kind(context, ssl.SSLContext):
        raise InvalidInputError("ssl_context must be an ssl.SSLContext")
    if context.verify_mode is ssl.CERT_NONE or not context.check_hostname:
        raise InvalidInputError("ssl_context must verify certificates and host names")


class Certificates:
    """One verifying TLS context, loaded when it is first needed.

    Args:
        context: The caller's; None for one with the authorities that httpx trusts.

    Raises:
        InvalidInputError: The context does not verify certificates and host names.
    """

    def __init__(self, context: ssl.SSLContext | None) -> None:
        if context is not None:
            check_ssl_context(context)
        self._context = context
        self._loading: asyncio.Task[ssl.SSLContext] | None = None

    async def load(self) -> ssl.SSLContext:
        """Return the context. It is made in a thread: that takes longer than a loop may be held."""
        if self._context is None:
            if self._loading is None:
                self._loading = asyncio.create_task(
                    to_thread.run_sync(_create_context), name="vwo_async certificates"
                )
            self._context = await asyncio.shield(self._loading)
        return self._context

    async def settle(self) -> None:
        """Wait until nothing is being loaded."""
        if self._loading is not None:
            await asyncio.wait([self._loading])


def _create_context() -> ssl.SSLContext:
    import httpx  # noqa: PLC0415 - not before it is needed

    return httpx.create_ssl_context()
