"""What each extra is for, in a statement that needs its libraries.

``python -I tests/extra_uses.py EXTRA`` runs it, in an environment that has nothing but the package with
this extra (``nox -s extras``), where no tool of the tests is installed.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping

SETTINGS = '{"accountId": 1, "sdkKey": "k", "version": 1, "campaigns": []}'
SQL = "from vwo_async.storage.sql import SqlUserStorage; SqlUserStorage.from_url"
HELP = """
import contextlib, io
from vwo_async._cli.entry import _run
with contextlib.redirect_stdout(io.StringIO()):
    assert _run(["--help"]) == 0
"""
USES: Mapping[str, str] = {
    "aiohttp": (
        f"import vwo_async.integrations.aiohttp; vwo_async.VWOClient({SETTINGS!r}, transport='aiohttp')"
    ),
    "cli": HELP,
    "collector": "import vwo_async.collector.__main__; vwo_async.collector.Collector()",
    "fastapi": "import vwo_async.integrations.fastapi",
    "httpx2": f"import vwo_async; vwo_async.VWOClient({SETTINGS!r}, transport='httpx2')",
    "litestar": "import vwo_async.integrations.litestar",
    "openfeature": "import vwo_async.integrations.openfeature",
    "opentelemetry": "import vwo_async.integrations.opentelemetry",
    "parquet": "import duckdb, vwo_async",  # of the command, which has an extra of its own
    "postgres": f"{SQL}('postgresql://u@h/d')",
    "psycopg": f"{SQL}('postgresql+psycopg://u@h/d')",
    "quart": "import vwo_async.integrations.quart",
    "re2": "import re2, vwo_async",
    "redis": "from vwo_async.storage.redis import RedisUserStorage; RedisUserStorage.from_url('redis://h')",
    "sentry": "import vwo_async.integrations.sentry",
    "sqlite": f"{SQL}('sqlite:///x.db')",
    "starlette": "import vwo_async.integrations.starlette",
}


def main(extra: str) -> None:
    """Use an extra."""
    exec(USES[extra], {})
    sys.stderr.write(f"vwo-async[{extra}] has what it needs\n")


if __name__ == "__main__":
    main(sys.argv[1])
