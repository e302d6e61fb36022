"""Runs the command in this process, as the entry point does, and as a process of its own."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sample import KEY, settings

from vwo_async._cli.entry import main


class Ended(NamedTuple):
    """How a run of the command ended."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


def make_fme_settings() -> dict[str, Any]:
    """Return a file of the feature ``search``: a rollout to 80 %, and a test of two equal variations."""

    def make_campaign(number: int, kind: str, weights: list[int]) -> dict[str, Any]:
        size = {"id": 1, "key": "size", "type": "integer"}
        return {
            "id": number,
            "key": f"campaign{number}",
            "name": f"Campaign {number}",
            "type": kind,
            "status": "RUNNING",
            "percentTraffic": 100,
            "segments": {},
            "variations": [
                {
                    "id": one,
                    "name": f"{kind}-{one}",
                    "weight": weight,
                    "variables": [{**size, "value": 10 * one}],
                }
                for one, weight in enumerate(weights, start=1)
            ],
        }

    kinds = {"FLAG_ROLLOUT": [80], "FLAG_TESTING": [50, 50]}
    campaigns = [make_campaign(number, *one) for number, one in enumerate(kinds.items(), start=1)]
    rules = [
        {"type": one["type"], "campaignId": one["id"], "ruleKey": f"rule{one['id']}"}
        for one in campaigns
    ]
    feature = {
        "id": 1,
        "key": "search",
        "name": "Search",
        "type": "FEATURE_FLAG",
        "status": "ON",
        "metrics": [{"id": 1, "type": "CUSTOM_GOAL", "identifier": "purchase"}],
        "rules": rules,
    }
    return {
        "version": 1,
        "accountId": 888888,
        "sdkKey": KEY,
        "features": [feature],
        "campaigns": campaigns,
    }


class Command:
    """The command, with a settings file of each product in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fullstack = self.write("fullstack.json", settings())
        self.fme = self.write("fme.json", make_fme_settings())

    def write(self, name: str, content: Any) -> str:
        path = self.folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def run(self, *arguments: object) -> Ended:
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
            main([str(one) for one in arguments])
        assert isinstance(ended.value.code, int)
        return Ended(ended.value.code, out.getvalue(), err.getvalue())

    async def run_beside(self, *arguments: object) -> Ended:
        """Run in a thread, as a process of its own beside the loop would."""
        return await asyncio.to_thread(self.run, *arguments)

    def ask(self, *arguments: object) -> Any:
        """Run with --json and return the value; the run must find nothing wrong."""
        ended = self.run(*arguments, "--json")
        assert ended.code == 0, ended
        return ended.data


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Command:
    """The command, to which the environment says nothing of settings."""
    for name in ("VWO_SETTINGS", "VWO_ACCOUNT_ID", "VWO_SDK_KEY"):
        monkeypatch.delenv(name, raising=False)
    return Command(tmp_path)


def run_process(
    *arguments: str, stdin: bytes = b"", env: dict[str, str] | None = None
) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "vwo_async", *arguments],
        input=stdin,
        capture_output=True,
        check=False,
        env=env,
        timeout=60,
    )
    return done.returncode, done.stdout.decode(), done.stderr.decode()
