"""What the command's exit codes mean; docs/cli.md has the same table."""

from __future__ import annotations

from enum import IntEnum

from .._error import DeliveryError, InvalidInputError, OutboxError, SettingsError


class ExitCode(IntEnum):
    """How the command ended."""

    OK = 0
    # It did what was asked, and found what one wants to hear of: a difference, a mismatch, an unknown key.
    FOUND = 1
    USAGE = 2
    SETTINGS = 3
    NETWORK = 4
    FILE = 5
    BUG = 70
    INTERRUPTED = 130


class CommandError(Exception):
    """What was asked for cannot be done: the text says why, and what would mend it.

    Attributes:
        code: The exit code.
    """

    def __init__(self, text: str, code: ExitCode = ExitCode.USAGE) -> None:
        self.code = code
        super().__init__(text)


_CODES: tuple[tuple[type[Exception], ExitCode], ...] = (
    (SettingsError, ExitCode.SETTINGS),
    (DeliveryError, ExitCode.NETWORK),
    (OutboxError, ExitCode.FILE),
    (InvalidInputError, ExitCode.USAGE),
    (OSError, ExitCode.FILE),
)


def find_code(error: Exception) -> ExitCode:
    """Return the exit code of an error."""
    if isinstance(error, CommandError):
        return error.code
    return next((code for kind, code in _CODES if isinstance(error, kind)), ExitCode.BUG)
