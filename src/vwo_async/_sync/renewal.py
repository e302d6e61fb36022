"""What the options of a client that was open in a parent process become in its child."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .._log import log_warning

# Those whose values may hold connections, files and threads.
RESOURCES = ("user_storage", "outbox", "transport")


def renew_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options in which nothing is connected that the parent has connected.

    What can make one like itself, as the storages and outboxes of this package can, is asked to. What cannot,
    and would have to be closed, is used as it is, and the log says so.
    """
    return {name: _renew(name, value) for name, value in options.items()}


def _renew(name: str, value: Any) -> Any:
    if name not in RESOURCES:
        return value
    renew = getattr(value, "renew", None)
    if callable(renew):
        return renew()
    if hasattr(value, "aclose"):
        log_warning(
            "after a fork, %s is used as it was in the parent process: open the client in the child alone",
            name,
        )
    return value
