"""Services without a lifespan, in their real servers and workers: a signal in the middle of traffic loses nothing."""

from __future__ import annotations

import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from database import any_redis
from own_time import Stopwatch
from port import find_free_port
from processes import Traffic, received, running, running_collector, write_settings
from sample import settings

from vwo_async.collector import Collector

if sys.platform == "win32":
    pytest.skip("signals and forks", allow_module_level=True)


class Scene:
    """A collector, and what a service has to know of it."""

    def __init__(self, collector: Collector, base_url: str, folder: Path) -> None:
        self.collector = collector
        self.environment = {"VWO_URL": base_url, "VWO_FILE": write_settings(folder, settings())}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with running_collector(settings()) as (collector, base_url):
        yield Scene(collector, base_url, tmp_path)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with any_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


def check(scene: Scene, accepted: set[str]) -> None:
    """Hold the collector's ledger to what the service said: each conversion once, and nothing refused."""
    came = received(scene.collector)
    assert len(came) == len(set(came)) == len(accepted)
    assert not scene.collector.refused


def check_interrupted(scene: Scene, accepted: set[str]) -> None:
    """As `check`; but the call that was interrupted may have been accepted without having said so."""
    came = received(scene.collector)
    assert len(set(came)) == len(came) in (len(accepted), len(accepted) + 1)


SERVERS = {
    "flask": ("service:make_flask()", ["-k", "sync", "-w", "2"]),
    "flask in threads": ("service:make_flask()", ["-k", "gthread", "--threads", "4", "--preload"]),
    "django": ("service:make_wsgi()", ["-k", "sync", "-w", "2", "--preload"]),
    "django asgi": ("service:make_asgi()", ["-k", "uvicorn.workers.UvicornWorker", "--preload"]),
    "lifespan": ("service:make_lifespan()", ["-k", "uvicorn.workers.UvicornWorker", "--preload"]),
}


@pytest.mark.parametrize("name", SERVERS)
def test_gunicorn(scene: Scene, name: str) -> None:
    """A module-level client serves, loaded before the fork as well, and SIGTERM in traffic loses nothing."""
    app, options = SERVERS[name]
    port = find_free_port()
    command = ["-W", "ignore", "-m", "gunicorn", app, "-b", f"127.0.0.1:{port}", *options]
    with running(command, **scene.environment) as process:
        process.wait_for("Listening at")
        traffic = Traffic(port)
        try:
            process.wait_for(r"accepted u60\b")
            assert process.end() == 0
        finally:
            traffic.stop()
        assert len(process.accepted) > 50
        check(scene, process.accepted)


@pytest.mark.parametrize("pool", ["prefork", "solo"])
def test_celery(scene: Scene, redis_url: str, pool: str) -> None:
    """A worker that is told to stop delivers what its tasks have reported."""
    broker = f"{redis_url.partition('?')[0]}/{1 if pool == 'solo' else 2}"
    environment = {**scene.environment, "BROKER_URL": broker}
    command = ["-m", "celery", "-A", "service:tasks", "worker", "-P", pool, "-c", "2"]
    with running(
        [*command, "-l", "INFO", "--without-gossip", "--without-mingle"], **environment
    ) as process:
        process.wait_for(r"ready\.")
        _send_tasks(broker, [f"u{number}" for number in range(40)])
        process.wait_for(r"accepted u20\b")
        process.end()
        assert process.accepted
        check(scene, process.accepted)


def _send_tasks(broker: str, users: list[str]) -> None:
    from celery import Celery

    app = Celery("sender", broker=broker)
    with app.connection_for_write() as connection:
        for user in users:
            app.send_task("buy", [user], connection=connection, ignore_result=True)
    app.close()


def test_rq(scene: Scene, redis_url: str) -> None:
    """The process of each job delivers what the job has reported, also where the worker is told to stop."""
    from redis import Redis
    from rq import Queue

    with Redis.from_url(redis_url) as redis:
        queue = Queue("shop", connection=redis)
        for number in range(6):
            queue.enqueue("service.pause", f"u{number}")
        command = ["-m", "rq.cli", "worker", "-w", "service.VWOWorker", "-u", redis_url, "shop"]
        with running(command, **scene.environment) as process:
            process.wait_for(r"accepted u2\b")
            process.end()
            assert process.accepted >= {"u0", "u1", "u2"}
            check(scene, process.accepted)
        queue.delete(delete_jobs=True)


SCRIPT = """
import service, os, sys, threading, time
"""


def run_script(scene: Scene, body: str, *, number: int | None = None, wait: str = "") -> Any:
    """Run a script that begins as all here do, send it a signal once it says *wait*; return status and process."""
    with running(["-W", "error", "-c", SCRIPT + body], **scene.environment) as process:
        if wait:
            process.wait_for(wait)
        return process.end(number), process


def test_script_ends(scene: Scene) -> None:
    """A script that just ends delivers all, from its threads too, which go on after its last line."""
    body = """
def work():
    for number in range(50):
        service.track(f"t{number}")
        time.sleep(0.002)
threading.Thread(target=work).start()
for number in range(300):
    service.track(f"u{number}")
"""
    status, process = run_script(scene, body)
    assert status == 0
    assert len(process.accepted) == 350
    check(scene, process.accepted)


@pytest.mark.parametrize("end", ["raise ValueError", "sys.exit(3)"])
def test_script_fails(scene: Scene, end: str) -> None:
    """So does one that ends with an error."""
    status, process = run_script(scene, f"for n in range(100): service.track(f'u{{n}}')\n{end}")
    assert status == (3 if "exit" in end else 1)
    check(scene, process.accepted)


def test_script_is_terminated(scene: Scene) -> None:
    """SIGTERM ends a script as before, by the signal, but what is pending is delivered first."""
    body = "n = 0\nwhile True: service.track(f'u{n}'); n += 1; time.sleep(0.001)"
    status, process = run_script(scene, body, number=signal.SIGTERM, wait=r"accepted u100\b")
    assert status == -signal.SIGTERM
    check_interrupted(scene, process.accepted)


def test_script_is_interrupted(scene: Scene) -> None:
    """So does Ctrl-C, also in the middle of a call."""
    # On a busy machine the signal comes late: no more than can be delivered by then.
    body = "n = 0\nwhile True:\n    service.track(f'u{n}')\n    n += 1\n    if n > 2000: time.sleep(0.01)"
    status, process = run_script(scene, body, number=signal.SIGINT, wait=r"accepted u300\b")
    assert status == 1
    check_interrupted(scene, process.accepted)


@pytest.mark.parametrize("when", ["before", "after"])
def test_own_handler_is_kept(scene: Scene, when: str) -> None:
    """A service's own handler of SIGTERM is called, whether it was set before the client or after."""
    install = """
import signal, sys
def ended(number, frame):
    sys.stderr.write("own handler\\n")
    if callable(before): before(number, frame)
    sys.exit(7)
before = signal.signal(signal.SIGTERM, ended)
"""
    loop = "n = 0\nwhile True: service.track(f'u{n}'); n += 1; time.sleep(0.001)"
    code = install + SCRIPT + loop if when == "before" else SCRIPT + install + loop
    with running(["-c", code], **scene.environment) as process:
        process.wait_for(r"accepted u50\b")
        assert process.end() == 7
        assert process.text.count("own handler") == 1
        check_interrupted(scene, process.accepted)


def test_fork(scene: Scene) -> None:
    """After a fork, the parent sends what it accepted and the child what it did, each once."""
    body = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of a fork beside threads
for number in range(50): service.track(f"p{number}")
pid = os.fork()
for number in range(50): service.track(f"{'q' if pid else 'c'}{number}")
assert service.client.statistics().accepted == (100 if pid else 50)
if pid: assert os.waitpid(pid, 0)[1] == 0
"""
    status, process = run_script(scene, body)
    assert status == 0, process.text
    assert len(process.accepted) == 150
    check(scene, process.accepted)


def test_multiprocessing(scene: Scene) -> None:
    """A process of `multiprocessing`, which ends without its `atexit`, delivers all the same."""
    body = """
import multiprocessing
def work():
    for number in range(20): service.track(f"c{number}")
child = multiprocessing.get_context("fork").Process(target=work)
child.start(); child.join(); assert child.exitcode == 0
"""
    status, process = run_script(scene, body)
    assert status == 0, process.text
    assert len(process.accepted) == 20
    check(scene, process.accepted)


def test_exit_while_vwo_hangs(scene: Scene) -> None:
    """The end of a process takes no longer than it may, whatever hangs, and one line says what is lost."""
    body = """
import logging, socket
logging.basicConfig()
listener = socket.create_server(("127.0.0.1", 0))
url = f"http://127.0.0.1:{listener.getsockname()[1]}"
client = service.vwo_async.sync.VWOClient(service.SETTINGS, base_url=url, close_timeout_s=0.5)
for number in range(10): assert client.track("checkout", f"u{number}", "signup")
sys.stderr.write("ending\\n")
"""
    with running(["-c", SCRIPT + body], **scene.environment) as process:
        process.wait_for("ending")
        watch = Stopwatch()
        assert process.end(None) == 0
        assert watch.read_s() < 4
        assert len(re.findall("10 events lost", process.text)) == 1


def test_exit_while_a_callback_hangs(scene: Scene) -> None:
    """A function of the service that blocks the client's thread for ever does not hold the end of the process."""
    body = """
import logging
logging.basicConfig()
def hang(*_): time.sleep(3600)
client = service.vwo_async.sync.VWOClient(
    service.SETTINGS, on_settings_change=hang, consent=lambda user: user != "bad" or hang(),
    **{**service.OPTIONS, "close_timeout_s": 0.3})
client.track("checkout", "u1", "signup", wait=True)
threading.Thread(target=client.track, args=("checkout", "bad", "signup"), daemon=True).start()
time.sleep(0.1)
sys.stderr.write("ending\\n")
"""
    with running(["-c", SCRIPT + body], **scene.environment) as process:
        process.wait_for("ending")
        watch = Stopwatch()
        assert process.end(None) == 0
        assert watch.read_s() < 4
        assert "did not close in time" in process.text


def test_lambda(scene: Scene) -> None:
    """`asyncio.run` for each call: one client for each loop, closed with it; settings are loaded once."""
    body = """
import asyncio
loads = []
async def load():
    loads.append(1)
    return service.SETTINGS
clients = service.vwo_async.per_loop(load, lambda found: service.vwo_async.VWOClient(found, **service.OPTIONS))
async def handle(number):
    client = await clients.get()
    assert await client.track("checkout", f"u{number}", "signup")
    sys.stderr.write(f"accepted u{number}\\n")
    if number: await clients.aclose()
for number in range(5): asyncio.run(handle(number))
assert loads == [1]
"""
    status, process = run_script(scene, body)
    assert status == 0, process.text
    came = received(scene.collector)
    # A request that is on its way when the loop ends is repeated, and counts once.
    assert len(set(came)) == len(process.accepted) == 5


def test_notebook(scene: Scene) -> None:
    """Where a loop runs already, as in a notebook, calls work: those that wait hold the cell."""
    body = """
import asyncio
async def cell():
    for number in range(10): service.track(f"u{number}")
    assert service.client.track("checkout", "w", "signup", wait=True)
    sys.stderr.write("accepted w\\n")
    assert service.client.flush_events()
asyncio.run(cell())
"""
    status, process = run_script(scene, body)
    assert status == 0, process.text
    check(scene, process.accepted)


def test_os_exit(scene: Scene) -> None:
    """Before an `os._exit`, which ends a process without a word, `flush_events` delivers."""
    body = "for n in range(20): service.track(f'u{n}')\nassert service.client.flush_events()\nos._exit(0)"
    status, process = run_script(scene, body)
    assert status == 0
    check(scene, process.accepted)


def test_an_outbox_survives_a_kill(scene: Scene, tmp_path: Path) -> None:
    """With an outbox, the next process delivers what one that was killed has accepted."""
    body = f"""
import logging; logging.basicConfig()
client = service.vwo_async.sync.VWOClient(
    service.SETTINGS, base_url=sys.argv[1], outbox={str(tmp_path / "vwo.db")!r}, close_timeout_s=8)
for n in range(int(sys.argv[2])): assert client.track("checkout", f"u{{n}}", "signup")
if sys.argv[2] != "0": os.kill(os.getpid(), 9)
assert client.flush_events()
"""
    down = f"http://127.0.0.1:{find_free_port()}"
    with running(["-c", SCRIPT + body, down, "10"], **scene.environment) as process:
        assert process.end(None) == -signal.SIGKILL
    up = scene.environment["VWO_URL"]
    with running(["-c", SCRIPT + body, up, "0"], **scene.environment) as process:
        assert process.end(None) == 0, process.text
    assert len(set(received(scene.collector))) == 10
