"""The machine on which the figures were measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path


def describe_machine() -> dict[str, str | int]:
    """Return the description of the machine for the report."""
    return {
        "processor": _find_processor(),
        "cores": os.cpu_count() or 0,
        "system": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def describe_load() -> float | None:
    """Return the load of the last minute, None if it is not known."""
    try:
        return round(os.getloadavg()[0], 2)
    except OSError:
        return None


def _find_processor() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "unknown")
