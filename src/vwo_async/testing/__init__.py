"""What tests of services need: a transport that records, and the contract of user storages."""

from .contract import UserStorageContract
from .recording import RecordingTransport

__all__ = ["RecordingTransport", "UserStorageContract"]
