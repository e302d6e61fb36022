"""What lets several processes share one run of the suite."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest

# Servers that take seconds to start: one process starts such a server, for all tests that need it.
SLOW_SERVERS = {"own_postgres", "postgres_url", "cluster_port", "nodes"}
_ADDRESS = re.compile(r" at 0x[0-9a-f]")


def check_names(names: Sequence[str]) -> None:
    """Refuse names of tests that differ from process to process, since processes share work by name."""
    found = [name for name in names if _ADDRESS.search(name)]
    if found:
        raise pytest.UsageError(f"give these cases ids without addresses: {found}")


def group_by_server(items: Sequence[pytest.Item]) -> None:
    """Keep the tests that use a server which is slow to start in one process."""
    for item in items:
        servers = SLOW_SERVERS.intersection(getattr(item, "fixturenames", ()))
        if servers:
            item.add_marker(pytest.mark.xdist_group(min(servers)))


def begin_with_slow(items: list[pytest.Item]) -> None:
    """Let tests that take seconds begin first, then those of failures, which wait more than they compute.

    So no process is left alone with a slow one in the end, and the processor is quiet while clocks are
    looked at.
    """
    items.sort(
        key=lambda item: (item.get_closest_marker("slow") is None, "faults" not in item.path.parts)
    )
