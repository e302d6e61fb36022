"""The recipes for services without a lifespan run as they are printed, each in under 20 lines."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from inspect import CO_COROUTINE
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import openfeature.api
import pytest
from processes import received, running_collector
from sample import ACCOUNT, KEY, campaign, settings
from test_docs import Block, blocks_of, compile_block

import vwo_async
import vwo_async.integrations.asgi  # it knows the classes as they are
import vwo_async.integrations.openfeature  # so does this
import vwo_async.sync
from vwo_async.collector import Collector
from vwo_async.testing import build_fme_settings, feature

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
MAX_LINES = 20
VISITOR = {"visitor": "user 1"}
SEARCH = feature("search").metric("purchase", revenue_prop="revenue").test(50, 50, size=[10, 20])
FME_FILE = {**build_fme_settings(SEARCH), "accountId": ACCOUNT, "sdkKey": KEY}


@pytest.fixture
def vwo_collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    """Let what asks VWO ask a collector."""
    with running_collector([settings(campaign(11, "checkout")), FME_FILE]) as (collector, url):
        for door in (vwo_async, vwo_async.sync):
            for name in (
                *("VWOClient", "fetch_settings", "SettingsSource"),
                *("FMEClient", "fetch_fme_settings"),
            ):
                if hasattr(door, name):
                    monkeypatch.setattr(door, name, partial(getattr(door, name), base_url=url))
        yield collector


def run(block: Block, names: dict[str, Any]) -> None:
    """Run a block; one of a notebook in a loop."""
    code = compile_block(block)
    ended = eval(code, names)
    if code.co_flags & CO_COROUTINE:
        asyncio.run(ended)


def run_page(page: str) -> dict[str, Any]:
    """Run the blocks of a page, one after the other, and return what they defined."""
    names: dict[str, Any] = {"ACCOUNT_ID": ACCOUNT, "SDK_KEY": KEY, "__name__": "shop"}
    for block in blocks_of(RECIPES / page):
        if block.language == "python":
            assert len([line for line in block.text.splitlines() if line.strip()]) < MAX_LINES
            run(block, names)
    return names


def use_django(names: dict[str, Any]) -> None:
    from django.conf import settings as django_settings
    from django.http import HttpResponse

    request = SimpleNamespace(COOKIES=VISITOR, headers={"User-Agent": "agent/1.0"})
    assert django_settings.configured
    assert isinstance(names["buy"](request), HttpResponse)
    assert names["show"](request).content.decode() in (
        "Control, Control",
        "Variation-1, Variation-1",
    )
    assert names["search"](request).content in (b"10", b"20")

    async def serve() -> None:
        assert isinstance(await names["buy_async"](request), HttpResponse)
        await names["clients"].aclose()

    asyncio.run(serve())
    names["vwo"].close()
    names["fme"].close()


def use_flask(names: dict[str, Any]) -> None:
    visitor = names["app"].test_client()
    visitor.set_cookie("visitor", "user 1")
    assert visitor.post("/buy").json["tracked"]
    assert visitor.post("/order").json["tracked"]
    assert visitor.get("/search").json["size"] in (10, 20)
    assert visitor.get("/checkout").text in ("Control", "Variation-1")
    openfeature.api.clear_providers()
    names["vwo"].close()
    names["fme"].close()


def use_celery(names: dict[str, Any]) -> None:
    assert names["buy"]("user 1", 49.9)
    names["close_vwo"]()


def use_rq(names: dict[str, Any]) -> None:
    assert names["vwo"].track("checkout", "user 1", "purchase", revenue_value=1)
    with suppress(AttributeError):  # there is no worker
        names["VWOWorker"].perform_job(object.__new__(names["VWOWorker"]), None, None, None)
    with pytest.raises(vwo_async.ClosedError):
        names["vwo"].track("checkout", "user 1", "purchase", revenue_value=1)


def use_lambda(names: dict[str, Any]) -> None:
    for _ in range(2):
        assert names["handler"]({"user": "user 1"}, None)["tracked"]


# How each page is used, how many conversions come of it, and how many reports of a visitor.
USES: dict[str, tuple[Callable[[dict[str, Any]], object], int, int]] = {
    "celery.md": (use_celery, 1, 0),
    # By `buy` and `search` one report each, and by `show` one for two questions.
    "django.md": (use_django, 3, 3),
    "flask.md": (use_flask, 2, 2),
    "jupyter.md": (lambda names: None, 0, 0),
    "lambda.md": (use_lambda, 2, 0),
    "rq.md": (use_rq, 1, 0),
    "scripts.md": (lambda names: None, 3, 0),
}


@pytest.mark.parametrize("page", USES)
def test_recipe(page: str, vwo_collector: Collector) -> None:
    """The blocks run, and what they define reports conversions that arrive."""
    if page == "django.md":
        from django.conf import settings as django_settings

        if not django_settings.configured:
            django_settings.configure()
    use, conversions, reports = USES[page]
    use(run_page(page))
    assert len(received(vwo_collector)) == conversions
    assert vwo_collector.totals().by_kind["user"] == reports
    assert not vwo_collector.refused


@pytest.mark.slow
@pytest.mark.parametrize("name", ["celery_tasks", "django_shop", "lambda_function"])
def test_example(name: str) -> None:
    """The example runs with one command, and what it reports arrives."""
    path = RECIPES.parents[1] / "examples" / f"{name}.py"
    done = subprocess.run([sys.executable, path], capture_output=True, text=True, check=True)
    assert done.stdout == "conversions: 6\n"
