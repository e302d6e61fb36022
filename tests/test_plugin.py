"""The pytest plugin, in pytest runs of their own: as users have it, with each tool that runs async tests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RECIPE = ROOT / "docs" / "recipes" / "pytest.md"

ASYNC_TESTS = """
from datetime import UTC, datetime, timedelta, timezone
from vwo_async import InvalidInputError, SettingsError
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import build_fme_settings, campaign, feature, feature_rollout, feature_test
import pytest

@pytest.fixture
def vwo_options():
    return {"user_storage": MemoryUserStorage()}

@pytest.fixture
def vwo_settings():
    return CHECKOUT_FILE

from vwo_async.testing import build_settings
CHECKOUT = campaign("checkout").goal("buy", revenue=True).goal("signup").split(20, 80)
CHECKOUT_FILE = build_settings(CHECKOUT)

async def test_one_request_about_many_campaigns_is_an_event_for_each(vwo):
    campaigns = [campaign(f"c{number}").goal("buy") for number in range(5)]
    vwo.use(*campaigns)
    for one in campaigns:
        await vwo.client.activate(one.key, "Ashley")
    vwo.clear()
    assert await vwo.client.track(None, "Ashley", "buy")
    vwo.assert_sent(kind="conversion", goal="buy", user="Ashley", times=5)
    assert [one.campaign for one in vwo.events] == [one.key for one in campaigns]
    assert {one.status for one in vwo.events} == {"pending"}
    await vwo.settle()
    assert {one.status for one in vwo.events} == {"delivered"}

async def test_the_storage_of_the_options_keeps_users(vwo):
    assert not await vwo.client.track("checkout", "Ashley", "signup")
    vwo.assert_sent(times=0)
    vwo.force("checkout", "Control")
    assert await vwo.client.activate("checkout", "Ashley") == "Control"
    vwo.force("checkout", "Variation-1")
    assert await vwo.client.activate("checkout", "Ashley") == "Control"
    assert await vwo.client.activate("checkout", "Ben") == "Variation-1"

async def test_users_get_what_they_are_asked_for(vwo):
    users = vwo.users("checkout", "Control")
    assert {await vwo.client.activate("checkout", next(users)) for _ in range(20)} == {"Control"}
    vwo.use(CHECKOUT.traffic(50).segment({"or": [{"custom_variable": {"plan": "pro"}}]}))
    pro = {"plan": "pro"}
    ashley = vwo.user("checkout", None, custom_variables=pro)
    assert await vwo.client.activate("checkout", ashley, custom_variables=pro) is None
    with pytest.raises(InvalidInputError, match="of 10000 users nobody"):
        vwo.user("checkout", "Control", custom_variables={"plan": "free"})

async def test_a_feature_is_on_or_off(vwo):
    test = feature_test("search").variation("Off", 50, enabled=False).variation("On", 50, size=3)
    vwo.use(test, feature_rollout("banner").traffic(0))
    for key in ("search", "banner"):
        for wanted in (True, False):
            vwo.force(key, wanted)
            assert await vwo.client.is_feature_enabled(key, f"{wanted}") is wanted

async def test_mistakes_are_named(vwo):
    for call in (lambda: vwo.force("chekout", "Control"), lambda: vwo.user("chekout", "Control")):
        with pytest.raises(InvalidInputError, match="no campaign 'chekout'; did you mean 'checkout'"):
            call()
    with pytest.raises(InvalidInputError, match="has no variation 'B': it has Control, Variation-1"):
        vwo.force("checkout", "B")
    with pytest.raises(InvalidInputError, match="goals: ask for some of kind"):
        vwo.assert_sent(goals="buy")
    with pytest.raises(InvalidInputError, match="kind must be one of impression"):
        vwo.find_events(kind="goal")
    with pytest.raises(InvalidInputError):
        await vwo.client.activate("checkout", 5)
    with pytest.raises(InvalidInputError, match="same key"):
        vwo.use(CHECKOUT, CHECKOUT)
    with pytest.raises(InvalidInputError, match="one settings file"):
        vwo.use(CHECKOUT, CHECKOUT_FILE)
    with pytest.raises(InvalidInputError, match="not its path"):
        vwo.use("settings.json")
    with pytest.raises(InvalidInputError, match="the file is empty"):
        vwo.use("")
    with pytest.raises(SettingsError, match="accountId"):
        vwo.use({})
    assert vwo.user("checkout", "Control")

async def test_null_and_empty_lists_as_in_real_files(vwo, vwo_fme):
    groups = {"groups": {"5": {"name": "pages", "campaigns": None}, "6": {}}, "campaignGroups": {"1": 5}}
    vwo.use(CHECKOUT_FILE | groups)
    vwo.force("checkout", "Control")
    assert await vwo.client.activate("checkout", "Ashley") == "Control"
    file = build_fme_settings(feature("search"), feature("other").rollout(100))
    file["features"][0]["rules"] = None
    vwo_fme.use(file | {"holdouts": None, "groups": None})
    vwo_fme.force("other", True)
    assert await vwo_fme.client.get_flag("other", "Ashley")
    with pytest.raises(InvalidInputError, match="'search' has no rule"):
        vwo_fme.force("search", True)
    vwo_fme.use(file | {"features": {}, "campaigns": {}})
    with pytest.raises(InvalidInputError, match="no feature 'search'; there are none"):
        vwo_fme.force("search", True)

async def test_a_revenue_that_is_no_number(vwo_fme):
    vwo_fme.use(feature("search").metric("buy", revenue_prop="price"))
    for price in ("49,90", 5):
        await vwo_fme.client.track_event("buy", "Ashley", {"price": price})
    assert [one.revenue for one in vwo_fme.events if one.goal == "buy"] == [None, 5]

async def test_what_was_sent_stands_in_the_error(vwo):
    await vwo.client.activate("checkout", "Ashley")
    with pytest.raises(AssertionError) as raised:
        vwo.assert_sent(kind="conversion", goal="buy")
    shown = str(raised.value)
    assert "0 events with kind='conversion', goal='buy', not 1; sent were:" in shown
    assert "impression user='Ashley' campaign='checkout' variation=" in shown

async def test_when_it_happened_in_the_event_architecture(vwo, vwo_fme):
    vwo.use(build_settings(CHECKOUT) | {"isEventArchEnabled": True})
    await check_times(vwo, vwo_fme)

async def test_when_it_happened(vwo, vwo_fme):
    await check_times(vwo, vwo_fme)

async def check_times(vwo, vwo_fme):
    vwo_fme.use(feature("search").metric("buy").rollout(100))
    last_year = datetime.now(timezone(timedelta(hours=5))) - timedelta(days=365)
    await vwo.client.activate("checkout", "Ashley")
    await vwo.client.track("checkout", "Ashley", "signup", at=last_year)
    await vwo_fme.client.track_event("buy", "Ashley", at=last_year.timestamp())
    for one in (vwo, vwo_fme):
        one.assert_sent(kind="conversion", at=last_year)
        one.assert_sent(kind="conversion", at=last_year.timestamp())
        one.assert_sent(kind="conversion", at=last_year + timedelta(seconds=1), times=0)
        (sent,) = one.find_events(kind="conversion")
        assert sent.at == last_year.replace(microsecond=0) and f"at='{sent.at}'" in str(sent)
    (now,) = vwo.find_events(kind="impression")
    assert 0 <= (datetime.now(UTC) - now.at).total_seconds() < 60
    for wrong in ("today", None, datetime.now()):
        with pytest.raises(InvalidInputError, match="at "):
            vwo.find_events(at=wrong)

async def test_refused_and_lost(vwo):
    vwo.refuse(400)
    await vwo.client.activate("checkout", "Ashley", wait=True)
    vwo.lose()
    await vwo.client.activate("checkout", "Ben")
    assert [one.status for one in vwo.events] == ["rejected", "pending"]

async def test_attributes(vwo):
    await vwo.client.push({"plan": "pro", "seats": "3"}, "Ashley")
    assert [one.attributes for one in vwo.events] == [{"plan": "pro"}, {"seats": "3"}]

async def test_events_are_those_of_the_service(vwo_fme):
    vwo_fme.use(feature("search").metric("buy").rollout(100))
    vwo_fme.hang()
    assert await vwo_fme.client.track_event("buy", "Ashley")
    assert [(one.kind, one.status) for one in vwo_fme.events] == [("conversion", "pending")]
    vwo_fme.recover()
    await vwo_fme.settle()
    assert [one.status for one in vwo_fme.events] == ["delivered"]

async def test_flags(vwo_fme):
    search = feature("search").metric("buy", revenue_prop="price").rollout(50, size=1)
    vwo_fme.use(
        search.test(50, 50, size=[10, 20]),
        feature("pro").personalize({"or": [{"custom_variable": {"plan": "pro"}}]}, columns=3),
    )
    assert (await vwo_fme.client.get_flag("search", vwo_fme.user("search", "Variation-1"))).get_variable("size", 0) == 20
    for wanted, size in (("Rollout", 1), ("Control", 10), (False, 0), (None, 0)):
        vwo_fme.use(search.test(50, 50, size=[10, 20]))
        vwo_fme.force("search", wanted)
        flag = await vwo_fme.client.get_flag("search", "Ashley")
        assert flag.get_variable("size", 0) == size
    vwo_fme.use(feature("pro").personalize({"or": [{"custom_variable": {"plan": "pro"}}]}, columns=3))
    ashley = vwo_fme.user("pro", True, custom_variables={"plan": "pro"})
    assert not await vwo_fme.client.get_flag("pro", ashley)
    vwo_fme.force("pro", True)
    assert await vwo_fme.client.get_flag("pro", ashley)
    vwo_fme.assert_sent(kind="impression", feature="pro", rule="personalize", user=ashley)
    with pytest.raises(InvalidInputError, match="no feature"):
        vwo_fme.force("sear", True)
"""

LOOPS = """
import asyncio
from vwo_async.testing import campaign

def test_one_client_in_one_loop_after_another(vwo):
    vwo.use(campaign("checkout"))
    for number in range(3):
        assert asyncio.run(vwo.client.activate("checkout", f"user {number}"))
    vwo.assert_sent(kind="impression", times=3)

def test_nothing_but_the_client_is_used(vwo):
    assert vwo.events == []
    assert repr(vwo) == "<VWOFixture 0 events>"
"""

ANYIO = """
import pytest
pytestmark = pytest.mark.anyio
@pytest.fixture{scope}
def anyio_backend():
    return "asyncio"
"""
LASTING_LOOP = """
import pytest
from vwo_async.testing import campaign

@pytest.mark.asyncio(loop_scope="session")
async def test_a_loop_that_ends_with_the_run(vwo):
    vwo.use(campaign("checkout"))
    assert await vwo.client.activate("checkout", "Ashley")
"""
AIOHTTP = """
from aiohttp import web
from vwo_async.testing import campaign

VWO = web.AppKey("vwo", object)

async def buy(request):
    return web.json_response(bool(await request.app[VWO].track("checkout", "Ashley", "buy")))

async def test_a_service_of_aiohttp(vwo, aiohttp_client):
    vwo.use(campaign("checkout").goal("buy"))
    await vwo.client.activate("checkout", "Ashley")
    app = web.Application()
    app[VWO] = vwo.client
    app.router.add_post("/buy", buy)
    client = await aiohttp_client(app)
    assert await (await client.post("/buy")).json() is True
    vwo.assert_sent(kind="conversion", goal="buy")
"""
RUNS = {
    "anyio": ("asyncio aiohttp", "", ANYIO.format(scope="") + ASYNC_TESTS + LOOPS),
    "anyio, one loop for all": (
        "asyncio aiohttp",
        "",
        ANYIO.format(scope='(scope="module")') + ASYNC_TESTS,
    ),
    "pytest-asyncio": (
        "anyio aiohttp",
        'asyncio_mode = "auto"\nasyncio_default_fixture_loop_scope = "function"',
        ASYNC_TESTS + LOOPS + LASTING_LOOP,
    ),
    "pytest-aiohttp": (
        "anyio",
        'asyncio_mode = "auto"\nasyncio_default_fixture_loop_scope = "function"',
        AIOHTTP + ASYNC_TESTS,
    ),
}


def run_pytest(folder: Path, name: str, source: str, *, without: str, ini: str = "") -> str:
    """Run pytest on one file as a service has it: warnings are errors, and nothing of this suite is there."""
    (folder / "pyproject.toml").write_text(
        f'[tool.pytest.ini_options]\nfilterwarnings = ["error"]\n{ini}\n'
    )
    (folder / name).write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", name]
    for one in (*without.split(), "cacheprovider", "xdist"):
        command += ["-p", f"no:{one}"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    # Where a loop names a task that it was ended with.
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("name", RUNS)
def test_under_each_tool(name: str, tmp_path: Path) -> None:
    """The fixtures work with each tool that runs async tests, and leave neither a task nor a warning."""
    without, ini, source = RUNS[name]
    told = run_pytest(tmp_path, "test_service.py", source, without=without, ini=ini)
    assert f"{source.count('def test_')} passed" in told


def test_the_recipe(tmp_path: Path) -> None:
    """The page's blocks are a test file that passes."""
    blocks = RECIPE.read_text().split("```python\n")[1:]
    backend = ANYIO.format(scope="").replace("pytestmark = pytest.mark.anyio\n", "")
    source = backend + "\n".join(one.partition("```")[0] for one in blocks)
    told = run_pytest(tmp_path, "test_recipe.py", source, without="asyncio aiohttp")
    assert f"{source.count('def test_')} passed" in told
