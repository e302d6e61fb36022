"""VWO's webhook, whatever the framework: who may call it, how much it reads, what it answers."""

from __future__ import annotations

from collections.abc import AsyncIterable

from .. import ClosedError, InvalidInputError
from ..webhook import Headers, verify_webhook
from ._memo import AnyClient

PATH = "/vwo-webhook"
# What VWO sends is a small JSON text, and nothing is read from it.
MAX_BODY_BYTES = 65_536


class Webhook:
    """Has a client refresh its settings when VWO says that they changed.

    Args:
        secret: The secret that VWO showed when the webhook was made.

    Raises:
        InvalidInputError: There is none: nobody could call it.
    """

    __slots__ = ("_secret",)

    def __init__(self, secret: str | bytes) -> None:
        if not isinstance(secret, (str, bytes)) or not secret:
            raise InvalidInputError("the webhook needs the secret that VWO showed when it was made")
        self._secret = secret

    def is_from_vwo(self, headers: Headers) -> bool:
        """Tell whether a request came from VWO; if not, nothing of its body is to be read."""
        return verify_webhook(headers, self._secret)

    async def answer(self, client: AnyClient, headers: Headers, body: AsyncIterable[bytes]) -> int:
        """Refresh the settings of the client, and return the status to answer.

        Returns:
            204 if they are now those that VWO has, 503 if they could not be fetched, 403 if it was not VWO
            who called, 413 if the body is longer than 64 kB.
        """
        if not self.is_from_vwo(headers):
            return 403
        if not await _is_short(body):
            return 413
        try:
            return 204 if await client.refresh_settings() else 503
        except ClosedError:
            return 503


async def _is_short(body: AsyncIterable[bytes]) -> bool:
    """Read a body and forget it; tell whether it ended within the bound."""
    size = 0
    async for chunk in body:
        size += len(chunk)
        if size > MAX_BODY_BYTES:
            return False
    return True
