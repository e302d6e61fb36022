"""Where the variations and conversions of users are kept.

The adapters for servers are modules of their own, since each needs a client library:
`vwo_async.storage.redis`, `vwo_async.storage.sql`.
"""

from .._home import rehome
from .memory import MemoryUserStorage
from .protocol import GoalClaims, ManyReader, PlainUserStorage, StoredDecision, UserStorage

__all__ = [
    "GoalClaims",
    "ManyReader",
    "MemoryUserStorage",
    "PlainUserStorage",
    "StoredDecision",
    "UserStorage",
]

rehome(globals())
