"""What tests need: `RecordingTransport` for those of services, `UserStorageContract` for those of storages.

A service under test decides and reports as usual, and nothing leaves the process::

    transport = RecordingTransport()
    async with VWOClient(settings, transport=transport) as client:
        await client.track("checkout", "Ashley", "purchase", wait=True)
    assert len(transport.requests) == 1
"""

from .._home import rehome
from .._testing.contract import UserStorageContract
from .._testing.recording import RecordingTransport

__all__ = ["RecordingTransport", "UserStorageContract"]

rehome(globals())
