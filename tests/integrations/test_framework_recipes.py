"""The recipes and examples of the frameworks do what they show."""

from __future__ import annotations

import ast
import asyncio
import logging
import re
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from logging.handlers import QueueHandler
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import litestar.di
import pytest
from aiohttp import test_utils
from litestar.testing import AsyncTestClient
from plain_http import NO_AUTHORITIES
from port import find_free_port
from sample import ACCOUNT, KEY
from service_process import CollectorProcess, Process
from starlette.testclient import TestClient

import vwo_async

ROOT = Path(__file__).parents[2]
PAGES = ("fastapi", "starlette", "aiohttp", "litestar", "quart")
MAX_LINES = 20
SECRET = "what VWO showed"
COOKIE = {"Cookie": "visitor=Ashley"}
AUTH = {"X-VWO-Auth": SECRET}
Ask = Callable[[str, str, dict[str, str]], Any]


def blocks_of(page: str) -> list[str]:
    text = (ROOT / "docs" / "recipes" / f"{page}.md").read_text()
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def collector(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CollectorProcess]:
    with CollectorProcess(tmp_path_factory.mktemp("collector")) as process:
        yield process


@pytest.fixture(autouse=True)
def _no_log_thread() -> Iterator[None]:
    """Take away how Litestar logs: in a thread that lives on, to a stream that is closed with the test."""
    yield
    for name in ("", "litestar"):
        logger = logging.getLogger(name)
        for handler in logger.handlers[:]:
            if isinstance(handler, QueueHandler):
                logger.removeHandler(handler)
                handler.listener.handlers = ()  # type: ignore[attr-defined]


@pytest.fixture
def at_the_collector(collector: CollectorProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what asks VWO by default ask the collector."""
    for name in ("VWOClient", "FMEClient"):
        made = make_subclass(getattr(vwo_async, name), collector.base_url)
        monkeypatch.setattr(vwo_async, name, made)
    for name in ("fetch_settings", "fetch_fme_settings"):
        asks = getattr(vwo_async, name)
        ours = make_fetch(asks, collector.base_url)
        monkeypatch.setattr(vwo_async, name, ours)


def make_subclass(kind: Any, base_url: str) -> Any:
    def init(self: Any, settings: Any, **options: Any) -> None:
        kind.__init__(self, settings, base_url=base_url, **options)

    return type(kind.__name__, (kind,), {"__init__": init})


def make_fetch(asks: Any, base_url: str) -> Any:
    async def fetch(*arguments: Any) -> Any:
        return await asks(*arguments, base_url=base_url)

    return fetch


# How each framework's own test client asks an app


@asynccontextmanager
async def serve_starlette(app: Any) -> AsyncIterator[Ask]:
    with TestClient(app) as client:

        async def ask(method: str, path: str, headers: dict[str, str]) -> int:
            return client.request(method, path, headers=headers).status_code

        yield ask


@asynccontextmanager
async def serve_aiohttp(app: Any) -> AsyncIterator[Ask]:
    async with test_utils.TestClient(test_utils.TestServer(app)) as client:

        async def ask(method: str, path: str, headers: dict[str, str]) -> int:
            async with client.request(method, path, headers=headers) as answer:
                return answer.status

        yield ask


@asynccontextmanager
async def serve_litestar(app: Any) -> AsyncIterator[Ask]:
    async with AsyncTestClient(app) as client:

        async def ask(method: str, path: str, headers: dict[str, str]) -> int:
            return (await client.request(method, path, headers=headers)).status_code

        yield ask


@asynccontextmanager
async def serve_quart(app: Any) -> AsyncIterator[Ask]:
    async with app.test_app() as serving:

        async def ask(method: str, path: str, headers: dict[str, str]) -> int:
            answer = await serving.test_client().open(path, method=method, headers=headers)
            status: int = answer.status_code
            return status

        yield ask


SERVE = {
    "fastapi": serve_starlette,
    "starlette": serve_starlette,
    "aiohttp": serve_aiohttp,
    "litestar": serve_litestar,
    "quart": serve_quart,
}


def load_apps(page: str) -> list[Any]:
    """Run the blocks of a page, and return the apps that they make, each as it is in the end."""
    # Litestar looks for the names of annotations in the module.
    module = sys.modules[f"recipe_{page}"] = ModuleType(f"recipe_{page}")
    names = module.__dict__
    names |= {
        "ACCOUNT_ID": ACCOUNT,
        "SDK_KEY": KEY,
        "SECRET": "a secret of the service's own, long enough",
        "WEBHOOK_SECRET": SECRET,
    }
    apps: list[Any] = []
    for block in blocks_of(page):
        exec(compile(block, page, "exec", dont_inherit=True), names)
        if names["app"] not in apps:
            apps.append(names["app"])
    return apps


@pytest.mark.parametrize("page", PAGES)
def test_recipes_are_short(page: str) -> None:
    """Each recipe is a screen: under 20 lines of code, not counting those that are empty."""
    for block in blocks_of(page):
        assert len([line for line in block.splitlines() if line.strip()]) < MAX_LINES
        assert ast.parse(block)


@pytest.mark.anyio
@pytest.mark.usefixtures("at_the_collector")
@pytest.mark.parametrize("page", PAGES)
@pytest.mark.filterwarnings("default::DeprecationWarning")  # of test clients, about each other
async def test_recipes_run(page: str, collector: CollectorProcess) -> None:
    """Each app of a page serves its visitors, again after it was stopped where its framework can, and the
    webhook."""
    if page == "litestar" and not hasattr(litestar.di, "NamedDependency"):
        pytest.skip("the page says what older versions want")
    collector.reset()
    # Quart looks for its folder on the disk, which is not for the loop.
    apps = await asyncio.to_thread(load_apps, page)
    # An app of aiohttp runs once, and so does what a service gives to Quart's `while_serving`.
    runs = 1 if page in ("aiohttp", "quart") else 2
    for app in apps:
        for _ in range(runs):
            async with SERVE[page](app) as ask:
                assert await ask("GET", "/checkout", COOKIE) == 200
                if app is apps[0]:
                    assert await ask("POST", "/vwo-webhook", AUTH) == 204
                    assert await ask("POST", "/vwo-webhook", {}) == 403
    assert collector.totals()["refused"] == 0
    assert len(collector.ledger()) == len(apps) * runs


EXAMPLES = {
    "fastapi_app": [
        "-m",
        "uvicorn",
        "--app-dir",
        "examples",
        "fastapi_app:app",
        "--port",
        "{port}",
    ],
    "aiohttp_app": ["examples/aiohttp_app.py"],
}


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_loses_nothing(example: str, tmp_path: Path) -> None:
    """One command starts it; told to end, it has delivered all that it accepted, as the collector says."""
    port = str(find_free_port())
    command = [one.format(port=port) for one in EXAMPLES[example]]
    with Process(tmp_path, example, command, cwd=ROOT, environment={"PORT": port}) as process:
        url = f"http://127.0.0.1:{port}"
        process.wait_for(url)
        with httpx.Client(base_url=url, trust_env=False, verify=NO_AUTHORITIES) as web:
            for number in range(10):
                visitor = {"visitor": f"u{number}"}
                assert web.get("/checkout", params=visitor).json() is not None
                assert web.get("/buy", params=visitor).json() is True
    found = re.search(r"(\d+) accepted == (\d+) delivered .* received (\d+)", process.output)
    assert found is not None, process.errors
    assert int(found[1]) == int(found[2]) == int(found[3]) >= 20
