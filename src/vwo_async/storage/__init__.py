"""Where the variations and conversions of users are kept."""

from .memory import MemoryUserStorage
from .protocol import StoredDecision, UserStorage

__all__ = ["MemoryUserStorage", "StoredDecision", "UserStorage"]
