"""What the event factory gives an event of its own: a message id that no other event of the visitor has."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal

import pytest

from vwo_async._delivery.event_factory import EventFactory, dump_properties
from vwo_async._delivery.fme_event_factory import dump_event_properties
from vwo_async._delivery.request import Account
from vwo_async._user import User

ACCOUNT = Account(
    account_id=888888,
    sdk_key="key",
    collection_prefix="",
    sdk_name="sdk",
    sdk_version="1",
    usage={},
)


class Clock:
    """A wall clock that goes on when it is told to, by whole milliseconds."""

    millis = 1_795_262_400_000

    def __call__(self) -> float:
        return (self.millis + 0.5) / 1000


def read_stamp(factory: EventFactory, name: str) -> int:
    """Return the milliseconds in the message id of a new event of that user."""
    (event,) = factory.make_tags(User(name), {"plan": "pro"})
    return int(json.loads(event.render().body)["d"]["msgId"].partition("-")[2])


def test_message_ids_differ() -> None:
    """Events of one visitor within a millisecond, and after many of them, have stamps of their own."""
    clock = Clock()
    factory = EventFactory(ACCOUNT, is_arch=True, wall_clock=clock)
    stamps = [read_stamp(factory, "Ashley") for _ in range(5)]
    assert stamps == list(range(clock.millis, clock.millis + 5))
    assert read_stamp(factory, "Bill") == clock.millis
    for _ in range(3):
        clock.millis += 1
        stamps.append(read_stamp(factory, "Ashley"))
    assert stamps == list(range(stamps[0], stamps[0] + 8))
    clock.millis += 100
    assert read_stamp(factory, "Ashley") == clock.millis


def test_message_ids_differ_where_a_visitor_is_one_ahead() -> None:
    """The stamp of the second of two events is not given again when its millisecond comes."""
    clock = Clock()
    factory = EventFactory(ACCOUNT, is_arch=True, wall_clock=clock)
    stamps = [read_stamp(factory, "Ashley") for _ in range(2)]
    clock.millis += 1
    stamps.append(read_stamp(factory, "Ashley"))
    assert len(set(stamps)) == 3


def test_stamps_are_not_kept() -> None:
    """What is remembered to tell visitors' events apart does not grow with the number of visitors."""
    clock = Clock()
    factory = EventFactory(ACCOUNT, is_arch=True, wall_clock=clock)
    for number in range(1000):
        clock.millis += 1
        read_stamp(factory, f"user {number}")
    assert len(factory._stamp._last) == 1


class Seen(Decimal):
    """A number that knows whether it was written as JSON."""

    is_seen = False

    def is_finite(self) -> bool:
        self.is_seen = True
        return True


@pytest.mark.parametrize("dump", [dump_properties, dump_event_properties])
def test_properties_beyond_a_bound_cost_nothing(dump: Callable[..., str]) -> None:
    """What follows the first ten thousand properties is left out with one note, and not looked at."""
    first, last = Seen(1), Seen(2)
    notes: list[str] = []
    text = dump({"first": first, **dict.fromkeys(map(str, range(20_000)), 1), "last": last}, notes)
    assert json.loads(text)["first"] == 1
    assert (first.is_seen, last.is_seen) == (True, False)
    (note,) = [one for one in notes if "more than" in one]
    assert note == "event_properties has more than 10000 entries: the others are left out"
