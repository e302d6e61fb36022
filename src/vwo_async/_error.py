"""The errors a caller can meet, each named by what the caller can do about it."""

from __future__ import annotations

from collections.abc import Sequence


class VWOError(Exception):
    """Root of everything this package raises on purpose."""


class InvalidInputError(VWOError, ValueError):
    """An argument cannot be used: correct it.

    Raised by launch for wrong options, and by API methods only where ``strict=True`` was asked for.
    """


class MissingExtraError(InvalidInputError, ImportError):
    """What was asked for needs a library that is not installed: install the extra that the text names.

    Raised where a module such as `vwo_async.storage.redis` is imported, and where a transport or a database
    is chosen by name.
    """


class SettingsError(VWOError, ValueError):
    """A settings file cannot be used: fetch or repair it.

    Attributes:
        faults: One text per fault, each beginning with the path of the field at fault
            (``campaigns.0.percentTraffic: ...``). Never holds a value taken from the file,
            since the file holds the SDK key.
    """

    def __init__(self, faults: str | Sequence[str]) -> None:
        self.faults: tuple[str, ...] = (faults,) if isinstance(faults, str) else tuple(faults)
        super().__init__("; ".join(self.faults))


class StorageError(VWOError):
    """A user storage did not answer as its protocol says: look at the storage."""


class OutboxError(VWOError):
    """The outbox cannot be used: look at its path."""


class DeliveryError(VWOError):
    """VWO's server could not be reached or refused: look at the network or the account.

    Attributes:
        status_code: The HTTP status of its answer, None where there was none.
    """

    def __init__(self, text: str = "", status_code: int | None = None) -> None:
        self.status_code = status_code
        super().__init__(text)


def without_frames(error: VWOError) -> VWOError:
    """Return *error* without the frames that it and its causes came through.

    To be raised again by what the user called: tools that report errors show the locals of each frame, and
    those within hold the SDK key, the settings file and what visitors sent.
    """
    one: BaseException | None = error
    while one is not None:
        one.__traceback__ = None
        one = one.__cause__ or one.__context__
    return error


class ClosedError(VWOError, RuntimeError):
    """The client was closed: make a new one."""


class WrongLoopError(ClosedError):
    """The client belongs to another event loop: make one client for each loop."""
