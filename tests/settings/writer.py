"""A process that keeps one settings file after the other, without end: ``writer.py path``. Made to be killed."""

from __future__ import annotations

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from sample import ACCOUNT, KEY, settings

from vwo_async._sdk_key import SdkKey
from vwo_async._settings.last_known_good import LastKnownGood


def main(path: str, wall_s: str) -> None:
    """Print ``ready``, then write."""
    keeper = LastKnownGood(path, ACCOUNT, SdkKey(KEY), max_age_s=1.0)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    number = 0
    while True:
        number += 1
        padding = "x" * (number % 7) * 100_000
        keeper.save(json.dumps(settings(number=number, padding=padding)).encode(), float(wall_s))


if __name__ == "__main__":
    main(*sys.argv[1:])
