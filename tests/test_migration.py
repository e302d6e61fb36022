"""Whoever comes from an official SDK: its names are accepted, or refused with what to use."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from both_products import BOTH_PRODUCTS
from chosen_product import make_client
from sample import ACCOUNT, KEY, settings

import vwo_async
import vwo_async.sync
from vwo_async import FMEClient, GoalType, InvalidInputError, SettingsError, VWOClient
from vwo_async._client.fme_options import FMELaunchOptions
from vwo_async._client.official_names import find_replacement
from vwo_async._client.options import LaunchOptions, read_options
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio

FME_FILE = (Path(__file__).parents[1] / "examples" / "fme_settings.json").read_bytes()
# Every option of vwo-python-sdk 1.68, vwo-node-sdk 1.72, vwo-fme-python-sdk 1.65 and vwo-fme-node-sdk 1.42
# that has another name here, or none.
OFFICIAL_NAMES = """
    settings_file logger is_development_mode log_level redis_creds
    settingsFile isDevelopmentMode userStorageService asyncStorageConfig logging pollingInterval
    returnPromiseFor goalTypeToTrack shouldTrackReturningUser batchEvents sdkKey
    sdk_key account_id storage poll_interval batch_event_data is_usage_stats_disabled threading segmentation
    network _vwo_meta _wingify_meta vwoBuilder
    accountId pollInterval batchEventData shouldWaitForTrackingCalls isUsageStatsDisabled retryConfig
    edgeConfig clientStorage browserConfig httpsAgentConfig platform sdkMeta isBatchingDisabled
"""


@pytest.mark.parametrize("name", OFFICIAL_NAMES.split())
def test_every_official_option_is_refused_with_what_to_use(name: str) -> None:
    """The error says what to write in its place, or that nothing is needed."""
    with pytest.raises(InvalidInputError) as raised:
        read_options({name: 5})
    told = str(raised.value)
    assert told.startswith(f"{name}: ")
    assert any(word in told for word in (": use ", "leave it out", "first argument", "give it to"))


@pytest.mark.parametrize(
    ("kind", "name", "hint"),
    [
        (FMEClient, "getFlag", "use get_flag"),
        (FMEClient, "update_settings", "use refresh_settings"),
        (FMEClient, "shutdown", "use aclose"),
        (vwo_async.sync.FMEClient, "shutdown", "use close"),
        (FMEClient, "getVariationName", "it is a method of VWOClient"),
        (VWOClient, "getVariationName", "use get_variation_name"),
        (VWOClient, "get_flag", "it is a method of FMEClient"),
        (VWOClient, "nothing_like_it", ""),
        (VWOClient, "_private", ""),
    ],
)
def test_methods_by_their_official_names(kind: Any, name: str, hint: str) -> None:
    """The error says what the method is called here, and nothing where there is none like it."""
    client: Any = kind(FME_FILE if "FME" in kind.__name__ else settings())
    with pytest.raises(AttributeError) as raised:
        getattr(client, name)
    told = f"{kind.__name__!r} object has no attribute {name!r}"
    assert str(raised.value) == (f"{told}: {hint}" if hint else told)
    assert not hasattr(client, name)


def test_all_wrong_options_stand_in_one_error() -> None:
    """Those of official SDKs, those of the other product, misspelt ones and wrong values."""
    wrong: Any = {
        "is_development_mode": True,
        "log_level": 10,
        "gatewayService": {},
        "stric": True,
        "workers": 0,
        "nothing_like_it": 1,
    }
    with pytest.raises(InvalidInputError) as raised:
        VWOClient(settings(), **wrong)
    assert str(raised.value).split("; ") == [
        "is_development_mode: VWOClient has no such option: use 'development_mode'",
        "log_level: VWOClient has no such option: use Python's logging: its logger is 'vwo_async'",
        "gatewayService: is an option of FMEClient alone",
        "stric: VWOClient has no such option, perhaps 'strict' is meant",
        "workers: must be a whole number from 1 to 20",
        "nothing_like_it: VWOClient has no such option",
    ]


def test_no_name_of_ours_counts_as_theirs() -> None:
    """What is told to use is there, and no option of either client is refused as one of the official SDKs."""
    ours = {*LaunchOptions.__annotations__, *FMELaunchOptions.__annotations__}
    assert not [name for name in ours if find_replacement(name)]
    for name in ("storage", "batch_event_data", "is_development_mode", "network"):
        assert find_replacement(name).split("'")[1] in ours


def test_options_of_fme_alone() -> None:
    """`VWOClient` names `FMEClient` for each of its own options."""
    own = FMELaunchOptions.__annotations__.keys() - LaunchOptions.__annotations__.keys()
    for name in sorted(own):
        with pytest.raises(InvalidInputError, match=f"{name}: is an option of FMEClient alone"):
            read_options({name: None})


@pytest.mark.parametrize(
    "given",
    [
        {"sdk_key": KEY, "account_id": ACCOUNT},
        {"sdk_key": KEY, "account_id": ACCOUNT, "storage": None, "poll_interval": 5000},
        {"sdkKey": KEY, "accountId": ACCOUNT, "pollInterval": 5000},
        {"settingsFile": {}, "isDevelopmentMode": True},
    ],
)
@pytest.mark.parametrize("kind", [FMEClient, VWOClient, vwo_async.launch, vwo_async.sync.FMEClient])
def test_options_in_place_of_the_file(kind: Any, given: dict[str, Any]) -> None:
    """``init({...})`` and ``launch({...})`` as the official SDKs take it: told what to do, by each option."""
    with pytest.raises(InvalidInputError, match="fetch_fme_settings") as raised:
        kind(given)
    assert all(f"{name}: " in str(raised.value) for name in given if find_replacement(name))


def test_a_file_that_lacks_something_is_still_a_file() -> None:
    """An incomplete settings file is told what it lacks."""
    with pytest.raises(SettingsError, match="version"):
        VWOClient({"sdkKey": KEY, "accountId": ACCOUNT})


class _Service:
    """An integrations service of vwo-python-sdk."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def callback(self, properties: Any) -> None:
        self.told.append(properties)


@BOTH_PRODUCTS
@pytest.mark.parametrize("shape", ["function", "mapping", "object"])
async def test_integrations(shape: str) -> None:
    """A function, ``{"callback": function}`` of the Node and FME SDKs, or an object of vwo-python-sdk."""
    from chosen_product import settings as file

    service = _Service()
    given: Any = {
        "function": service.callback,
        "mapping": {"callback": service.callback},
        "object": service,
    }[shape]
    async with make_client(file(), integrations=given, transport=RecordingTransport()) as client:
        await client.activate("checkout", "Ashley")
    assert len(service.told) == 1


@pytest.mark.parametrize("given", [{}, {"callback": None}, {"callbak": print}, object(), "print"])
def test_integrations_without_a_callback(given: Any) -> None:
    """What has none is refused with the two forms."""
    with pytest.raises(InvalidInputError, match="integrations: must be callable, or"):
        VWOClient(settings(), integrations=given)


@pytest.mark.parametrize("name", ["REVENUE", "CUSTOM", "ALL", "REVENUE_TRACKING", "CUSTOM_GOAL"])
async def test_goal_types_by_name(name: str) -> None:
    """The names of the official constants count as their values, at launch and in a call."""
    wanted = GoalType[name] if name in GoalType.__members__ else GoalType(name)
    assert read_options({"goal_type_to_track": name}).goal_type_to_track is wanted
    transport = RecordingTransport()
    async with VWOClient(settings(), transport=transport, strict=True) as client:
        signup = await client.track("checkout", "Ashley", "signup", goal_type_to_track=name)
        assert bool(signup) is (wanted is not GoalType.REVENUE)


async def test_push_with_a_map() -> None:
    """``push(custom_dimension_map=..., user_id=...)`` of vwo-python-sdk."""
    transport = RecordingTransport()
    async with VWOClient(settings(), transport=transport) as client:
        assert await client.push(custom_dimension_map={"plan": "pro"}, user_id="Ashley", wait=True)
        assert await client.push({"plan": "pro"}, "Ashley", wait=True)
        assert await client.push("plan", "pro", "Ashley", wait=True)
        user = client.for_user("Ashley")
        assert await user.push(custom_dimension_map={"plan": "pro"}, wait=True)
        wrong: Any = user.push
        assert not await wrong("plan", "pro", custom_dimension_map={"plan": "pro"})
        assert not await wrong({"plan": "pro"}, custom_dimension_map={"plan": "pro"})
        assert not await wrong(custom_dimension_map="plan")
        assert not await wrong()
        wrong = client.push
        assert not await wrong("plan", "pro", "Ashley", custom_dimension_map={"plan": "pro"})
        assert not await wrong(custom_dimension_map="plan", user_id="Ashley")
        assert not await wrong(custom_dimension_map={"plan": "pro"})
        assert not await wrong()
    tags = {one.target.partition("tags=")[2].partition("&")[0] for one in transport.requests}
    assert len(transport.requests) == 4
    assert len(tags) == 1


def test_push_with_a_map_without_await() -> None:
    """The synchronous client has it too."""
    with vwo_async.sync.VWOClient(settings(), transport=RecordingTransport()) as client:
        assert client.push(custom_dimension_map={"plan": "pro"}, user_id="Ashley")
        assert client.for_user("Ashley").push(custom_dimension_map={"plan": "pro"})


@pytest.mark.parametrize("method", ["activate", "is_feature_enabled", "decide"])
async def test_custom_properties(method: str) -> None:
    """They are sent as vwo-python-sdk sends them: as ``vwoMeta`` of an impression of the event architecture."""
    key = "checkout" if method == "activate" else "search"
    transport = RecordingTransport()
    async with VWOClient(settings(isEventArchEnabled=True), transport=transport) as client:
        await getattr(client, method)(key, "Ashley", custom_properties={"page": 3}, wait=True)
        await getattr(client, method)(key, "Ashley", wait=True)
        user: Any = client.for_user("Ashley")
        await getattr(user, method)(key, custom_properties={"page": 3}, wait=True)
        assert await getattr(client, method)(key, "Ashley", custom_properties=5) in (
            None,
            False,
        ) or (method == "decide")
    props = [json.loads(one.body)["d"]["event"]["props"] for one in transport.requests]
    assert [one.get("vwoMeta") for one in props] == [{"page": 3}, None, {"page": 3}]


async def test_custom_properties_have_no_place_in_a_classic_event() -> None:
    """The classic request is the same with and without them, as in vwo-python-sdk."""
    transport = RecordingTransport()
    async with VWOClient(settings(), transport=transport) as client:
        for given in ({"page": 3}, None):
            await client.activate("checkout", "Ashley", custom_properties=given, wait=True)
    with_them, without = [one.target.split("&random=")[0] for one in transport.requests]
    assert with_them.partition("&sId")[0] == without.partition("&sId")[0]
    assert "page" not in with_them


async def test_settings_are_updated_by_position() -> None:
    """``get_and_update_settings_file(account_id, sdk_key)`` asks in the name of both."""
    from server import answer, running_server

    async with running_server() as server:
        server.default = answer(
            headers="Content-Type: application/json\r\n", body=json.dumps(settings()).encode()
        )
        async with VWOClient(settings(), base_url=server.base_url) as client:
            found = await client.get_and_update_settings_file(str(ACCOUNT), KEY)
    assert found is not None
    assert f"a={ACCOUNT}" in server.requests[0].target


class _Storage:
    """A storage of an official SDK: plain functions."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Any] = {}

    def get(self, user_id: str, campaign_key: str) -> Any:
        return self.rows.get((user_id, campaign_key))

    def set(self, row: Any) -> None:
        self.rows[row["userId"], row["campaignKey"]] = row


async def test_the_storage_of_vwo_python_sdk() -> None:
    """A storage with plain ``get(user_id, campaign_key)`` and ``set(row)`` is used as it is."""
    storage = _Storage()
    async with VWOClient(
        settings(), user_storage=storage, transport=RecordingTransport()
    ) as client:
        name = await client.activate("checkout", "Ashley")
    assert storage.rows["Ashley", "checkout"]["variationName"] == name


def test_batch_events_by_the_keys_of_the_node_sdk() -> None:
    """The keys of vwo-python-sdk are ours; those of the Node SDK are refused with ours."""
    with pytest.raises(InvalidInputError, match="events_per_request, request_time_interval"):
        read_options({"batch_events": {"eventsPerRequest": 5}})


async def test_a_context_in_camel_case() -> None:
    """The context of the FME SDKs in either spelling, by position."""
    async with FMEClient(FME_FILE, transport=RecordingTransport(), strict=True) as client:
        for context in (
            {"id": "u1", "customVariables": {"plan": "pro"}},
            {"id": "u1", "custom_variables": {"plan": "pro"}},
        ):
            assert await client.get_flag("invoices", context)
            assert (await client.track_event("purchase", context)).as_dict() == {"purchase": True}
            assert await client.set_attribute("plan", "pro", context)
