"""v2 settings files and users for the tests: small fixed ones, and random ones for Hypothesis."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from vwo_async._core.fme.user import FlagUser

JsonObject = dict[str, Any]

TYPES = {"r": "FLAG_ROLLOUT", "t": "FLAG_TESTING", "p": "FLAG_PERSONALIZE"}
SEGMENTS: tuple[JsonObject, ...] = (
    {},
    {"custom_variable": {"plan": "pro"}},
    {"not": {"custom_variable": {"plan": "lower(FREE)"}}},
    {"or": [{"user": "u1, u2"}, {"custom_variable": {"version": "gte(1.10)"}}]},
    {"and": [{"country": "India"}]},
    {"or": [{"featureId": {"2": "on"}}]},
    {"custom_variable": {"plan": "inlist(L1)"}},
    # Cannot be evaluated.
    {"and": [{"custom_variable": {"plan": "pro"}}, {"or": 7}]},
)


def make_variation(number: int, weight: float, **fields: Any) -> JsonObject:
    """Return a variation with one variable, which names it."""
    variables = [{"id": 1, "key": "who", "type": "string", "value": f"v{number}"}]
    return {
        "id": number,
        "name": f"Variation-{number}",
        "weight": weight,
        "segments": {},
        "variables": variables,
        **fields,
    }


def make_campaign(number: int, kind: str = "t", **fields: Any) -> JsonObject:
    """Return a campaign of two equal variations; of a rollout or personalisation one variation for all."""
    shares = (50, 50) if kind == "t" else (100,)
    return {
        "id": number,
        "key": f"campaign{number}",
        "name": f"Campaign {number}",
        "type": TYPES[kind],
        "status": "RUNNING",
        "percentTraffic": 100,
        "segments": {},
        "variations": [make_variation(one, share) for one, share in enumerate(shares, start=1)],
        **fields,
    }


def make_feature(number: int, *campaigns: JsonObject, **fields: Any) -> JsonObject:
    """Return a feature with a rule for each of *campaigns*."""
    return {
        "id": number,
        "key": f"f{number}",
        "name": f"Feature {number}",
        "type": "FEATURE_FLAG",
        "status": "ON",
        "metrics": [{"id": 1, "type": "CUSTOM_GOAL", "identifier": "purchase"}],
        "impactCampaign": {},
        "rules": [
            {"type": one["type"], "campaignId": one["id"], "ruleKey": f"rule{one['id']}"}
            for one in campaigns
        ],
        **fields,
    }


def make_file(features: list[JsonObject], campaigns: list[JsonObject], **fields: Any) -> JsonObject:
    """Return a settings file."""
    return {
        "version": 1,
        "accountId": 888888,
        "sdkKey": "key",
        "features": features,
        "campaigns": campaigns,
        **fields,
    }


def make_flag(*campaigns: JsonObject, **fields: Any) -> JsonObject:
    """Return a file with the one feature ``f1``, which has a rule for each of *campaigns*."""
    return make_file([make_feature(1, *campaigns)], list(campaigns), **fields)


def make_large_file(number: int) -> JsonObject:
    """Return a file of so many features, each with a rollout and a test."""
    features: list[JsonObject] = []
    campaigns: list[JsonObject] = []
    for one in range(1, number + 1):
        own = (make_campaign(2 * one, "r"), make_campaign(2 * one + 1))
        campaigns += own
        features.append(make_feature(one, *own))
    return make_file(features, campaigns)


@st.composite
def campaigns_of(draw: st.DrawFn, number: int, kind: str) -> JsonObject:
    """A campaign with random traffic, segments, salts and whitelist."""
    segment = st.sampled_from(SEGMENTS)
    shares = draw(st.lists(st.sampled_from((0, 10, 33.3333, 50, 100)), min_size=1, max_size=3))
    salts = st.sampled_from(("", "salt"))
    return make_campaign(
        number,
        kind,
        percentTraffic=draw(st.sampled_from((0, 10, 50, 100))),
        segments=draw(segment),
        isForcedVariationEnabled=draw(st.booleans()),
        salt=draw(salts),
        variations=[
            make_variation(one, share, segments=draw(segment), salt=draw(salts))
            for one, share in enumerate(shares, start=1)
        ],
    )


@st.composite
def files(draw: st.DrawFn) -> JsonObject:
    """A file with up to three features, a group and a holdout."""
    features: list[JsonObject] = []
    campaigns: list[JsonObject] = []
    for number in range(1, draw(st.integers(1, 3)) + 1):
        kinds = draw(st.lists(st.sampled_from("rttp"), max_size=4))
        own = [draw(campaigns_of(number * 10 + place, kind)) for place, kind in enumerate(kinds)]
        campaigns += own
        features.append(make_feature(number, *own))
    names = [
        f"{one['id']}_1" if one["type"] == TYPES["p"] else str(one["id"])
        for one in campaigns
        if one["type"] != TYPES["r"]
    ]
    members = draw(st.lists(st.sampled_from(names), unique=True)) if names else []
    group = {
        "name": "group",
        "campaigns": members,
        "et": draw(st.sampled_from((1, 2))),
        "p": members[:1] if draw(st.booleans()) else [],
        "wt": dict.fromkeys(members, 40),
    }
    holdout = {
        "id": 901,
        "name": "holdout",
        "segments": draw(st.sampled_from(SEGMENTS)),
        "percentTraffic": draw(st.sampled_from((0, 20, 100))),
        "isGlobal": draw(st.booleans()),
        "featureIds": [1],
        "metrics": [],
    }
    return make_file(
        features,
        campaigns,
        groups={"7": group},
        campaignGroups=dict.fromkeys(members, 7),
        holdouts=[holdout] if draw(st.booleans()) else [],
    )


def users() -> st.SearchStrategy[FlagUser]:
    """Users with and without variables, address and bucketing seed."""
    return st.builds(
        FlagUser,
        st.sampled_from([f"u{number}" for number in range(12)] + ["użytkownik", "🙂"]),
        st.fixed_dictionaries(
            {},
            optional={"plan": st.sampled_from(("pro", "free", "gold")), "version": st.just("1.9")},
        ),
        st.fixed_dictionaries({}, optional={"plan": st.sampled_from(("pro", "free"))}),
        st.sampled_from((None, "Mozilla/5.0")),
        st.sampled_from((None, "10.0.0.1")),
        st.sampled_from((None, "", "team")),
    )
