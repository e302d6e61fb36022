"""What lets several processes share one run of the suite."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import pytest

# Servers that take seconds to start: one process starts such a server, for all tests that need it.
SLOW_SERVERS = {"own_postgres", "postgres_url", "cluster_port", "nodes"}
# What `noxfile.py` looks for where it runs the tests that are marked so.
TIMED = "pytest.mark.timed"
_ADDRESS = re.compile(r" at 0x[0-9a-f]")


def check_names(names: Sequence[str]) -> None:
    """Refuse names of tests that differ from process to process, since processes share work by name."""
    found = [name for name in names if _ADDRESS.search(name)]
    if found:
        raise pytest.UsageError(f"give these cases ids without addresses: {found}")


def check_timed(items: Sequence[pytest.Item]) -> None:
    """Refuse a test that is `timed` in a file that does not say so itself: such files alone are looked at."""
    paths = {item.path for item in items if item.get_closest_marker("timed") is not None}
    found = [path.name for path in sorted(paths) if TIMED not in path.read_text()]
    if found:
        raise pytest.UsageError(f"write {TIMED} in these files themselves: {found}")


def group_by_server(items: Sequence[pytest.Item]) -> None:
    """Keep the tests that use a server which is slow to start in one process."""
    for item in items:
        servers = SLOW_SERVERS.intersection(getattr(item, "fixturenames", ()))
        if servers:
            item.add_marker(pytest.mark.xdist_group(min(servers)))


def show_groups(items: Sequence[pytest.Item]) -> None:
    """Append its group to the id of each test, which is what pytest-xdist goes by.

    pytest-xdist 3.8 does so itself, in an attribute at which pytest looks no longer from 9.2 on: no two
    tests would be kept in one process.
    """
    for item in items:
        groups = sorted({str(mark.args[0]) for mark in item.iter_markers("xdist_group")})
        ending = f"@{'_'.join(groups)}"
        if groups and not item.nodeid.endswith(ending):
            _add_to_id(item, ending)


def _add_to_id(item: Any, ending: str) -> None:
    if hasattr(item, "_id"):
        item._id = item.parent.id.child(item.name + ending)
    else:
        item._nodeid += ending


def begin_with_slow(items: list[pytest.Item]) -> None:
    """Let tests that take seconds begin first, then those of failures, which wait more than they compute.

    So no process is left alone with a slow one in the end, and the processor is quiet while clocks are
    looked at.
    """
    items.sort(
        key=lambda item: (item.get_closest_marker("slow") is None, "faults" not in item.path.parts)
    )
