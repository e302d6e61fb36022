"""How hard Hypothesis searches: ``--hypothesis-profile`` takes ``quick``, ``default`` or ``thorough``."""

from __future__ import annotations

import os

from hypothesis import settings

# How many examples a property gets that asks for no number.
EXAMPLES = {"quick": 10, "default": 100, "thorough": 2000}


def register_profiles() -> None:
    """Make the profiles known, and load the default one."""
    for name, number in EXAMPLES.items():
        # How long an example may take is no promise: the machine may be busy. Where CI is set, every run
        # tries the same examples, so that a change is not held up by what it did not change.
        settings.register_profile(
            name, deadline=None, max_examples=number, derandomize=bool(os.environ.get("CI"))
        )
    settings.load_profile("default")


def examples(number: int) -> int:
    """Return how many examples this run tries of a property that is tried *number* times by default."""
    return max(1, number * settings().max_examples // EXAMPLES["default"])
