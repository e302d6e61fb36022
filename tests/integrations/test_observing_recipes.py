"""The recipes for OpenTelemetry, Sentry and logging run as they are printed, each in under 20 lines."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import opentelemetry._logs._internal as global_logs
import pytest
from counted import logging_at
from log_exporter import make_log_exporter
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from sample import ACCOUNT, KEY, settings
from server import answer, running_server
from test_docs import FME_FILE, Block, blocks_of, compile_block, run_block

import vwo_async
from vwo_async import VWOClient
from vwo_async.testing import RecordingTransport

pytestmark = pytest.mark.anyio
RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
MAX_LINES = 20
SALT = "of the shop"


def blocks_on(page: str) -> list[Block]:
    """Return the Python blocks of a page, each of which must be short."""
    found = [one for one in blocks_of(RECIPES / page) if one.language == "python"]
    for block in found:
        assert len([line for line in block.text.splitlines() if line.strip()]) < MAX_LINES
    return found


@pytest.fixture
async def names(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[dict[str, Any]]:
    """Give what a reader has, and let what asks VWO ask a server here."""
    async with running_server() as fme, running_server() as fullstack:
        fme.default = answer(body=json.dumps(FME_FILE).encode())
        fullstack.default = answer(body=json.dumps(settings()).encode())
        for server, asking in (
            (fme, ("fetch_fme_settings", "FMEClient")),
            (fullstack, ("fetch_settings", "VWOClient")),
        ):
            for name in asking:
                asks = partial(getattr(vwo_async, name), base_url=server.base_url)
                monkeypatch.setattr(vwo_async, name, asks)
        yield {
            "ACCOUNT_ID": ACCOUNT,
            "SDK_KEY": KEY,
            "SALT": SALT,
            "user_id": "user 1",
            "__name__": "shop",
        }


async def test_opentelemetry(names: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The app of the page emits an event for each decision; its own observer counts them."""
    exporter: Any = make_log_exporter()
    provider = LoggerProvider()
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    monkeypatch.setattr(global_logs, "_LOGGER_PROVIDER", provider)
    app_block, own_block = blocks_on("opentelemetry.md")
    await run_block(app_block, app_block.text, names)
    app = names["app"]
    async with app.router.lifespan_context(app):
        await app.state.vwo.get_flag("search", "user 1")
    (record,) = exporter.get_finished_logs()
    assert record.log_record.event_name == "feature_flag.evaluation"
    await run_block(own_block, own_block.text, names)
    options: dict[str, Any] = {"observers": [names["Seen"]()], "transport": RecordingTransport()}
    async with VWOClient(settings(), **options) as client:
        variation = await client.activate("checkout", "user 1")
    assert names["seen"] == {("checkout", variation, "assigned"): 1}


async def test_logging(names: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """The lines are those of the page, and the pseudonym is what its last block prints."""
    setup, search = blocks_on("logging.md")
    with logging_at(logging.DEBUG):
        await run_block(setup, setup.text, names)
    printed: list[str] = []
    await run_block(search, search.text, names | {"print": printed.append})
    (pseudonym,) = printed
    logged = [
        f"{one.levelname}:{one.name}:{one.getMessage()}"
        for one in caplog.records
        if one.name == "vwo_async" and one.levelno == logging.DEBUG
    ]
    (shown,) = [one for one in blocks_of(RECIPES / "logging.md") if one.language == "text"]
    assert len(logged) == 2
    assert all(line.endswith(f", user {pseudonym}") for line in logged)
    assert [hide(line) for line in logged] == [hide(one) for one in shown.text.splitlines()]


def hide(line: str) -> str:
    """Return a log line without what depends on the user."""
    return re.sub(r"user \w+$|'(Control|Variation-1)'", "", line)


SENTRY = """
    import asyncio, json, sys
    from functools import partial
    sys.path[:0] = {path!r}
    import sentry_sdk
    import vwo_async
    from sentry_sdk.transport import Transport
    from server import answer, running_server
    from test_docs import FME_FILE
    from test_observing_recipes import blocks_on, run_block

    class Capturing(Transport):
        events = []

        def capture_envelope(self, envelope):
            self.events += [one.payload.json for one in envelope.items if one.type == "event"]

    sentry_sdk.init = partial(sentry_sdk.init, transport=Capturing())

    async def main():
        async with running_server() as server:
            server.default = answer(body=json.dumps(FME_FILE).encode())
            for name in ("fetch_fme_settings", "FMEClient"):
                asks = partial(getattr(vwo_async, name), base_url=server.base_url)
                setattr(vwo_async, name, asks)
            names = {{
                "ACCOUNT_ID": {account!r}, "SDK_KEY": {key!r}, "__name__": "shop",
                "DSN": "https://key@sentry.invalid/1", "user_id": "user 1",
            }}
            app_block, scope_block = blocks_on("sentry.md")
            await run_block(app_block, app_block.text, names)
            app = names["app"]
            failing = scope_block.text + "    sentry_sdk.capture_message('failed')\\n"
            async with app.router.lifespan_context(app):
                await run_block(scope_block, failing, names)
                sentry_sdk.capture_message("apart")
        sentry_sdk.flush()
        print(json.dumps([one["contexts"].get("flags") for one in Capturing.events]))

    asyncio.run(main())
"""


async def test_sentry() -> None:
    """The app of the page puts flags on the errors of their own scope, and of no other."""
    path = [str(Path(__file__).parent), str(Path(__file__).parents[1])]
    script = textwrap.dedent(SENTRY).format(path=path, account=ACCOUNT, key=KEY)
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    flags, apart = json.loads(out)
    assert apart is None
    found = {one["flag"]: one["result"] for one in flags["values"]}
    assert set(found) >= {"search"}
    assert all(re.fullmatch(r"search(:.+)?", one) for one in found)


def test_blocks_compile() -> None:
    """Each page has its blocks."""
    for page, number in (("opentelemetry.md", 2), ("sentry.md", 2), ("logging.md", 2)):
        assert len([compile_block(one) for one in blocks_on(page)]) == number
