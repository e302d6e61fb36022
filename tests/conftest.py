"""What the whole suite is held to: no blocked loop, no task left behind, no secret in a log."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from blockbuster import blockbuster_ctx
from both_products import product  # noqa: F401 - fixtures are found by name
from cli_command import command  # noqa: F401 - fixtures are found by name
from collection import (
    begin_with_slow,
    check_names,
    check_timed,
    group_by_server,
    show_groups,
)
from collector_wire import client, collector, wire  # noqa: F401 - fixtures are found by name
from debug_mode import note_brief_stacks
from every_transport import transport_name  # noqa: F401 - the same
from fleet_redis import redis_url, shared_redis  # noqa: F401 - the same
from fme_wire import fme, fme_client, fme_collector  # noqa: F401 - the same
from packaging.version import Version
from postgres import own_postgres, postgres_url  # noqa: F401 - the same
from redact import no_secret  # noqa: F401 - the same: it holds every test to showing no secret
from search_effort import register_profiles

# What a service's first client imports takes longer than a loop may be held; no test is to be the first.
import vwo_async._settings.parse
import vwo_async.transport  # noqa: F401

if TYPE_CHECKING:
    from rig import FaultServer

register_profiles()


@pytest.fixture
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """Every async test runs on asyncio, in debug mode where Python is in development mode (-X dev).

    Tests that are marked ``no_debug`` have a loop as services run it.
    """
    is_plain = request.node.get_closest_marker("no_debug") is not None
    return "asyncio", {"debug": sys.flags.dev_mode and not is_plain}


@pytest.fixture
def vwo(tmp_path: Path) -> Iterator[FaultServer]:
    """A server in a process of its own, with a ledger on disk; for the failure matrix."""
    from rig import fault_server

    with fault_server(tmp_path) as server:
        yield server


@pytest.fixture(autouse=True, scope="session")
def _no_blocking() -> Iterator[None]:
    """A blocking call made on the event loop by this package is an error.

    Not while coverage watches: it takes locks of its own wherever a function begins.
    """
    if "COVERAGE_RUN" in os.environ:
        yield
        return
    with blockbuster_ctx(scanned_modules="vwo_async"):
        yield


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for no garbage while thousands of tests are found, none of which becomes garbage."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Hold every async test to leaving no task behind, and make the suite fit for several processes."""
    check_names([item.nodeid for item in items])
    check_timed(items)
    group_by_server(items)
    begin_with_slow(items)
    for item in items:
        if isinstance(item, pytest.Function) and inspect.iscoroutinefunction(item.obj):
            item.obj = _leaving_no_task(item.obj)


@pytest.hookimpl(trylast=True, specname="pytest_collection_modifyitems")
def pytest_name_groups(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the tests of a group in one process, where there are several."""
    if getattr(config.option, "loadgroup", False):
        show_groups(items)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup() -> None:
    """Take what is there before a test out of the garbage collections of that test: they look at its own."""
    gc.collect()
    gc.freeze()


def pytest_configure(config: pytest.Config) -> None:
    """Hear nothing of sockets that an old anyio leaves to the garbage collector where connecting is cancelled."""
    if Version(version("anyio")) < Version("4.16"):
        left = "Exception ignored in. <(socket.socket|function _SelectorTransport.__del__) "
        config.addinivalue_line(
            "filterwarnings", f"ignore:{left}:pytest.PytestUnraisableExceptionWarning"
        )


def pytest_sessionstart() -> None:
    """Make asyncio's debug mode cheap, and have processes that tests start end by Ctrl-C.

    A shell has what it starts in the background ignore that, and so would all the children of a suite there.
    """
    note_brief_stacks()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _leaving_no_task(test: Callable[..., Awaitable[None]]) -> Callable[..., Awaitable[None]]:
    @functools.wraps(test)
    async def guarded(*args: Any, **kwargs: Any) -> None:
        before = asyncio.all_tasks()
        await test(*args, **kwargs)
        # A garbage collection here shows sockets and clients that were left open as this test's own.
        gc.collect()
        for _ in range(5):
            await asyncio.sleep(0)
        left = asyncio.all_tasks() - before
        assert not left, f"tasks left behind: {left}"

    return guarded
