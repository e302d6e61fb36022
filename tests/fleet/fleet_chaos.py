"""A fleet on one machine: pods, relays and a Redis with its log on disk, each killed again and again.

Usage: python fleet_chaos.py [--seconds N] [--seed N] [--pods N] [--relays N] [--drain N]

Whom a pod calls durable must be in VWO's ledger at the end; what arrived twice is counted. With --drain it
measures instead how long relays take for so many events that wait, one relay first and then more.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parent))

from database import RedisServer, running_redis  # noqa: E402 - of the tests
from sample import ACCOUNT, KEY, settings  # noqa: E402 - the same

from vwo_async import VWOClient  # noqa: E402 - the same
from vwo_async._core.visitor import make_namer, make_namespace  # noqa: E402 - the same
from vwo_async.collector import Collector, serve  # noqa: E402 - the same
from vwo_async.fleet import RedisStreamOutbox  # noqa: E402 - the same
from vwo_async.transport import Limits  # noqa: E402 - the same

KEY_NAME = "VWO_CHAOS_KEY"
LEASE_S = 3.0
# Between two kills: a pod needs a second or two to start.
PAUSE_S = (1.0, 4.0)
QUIET_S = 120.0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@dataclass
class Children:
    """Processes that are started again when they are killed."""

    commands: dict[str, Callable[[], list[str]]]
    running: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kills: Counter[str] = field(default_factory=Counter)

    def start(self, name: str) -> None:
        environment = {**os.environ, KEY_NAME: KEY}
        self.running[name] = subprocess.Popen(self.commands[name](), env=environment)

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].wait()
        self.kills[name.split(maxsplit=1)[0]] += 1

    def end(self) -> None:
        for one in self.running.values():
            one.terminate()
        for one in self.running.values():
            one.wait()


def write_config(folder: Path, redis: RedisServer, base_url: str) -> Path:
    """Write the file of the relays."""
    path = folder / "relay.toml"
    path.write_text(
        f'redis_url = "{redis.url}"\nlease_s = {LEASE_S}\n[[accounts]]\naccount_id = {ACCOUNT}\n'
        f'sdk_key_env = "{KEY_NAME}"\nbase_url = "{base_url}"\n'
    )
    return path


def relay_command(config: Path) -> list[str]:
    return [sys.executable, "-m", "vwo_async", "relay", str(config), "--json"]


def make_commands(
    folder: Path, redis: RedisServer, config: Path, pods: int, relays: int
) -> dict[str, Callable[[], list[str]]]:
    """Return how each child is started; each life of a pod has users of its own."""
    lives = Counter[str]()

    def pod(name: str) -> list[str]:
        lives[name] += 1
        files = [str(folder / "settings.json"), str(folder / f"{name}.txt")]
        return [sys.executable, str(HERE / "pod.py"), redis.url, *files, f"{name}.{lives[name]}"]

    names = [f"pod {one}" for one in range(pods)]
    found = {name: partial(pod, name) for name in names}
    return {**found, **{f"relay {one}": partial(relay_command, config) for one in range(relays)}}


async def run_chaos(folder: Path, options: argparse.Namespace) -> bool:
    """Run the fleet, kill, and compare the books; false where something is missing."""
    draw = random.Random(options.seed)
    file = settings()
    (folder / "settings.json").write_text(json.dumps(file))
    collector = Collector([json.dumps(file).encode()])
    with running_redis(folder / "redis") as redis:
        async with serve(collector) as base_url:
            config = write_config(folder, redis, base_url)
            commands = make_commands(folder, redis, config, options.pods, options.relays)
            children = Children(commands)
            for name in commands:
                children.start(name)
            try:
                await kill_on(children, redis, draw, options.seconds)
                for name in [one for one in commands if one.startswith("pod")]:
                    children.kill(name)
                    del children.running[name]
                is_drained = await drain(redis, children, commands)
            finally:
                children.end()
            return report(folder, collector, children, is_drained=is_drained)


async def kill_on(
    children: Children, redis: RedisServer, draw: random.Random, seconds: float
) -> None:
    ends_at = time.monotonic() + seconds
    while time.monotonic() < ends_at:
        await asyncio.sleep(draw.uniform(*PAUSE_S))
        victim = draw.choice([*children.commands, "redis"])
        if victim == "redis":
            redis.kill()
            children.kills["redis"] += 1
            await asyncio.sleep(draw.uniform(0.0, 1.0))
            await asyncio.to_thread(redis.start)
        else:
            children.kill(victim)
            await asyncio.sleep(draw.uniform(0.0, 1.0))
            children.start(victim)


async def drain(redis: RedisServer, children: Children, commands: Mapping[str, object]) -> bool:
    """Wait until the streams are empty."""
    ends_at = time.monotonic() + QUIET_S
    while time.monotonic() < ends_at:
        if not count_entries(redis):
            return True
        await asyncio.sleep(0.5)
    return False


def count_entries(redis: RedisServer) -> int:
    keys = redis.command("KEYS", "*:events")
    return sum(redis.command("XLEN", key) for key in keys)


def report(folder: Path, collector: Collector, children: Children, *, is_drained: bool) -> bool:
    name_visitor = make_namer(make_namespace(ACCOUNT))
    said = [line for path in folder.glob("pod *.txt") for line in path.read_text().splitlines()]
    arrived = Counter(event.visitor for event in collector.ledger)
    missing = [user for user in said if not arrived[name_visitor(user.encode())]]
    twice = sum(times - 1 for times in arrived.values())
    kills = ", ".join(f"{number} of {name}s" for name, number in sorted(children.kills.items()))
    say(f"kills: {kills}")
    say(f"acknowledged as durable: {len(said):,}; arrived: {len(arrived):,} visitors")
    say(f"missing: {len(missing)}; arrived again: {twice:,} of {sum(arrived.values()):,} events")
    say(f"refused by the collector: {len(collector.refused)}; streams empty: {is_drained}")
    return bool(said) and not missing and not collector.refused and is_drained


async def measure(folder: Path, options: argparse.Namespace) -> bool:
    """Print what a pod, a Redis and one relay, two, three do with the same events."""
    (folder / "settings.json").write_text(json.dumps(settings()))
    one_s = 0.0
    for relays in range(1, options.relays + 1):
        with running_redis(folder / f"redis{relays}") as redis, collector_process(folder) as url:
            config = write_config(folder, redis, url)
            await fill(redis, options.drain)
            took_s = await drain_with(relays, redis, config)
            one_s = one_s or took_s
            ratio = one_s / took_s
            say(f"{relays} relays: {options.drain / took_s:,.0f} events/s, {ratio:.2f}x one")
            busy_s = sum(redis.command("INFO", "cpu")[f"used_cpu_{one}"] for one in ("sys", "user"))
            say(f"Redis: {options.drain / busy_s:,.0f} events a second of its processor")
    return True


async def drain_with(relays: int, redis: RedisServer, config: Path) -> float:
    """Return the seconds from the first entry that is gone to the last."""
    names = [f"relay {one}" for one in range(relays)]
    children = Children({name: partial(relay_command, config) for name in names})
    number = count_entries(redis)
    for name in names:
        children.start(name)
    while count_entries(redis) == number:
        await asyncio.sleep(0.01)
    begun = time.monotonic()
    while count_entries(redis):
        await asyncio.sleep(0.02)
    took_s = time.monotonic() - begun
    children.end()
    return took_s


async def fill(redis: RedisServer, number: int) -> None:
    """Track from one pod, and print how long it took and what the entries weigh."""
    before = redis.command("INFO", "memory")["used_memory"]
    limits = Limits(max_events=number, max_bytes=number * 2_000)
    outbox = RedisStreamOutbox.from_url(redis.url)
    begun, busy = time.monotonic(), time.process_time()
    async with VWOClient(settings(), outbox=outbox, limits=limits, close_timeout_s=600) as client:
        for one in range(number):
            await client.track("checkout", f"user {one}", "signup")
            if not one % 100:
                await asyncio.sleep(0)
    took_s, busy_s = time.monotonic() - begun, time.process_time() - busy
    weight = (redis.command("INFO", "memory")["used_memory"] - before) / number
    say(
        f"a pod: {number / took_s:,.0f} events/s, {busy_s / number * 1e6:.0f} us each of its processor"
    )
    say(f"an entry: {weight:.0f} bytes of Redis")


@contextmanager
def collector_process(folder: Path) -> Iterator[str]:
    """Run a collector of its own, so that it shares no processor time with this one's loop."""
    command = [
        sys.executable,
        "-m",
        "vwo_async",
        "collector",
        str(folder / "settings.json"),
        "--json",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())["base_url"]
        finally:
            process.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--pods", type=int, default=3)
    parser.add_argument("--relays", type=int, default=3)
    parser.add_argument("--drain", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        run = measure if options.drain else run_chaos
        is_right = asyncio.run(run(Path(folder), options))
    sys.exit(0 if is_right else 1)


if __name__ == "__main__":
    main()
