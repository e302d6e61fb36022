"""What tests of services need: a transport that records, and the contract of user storages."""

from .._home import rehome
from .._testing.contract import UserStorageContract
from .._testing.recording import RecordingTransport

__all__ = ["RecordingTransport", "UserStorageContract"]

rehome(globals())
