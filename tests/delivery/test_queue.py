"""The event queue, told what happened and when: bounds, batches, retries, and a ledger that always balances."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from email.utils import formatdate
from itertools import pairwise
from typing import Any

import pytest
from held import count_held
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from search_effort import examples

from vwo_async._core.plan import Plan
from vwo_async._delivery.answer import Answer, Failure
from vwo_async._delivery.batch import Batch
from vwo_async._delivery.event import Event
from vwo_async._delivery.event_factory import EventFactory
from vwo_async._delivery.queue import Batching, Limits, Queue
from vwo_async._delivery.request import Account, Request
from vwo_async._result import DeliveryStatus, Outcome
from vwo_async._settings import parse_settings
from vwo_async._user import User

WALL = 1_795_262_400.0
OK = Answer(200)
DOWN = Answer(503)
PLAN = Plan(
    parse_settings(
        {
            "accountId": 888888,
            "version": 1,
            "campaigns": [
                {
                    "id": 7,
                    "key": "AB",
                    "type": "VISUAL_AB",
                    "status": "RUNNING",
                    "percentTraffic": 100,
                    "variations": [{"id": 1, "name": "Control", "weight": 100}],
                    "goals": [{"id": 21, "identifier": "bought", "type": "CUSTOM_GOAL"}],
                }
            ],
        }
    )
)
CAMPAIGN = PLAN.campaigns["AB"]
VARIATION = CAMPAIGN.variations[0]


def make_account(account_id: int = 888888) -> Account:
    return Account(
        account_id=account_id,
        sdk_key="key",
        collection_prefix="",
        sdk_name="sdk",
        sdk_version="1",
        usage={},
    )


ACCOUNT = make_account()
OTHER_ACCOUNT = make_account(999999)
PRESS = EventFactory(ACCOUNT, wall_clock=lambda: WALL)
OTHER_PRESS = EventFactory(OTHER_ACCOUNT, wall_clock=lambda: WALL)
ARCH_PRESS = EventFactory(ACCOUNT, is_arch=True, wall_clock=lambda: WALL)


def impression(name: str = "Ashley", factory: EventFactory = PRESS, agent: str = "") -> Event:
    """Return an impression of the user *name*; a longer *agent* makes it weigh more."""
    return factory.make_impression(User(name, user_agent=agent), CAMPAIGN, VARIATION)


def conversion(name: str = "Ashley", *, is_batch_only: bool = False) -> Event:
    goal = CAMPAIGN.goals["bought"]
    return PRESS.make_conversion(
        User(name), CAMPAIGN, VARIATION, goal, None, is_batch_only=is_batch_only
    )


def impressions(number: int, factory: EventFactory = PRESS) -> list[Event]:
    return [impression(f"user {index}", factory) for index in range(number)]


BASE = impression().size
LINGER_S = Limits().linger_s


def put_each(queue: Queue, events: Sequence[Event], now: float = 0.0) -> list[Event]:
    """Put *events* one by one, all of which must be accepted."""
    taken = [one for event in events for one in queue.put([event], now)]
    return [one for one in taken if one is not None]


def put_bundle(queue: Queue, events: Sequence[Event], now: float = 0.0) -> list[Event]:
    """Put *events* to share a request, all of which must be accepted."""
    return [one for one in queue.put(events, now) if one is not None]


def take(queue: Queue, now: float = 0.0) -> Batch:
    batch = queue.take(now)
    assert batch is not None
    return batch


def take_all(queue: Queue, now: float = 0.0) -> list[Batch]:
    """Return every batch that may go now, as any number of workers would take them who linger no longer."""
    batches = []
    while (batch := queue.take(now) or queue.take(now + LINGER_S)) is not None:
        batches.append(batch)
    return batches


def events_of(batches: Sequence[Batch]) -> list[list[Event]]:
    return [list(batch.events) for batch in batches]


def settle(queue: Queue, batch: Batch, answer: Answer = OK, now: float = 0.0) -> list[Event]:
    return queue.settle(batch, answer, now, WALL + now)


def assert_balanced(queue: Queue) -> None:
    """Hold the ledger to its law."""
    ended = queue.delivered + queue.rejected + queue.dropped.total()
    assert queue.accepted == ended + queue.pending
    assert queue.pending == count_held(queue)
    assert queue.pending_bytes >= 0
    assert queue.pending or not queue.pending_bytes


Server = Callable[[Request], Answer]


def deliver(queue: Queue, server: Server, now: float = 0.0, *, requests: int = 10_000) -> float:
    """Send until nothing is pending, with one worker and as much time as it takes; return the time then."""
    for _ in range(requests):
        batch = queue.take(now)
        if batch is None:
            next_at = queue.next_at()
            if next_at is None:
                return now
            assert next_at > now
            now = next_at
            continue
        settle(queue, batch, server(batch.render()), now)
        assert_balanced(queue)
    pytest.fail(f"not at an end after {requests} requests")


def deliver_until(queue: Queue, server: Server, ends_at: float, now: float = 0.0) -> None:
    """Send with one worker until *ends_at*."""
    while now < ends_at:
        batch = queue.take(now)
        if batch is not None:
            settle(queue, batch, server(batch.render()), now)
            assert_balanced(queue)
        else:
            next_at = queue.next_at()
            now = ends_at if next_at is None else next_at


def statuses(events: Sequence[Event]) -> list[tuple[DeliveryStatus | None, str]]:
    return [
        (None, "") if one.outcome is None else (one.outcome.status, one.outcome.reason)
        for one in events
    ]


DELIVERED = (DeliveryStatus.DELIVERED, "")
REJECTED = (DeliveryStatus.REJECTED, "http")


def dropped(reason: str) -> tuple[DeliveryStatus, str]:
    return (DeliveryStatus.DROPPED, reason)


# The way of one event


def test_delivered() -> None:
    """An event that the server takes is delivered: its outcome, the ledger and the bytes say so."""
    queue = Queue()
    (event,) = put_each(queue, [impression()])
    assert event.outcome is None
    assert (queue.accepted, queue.pending, queue.pending_bytes) == (1, 1, BASE)
    batch = take(queue)
    assert_balanced(queue)
    assert queue.pending == 1
    assert settle(queue, batch) == [event]
    assert event.outcome == Outcome(DeliveryStatus.DELIVERED, "", 200, 1)
    assert (queue.accepted, queue.delivered, queue.pending, queue.pending_bytes) == (1, 1, 0, 0)
    assert queue.requests == 1


def test_empty() -> None:
    """An empty queue has nothing to send, now or later."""
    queue = Queue()
    assert queue.take(0) is None
    assert queue.next_at() is None
    assert not queue.has_waiting()
    assert queue.put([], 0) == []
    assert queue.take(0) is None


def test_order() -> None:
    """Events leave in the order in which they were accepted."""
    queue = Queue(Limits(coalesces=False))
    events = impressions(20)
    put_each(queue, events)
    assert events_of(take_all(queue)) == [[event] for event in events]


def test_has_waiting() -> None:
    """What waits for a worker is told from what is on its way or waits for a retry."""
    queue = Queue(draw=lambda: 0.0)
    put_each(queue, [impression()])
    assert queue.has_waiting()
    batch = take(queue)
    assert not queue.has_waiting()
    settle(queue, batch, DOWN)
    assert not queue.has_waiting()
    assert queue.next_at() == 0.5
    assert queue.take(0.5) is not None


# Bounds


def test_refuses_the_newest_by_count() -> None:
    """A full queue refuses what comes, and keeps what it accepted; room that was freed is used again."""
    queue = Queue(Limits(max_events=3))
    kept = put_each(queue, impressions(3))
    assert queue.put(impressions(2), 0) == [None, None]
    assert (queue.accepted, queue.refused, queue.pending) == (3, 2, 3)
    assert statuses(kept) == [(None, "")] * 3
    settle(queue, take(queue))
    assert statuses(kept) == [DELIVERED] * 3
    assert len(put_each(queue, impressions(3))) == 3
    assert queue.put([impression()], 0) == [None]
    assert_balanced(queue)


def test_refuses_the_newest_by_bytes() -> None:
    """What would make the queue too large is refused, although something smaller still fits."""
    queue = Queue(Limits(max_bytes=3 * BASE + 100))
    put_each(queue, impressions(2))
    large = impression(agent="x" * 101)
    assert queue.put([large], 0) == [None]
    assert queue.put([impression(agent="x" * 100)], 0) != [None]
    assert queue.pending_bytes == 3 * BASE + 100
    assert queue.put([impression()], 0) == [None]
    assert (queue.accepted, queue.refused) == (3, 2)
    assert_balanced(queue)


def test_bounds_count_what_is_on_its_way() -> None:
    """Events that are on their way or wait for a retry still take up room."""
    queue = Queue(Limits(max_events=2))
    put_each(queue, [impression()])
    batch = take(queue)
    put_each(queue, [impression()])
    assert queue.put([impression()], 0) == [None]
    settle(queue, batch, DOWN)
    assert queue.put([impression()], 0) == [None]


def test_an_event_that_cannot_be_restored_was_not_refused() -> None:
    """One that is left in the outbox for want of room comes again later, so nobody's event was refused."""
    queue = Queue(Limits(max_events=1))
    assert queue.restore(impression(), 0) is True
    assert queue.restore(impression(), 0) is False
    assert (queue.accepted, queue.refused, queue.pending) == (1, 0, 1)
    assert queue.put([impression()], 0) == [None]
    assert queue.refused == 1
    assert_balanced(queue)


def test_part_of_a_bundle_is_refused() -> None:
    """Where a call's events do not all fit, each is told for itself, and those accepted go together."""
    queue = Queue(Limits(max_events=2))
    events = impressions(4)
    taken = queue.put(events, 0)
    assert [one is not None for one in taken] == [True, True, False, False]
    assert events_of(take_all(queue)) == [events[:2]]


def test_an_outage_does_not_grow_the_queue() -> None:
    """While the server is down, what is pending stays within the bounds, and all that was kept arrives."""
    queue = Queue(Limits(max_events=50))
    kept = []
    for second in range(1000):
        kept += [event for event in queue.put([impression()], second) if event is not None]
        for batch in take_all(queue, second):
            settle(queue, batch, DOWN, second)
        assert queue.pending <= 50
        assert queue.pending_bytes <= 50 * BASE
    assert queue.refused == 950
    deliver(queue, lambda _: OK, 1000)
    assert statuses(kept) == [DELIVERED] * 50


# Requests


def test_alone() -> None:
    """An event alone goes in its own form; one that is for batches only in the batch form."""
    queue = Queue()
    put_each(queue, [impression()])
    first = take(queue)
    assert first.render().method == "GET"
    settle(queue, first)
    put_each(queue, [conversion(is_batch_only=True)])
    request = take(queue).render()
    assert request.method == "POST"
    assert "/server-side/batch-events" in request.target
    assert len(json.loads(request.body)["ev"]) == 1


def test_coalescing() -> None:
    """Events that wait together leave together, up to the limit of a request."""
    queue = Queue(Limits(max_batch_events=100))
    events = impressions(250)
    put_each(queue, events)
    batches = take_all(queue)
    assert events_of(batches) == [events[:100], events[100:200], events[200:]]
    body = json.loads(batches[0].render().body)
    assert [one["eT"] for one in body["ev"]] == [1] * 100


def test_coalescing_by_bytes() -> None:
    """A request is no larger than the limit of bytes, unless a single event is."""
    queue = Queue(Limits(max_batch_bytes=3 * BASE + 50))
    events = [*impressions(5), impression(agent="x" * 4000), *impressions(1)]
    put_each(queue, events)
    assert events_of(take_all(queue)) == [events[:3], events[3:5], events[5:6], events[6:]]


def test_no_coalescing() -> None:
    """Where it is turned off, each event has its own request."""
    queue = Queue(Limits(coalesces=False))
    put_each(queue, impressions(5))
    assert [len(batch.events) for batch in take_all(queue)] == [1] * 5


def test_an_event_alone_leaves_at_once() -> None:
    """With no request on its way, coalescing does not wait for more."""
    queue = Queue()
    put_each(queue, [impression()])
    assert len(take(queue).events) == 1


def test_lingering() -> None:
    """With a request on its way events wait for others, but not long."""
    queue = Queue()
    put_each(queue, [impression()])
    take(queue)
    later = put_each(queue, impressions(2), now=1.0) + put_each(queue, impressions(1), now=1.001)
    assert queue.take(1.001) is None
    assert queue.lingers(1.001)
    assert queue.next_at() == 1.0 + LINGER_S
    assert list(take(queue, 1.0 + LINGER_S).events) == later
    assert not queue.lingers(1.0 + LINGER_S)
    assert queue.next_at() is None


def test_lingering_ends_with_the_request() -> None:
    """Once nothing is on its way, what waits leaves at once."""
    queue = Queue()
    put_each(queue, [impression()])
    first = take(queue)
    put_each(queue, [impression()])
    assert queue.take(0) is None
    settle(queue, first)
    assert len(take(queue).events) == 1


def test_nothing_lingers_that_gains_nothing_by_it() -> None:
    """A full request, one of the event architecture, what a flush asks for and uncoalesced events go at once."""
    full = Queue(Limits(max_batch_events=3))
    put_each(full, impressions(6))
    assert events_sent_at_once(full) == [3, 3]
    arch = Queue()
    put_each(arch, impressions(2, ARCH_PRESS))
    assert events_sent_at_once(arch) == [1, 1]
    alone = Queue(Limits(coalesces=False))
    put_each(alone, impressions(2))
    assert events_sent_at_once(alone) == [1, 1]
    flushed = Queue()
    put_each(flushed, [impression()])
    take(flushed)
    put_each(flushed, [impression()])
    flushed.release()
    assert events_sent_at_once(flushed) == [1]


def events_sent_at_once(queue: Queue) -> list[int]:
    return [len(batch.events) for batch in iter(lambda: queue.take(0), None)]


def test_coalescing_of_kinds() -> None:
    """Impressions and conversions of one account share a request."""
    queue = Queue()
    events = [impression(), conversion(), conversion(is_batch_only=True)]
    put_each(queue, events)
    assert events_of(take_all(queue)) == [events]


def test_accounts_do_not_share_a_request() -> None:
    """Events of another account, or of other settings of the same, go in a request of their own."""
    queue = Queue()
    same_again = EventFactory(make_account())
    events = [*impressions(2), impression(factory=OTHER_PRESS), impression(factory=same_again)]
    put_each(queue, events)
    batches = take_all(queue)
    assert events_of(batches) == [events[:2], events[2:3], events[3:]]
    assert "account_id=999999" in batches[1].render().target


def test_event_architecture_goes_singly() -> None:
    """Events of the event architecture have no batch form: each has its own request, in order."""
    queue = Queue()
    events = [*impressions(2), *impressions(3, ARCH_PRESS), *impressions(2)]
    put_each(queue, events)
    batches = take_all(queue)
    assert events_of(batches) == [events[:2], *([event] for event in events[2:5]), events[5:]]
    assert "/events/t" in batches[1].render().target


def test_bundles_stay_together() -> None:
    """The events of one call are not spread over two requests."""
    queue = Queue(Limits(max_batch_events=100))
    bundles = [impressions(60), impressions(30), impressions(20), impressions(80)]
    for bundle in bundles:
        put_bundle(queue, bundle)
    sent = events_of(take_all(queue))
    assert sent == [bundles[0] + bundles[1], bundles[2] + bundles[3]]


def test_bundles_without_coalescing() -> None:
    """With coalescing turned off a call's own events still share a request, and no others join them."""
    queue = Queue(Limits(coalesces=False))
    bundles = [impressions(3), impressions(2)]
    for bundle in bundles:
        put_bundle(queue, bundle)
    assert events_of(take_all(queue)) == bundles


def test_bundle_above_the_limit_of_events() -> None:
    """No request holds more events than the limit, not even where one call made more."""
    queue = Queue(Limits(max_batch_events=100))
    put_bundle(queue, impressions(150))
    batches = take_all(queue)
    assert sum(len(batch.events) for batch in batches) == 150
    assert max(len(batch.events) for batch in batches) <= 100


def test_bundle_above_the_limit_of_bytes() -> None:
    """No request of several events is larger than the limit, not even where one call made it so."""
    queue = Queue(Limits(max_batch_bytes=10 * BASE))
    put_bundle(queue, impressions(25))
    sizes = [sum(event.size for event in batch.events) for batch in take_all(queue)]
    assert sum(sizes) == 25 * BASE
    assert max(sizes) <= 10 * BASE


# Retries


@pytest.mark.parametrize(
    "make",
    [
        lambda: [impression(agent="é\r\n")],
        lambda: [conversion()],
        lambda: [conversion(is_batch_only=True)],
        lambda: [impression(factory=ARCH_PRESS)],
    ],
    ids=["impression", "conversion", "batch-only", "arch"],
)
@pytest.mark.parametrize("answer", [DOWN, Answer(429), Answer(failure=Failure.UNKNOWN)])
def test_retries_are_identical(make: Callable[[], list[Event]], answer: Answer) -> None:
    """Every try of an event sends the same bytes, and nothing that came later joins it."""
    queue = Queue()
    accepted = put_each(queue, make())
    sent, now = [], 0.0
    for _ in range(10):
        for batch in take_all(queue, now):
            if accepted[0] not in batch.events:
                settle(queue, batch, OK, now)
                continue
            sent.append(batch.render())
            assert list(batch.events) == accepted
            settle(queue, batch, answer, now)
        queue.put(impressions(3, OTHER_PRESS), now)
        next_at = queue.next_at()
        assert next_at is not None
        now = next_at
    assert sent == [sent[0]] * 10


@pytest.mark.parametrize("answer", [DOWN, Answer(429), Answer(failure=Failure.UNKNOWN)])
def test_retries_of_many_are_identical(answer: Answer) -> None:
    """A batch is sent again as it was; if it is divided in the end, each event keeps its bytes."""
    queue = Queue()
    put_each(queue, impressions(10))
    sent: list[Request] = []

    def server(request: Request) -> Answer:
        sent.append(request)
        return answer if len(sent) < 12 else OK

    deliver(queue, server)
    assert sent[1] == sent[0]
    items = json.loads(sent[0].body)["ev"]
    for request in sent[2:]:
        if request.body:
            assert all(item in items for item in json.loads(request.body)["ev"])
    assert queue.delivered == 10


@pytest.mark.parametrize(
    "answer",
    [
        *map(Answer, (408, 425, 429, 500, 503)),
        *(Answer(failure=one) for one in (Failure.NOT_SENT, Failure.UNKNOWN)),
    ],
    ids=lambda one: str(one.status or one.failure),
)
def test_retried_until_it_arrives(answer: Answer) -> None:
    """An event that may arrive later is sent again, and its outcome counts the tries."""
    queue = Queue()
    (event,) = put_each(queue, [impression()])
    answers = iter([answer, answer, answer, OK])
    deliver(queue, lambda _: next(answers))
    assert event.outcome == Outcome(DeliveryStatus.DELIVERED, "", 200, 4)
    assert queue.unknown == (3 if answer.failure is Failure.UNKNOWN else 0)


def test_not_retried_where_it_may_have_arrived() -> None:
    """On request an event that may have arrived is given up instead, and nothing else is."""
    queue = Queue(Limits(on_unknown="drop", coalesces=False))
    accepted = put_each(queue, impressions(2))
    answers = iter([Answer(failure=Failure.NOT_SENT), Answer(failure=Failure.UNKNOWN), DOWN, OK])
    deliver(queue, lambda _: next(answers))
    assert statuses(accepted) == [DELIVERED, dropped("unknown")]
    assert queue.unknown == 1


@given(st.lists(st.floats(0, 1, exclude_max=True), min_size=1, max_size=40))
@settings(max_examples=examples(60))
def test_backoff(draws: list[float]) -> None:
    """Each wait is at least the base and at most the cap or a part of the age; the bound doubles each time."""
    drawn = iter(draws)
    queue = Queue(draw=lambda: next(drawn))
    put_each(queue, [impression()])
    now = 0.0
    for attempt in range(1, len(draws) + 1):
        settle(queue, take(queue, now), DOWN, now)
        next_at = queue.next_at()
        assert next_at is not None
        wait = next_at - now
        assert 0.5 - 1e-6 <= wait <= min(0.5 * 2**attempt, max(60, now / 20)) + 1e-6
        assert queue.take(next_at - 0.001) is None
        now = next_at


def test_backoff_is_random() -> None:
    """Events that failed together do not come back together."""
    draws = iter([0.0, 0.25, 0.5, 0.75])
    queue = Queue(Limits(coalesces=False), lambda: next(draws))
    put_each(queue, impressions(4))
    for batch in take_all(queue):
        settle(queue, batch, DOWN)
    times = []
    while (next_at := queue.next_at()) is not None:
        times.append(next_at)
        take(queue, next_at)
    assert times == [0.5, 0.625, 0.75, 0.875]


def test_default_draw() -> None:
    """Without a source of random numbers of one's own the waits differ all the same."""
    times = set()
    for _ in range(20):
        queue = Queue()
        put_each(queue, [impression()])
        settle(queue, take(queue), DOWN)
        times.add(queue.next_at())
    assert len(times) > 10


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("2", 2),
        ("120", 120),
        ("1000000000", 300),
        (formatdate(WALL + 30, usegmt=True), 30),
        (formatdate(WALL + 86_400, usegmt=True), 300),
        # Garbage, and waits shorter than the own one.
        ("", 0.5),
        ("0", 0.5),
        ("-1", 0.5),
        ("nan", 0.5),
        ("1e9", 0.5),
        ("9" * 10_000, 0.5),
        (formatdate(WALL - 30, usegmt=True), 0.5),
    ],
    ids=lambda value: str(value)[:20],
)
@pytest.mark.parametrize("status", [429, 503])
def test_retry_after(status: int, header: str, wait: float) -> None:
    """Retry-After is a minimum up to a cap; what makes no sense leaves the own wait."""
    queue = Queue(draw=lambda: 0.0)
    put_each(queue, [impression()])
    settle(queue, take(queue), Answer(status, retry_after=header))
    assert queue.next_at() == wait
    assert queue.take(wait - 0.01) is None
    assert queue.take(wait) is not None


def test_retry_after_is_a_minimum_only() -> None:
    """A server that asks for less than the own wait is left alone for the own wait."""
    queue = Queue(draw=lambda: 0.9)
    put_each(queue, [impression()])
    settle(queue, take(queue), Answer(429, retry_after="0"))
    next_at = queue.next_at()
    assert next_at is not None
    assert next_at == pytest.approx(0.95)


def test_others_go_meanwhile() -> None:
    """An event that waits for its retry holds up no other."""
    queue = Queue()
    (first,) = put_each(queue, [impression()])
    settle(queue, take(queue), Answer(503, retry_after="300"))
    (second,) = put_each(queue, [impression()])
    settle(queue, take(queue))
    assert statuses([first, second]) == [(None, ""), DELIVERED]


def test_expired_by_attempts() -> None:
    """After so many tries an event is dropped as expired, with the last status."""
    queue = Queue(Limits(max_attempts=3))
    (event,) = put_each(queue, [impression()])
    deliver(queue, lambda _: DOWN)
    assert event.outcome == Outcome(DeliveryStatus.DROPPED, "expired", 503, 3)
    assert queue.dropped == {"expired": 1}
    assert queue.requests == 3
    assert queue.next_at() is None


def test_expired_by_age() -> None:
    """An event that failed at its maximal age or later is dropped as expired."""
    queue = Queue(Limits(max_age_s=100))
    (event,) = put_each(queue, [impression()], now=1000)
    settle(queue, take(queue, 1000), DOWN, 1000)
    batch = take(queue, 1090)
    assert settle(queue, batch, Answer(failure=Failure.NOT_SENT), 1100) == [event]
    assert event.outcome == Outcome(DeliveryStatus.DROPPED, "expired", None, 2)
    assert_balanced(queue)


def test_expired_alone() -> None:
    """Of a batch only the old events expire; the others are sent again."""
    queue = Queue(Limits(max_age_s=100))
    old = put_each(queue, impressions(2), now=0)
    young = put_each(queue, impressions(2), now=60)
    batch = take(queue, 70)
    assert list(batch.events) == old + young
    assert settle(queue, batch, DOWN, 110) == old
    assert statuses(old + young) == [dropped("expired")] * 2 + [(None, "")] * 2
    assert_balanced(queue)
    again = take(queue, 150)
    assert list(again.events) == young
    settle(queue, again, OK, 150)
    assert statuses(young) == [DELIVERED] * 2


def test_never_sent_again_past_its_age() -> None:
    """An event that is too old by the time of its retry is not sent again."""
    queue = Queue(Limits(max_age_s=100))
    put_each(queue, [impression()], now=0)
    settle(queue, take(queue, 0), Answer(503, retry_after="200"), 0)
    assert queue.take(250) is None
    assert queue.dropped == {"expired": 1}


def test_no_limit_of_age_for_the_first_try() -> None:
    """An event that was never sent is sent, however long it waited."""
    queue = Queue(Limits(max_age_s=100))
    (event,) = put_each(queue, [impression()], now=0)
    settle(queue, take(queue, 5000), OK, 5000)
    assert statuses([event]) == [DELIVERED]


# Refusals


@pytest.mark.parametrize(
    ("status", "number"), [(301, 2), (302, 2), (307, 2), (402, 8), (405, 8), (410, 8), (418, 8)]
)
def test_rejected(status: int, number: int) -> None:
    """An event that is refused alone ends, without a second try; one among many is no event alone."""
    queue = Queue()
    accepted = put_each(queue, impressions(number))
    deliver(queue, lambda _: Answer(status))
    assert statuses(accepted) == [REJECTED] * number
    assert all(one.outcome is not None and one.outcome.status_code == status for one in accepted)
    assert (queue.requests, queue.rejected) == (2 * number - 1, number)


def users_in(request: Request) -> int:
    """Return how many events a request carries."""
    return len(json.loads(request.body)["ev"]) if request.body else 1


def is_marked(request: Request) -> bool:
    """Tell whether a request carries the event that the server of the test refuses."""
    return "marked" in request.target or b"marked" in request.body


@pytest.mark.parametrize("status", [400, 404, 422])
@pytest.mark.parametrize("position", [0, 1, 49, 50, 98, 99])
def test_one_bad_event_in_a_batch(status: int, position: int) -> None:
    """One event that the server refuses takes none of the other ninety-nine with it."""
    queue = Queue()
    events = impressions(100)
    events[position] = impression(agent="marked")
    accepted = put_each(queue, events)
    deliver(queue, lambda request: Answer(status) if is_marked(request) else OK)
    expected = [DELIVERED] * 100
    expected[position] = REJECTED
    assert statuses(accepted) == expected
    assert (queue.delivered, queue.rejected) == (99, 1)
    assert queue.requests <= 15


def test_all_events_are_bad() -> None:
    """A server that refuses everything for days: what it does not reject ends by its age, at a request a minute."""
    queue = Queue()
    accepted = put_each(queue, impressions(100))
    deliver(queue, lambda _: Answer(400))
    assert Counter(statuses(accepted)) == {REJECTED: 10, dropped("expired"): 90}
    assert queue.requests < 24 * 60 + 50


@pytest.mark.parametrize("largest", [1, 2, 7, 50])
def test_too_large_is_halved(largest: int) -> None:
    """A request that is too large is halved until it is not; everything arrives, once, in order."""
    queue = Queue()
    accepted = put_each(queue, impressions(100))
    taken: list[int] = []

    def server(request: Request) -> Answer:
        number = users_in(request)
        if number > largest:
            return Answer(413)
        taken.append(number)
        return OK

    deliver(queue, server)
    assert statuses(accepted) == [DELIVERED] * 100
    assert sum(taken) == 100


def test_halves_keep_their_order() -> None:
    """The halves go before what waits, the first before the second."""
    queue = Queue()
    events = impressions(4)
    put_bundle(queue, events)
    batch = take(queue)
    put_each(queue, impressions(1, OTHER_PRESS))
    settle(queue, batch, Answer(413))
    sent = events_of(take_all(queue))
    assert sent[:2] == [events[:2], events[2:]]


def test_too_large_alone() -> None:
    """An event that is too large by itself is dropped as such, and the others arrive."""
    queue = Queue()
    events = impressions(30)
    events[17] = impression(agent="marked" * 500)
    accepted = put_each(queue, events)
    deliver(queue, lambda request: Answer(413) if is_marked(request) else OK)
    expected = [DELIVERED] * 30
    expected[17] = dropped("too_large")
    assert statuses(accepted) == expected
    assert queue.dropped == {"too_large": 1}


def test_everything_is_too_large() -> None:
    """A server that finds everything too large ends the matter too."""
    queue = Queue()
    accepted = put_each(queue, impressions(64))
    deliver(queue, lambda _: Answer(413))
    assert statuses(accepted) == [dropped("too_large")] * 64
    assert queue.requests == 127


def test_unsendable() -> None:
    """An event that cannot be written is dropped as such, and takes no other with it."""
    queue = Queue()
    events = impressions(8)
    events[3] = impression(agent="marked")
    accepted = put_each(queue, events)
    unsendable = Answer(failure=Failure.UNSENDABLE)
    deliver(queue, lambda request: unsendable if is_marked(request) else OK)
    expected = [DELIVERED] * 8
    expected[3] = dropped("unserializable")
    assert statuses(accepted) == expected


def test_retries_of_halves() -> None:
    """A half that meets a server which is down is sent again as it is."""
    queue = Queue()
    accepted = put_each(queue, impressions(8))
    answers = iter([Answer(413), DOWN, OK, OK])
    deliver(queue, lambda _: next(answers))
    assert statuses(accepted) == [DELIVERED] * 8


# The breaker


def open_breaker(queue: Queue, failures: int = 5) -> list[Event]:
    """Let *failures* requests fail at time 0 and return their events."""
    accepted = []
    for _ in range(failures):
        accepted += put_each(queue, [impression()])
        settle(queue, take(queue), DOWN)
    return accepted


def test_breaker_opens() -> None:
    """After five failures in a row nothing goes, and then one request at a time."""
    queue = Queue(draw=lambda: 0.0)
    accepted = open_breaker(queue)
    accepted += put_each(queue, impressions(3))
    assert queue.take(0) is None
    assert queue.next_at() == 0.5
    assert queue.take(0.49) is None
    probe = take(queue, 0.5)
    assert queue.take(0.5) is None
    assert queue.take(1000) is None
    assert queue.next_at() is None
    settle(queue, probe, DOWN, 1)
    next_at = queue.next_at()
    assert next_at is not None
    assert next_at >= 1.5
    assert queue.take(next_at - 0.01) is None
    settle(queue, take(queue, next_at), OK, next_at)
    deliver(queue, lambda _: OK, next_at)
    assert statuses(accepted) == [DELIVERED] * 8


def test_four_failures_hinder_nothing() -> None:
    """Fewer failures leave the others their way."""
    queue = Queue()
    open_breaker(queue, 4)
    put_each(queue, [impression()])
    assert queue.take(0) is not None


@pytest.mark.parametrize("answer", [Answer(400), Answer(413), Answer(404), Answer(302)])
def test_an_answer_closes_the_breaker(answer: Answer) -> None:
    """A server that refuses an event works: the others go."""
    queue = Queue(Limits(coalesces=False), lambda: 0.0)
    open_breaker(queue)
    settle(queue, take(queue, 1), answer, 1)
    assert len(take_all(queue, 1)) == 4


def test_an_event_that_cannot_be_written_says_nothing_of_the_server() -> None:
    """An event that was never sent does not close the breaker of a server that is down."""
    queue = Queue(draw=lambda: 0.0)
    open_breaker(queue)
    settle(queue, take(queue, 1), Answer(failure=Failure.UNSENDABLE), 1)
    assert len(take_all(queue, 1)) <= 1


def test_late_failure_admits_no_second_probe() -> None:
    """A request from before the breaker opened that fails while a probe is on its way admits no second."""
    queue = Queue(Limits(coalesces=False), lambda: 0.0)
    put_each(queue, impressions(10))
    workers = [take(queue) for _ in range(6)]
    for batch in workers[:5]:
        settle(queue, batch, DOWN)
    assert queue.take(1) is not None
    settle(queue, workers[5], DOWN, 2)
    assert queue.take(100) is None


def test_late_failures_do_not_shorten_a_pause() -> None:
    """Requests from before a pause that fail in it leave it as long as it is."""
    queue = Queue(Limits(coalesces=False), lambda: 0.0)
    put_each(queue, impressions(10))
    workers = [take(queue) for _ in range(8)]
    for batch in workers[:3]:
        settle(queue, batch, Answer(401))
    for batch in workers[3:]:
        settle(queue, batch, DOWN, 0.5)
    assert queue.take(0.9) is None
    assert queue.take(1) is not None


def test_outage_is_probed_seldom() -> None:
    """However much waits, a server that is down for an hour gets a few requests a minute."""
    queue = Queue()
    put_each(queue, impressions(2000))
    now = 0.0
    while now < 3600:
        for batch in take_all(queue, now):
            settle(queue, batch, DOWN, now)
        next_at = queue.next_at()
        assert next_at is not None
        now = next_at
    assert queue.requests < 1000
    deliver(queue, lambda _: OK, now)
    assert queue.delivered == 2000


@pytest.mark.parametrize("status", [401, 403])
def test_pause(status: int) -> None:
    """Once three visitors were refused alone nothing goes for a second; one probe, and all goes again."""
    queue = Queue()
    refused = pause(queue, status)
    assert statuses(refused) == [REJECTED] * 3
    waiting = put_each(queue, impressions(3))
    assert queue.take(0) is None
    assert queue.take(0.9) is None
    assert queue.next_at() == 1
    probe = take(queue, 1)
    assert probe.is_alone
    assert queue.take(1) is None
    assert queue.take(200) is None
    settle(queue, probe, OK, 61)
    settle(queue, take(queue, 61), OK, 61)
    assert statuses(waiting) == [DELIVERED] * 3


def pause(queue: Queue, status: int = 401) -> list[Event]:
    """Have the account refused, and return the events that this took."""
    refused = []
    for event in impressions(3):
        refused += put_each(queue, [event])
        settle(queue, take(queue), Answer(status))
    return refused


@pytest.mark.parametrize("status", [401, 403])
def test_one_visitor_is_not_the_account(status: int) -> None:
    """However often the same visitor is refused, the others go."""
    queue = Queue(Limits(coalesces=False))
    for _ in range(50):
        put_each(queue, [impression("disliked")])
        settle(queue, take(queue), Answer(status))
    assert queue.rejected == 50
    put_each(queue, [impression("honest")])
    assert queue.take(0) is not None


@pytest.mark.parametrize("status", [401, 403])
def test_refused_among_others(status: int) -> None:
    """Any number of visitors may be refused alone while others are delivered."""
    queue = Queue(Limits(coalesces=False))
    for number in range(50):
        put_each(queue, [impression(f"disliked {number}"), impression(f"honest {number}")])
        settle(queue, take(queue), Answer(status))
        settle(queue, take(queue), OK)
    assert (queue.rejected, queue.delivered) == (50, 50)


def test_pause_is_never_for_good() -> None:
    """An account that is refused for hours costs the events that show it and no other, and recovers."""
    queue = Queue(Limits(coalesces=False))
    accepted = put_each(queue, impressions(200))
    now = 0.0
    for _ in range(3):
        settle(queue, take(queue, now), Answer(403), now)
    for pause_s in [1, 2, 4, 8, 16, 32, *[60] * 400]:
        assert queue.next_at() == now + pause_s
        now += pause_s
        settle(queue, take(queue, now), Answer(403), now)
    deliver(queue, lambda _: OK, now)
    # After the first answer the newest goes next: it has the least to do with what was refused.
    assert Counter(statuses(accepted)) == {REJECTED: 3, DELIVERED: 197}


@pytest.mark.parametrize(("status", "visitors"), [(302, 3), (400, 10), (404, 10), (405, 10)])
def test_a_server_that_refuses_everything(status: int, visitors: int) -> None:
    """Once that many visitors are refused alone and none is delivered, all others wait for better times."""
    queue = Queue()
    accepted = put_each(queue, impressions(1000))
    deliver_until(queue, lambda _: Answer(status), 600)
    assert queue.rejected == visitors
    assert queue.requests < 60
    deliver(queue, lambda _: OK, 600)
    assert queue.requests < 100
    assert Counter(statuses(accepted)) == {REJECTED: visitors, DELIVERED: 1000 - visitors}


def test_paused_queue_that_is_empty() -> None:
    """While nothing waits, a pause asks for no attention."""
    queue = Queue()
    pause(queue)
    assert queue.next_at() is None


def test_no_spinning_after_a_pause() -> None:
    """Once a pause is over but a retry is not due, the queue names the time of the retry, not a past one."""
    queue = Queue(draw=lambda: 0.0)
    put_each(queue, [impression()])
    settle(queue, take(queue), Answer(503, retry_after="300"))
    pause(queue)
    assert queue.next_at() is not None
    assert queue.take(61) is None
    next_at = queue.next_at()
    assert next_at is not None
    assert next_at > 61


def test_no_spinning_after_an_expiry() -> None:
    """The same where the failure that opened the breaker ended the events of that request."""
    queue = Queue(Limits(max_age_s=100, coalesces=False), lambda: 0.0)
    put_each(queue, impressions(5))
    old = take_all(queue)
    put_each(queue, [impression()], now=150)
    settle(queue, take(queue, 150), Answer(503, retry_after="60"), 150)
    for batch in old:
        settle(queue, batch, DOWN, 150)
    assert queue.dropped == {"expired": 5}
    assert queue.take(200) is None
    assert queue.next_at() == 210


# Batching


def test_batching_holds_back() -> None:
    """Events are held until there are enough of them, and then leave in one request."""
    queue = Queue(batching=Batching(events=3, interval_s=50))
    events = impressions(7)
    put_each(queue, events[:2])
    assert queue.take(0) is None
    assert queue.next_at() == 50
    put_each(queue, events[2:])
    assert events_of(take_all(queue)) == [events[:3], events[3:6]]
    assert queue.next_at() == 50
    assert_balanced(queue)


def test_batching_by_time() -> None:
    """The first event waits no longer than the interval, and takes those behind it along."""
    queue = Queue(batching=Batching(events=100, interval_s=50))
    events = impressions(2)
    put_each(queue, events[:1], now=10)
    put_each(queue, events[1:], now=50)
    assert queue.next_at() == 60
    assert queue.take(59.9) is None
    assert events_of(take_all(queue, 60)) == [events]
    assert queue.next_at() is None


def test_batching_does_not_keep_bundles() -> None:
    """A request holds the number of events that was asked for, whatever calls they are from."""
    queue = Queue(batching=Batching(events=3, interval_s=50))
    events = impressions(8)
    put_bundle(queue, events[:4])
    put_bundle(queue, events[4:])
    assert events_of(take_all(queue)) == [events[:3], events[3:6]]


def test_release() -> None:
    """What is held back goes at once when it is asked to, and what comes after that is held again."""
    queue = Queue(batching=Batching(events=100, interval_s=50))
    on_its_way = put_each(queue, impressions(100))
    batch = take(queue)
    waiting = put_each(queue, impressions(5))
    assert set(queue.release()) == {*on_its_way, *waiting}
    assert [list(one.events) for one in take_all(queue)] == [waiting]
    later = put_each(queue, impressions(2))
    assert queue.take(0) is None
    settle(queue, batch)
    assert queue.release() == [*waiting, *later]
    assert_balanced(queue)


def test_release_of_more_than_a_request_holds() -> None:
    """All that waited goes, although the last request is not full."""
    queue = Queue(batching=Batching(events=3, interval_s=50))
    events = put_each(queue, impressions(7))
    queue.release()
    assert events_of(take_all(queue)) == [events[:3], events[3:6], events[6:]]
    put_each(queue, impressions(2))
    assert queue.take(0) is None


def test_release_of_nothing() -> None:
    """Releasing an empty queue lets nothing go that comes later."""
    queue = Queue(batching=Batching(events=100, interval_s=50))
    assert queue.release() == []
    put_each(queue, impressions(2))
    assert queue.take(0) is None


def test_batching_is_retried_at_once() -> None:
    """A batch that failed does not wait to be full again."""
    queue = Queue(draw=lambda: 0.0, batching=Batching(events=3, interval_s=50))
    accepted = put_each(queue, impressions(3))
    settle(queue, take(queue), DOWN)
    again = take(queue, 0.5)
    assert list(again.events) == accepted


def test_batching_with_an_open_breaker() -> None:
    """While too little waits for a batch, a breaker whose time is over names no time in the past."""
    queue = Queue(draw=lambda: 0.0, batching=Batching(events=3, interval_s=500))
    put_each(queue, impressions(3))
    while (batch := queue.take(0)) is not None:
        settle(queue, batch, Answer(401))
    assert queue.rejected == 3
    put_each(queue, impressions(1), now=1)
    assert queue.take(61) is None
    assert queue.next_at() == 501


# The end


def test_abandon() -> None:
    """All that is pending is dropped, wherever it is, and late answers change nothing."""
    queue = Queue(Limits(coalesces=False), lambda: 0.0)
    accepted = put_each(queue, impressions(4))
    due_soon, due_later, on_its_way = take(queue), take(queue), take(queue)
    settle(queue, due_soon, DOWN)
    settle(queue, due_later, Answer(503, retry_after="100"))
    ended = queue.abandon("closed")
    assert set(ended) == set(accepted)
    assert statuses(accepted) == [dropped("closed")] * 4
    assert [one.outcome.attempts for one in accepted if one.outcome is not None] == [1, 1, 1, 0]
    assert (queue.pending, queue.pending_bytes, queue.dropped) == (0, 0, {"closed": 4})
    assert settle(queue, on_its_way) == []
    assert statuses(accepted) == [dropped("closed")] * 4
    assert queue.take(1000) is None
    assert queue.next_at() is None
    assert queue.abandon("closed") == []
    assert_balanced(queue)


def test_an_answer_counts_once() -> None:
    """A batch that is settled twice is settled once."""
    queue = Queue()
    (event,) = put_each(queue, [impression()])
    batch = take(queue)
    settle(queue, batch)
    assert settle(queue, batch, Answer(400)) == []
    assert statuses([event]) == [DELIVERED]
    assert_balanced(queue)


# Any course of events

KINDS: dict[str, Callable[[str, str], Event]] = {
    "impression": lambda name, agent: impression(name, PRESS, agent),
    "other": lambda name, agent: impression(name, OTHER_PRESS, agent),
    "batch-only": lambda name, agent: conversion(name, is_batch_only=True),
    "arch": lambda name, agent: impression(name, ARCH_PRESS, agent),
}
answers = st.sampled_from(
    [
        OK,
        DOWN,
        Answer(401),
        Answer(429, retry_after="9999"),
        Answer(400),
        Answer(413),
        Answer(302),
        *(Answer(failure=failure) for failure in Failure),
    ]
)
MAX_EVENTS, MAX_BYTES = 12, 12 * BASE
MAX_BATCH_EVENTS, MAX_BATCH_BYTES = 4, 5 * BASE


class QueueMachine(RuleBasedStateMachine):
    """Puts, takes, settles and abandons as it likes, and holds the queue to its promises at every step."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = Queue()
        self.now = 100.0
        self.accepted: list[Event] = []
        self.ended: dict[Event, Outcome] = {}
        self.on_their_way: list[Batch] = []
        self.sent: dict[Batch, tuple[list[Event], Request]] = {}
        self.refused = 0
        self.may_abandon = self.was_abandoned = False
        self.batching: Batching | None = None

    @initialize(
        coalesces=st.booleans(),
        batching=st.sampled_from([None, None, Batching(events=3, interval_s=50)]),
        seed=st.randoms(use_true_random=False),
        may_abandon=st.sampled_from([False, False, True]),
        on_unknown=st.sampled_from(["retry", "drop"]),
        linger_s=st.sampled_from([0.0, 0.002, 2.0]),
    )
    def launch(
        self,
        *,
        coalesces: bool,
        batching: Batching | None,
        seed: Any,
        may_abandon: bool,
        on_unknown: Any,
        linger_s: float,
    ) -> None:
        self.may_abandon = may_abandon
        limits = Limits(
            max_events=MAX_EVENTS,
            max_bytes=MAX_BYTES,
            max_batch_events=MAX_BATCH_EVENTS,
            max_batch_bytes=MAX_BATCH_BYTES,
            max_attempts=4,
            max_age_s=200,
            coalesces=coalesces,
            linger_s=linger_s,
            on_unknown=on_unknown,
        )
        self.batching = batching
        self.queue = Queue(limits, seed.random, batching=batching)

    @rule(
        kind=st.sampled_from(list(KINDS)),
        agents=st.lists(st.sampled_from(["", "x" * 100, "x" * 3000]), min_size=1, max_size=4),
    )
    def put(self, kind: str, agents: list[str]) -> None:
        if kind == "arch":
            # These come singly, and never where batches are asked for.
            agents = agents[: self.batching is None]
        self._put([KINDS[kind](f"u{number}", agent) for number, agent in enumerate(agents)])

    def _put(self, events: list[Event]) -> None:
        room = MAX_BYTES - self.queue.pending_bytes
        taken = self.queue.put(events, self.now)
        assert len(taken) == len(events)
        # What the server fails on while it takes others makes room.
        evicted = self.queue.pop_given_up()
        room += sum(one.size for one in evicted)
        self._end(evicted)
        for one, event in zip(taken, events, strict=True):
            if one is None:
                self.refused += 1
                assert self.queue.pending == MAX_EVENTS or event.size > room
            else:
                room -= event.size
                assert one is event and event.at == self.now
                self.accepted.append(event)

    @rule(number=st.integers(1, 4))
    def take(self, number: int) -> None:
        for _ in range(number):
            self._take()

    def _take(self) -> Batch | None:
        batch = self.queue.take(self.now)
        self._end(self.queue.pop_given_up())
        if batch is None:
            # Else whoever waits until then would not wait at all, and ask again for ever.
            next_at = self.queue.next_at()
            assert next_at is None or next_at > self.now
            return None
        assert batch.events
        assert not [one for one in batch.events if one in self.ended or one not in self.accepted]
        assert not set(batch.events) & {one for other in self.on_their_way for one in other.events}
        assert len({id(one.account) for one in batch.events}) == 1
        assert len(batch.events) <= MAX_BATCH_EVENTS
        self._render(batch)
        self.on_their_way.append(batch)
        return batch

    def _render(self, batch: Batch) -> None:
        request = batch.render()
        before = self.sent.get(batch)
        if before is not None and before[0] == list(batch.events):
            assert request == before[1]
        self.sent[batch] = (list(batch.events), request)

    @precondition(lambda self: self.on_their_way)
    @rule(index=st.integers(0, 100), answer=answers)
    def settle(self, index: int, answer: Answer) -> None:
        self._settle(self.on_their_way[index % len(self.on_their_way)], answer)

    @rule(course=st.lists(answers, min_size=1, max_size=6), waits=st.booleans())
    def exchange(self, course: list[Answer], *, waits: bool) -> None:
        """Send one request after the other, as a single worker does."""
        for answer in course:
            batch = self._take()
            if batch is not None:
                self._settle(batch, answer)
            elif waits:
                self.now = max(self.now, self.queue.next_at() or 0)

    def _settle(self, batch: Batch, answer: Answer) -> None:
        self.on_their_way.remove(batch)
        ended = self.queue.settle(batch, answer, self.now, WALL + self.now)
        self._end(ended)
        assert self.queue.settle(batch, OK, self.now, WALL + self.now) == []

    def _end(self, ended: list[Event]) -> None:
        for event in ended:
            assert event not in self.ended
            assert event.outcome is not None
            self.ended[event] = event.outcome

    @rule(seconds=st.sampled_from([0.01, 0.4, 1, 10, 61, 301]))
    def advance(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def release(self) -> None:
        pending = self.queue.release()
        assert set(pending) == set(self.accepted) - self.ended.keys()

    @precondition(lambda self: self.may_abandon and len(self.accepted) > 3)
    @rule()
    def abandon(self) -> None:
        self._end(self.queue.abandon("closed"))
        assert self.queue.pending == 0
        self.was_abandoned = True

    @invariant()
    def balances(self) -> None:
        queue = self.queue
        assert_balanced(queue)
        assert queue.accepted == len(self.accepted)
        assert queue.refused == self.refused
        assert queue.pending == len(self.accepted) - len(self.ended)
        assert queue.pending <= MAX_EVENTS
        waiting = sum(one.size for one in self.accepted if one not in self.ended)
        assert queue.pending_bytes == waiting <= MAX_BYTES
        counts: dict[DeliveryStatus, int] = dict.fromkeys(DeliveryStatus, 0)
        for event in self.accepted:
            assert event.outcome is self.ended.get(event)
            if event.outcome is not None:
                counts[event.outcome.status] += 1
        assert counts[DeliveryStatus.DELIVERED] == queue.delivered
        assert counts[DeliveryStatus.REJECTED] == queue.rejected
        assert counts[DeliveryStatus.DROPPED] == queue.dropped.total()

    def teardown(self) -> None:
        """Once the server works again, everything ends, in bounded time and a bounded number of requests."""
        if self.was_abandoned:
            return
        for batch in [*self.on_their_way]:
            self._settle(batch, OK)
        self.now = deliver(self.queue, lambda _: OK, self.now, requests=200)
        assert self.queue.pending == 0


TestQueue = QueueMachine.TestCase
TestQueue.settings = settings(
    max_examples=examples(150), stateful_step_count=40, report_multiple_bugs=False
)


def test_retry_times_are_in_order() -> None:
    """Of several events that wait, the one that is due first goes first."""
    draws = iter([0.9, 0.1, 0.5])
    queue = Queue(Limits(coalesces=False), lambda: next(draws))
    events = impressions(3)
    put_each(queue, events)
    for batch in take_all(queue):
        settle(queue, batch, DOWN)
    order: list[Event] = []
    times = []
    while (next_at := queue.next_at()) is not None:
        times.append(next_at)
        order += take(queue, next_at).events
    assert order == [events[1], events[2], events[0]]
    assert all(before <= after for before, after in pairwise(times))
