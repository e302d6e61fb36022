"""Where the variations and conversions of users are kept, for the launch option ``user_storage``.

`MemoryUserStorage` keeps them in this process. A storage of your own has the two methods of `UserStorage`,
or of `PlainUserStorage` where they may block, and keeps what `StoredDecision` describes; the methods of
`ManyReader` and `GoalClaims` are used where it has them.

The adapters for servers are modules of their own, since each needs a client library:
`vwo_async.storage.redis`, `vwo_async.storage.sql`. `vwo_async.storage.cookie` keeps them with the visitor.
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
