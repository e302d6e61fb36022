"""What an answer of the server means for the events that were sent."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC
from enum import Enum, auto
from types import NoneType
from typing import Any

from .._plain import is_kind, to_plain

MAX_RETRY_AFTER_S = 300.0
_MAX_RETRY_AFTER_TEXT = 64
_TEMPORARY = frozenset({408, 425, 429})
_OF_THE_ACCOUNT = frozenset({401, 403})
TOO_LARGE = 413


class Failure(Enum):
    """Why there is no answer."""

    NOT_SENT = auto()
    """The request surely did not arrive: no connection came about."""
    UNKNOWN = auto()
    """The request may have arrived: the connection broke or time ran out after it was opened."""
    UNSENDABLE = auto()
    """The request cannot be written as HTTP, now or ever."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of one request: a status, or a failure.

    Attributes:
        status: The HTTP status, None where no answer came.
        failure: Why none came.
        retry_after: The header of that name, as sent.
        fault: The exception of the system where no answer came, None for none. It is for the log, and makes no
            difference otherwise.
    """

    status: int | None = None
    failure: Failure | None = None
    retry_after: str = ""
    # Not named as what it is: no schema of pydantic can be made of an exception.
    fault: Any = field(default=None, compare=False, repr=False)


def read_given(answer: object) -> Answer | None:
    """Return what code of the user's own answered, with each field of its type; None where it is no answer.

    A header that is no text is as none.
    """
    if not isinstance(answer, Answer):
        return None
    status, retry_after = to_plain(answer.status), to_plain(answer.retry_after)
    if type(status) not in (int, NoneType) or not is_kind(answer.failure, Failure, NoneType):
        return None
    if status is answer.status and retry_after is answer.retry_after and type(retry_after) is str:
        return answer
    text = retry_after if type(retry_after) is str else ""
    return Answer(status, answer.failure, text, answer.fault)


class Verdict(Enum):
    """What to do with the events of a request."""

    DELIVERED = auto()
    REJECTED = auto()
    """Refused, mostly for what was in the request."""
    TURNED_AWAY = auto()
    """Refused, mostly for whose it is or where it was sent: so will others be for a while."""
    TOO_LARGE = auto()
    RETRY = auto()
    """Surely not counted by the server, or it asked to come again."""
    UNKNOWN = auto()
    """It may have been counted."""
    UNSENDABLE = auto()


def judge(answer: Answer) -> Verdict:
    """Return what *answer* means. A redirect is a refusal: following it would show the key to others."""
    status = answer.status
    if status is None:
        return {
            Failure.NOT_SENT: Verdict.RETRY,
            Failure.UNSENDABLE: Verdict.UNSENDABLE,
        }.get(answer.failure or Failure.UNKNOWN, Verdict.UNKNOWN)
    if 200 <= status < 300:
        return Verdict.DELIVERED
    if status < 200:
        # No end of a request: whether it was taken is not known.
        return Verdict.UNKNOWN
    if is_temporary(status):
        return Verdict.RETRY
    if status == TOO_LARGE:
        return Verdict.TOO_LARGE
    is_redirect = status < 400
    return Verdict.TURNED_AWAY if is_redirect or status in _OF_THE_ACCOUNT else Verdict.REJECTED


def is_temporary(status: int) -> bool:
    """Tell whether a server that answered *status* may answer otherwise a moment later."""
    return status in _TEMPORARY or status >= 500


def read_retry_after(text: str, wall_now: float) -> float:
    """Return the seconds to wait that a Retry-After header asks for: 0..300, 0 for what makes no sense.

    Args:
        text: Whole seconds or an HTTP date.
        wall_now: Seconds since the epoch, to which a date is compared.
    """
    text = text.strip()
    if not text or len(text) > _MAX_RETRY_AFTER_TEXT:
        return 0.0
    if text.isascii() and text.isdigit():
        return min(float(text), MAX_RETRY_AFTER_S)
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - seldom needed, slow to import

    try:
        date = parsedate_to_datetime(text)
        if date.tzinfo is None:
            # HTTP dates are in GMT; one that says no zone would be read as local time.
            date = date.replace(tzinfo=UTC)
        wait = date.timestamp() - wall_now
    except (ValueError, OverflowError, TypeError):
        return 0.0
    return min(max(wait, 0.0), MAX_RETRY_AFTER_S)
