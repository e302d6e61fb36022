"""The names of what a fleet keeps in Redis for one account.

Each shard has a hash tag of its own, so that a cluster spreads the shards over its nodes while a stream and
its dead letters stay together.
"""

from __future__ import annotations

from dataclasses import dataclass

GROUP = "relays"


@dataclass(frozen=True, slots=True)
class StreamKeys:
    """Names for one account.

    Attributes:
        prefix: What all of them begin with.
        fingerprint: Names the account and its key, from which the key cannot be told.
        shards: How many streams there are.
    """

    prefix: str
    fingerprint: str
    shards: int

    def _tag(self, shard: int) -> str:
        return f"{self.prefix}:{{{self.fingerprint}:{shard}}}"

    def events(self, shard: int) -> str:
        """Return the stream of events of a shard."""
        return f"{self._tag(shard)}:events"

    def dead(self, shard: int) -> str:
        """Return the stream of what could not be delivered."""
        return f"{self._tag(shard)}:dead"

    @property
    def rate(self) -> str:
        """What all relays have sent of late, for their common limit."""
        return f"{self.prefix}:{{{self.fingerprint}}}:rate"
