"""The relay as a process: its file, its end, what it answers, and its dead letters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from cli_command import Command
from fleet_rig import Fleet, make_users, running_fleet, track
from plain_http import NO_AUTHORITIES
from waiting import until

from vwo_async import InvalidInputError
from vwo_async._cli.relay_pages import write_metrics
from vwo_async._fleet.relay_config import read_config
from vwo_async.fleet import RelayAccount, RelayStatistics

pytestmark = pytest.mark.anyio

KEY = "VWO_TEST_RELAY_KEY"
PLAIN = 'redis_url = "redis://localhost"\n[[accounts]]\naccount_id = 1\nsdk_key_env = "K"\n'


def write_config(folder: Path, fleet: Fleet, **options: Any) -> Path:
    """Write the file of a relay for the account of *fleet*."""
    lines = [f'redis_url = "{fleet.url}"']
    lines += [f"{name} = {json.dumps(value)}" for name, value in options.items()]
    lines += [
        "[[accounts]]",
        f"account_id = {fleet.file['accountId']}",
        f'sdk_key_env = "{KEY}"',
        f'base_url = "{fleet.base_url}"',
    ]
    path = folder / "relay.toml"
    path.write_text("\n".join(lines) + "\n")
    return path


@asynccontextmanager
async def relay_process(
    config: Path, fleet: Fleet, *arguments: str
) -> AsyncIterator[anyio.abc.Process]:
    """Run ``vwo-async relay``, and end it with SIGTERM."""
    environment = {**os.environ, KEY: fleet.file["sdkKey"]}
    command = [sys.executable, "-m", "vwo_async", "relay", str(config), *arguments]
    async with await anyio.open_process(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        try:
            yield process
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
                with anyio.fail_after(60):
                    await process.wait()


def read_address(said: bytes) -> str:
    """Return the address in the first line of what a relay says; its log comes after it."""
    address: str = json.loads(said.splitlines()[0])["address"]
    return address


@pytest.mark.slow
async def test_a_relay_process(redis_url: str, tmp_path: Path) -> None:
    """It delivers, answers health and figures, and after SIGTERM prints what it did and ends with 0."""
    async with running_fleet(redis_url, relays=0) as fleet:
        config = write_config(tmp_path, fleet)
        async with relay_process(config, fleet, "--port", "0", "--json") as process:
            assert process.stderr is not None
            assert process.stdout is not None
            address = read_address(await process.stderr.receive())
            async with fleet.make_pod() as pod:
                await track(pod, make_users(30))
            await fleet.arrived(30)
            async with httpx.AsyncClient(base_url=address, verify=NO_AUTHORITIES) as http:

                async def is_counted() -> bool:
                    text = (await http.get("/metrics")).text
                    return 'vwo_relay_delivered_total{account="fullstack:888888"} 30' in text

                await until(is_counted)
                health = await http.get("/health")
                assert (health.status_code, health.text) == (200, "ok\n")
                assert (await http.get("/")).status_code == 404
            process.send_signal(signal.SIGTERM)
            with anyio.fail_after(60):
                printed = b"".join([part async for part in process.stdout])
                assert await process.wait() == 0
    (found,) = json.loads(printed)
    assert (found["delivered"], found["held"]) == (30, 0)
    assert fleet.file["sdkKey"] not in printed.decode()


@pytest.mark.slow
async def test_a_relay_that_is_killed_loses_nothing(redis_url: str, tmp_path: Path) -> None:
    """With -9, while VWO is slow and it holds entries: another delivers them."""
    async with running_fleet(redis_url, relays=0) as fleet:
        config = write_config(tmp_path, fleet, lease_s=0.6)
        fleet.collector.latency_s = 5.0
        async with relay_process(config, fleet) as process, fleet.make_pod() as pod:
            await track(pod, make_users(30), wait=True)
            await until(lambda: fleet.collector.totals().requests > 0, 60.0)
            process.kill()
            await process.wait()
        fleet.collector.latency_s = 0.0
        assert await fleet.count() == 30
        async with fleet.make_relay(lease_s=0.6):
            await until(lambda: len({one.visitor for one in fleet.collector.ledger}) == 30)


async def test_dead_letters(
    redis_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """They are listed with their reasons, tried again, and thrown away with --yes alone."""
    async with running_fleet(redis_url) as fleet:
        config = write_config(tmp_path, fleet)
        monkeypatch.setenv(KEY, fleet.file["sdkKey"])
        assert (await command.run_beside("dead-letters", "list", str(config))).code == 0
        fleet.collector.answer_next(400, times=2)
        async with fleet.make_pod() as pod:
            for user in make_users(2):
                await track(pod, [user], wait=True)

                async def is_dead(number: int = int(user.split()[1]) + 1) -> bool:
                    return await fleet.count_dead() == number

                await until(is_dead)
        shown = await command.run_beside("dead-letters", "list", str(config), "--json")
        assert (shown.code, shown.data["number"]) == (1, 2)
        assert {one["reason"] for one in shown.data["letters"]} == {"http 400"}
        assert "http 400" in (await command.run_beside("dead-letters", "list", str(config))).out
        assert (
            await command.run_beside("dead-letters", "replay", str(config), "--reason", "expired")
        ).code == 0
        assert await fleet.count_dead() == 2
        refused = await command.run_beside("dead-letters", "purge", str(config))
        assert (refused.code, "--yes" in refused.err) == (2, True)
        replayed = await command.run_beside("dead-letters", "replay", str(config), "--json")
        assert replayed.data == {"replayed": 2}
        await until(lambda: fleet.collector.ledger.conversions == 2)
        purged = await command.run_beside("dead-letters", "purge", str(config), "--yes", "--json")
        assert purged.data == {"removed": 0}


async def test_dead_letters_without_redis(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Command
) -> None:
    """One line says that Redis cannot be used, and the exit code is that of the network."""
    path = tmp_path / "relay.toml"
    path.write_text(PLAIN.replace("localhost", "127.0.0.1:1"))
    monkeypatch.setenv("K", "secret key")
    ended = await command.run_beside("dead-letters", "list", str(path))
    assert ended.code == 4
    assert "redis" in ended.err
    assert "secret key" not in ended.err


def test_a_config_file() -> None:
    """Keys come from the environment, and so may the URL."""
    text = (
        'redis_url_env = "REDIS"\nshards = 8\nlease_s = 5\n'
        '[[accounts]]\naccount_id = 1\nsdk_key_env = "A"\n'
        '[[accounts]]\naccount_id = "2"\nproduct = "fme"\nsdk_key_env = "B"\n'
        'base_url = "https://collect.wingify.net"\n'
        '[[accounts]]\naccount_id = 3\nproduct = "fme"\nsdk_key_env = "B"\n'
        'gateway_service = { url = "http://gateway.internal", port = 8000 }\n'
    )
    config = read_config(text, {"REDIS": "redis://:word@host", "A": "key a", "B": "key b"})
    assert config.redis_url == "redis://:word@host"
    assert [one.name for one in config.accounts] == ["fullstack:1", "fme:2", "fme:3"]
    assert config.accounts[2].base_url == "http://gateway.internal:8000"
    assert config.options == {"shards": 8, "lease_s": 5}
    assert "word" not in repr(config)
    assert "key a" not in repr(config)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[", "no TOML"),
        ("", "names no account"),
        ("accounts = 1", "names no account"),
        (PLAIN + 'product = "web"\n', "product"),
        (PLAIN + "colour = 1\n", "an account has unknown names: 'colour'; known are account_id"),
        ("colour = 1\n" + PLAIN, "the file has unknown names: 'colour'; known are accounts"),
        ("shards = '4'\n" + PLAIN, "shards must be of type int"),
        (PLAIN.replace('"K"', '"UNSET"'), "UNSET is not set"),
        (PLAIN.replace("account_id = 1", ""), "account_id"),
        (PLAIN.replace("redis_url =", "redis_url_env ="), "is not set"),
    ],
)
def test_a_config_file_that_cannot_be_used(text: str, said: str) -> None:
    """The error says what is wrong."""
    environment: Mapping[str, str] = {"K": "key"}
    with pytest.raises(InvalidInputError, match=said):
        read_config(text, environment)


def test_figures_of_an_account_of_any_name() -> None:
    """A label of Prometheus holds whatever the account is called."""
    account = RelayAccount('a"b\\c', "key")
    statistics = RelayStatistics(account.name, 1, 0, 0, 0, 0, 0, 0, 0, 0, True)
    assert 'vwo_relay_read_total{account="fullstack:a\\"b\\\\c"} 1\n' in write_metrics([statistics])


async def test_a_relay_whose_redis_is_away_is_not_healthy(tmp_path: Path) -> None:
    """Its page says so with 503."""
    path = tmp_path / "relay.toml"
    path.write_text(PLAIN.replace("localhost", "127.0.0.1:1"))
    command = [sys.executable, "-m", "vwo_async", "relay", str(path), "--port", "0"]
    async with await anyio.open_process(
        command, env={**os.environ, "K": "key"}, stderr=subprocess.PIPE
    ) as process:
        assert process.stderr is not None
        address = read_address(await process.stderr.receive())
        async with httpx.AsyncClient(base_url=address, verify=NO_AUTHORITIES) as http:
            assert (await http.get("/health")).status_code == 503
        process.send_signal(signal.SIGINT)
        with anyio.fail_after(60):
            assert await process.wait() == 0
