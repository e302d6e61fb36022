"""What an answer means for its events, and what a Retry-After header asks for."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_effort import examples

from vwo_async._delivery.answer import Answer, Failure, Verdict, judge, read_retry_after

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
WALL = NOW.timestamp()

STATUSES: dict[Verdict, list[int]] = {
    Verdict.DELIVERED: [200, 201, 202, 204, 206, 299],
    Verdict.REJECTED: [
        *[400, 402, 404, 405, 406, 409, 410, 411, 414, 415, 418, 422, 426, 428, 431, 451]
    ],
    Verdict.TURNED_AWAY: [300, 301, 302, 303, 304, 307, 308, 401, 403],
    Verdict.TOO_LARGE: [413],
    Verdict.RETRY: [408, 425, 429, 500, 501, 502, 503, 504, 507, 599],
}


@pytest.mark.parametrize(
    ("status", "expected"),
    [(status, verdict) for verdict, statuses in STATUSES.items() for status in statuses],
)
def test_statuses(status: int, expected: Verdict) -> None:
    """Each status is classified by the policy; a redirect is never followed, and is a refusal."""
    assert judge(Answer(status)) is expected


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (Failure.NOT_SENT, Verdict.RETRY),
        (Failure.UNKNOWN, Verdict.UNKNOWN),
        (Failure.UNSENDABLE, Verdict.UNSENDABLE),
        (None, Verdict.UNKNOWN),
    ],
)
def test_failures(failure: Failure | None, expected: Verdict) -> None:
    """Without an answer it is known that the request did not arrive, or never can, or it is not known."""
    assert judge(Answer(failure=failure)) is expected


@given(st.integers(100, 999), st.text(max_size=10))
def test_every_status(status: int, header: str) -> None:
    """Only 2xx counts as delivered, only 408, 425, 429 and 5xx are sent again, whatever the header says."""
    verdict = judge(Answer(status, retry_after=header))
    assert (verdict is Verdict.DELIVERED) is (200 <= status <= 299)
    assert (verdict is Verdict.RETRY) is (status in (408, 425, 429) or status >= 500)
    # Below 200 nothing has ended.
    assert (verdict is Verdict.UNKNOWN) is (status < 200)
    assert verdict is not Verdict.UNSENDABLE


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2", 2),
        ("0", 0),
        (" 30 ", 30),
        ("007", 7),
        ("299", 299),
        ("300", 300),
        ("301", 300),
        ("86400", 300),
        ("1000000000", 300),
        ("9" * 60, 300),
        # Not a number of seconds, and not a date.
        ("", 0),
        (" ", 0),
        ("-1", 0),
        ("-0", 0),
        ("+2", 0),
        ("2.5", 0),
        ("1e9", 0),
        ("nan", 0),
        ("inf", 0),
        ("-inf", 0),
        ("0x10", 0),
        ("1_0", 0),
        ("\u0662", 0),
        ("\u00b2", 0),
        ("2, 3", 0),
        ("soon", 0),
        ("9" * 10_000, 0),
        ("\0", 0),
        ("\ud800", 0),
    ],
    ids=lambda value: ascii(value)[:20],
)
def test_retry_after_seconds(text: str, expected: float) -> None:
    """Whole seconds are waited, up to 300; what makes no sense asks for nothing."""
    assert read_retry_after(text, WALL) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sat, 21 Nov 2026 12:00:30 GMT", 30),
        ("Sat, 21 Nov 2026 12:04:59 GMT", 299),
        ("Sat, 21 Nov 2026 12:05:01 GMT", 300),
        ("Sun, 22 Nov 2026 12:00:00 GMT", 300),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 300),
        ("Sat, 21 Nov 2026 12:00:00 GMT", 0),
        ("Sat, 21 Nov 2026 11:59:59 GMT", 0),
        ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
        ("Sat, 21 Nov 2026 12:00:61 GMT", 0),
        ("Sat, 31 Feb 2026 12:00:00 GMT", 0),
        ("Sat, 21 Nov 99999 12:00:00 GMT", 0),
        ("Sat, 21 Nov 2026 13:00:30 +0100", 30),
        # An older form that HTTP still allows.
        ("Saturday, 21-Nov-26 12:00:30 GMT", 30),
    ],
)
def test_retry_after_date(text: str, expected: float) -> None:
    """A date is waited for, up to 300 seconds; one that has passed, or is none, asks for nothing."""
    assert read_retry_after(text, WALL) == expected


@contextmanager
def local_zone(name: str) -> Iterator[None]:
    """Run as a process that lives in another time zone."""
    before = os.environ.get("TZ")
    os.environ["TZ"] = name
    time.tzset()
    try:
        yield
    finally:
        if before is None:
            del os.environ["TZ"]
        else:
            os.environ["TZ"] = before
        time.tzset()


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system has one zone for all")
@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/New_York"])
@pytest.mark.parametrize("text", ["Sat Nov 21 12:00:30 2026", "Sat, 21 Nov 2026 12:00:30 -0000"])
def test_dates_without_a_zone(text: str, zone: str) -> None:
    """HTTP dates are in GMT whatever the local zone is, those that do not say so too."""
    with local_zone(zone):
        assert read_retry_after(text, WALL) == 30


@given(st.integers(-10_000, 10_000))
def test_any_date(seconds: int) -> None:
    """A date some seconds away is waited for that long, within 0 and 300."""
    text = format_datetime(NOW + timedelta(seconds=seconds), usegmt=True)
    assert read_retry_after(text, WALL) == min(max(seconds, 0), 300)


@given(
    st.one_of(
        st.text(max_size=80),
        st.from_regex(
            r"[A-Z][a-z]{2}, [0-9]{1,2} [A-Z][a-z]{2} [0-9]{1,6} [0-9:]{5,8} [-+A-Z0-9]{0,6}"
        ),
    ),
    st.floats(0, 1e11),
)
@settings(max_examples=examples(300))
def test_any_header(text: str, wall_now: float) -> None:
    """Whatever a server sends, the wait is a number of 0 to 300 seconds."""
    assert 0 <= read_retry_after(text, wall_now) <= 300
