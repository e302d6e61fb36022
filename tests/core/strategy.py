"""Settings files and users for the tests of the core: small fixed ones, and random ones for Hypothesis."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from vwo_async._core.plan import Campaign, Plan
from vwo_async._settings import parse_settings
from vwo_async._user import User

ACCOUNT_ID = 888888
HALVES = (("Control", 50.0), ("Variation-1", 50.0))

JsonObject = dict[str, Any]


def make_variations(shares: tuple[tuple[str, float], ...] = HALVES) -> list[JsonObject]:
    """Return variations as in a settings file, numbered from 1."""
    return [
        {"id": number, "name": name, "weight": weight}
        for number, (name, weight) in enumerate(shares, start=1)
    ]


def make_campaign(campaign_id: int = 7, key: str = "AB", **fields: Any) -> JsonObject:
    """Return a running A/B test as in a settings file; *fields* replace the default fields."""
    return {
        "id": campaign_id,
        "key": key,
        "name": key,
        "type": "VISUAL_AB",
        "status": "RUNNING",
        "percentTraffic": 100,
        "segments": {},
        "variations": make_variations(),
        "goals": [],
        **fields,
    }


def make_file(*campaigns: JsonObject, **fields: Any) -> JsonObject:
    """Return a settings file with *campaigns*."""
    return {
        "sdkKey": "key",
        "accountId": ACCOUNT_ID,
        "version": 1,
        "campaigns": list(campaigns),
        **fields,
    }


def make_plan(*campaigns: JsonObject, **fields: Any) -> Plan:
    """Return the compiled plan of a file with these campaigns and fields."""
    return Plan(parse_settings(make_file(*campaigns, **fields)))


def make_only_campaign(campaign: JsonObject | None = None, **fields: Any) -> tuple[Plan, Campaign]:
    """Return the plan of a file with one campaign, and that campaign."""
    plan = make_plan(campaign or make_campaign(), **fields)
    (compiled,) = plan.campaigns.values()
    return plan, compiled


PLANS = ("free", "pro", "team")
SEGMENTS: tuple[JsonObject, ...] = (
    {},
    {"custom_variable": {"plan": "pro"}},
    {"or": [{"custom_variable": {"plan": "pro"}}, {"custom_variable": {"plan": "team"}}]},
    {"not": {"custom_variable": {"plan": "lower(FREE)"}}},
)


def user_ids() -> st.SearchStrategy[str]:
    """User ids: any text that can be encoded as UTF-8."""
    return st.one_of(
        st.sampled_from(["Ashley", "Bill", "user_1", "u28917", "m16", "m244", "użytkownik", "🙂"]),
        st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    )


@st.composite
def users(draw: st.DrawFn) -> User:
    """Users with a plan, or without one."""
    plan = draw(st.sampled_from((None, *PLANS)))
    return User(draw(user_ids()), custom_variables={"plan": plan})


def weights() -> st.SearchStrategy[float]:
    """Weights of 0..100 percent, with difficult ones more often."""
    return st.one_of(
        st.sampled_from([0, 0.001, 1.1, 10, 14.29, 33.3333, 50, 100]),
        st.floats(0, 100),
    )


def percentages() -> st.SearchStrategy[float]:
    """Traffic of 0..100 percent, whole and fractional."""
    return st.one_of(
        st.sampled_from([0, 1, 50, 99, 100]), st.integers(0, 100), st.floats(0.01, 100)
    )


def flags(*names: str) -> st.SearchStrategy[JsonObject]:
    """Any of the flags *names* set, unset or absent."""
    return st.fixed_dictionaries({}, optional={name: st.booleans() for name in names})


@st.composite
def variation_lists(draw: st.DrawFn, *, forced: bool) -> list[JsonObject]:
    """One to four variations; with *forced*, some of them for listed users or plans."""
    shares = draw(st.lists(weights(), min_size=1, max_size=4))
    variations = make_variations(
        tuple((f"V{number}", weight) for number, weight in enumerate(shares))
    )
    if forced:
        for variation in variations:
            variation["segments"] = draw(
                st.sampled_from(({}, {"user": "Ashley,Bill"}, {"user": "user_1, m16"}))
            )
    return variations


@st.composite
def campaigns(draw: st.DrawFn, campaign_id: int, *, forced: bool = False) -> JsonObject:
    """One campaign of any kind; without *forced* nobody is whitelisted in it."""
    return make_campaign(
        campaign_id,
        f"C{campaign_id}",
        type=draw(st.sampled_from(("VISUAL_AB", "FEATURE_TEST", "FEATURE_ROLLOUT"))),
        status=draw(st.sampled_from(("RUNNING", "RUNNING", "PAUSED"))),
        percentTraffic=draw(percentages()),
        segments=draw(st.sampled_from(SEGMENTS)),
        variations=draw(variation_lists(forced=forced)),
        isForcedVariationEnabled=forced and draw(st.booleans()),
        **draw(flags("isBucketingSeedEnabled", "isOB", "isOBv2", "isUserListEnabled")),
    )


@st.composite
def group_fields(draw: st.DrawFn, members: list[int]) -> JsonObject:
    """The rules of a group of *members*: equal shares, by priority, by weight, or of an unknown kind."""
    some = st.lists(st.sampled_from(members), unique=True)
    return {
        "name": "group",
        "campaigns": draw(st.permutations(members)),
        "et": draw(st.sampled_from((1, 1, 2, 2, 3))),
        "p": draw(some),
        "wt": {str(member): draw(weights()) for member in draw(some)},
    }


@st.composite
def settings_files(draw: st.DrawFn, *, forced: bool = False) -> JsonObject:
    """Files with one to five campaigns and any flags; the first campaigns may form a group."""
    ids = draw(st.lists(st.integers(1, 999), min_size=1, max_size=5, unique=True))
    grouped = ids[: draw(st.integers(0, len(ids)))]
    fields = draw(flags("isNB", "isNBv2"))
    if grouped:
        group_id = draw(st.integers(1, 99))
        fields["groups"] = {str(group_id): draw(group_fields(grouped))}
        fields["campaignGroups"] = {str(one): group_id for one in grouped}
    return make_file(*[draw(campaigns(one, forced=forced)) for one in ids], **fields)


def members_of(file: Mapping[str, Any], campaign: JsonObject) -> list[JsonObject]:
    """Return the campaigns of the same group, including *campaign*."""
    grouped = file.get("campaignGroups", {})
    if str(campaign["id"]) not in grouped:
        return [campaign]
    return [one for one in file["campaigns"] if str(one["id"]) in grouped]


def json_values() -> st.SearchStrategy[Any]:
    """Any JSON value that Python's parser can return, including values that should be refused."""
    scalars = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(st.characters(), max_size=8),
        st.sampled_from(["", "RUNNING", "50", "1e999", "-1"]),
    )
    return st.recursive(
        scalars,
        lambda inner: st.one_of(
            st.lists(inner, max_size=4),
            st.dictionaries(st.text(st.characters(), max_size=6), inner, max_size=4),
        ),
        max_leaves=12,
    )
