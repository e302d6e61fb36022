"""Bucketing: the numbers of docs/reference.md, sections 2 and 3, and properties of all other numbers."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import ceil
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from search_effort import examples
from strategy import make_campaign, make_only_campaign, make_variations, weights

from vwo_async._core.api_method import ACTIVATE
from vwo_async._core.bucketing import (
    MAX_HASH,
    Bucketer,
    Ranges,
    bucket_value,
    hash_seed,
    last_hash,
    range_size,
)
from vwo_async._core.decision import decide
from vwo_async._core.plan import Campaign, Decision, Plan
from vwo_async._reason import Reason
from vwo_async._user import User

# Where the first row of the table in section 3.5 applies, users just above the traffic's share have no variation.
GAP_USER = "u28917"

HASHES = [
    ("Ashley", 2141232222),
    ("1_Ashley", 1949244533),
    ("user_1", 3102732882),
    ("", 1364076727),
    ("7_Ashley", 2655831774),
    ("Bill", 1021354666),
    ("7_888888_Ashley", 4116194886),
    ("7_888888_Bill", 344561878),
    (GAP_USER, 2147310439),
    ("użytkownik", 3977026500),
    ("ü", 2113435471),
    ("é", 3927689336),
    ("用户-1", 3436501342),
    ("🙂", 565371578),
]


def murmur3(data: bytes, seed: int) -> int:
    """Return MurmurHash3 x86 32-bit, implemented from its description."""
    mask, hashed = 0xFFFFFFFF, seed
    whole = len(data) // 4 * 4
    blocks = [data[at : at + 4] for at in range(0, whole, 4)]
    for block in [*blocks, data[whole:]]:
        word = int.from_bytes(block, "little") * 0xCC9E2D51 & mask
        word = (word << 15 | word >> 17) & mask
        hashed ^= word * 0x1B873593 & mask
        if len(block) == 4:
            hashed = ((hashed << 13 | hashed >> 19) * 5 + 0xE6546B64) & mask
    hashed ^= len(data)
    hashed = (hashed ^ hashed >> 16) * 0x85EBCA6B & mask
    hashed = (hashed ^ hashed >> 13) * 0xC2B2AE35 & mask
    return hashed ^ hashed >> 16


@pytest.mark.parametrize(("seed", "expected"), HASHES)
def test_hash(seed: str, expected: int) -> None:
    """A seed has the same hash as in the official SDKs; outside ASCII, as in Python and Go."""
    assert hash_seed(seed.encode()) == expected


@given(st.binary(max_size=40))
@settings(max_examples=examples(300))
def test_hash_is_murmur3(seed: bytes) -> None:
    """Any bytes are hashed with MurmurHash3 x86 32-bit and seed 1, unsigned."""
    assert hash_seed(seed) == murmur3(seed, 1)


@pytest.mark.parametrize(
    ("hashed", "maximum", "multiplier", "expected"),
    [
        (0, 100, 1, 1),
        (2**32 - 1, 100, 1, 100),
        (0, 10_000, 1, 1),
        (2**32 - 1, 10_000, 1, 10_000),
        (2141232222, 100, 1, 50),
        (2141232222, 10_000, 1, 4986),
        (2141232222, 10_000, 2, 9972),
        (1021354666, 100, 1, 24),
        (1021354666, 10_000, 2, 4758),
        (2655831774, 10_000, 1, 6184),
        (4116194886, 10_000, 1, 9584),
        (344561878, 10_000, 1, 803),
        (2147310439, 10_000, 2, 10_001),
    ],
)
def test_bucket_value(hashed: int, maximum: int, multiplier: float, expected: int) -> None:
    """Hashes have the bucket values of the worked examples."""
    assert bucket_value(hashed, maximum, multiplier) == expected


@given(
    st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)).map(sorted),
    st.sampled_from([100, 10_000]),
)
def test_bucket_value_is_monotone(hashes: Sequence[int], maximum: int) -> None:
    """A larger hash has no smaller value, and without a multiplier every value is in 1..maximum."""
    low, high = (bucket_value(one, maximum) for one in hashes)
    assert 1 <= low <= high <= maximum


@pytest.mark.parametrize(
    ("weight", "size"),
    [
        (0, 0),
        (0.001, 1),
        (1.1, 111),
        (14.29, 1429),
        (33.33, 3333),
        (33.3333, 3334),
        (50, 5000),
        (99.999, 10_000),
        (100, 10_000),
        (120, 10_000),
    ],
)
def test_range_size(weight: float, size: int) -> None:
    """A weight owns 100 times its percentage, computed in doubles, rounded up and at most 10,000."""
    assert range_size(weight) == size


LAYOUTS: list[tuple[list[float], list[tuple[int, int] | None]]] = [
    ([33.3333, 33.3333, 33.3333], [(1, 3334), (3335, 6668), (6669, 10_002)]),
    ([0, 100], [None, (1, 10_000)]),
    ([120, 10], [(1, 10_000), (10_001, 11_000)]),
    ([0.001, 99.999], [(1, 1), (2, 10_001)]),
    ([50, 0, 50], [(1, 5000), None, (5001, 10_000)]),
    ([20, 20], [(1, 2000), (2001, 4000)]),
    ([0, 0], [None, None]),
    ([], []),
]


@pytest.mark.parametrize(("shares", "expected"), LAYOUTS)
def test_ranges(shares: list[float], expected: list[tuple[int, int] | None]) -> None:
    """Each variation owns exactly the closed range of section 2; values after the last have no owner."""
    ranges = Ranges([(weight, index) for index, weight in enumerate(shares)])
    owned: dict[int, list[int]] = {index: [] for index in range(len(shares))}
    for value in range(1, 11_100):
        owner = ranges.find(value)
        if owner is not None:
            owned[owner].append(value)
    found = [(values[0], values[-1]) if values else None for values in owned.values()]
    assert found == expected
    assert all(len(values) == values[-1] - values[0] + 1 for values in owned.values() if values)


def list_owners(shares: Sequence[float]) -> list[int]:
    """Return the owners of all bucket values from 1, found with the loop that section 2 describes."""
    owners: list[int] = []
    for index, weight in enumerate(shares):
        step = min(ceil(weight * 100), 10_000) if weight else 0
        owners += [index] * step
    return owners


@given(st.lists(weights(), max_size=5))
@settings(max_examples=examples(60))
def test_ranges_partition(shares: list[float]) -> None:
    """Every value up to the total has exactly one owner, in the order of the file; larger values have none."""
    ranges = Ranges([(weight, index) for index, weight in enumerate(shares)])
    owners = list_owners(shares)
    assert [ranges.find(value) for value in range(1, len(owners) + 1)] == owners
    assert [ranges.find(len(owners) + beyond) for beyond in (1, 2, 10_000)] == [None] * 3
    assert all(before <= after for before, after in pairwise(owners))


def only_campaign(fields: dict[str, Any], file_fields: dict[str, Any]) -> tuple[Plan, Campaign]:
    return make_only_campaign(make_campaign(**fields), **file_fields)


def decide_for(plan: Plan, campaign: Campaign, user_id: str) -> Decision:
    decision = decide(plan, campaign, User(user_id), ACTIVATE, None)
    assert isinstance(decision, Decision)
    return decision


def name_for(plan: Plan, campaign: Campaign, user_id: str) -> str | None:
    variation = decide_for(plan, campaign, user_id).variation
    return None if variation is None else variation.name


NB = {"isNB": True}
NB2 = {"isNB": True, "isNBv2": True}
# Flags of the file, of the campaign, traffic, user; seed and value of the traffic; seed and value of the bucket.
WORKED: list[tuple[dict[str, bool], dict[str, bool], int, str, str, int, str, int, str | None]] = [
    ({}, {}, 100, "Ashley", "Ashley", 50, "Ashley", 4986, "Control"),
    ({}, {}, 50, "Ashley", "Ashley", 50, "Ashley", 9972, "Variation-1"),
    ({}, {}, 50, "Bill", "Bill", 24, "Bill", 4758, "Control"),
    ({}, {}, 50, "user_1", "user_1", 73, "user_1", 14450, None),
    (
        {},
        {"isBucketingSeedEnabled": True},
        100,
        "Ashley",
        "7_Ashley",
        62,
        "7_Ashley",
        6184,
        "Variation-1",
    ),
    (NB, {}, 100, "Ashley", "7_Ashley", 62, "Ashley", 4986, "Control"),
    (NB, {"isOB": True}, 100, "Ashley", "7_Ashley", 62, "7_Ashley", 6184, "Variation-1"),
    (NB2, {}, 100, "Ashley", "7_Ashley", 62, "7_888888_Ashley", 9584, "Variation-1"),
    (NB2, {}, 100, "Bill", "7_Bill", 65, "7_888888_Bill", 803, "Control"),
    (NB2, {"isOBv2": True}, 100, "Bill", "7_Bill", 65, "Bill", 2379, "Control"),
    # A flag that is there but false is not set.
    (NB, {"isOB": False}, 100, "Ashley", "7_Ashley", 62, "Ashley", 4986, "Control"),
    (NB2, {"isOBv2": False}, 100, "Bill", "7_Bill", 65, "7_888888_Bill", 803, "Control"),
    ({"isNB": False}, {"isOB": True}, 100, "Ashley", "Ashley", 50, "Ashley", 4986, "Control"),
    # isNBv2 alone leaves the traffic's seed as it is.
    ({"isNBv2": True}, {}, 100, "Bill", "Bill", 24, "7_888888_Bill", 803, "Control"),
    ({"isNBv2": True}, {"isOBv2": True}, 100, "Bill", "Bill", 24, "Bill", 2379, "Control"),
    # isOB counts only with isNB.
    (
        {"isNBv2": True},
        {"isOB": True},
        100,
        "Ashley",
        "Ashley",
        50,
        "7_888888_Ashley",
        9584,
        "Variation-1",
    ),
]


@pytest.mark.parametrize(
    (
        "file_flags",
        "campaign_flags",
        "traffic",
        "user_id",
        "traffic_seed",
        "traffic_value",
        "bucket_seed",
        "value",
        "expected",
    ),
    WORKED,
)
def test_worked_examples(
    file_flags: dict[str, bool],
    campaign_flags: dict[str, bool],
    traffic: int,
    user_id: str,
    traffic_seed: str,
    traffic_value: int,
    bucket_seed: str,
    value: int,
    expected: str | None,
) -> None:
    """With every combination of flags, seeds, values and variation are those of the official SDKs."""
    plan, campaign = only_campaign({"percentTraffic": traffic, **campaign_flags}, {**file_flags})
    assert campaign.seed_prefix + user_id.encode() == traffic_seed.encode()
    assert bucket_value(hash_seed(traffic_seed.encode()), 100) == traffic_value
    assert campaign.bucket_prefix + user_id.encode() == bucket_seed.encode()
    hashed = hash_seed(bucket_seed.encode())
    assert bucket_value(hashed, 10_000, campaign.bucket_multiplier) == value
    assert name_for(plan, campaign, user_id) == expected


def test_account_id_is_hashed_as_given() -> None:
    """An account id is in the seed as it is in the file; an integral float as an integer."""
    for account_id, spelling in ((888888, "888888"), ("0888", "0888"), (888888.0, "888888")):
        _, campaign = only_campaign({}, {"accountId": account_id, **NB2})
        assert campaign.bucket_prefix == f"7_{spelling}_".encode()


def test_gap_at_half_traffic() -> None:
    """A user in the traffic whose multiplied value is in no range gets no variation."""
    plan, campaign = make_only_campaign(make_campaign(percentTraffic=50))
    assert bucket_value(hash_seed(GAP_USER.encode()), 100) == 50
    decision = decide_for(plan, campaign, GAP_USER)
    assert decision.variation is None
    assert decision.reason is Reason.NO_VARIATION


def test_gap_at_one_percent() -> None:
    """At 1 % traffic about one in a hundred users in the traffic gets no variation; no value exceeds 10,100."""
    plan, campaign = make_only_campaign(make_campaign(percentTraffic=1))
    reasons = []
    for number in range(60_000):
        seed = f"u{number}".encode()
        if bucket_value(hash_seed(seed), 100) == 1:
            assert bucket_value(hash_seed(seed), 10_000, campaign.bucket_multiplier) <= 10_100
            reasons.append(decide_for(plan, campaign, f"u{number}").reason)
    assert set(reasons) == {Reason.ASSIGNED, Reason.NO_VARIATION}
    assert 0.002 < reasons.count(Reason.NO_VARIATION) / len(reasons) < 0.03


def test_no_gap_with_new_bucketing() -> None:
    """With isNB the value is not multiplied, so the user of the gap gets a variation."""
    plan, campaign = make_only_campaign(make_campaign(percentTraffic=99), isNB=True)
    assert campaign.bucket_multiplier == 1
    assert name_for(plan, campaign, GAP_USER) == "Control"


def test_weights_below_a_whole() -> None:
    """If the weights add up to less than 100, users above all ranges get no variation."""
    plan, campaign = make_only_campaign(
        make_campaign(variations=make_variations((("Control", 20), ("Variation-1", 20))))
    )
    assert name_for(plan, campaign, "Bill") == "Variation-1"
    decision = decide_for(plan, campaign, "Ashley")
    assert decision.reason is Reason.NO_VARIATION


@pytest.mark.parametrize(
    ("traffic", "admitted"),
    [(0, False), (5e-324, False), (0.5, False), (49, False), (50, True), (100, True)],
)
def test_traffic(traffic: float, *, admitted: bool) -> None:
    """A user is in the campaign exactly if the traffic value is at most its traffic; with 0 nobody is."""
    plan, campaign = make_only_campaign(make_campaign(percentTraffic=traffic), isNB=False)
    reason = decide_for(plan, campaign, "Ashley").reason
    assert (reason is Reason.ASSIGNED) is admitted
    assert admitted or reason is Reason.NOT_IN_TRAFFIC


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(0, 99))
def test_more_traffic_keeps_users(user_id: str, traffic: int) -> None:
    """When the traffic is raised, no user drops out of the campaign."""
    reasons = []
    for percent in (traffic, traffic + 1):
        plan, campaign = make_only_campaign(make_campaign(percentTraffic=percent))
        reasons.append(decide_for(plan, campaign, user_id).reason)
    assert reasons[0] is Reason.NOT_IN_TRAFFIC or reasons[1] is not Reason.NOT_IN_TRAFFIC


@given(
    st.floats(0, 100) | st.integers(0, 100),
    st.sampled_from([100, 10_000]),
    st.just(1.0) | st.floats(1, 100).map(lambda percent: 10_000 / percent / 100),
    st.integers(0, 2**32 - 1),
)
def test_last_hash(percent: float, maximum: int, multiplier: float, hashed: int) -> None:
    """Comparing hashes with `last_hash` gives the same result as comparing bucket values, at every border."""
    value = percent * maximum / 100
    last = last_hash(value, maximum, multiplier)
    for one in (hashed, last, last + 1):
        if 0 <= one <= MAX_HASH:
            assert (one <= last) == (bucket_value(one, maximum, multiplier) <= value)


@given(
    st.lists(st.floats(0, 60), max_size=5),
    st.floats(0, 100),
    st.sampled_from([b"", b"7_"]),
    st.sampled_from([b"", b"7_888_"]),
    st.binary(min_size=1, max_size=20),
)
def test_bucketer_follows_the_formula(
    shares: list[float], traffic: float, traffic_seed: bytes, bucket_seed: bytes, user: bytes
) -> None:
    """The compiled bucketer gives the same result as traffic value, bucket value and ranges one by one."""
    multiplier = 10_000 / traffic / 100 if traffic_seed == bucket_seed and traffic >= 1 else 1.0
    ranges = Ranges((weight, str(index)) for index, weight in enumerate(shares))
    bucketer = Bucketer(
        traffic_seed,
        traffic,
        bucket_seed,
        multiplier,
        ranges,
        not_in_traffic="outside",
        unowned="nobody",
    )
    hashed = hash_seed(traffic_seed + user)
    expected = "outside"
    if bucket_value(hashed, 100) <= traffic:
        value = bucket_value(hash_seed(bucket_seed + user), 10_000, multiplier)
        expected = ranges.find(value) or "nobody"
    assert bucketer.assign(user) == expected
    assert bucketer.is_in_traffic(user) == (expected != "outside")
