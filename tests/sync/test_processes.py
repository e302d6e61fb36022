"""Services without a lifespan, in their real servers and workers: a signal in the middle of traffic loses nothing."""

from __future__ import annotations

import os
import re
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import chosen_product
import pytest
import redis
import uvicorn
from chosen_product import CHOSEN, FME, FULLSTACK
from database import any_redis
from own_time import Stopwatch
from packaging.version import Version
from port import find_free_port
from processes import (
    TIMEOUT_S,
    Process,
    Script,
    Traffic,
    Zygote,
    received,
    running,
    running_collector,
    write_settings,
)

from vwo_async.collector import Collector

if sys.platform == "win32":
    pytest.skip("signals and forks", allow_module_level=True)


class Scene:
    """A collector, and what a service has to know of it."""

    def __init__(self, collector: Collector, base_url: str, folder: Path, product: str) -> None:
        self.collector = collector
        self.environment = {
            "VWO_URL": base_url,
            "VWO_FILE": write_settings(folder, chosen_product.settings()),
            "VWO_PRODUCT": product,
        }


def on_both(test: Any) -> Any:
    """Run a test on both products."""
    return pytest.mark.parametrize("product", [FULLSTACK, FME])(test)


@pytest.fixture
def product() -> str:
    """Return the product of a test that says none."""
    return FULLSTACK


@pytest.fixture
def scene(tmp_path: Path, product: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    monkeypatch.setenv(CHOSEN, product)
    with running_collector(chosen_product.settings()) as (collector, base_url):
        yield Scene(collector, base_url, tmp_path, product)


@pytest.fixture(scope="module")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Zygote]:
    found = Zygote(tmp_path_factory.mktemp("zygote"))
    yield found
    found.close()


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


UVICORN = ["-k", "uvicorn.workers.UvicornWorker", "--preload"]
SERVERS = {
    "flask": ("flask", FULLSTACK, ["-k", "sync", "-w", "2"]),
    "flask in threads": ("flask", FME, ["-k", "gthread", "--threads", "4", "--preload"]),
    "flask, recycled": ("flask", FME, ["-k", "gthread", "--max-requests", "20", "--preload"]),
    "django": ("wsgi", FULLSTACK, ["-k", "sync", "-w", "2", "--preload"]),
    "django asgi": ("asgi", FULLSTACK, UVICORN),
    "lifespan": ("lifespan", FULLSTACK, UVICORN),
    "lifespan of FME": ("lifespan", FME, UVICORN),
}
# So slow is VWO when a server is told to end, that there is much on its way.
SLOW_S = 0.3


@contextmanager
def serving(scene: Scene, *command: str) -> Iterator[Process]:
    """Run a server with traffic until it has accepted 60 conversions, the last ones of which are on their way."""
    port = str(find_free_port())
    given = [one.format(port=port) for one in command]
    with running(["-W", "ignore", "-m", *given], **scene.environment) as process:
        process.wait_for("Listening at|running on")
        traffic = Traffic(int(port))
        try:
            process.wait_for(r"accepted u30\b")
            scene.collector.latency_s = SLOW_S
            process.wait_for(r"accepted u60\b")
            yield process
        finally:
            traffic.stop()


@pytest.mark.slow
@pytest.mark.parametrize(("app", "product", "options"), SERVERS.values(), ids=SERVERS)
def test_gunicorn(scene: Scene, app: str, product: str, options: list[str]) -> None:
    """A module-level client serves, loaded before the fork as well, and SIGTERM in traffic loses nothing."""
    make = f"service:make_{app}()"
    with serving(scene, "gunicorn", make, *options, "-b", "127.0.0.1:{port}") as process:
        assert process.end() == 0
        accepted = process.accepted
    assert len(accepted) > 50
    check(scene, accepted)


ENDS = {
    "django asgi": ("asgi", FULLSTACK, [signal.SIGTERM]),
    "django asgi with the synchronous client": ("asgi_sync", FME, [signal.SIGTERM]),
    "plain handlers, no lifespan": ("plain", FULLSTACK, [signal.SIGTERM]),
    "no lifespan of its own": ("wrapped", FME, [signal.SIGTERM]),
    "interrupted twice": ("lifespan", FULLSTACK, [signal.SIGINT, signal.SIGINT]),
}


@pytest.mark.slow
@pytest.mark.parametrize(("app", "product", "signals"), ENDS.values(), ids=ENDS)
def test_uvicorn(scene: Scene, app: str, product: str, signals: list[signal.Signals]) -> None:
    """Nothing is lost where uvicorn ends by the signal before its loop has ended, nor where it skips the lifespan."""
    if app == "plain" and Version(uvicorn.__version__) < Version("0.47"):
        pytest.skip(
            "an older uvicorn ends the process by a signal that was its own when the client was made"
        )
    make = f"service:make_{app}"
    with serving(scene, "uvicorn", "--factory", make, "--port", "{port}") as process:
        for number in signals[:-1]:
            os.kill(process.pid, number)
            time.sleep(0.02)
        assert process.end(signals[-1]) in (0, -signal.SIGTERM)
        accepted = process.accepted
    assert len(accepted) > 50
    check(scene, accepted)


@pytest.mark.slow
@on_both
def test_a_client_that_the_first_request_opens(scene: Scene, product: str) -> None:
    """An async client of a module, loaded before the fork, serves where there is no lifespan."""
    options = [*UVICORN, "-b", "127.0.0.1:{port}"]
    with serving(scene, "gunicorn", "service:make_lazy()", *options) as process:
        until = time.monotonic() + TIMEOUT_S
        while len(received(scene.collector)) < 60:
            assert time.monotonic() < until, process.text
            time.sleep(0.01)
        assert process.end() == 0
    assert not scene.collector.refused


@pytest.mark.slow
@pytest.mark.parametrize(("pool", "product"), [("prefork", FULLSTACK), ("solo", FME)])
def test_celery(scene: Scene, redis_url: str, pool: str, product: str) -> None:
    """A worker that is told to stop delivers what its tasks have reported."""
    if redis.VERSION < (6, 1):
        pytest.skip("Celery wants a younger redis-py")
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


@pytest.mark.slow
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


@pytest.fixture
def scripts(zygote: Zygote, scene: Scene) -> Scripts:
    return Scripts(zygote, scene)


class Scripts:
    """Scripts that have the service's module, and say what they accept."""

    def __init__(self, zygote: Zygote, scene: Scene) -> None:
        self._zygote = zygote
        self._environment = scene.environment

    def running(self, body: str, *arguments: str, head: str = "") -> AbstractContextManager[Script]:
        """Run a script."""
        code = f"{head}\nimport service, os, sys, threading, time\n{body}"
        return self._zygote.running(code, *arguments, **self._environment)

    def run(self, body: str, *, number: int | None = None, wait: str = "") -> tuple[int, set[str]]:
        """Run a script, send it a signal once it says *wait*; return its status, and what was accepted."""
        with self.running(body) as script:
            if wait:
                script.wait_for(wait)
            status = script.end(number)
            assert status in (0, 1, 3, -signal.SIGINT, -signal.SIGTERM), script.text
            assert status or "Traceback" not in script.text, script.text
            return status, script.accepted


FOR_EVER = "n = 0\nwhile True: service.track(f'u{n}'); n += 1; time.sleep(0.001)"


def test_script_of_its_own(scene: Scene) -> None:
    """A script that just ends delivers all, from its threads too, which go on after its last line."""
    body = """
import service, threading, time
def work():
    for number in range(50):
        service.track(f"t{number}")
        time.sleep(0.002)
threading.Thread(target=work).start()
for number in range(300):
    service.track(f"u{number}")
"""
    with running(["-W", "error", "-c", body], **scene.environment) as process:
        assert process.end(None) == 0, process.text
        assert len(process.accepted) == 350
        check(scene, process.accepted)


@on_both
@pytest.mark.parametrize("end", ["", "raise ValueError", "sys.exit(3)"])
def test_script_ends(scripts: Scripts, scene: Scene, product: str, end: str) -> None:
    """So does one that ends with an error, or is told to."""
    status, accepted = scripts.run(f"for n in range(100): service.track(f'u{{n}}')\n{end}")
    assert status == (3 if "exit" in end else 1 if end else 0)
    assert len(accepted) == 100
    check(scene, accepted)


@on_both
def test_script_is_terminated(scripts: Scripts, scene: Scene, product: str) -> None:
    """SIGTERM ends a script as before, by the signal, but what is pending is delivered first."""
    status, accepted = scripts.run(FOR_EVER, number=signal.SIGTERM, wait=r"accepted u100\b")
    assert status == -signal.SIGTERM
    check_interrupted(scene, accepted)


def test_script_is_interrupted(scripts: Scripts, scene: Scene) -> None:
    """So does Ctrl-C, also in the middle of a call."""
    body = "n = 0\nwhile True: service.track(f'u{n}'); n += 1"
    status, accepted = scripts.run(body, number=signal.SIGINT, wait=r"accepted u300\b")
    assert status == -signal.SIGINT
    check_interrupted(scene, accepted)


@pytest.mark.parametrize("when", ["before", "after"])
def test_own_handler_is_kept(scripts: Scripts, scene: Scene, when: str) -> None:
    """A service's own handler of SIGTERM is called, whether it was set before the client or after."""
    install = """
import signal, sys
def ended(number, frame):
    sys.stderr.write("own handler\\n")
    if callable(before): before(number, frame)
    sys.exit(7)
before = signal.signal(signal.SIGTERM, ended)
"""
    head, body = (install, "") if when == "before" else ("", install)
    with scripts.running(f"{body}\n{FOR_EVER}", head=head) as script:
        script.wait_for(r"accepted u50\b")
        assert script.end() == 7
        assert script.text.count("own handler") == 1
        check_interrupted(scene, script.accepted)


QUIET = """
import warnings
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of a fork beside threads
"""


@on_both
def test_fork(scripts: Scripts, scene: Scene, product: str) -> None:
    """After a fork, the parent sends what it accepted and the child what it did, each once."""
    body = f"""{QUIET}
for number in range(50): service.track(f"p{{number}}")
pid = os.fork()
for number in range(50): service.track(f"{{'q' if pid else 'c'}}{{number}}")
assert service.client.statistics().accepted == (100 if pid else 50)
if pid: assert os.waitpid(pid, 0)[1] == 0
"""
    status, accepted = scripts.run(body)
    assert status == 0
    assert len(accepted) == 150
    check(scene, accepted)


def test_fork_with_metrics(scripts: Scripts, scene: Scene) -> None:
    """Metrics of a child count what it has accepted itself, although its observer was made and used in the parent."""
    body = f"""{QUIET}
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from vwo_async.integrations.opentelemetry import OpenTelemetry
reader = InMemoryMetricReader()
def count():
    assert client.flush_events()  # what was accepted has reached the client's thread
    (resource,) = reader.get_metrics_data().resource_metrics
    found = {{one.name: one for one in resource.scope_metrics[0].metrics}}
    return [point.value for point in found["vwo.events.accepted"].data.data_points]
telemetry = OpenTelemetry(meter_provider=MeterProvider([reader]))
client, other = [service.make_client(observers=[telemetry]) for _ in range(2)]
for number in range(3):
    for one in (client, other): assert service.report(one, f"p{{number}}")
other.close()
assert count() == [6]
pid = os.fork()
if not pid:
    assert service.report(client, "c")
    assert count() == [1]
else:
    assert os.waitpid(pid, 0)[1] == 0
    assert count() == [6]
"""
    status, _ = scripts.run(body)
    assert status == 0


def test_fork_while_the_clients_thread_imports(
    scripts: Scripts, scene: Scene, tmp_path: Path
) -> None:
    """A fork waits until the client's thread holds nothing, as a module it imports: a child would never get it."""
    (tmp_path / "slowly.py").write_text("import time; time.sleep(0.4)")
    body = f"""{QUIET}
sys.path.append({str(tmp_path)!r})
begun = threading.Event()
def ask(user):
    begun.set()
    import slowly
    return True
asking = service.make_client(consent=ask)
thread = threading.Thread(target=service.report, args=(asking, "p"))
thread.start(); begun.wait(); sys.stderr.write("accepted p\\n")
pid = os.fork()
if not pid:
    import slowly
    service.track("c")
else:
    assert os.waitpid(pid, 0)[1] == 0
"""
    status, accepted = scripts.run(body)
    assert status == 0
    assert accepted == {"p", "c"}
    check(scene, accepted)


def test_forks_in_traffic(scripts: Scripts, scene: Scene) -> None:
    """However often and whenever a process with traffic forks, in any of its threads, nothing is lost or sent twice."""
    body = f"""{QUIET}
def fork(name):
    for number in range(4):
        pid = os.fork()
        if not pid:
            service.track(f"c{{name}}-{{number}}")
            service.client.close()
            os._exit(0)
        service.track(f"p{{name}}-{{number}}")
        assert os.waitpid(pid, 0)[1] == 0
threads = [threading.Thread(target=fork, args=(name,)) for name in range(3)]
for thread in threads: thread.start()
for thread in threads: thread.join()
"""
    status, accepted = scripts.run(body)
    assert status == 0
    assert len(accepted) == 24
    check(scene, accepted)


def test_multiprocessing(scripts: Scripts, scene: Scene) -> None:
    """A process of `multiprocessing`, which ends without its `atexit`, delivers all the same."""
    body = """
import multiprocessing
def work():
    for number in range(20): service.track(f"c{number}")
child = multiprocessing.get_context("fork").Process(target=work)
child.start(); child.join(); assert child.exitcode == 0
"""
    status, accepted = scripts.run(body)
    assert status == 0
    assert len(accepted) == 20
    check(scene, accepted)


@on_both
def test_exit_while_vwo_hangs(scripts: Scripts, product: str) -> None:
    """The end of a process takes no longer than it may, whatever hangs, and one line says what is lost."""
    body = """
import logging, socket
logging.basicConfig()
listener = socket.create_server(("127.0.0.1", 0))
url = f"http://127.0.0.1:{listener.getsockname()[1]}"
client = service.make_client(base_url=url, close_timeout_s=0.3)
for number in range(10): assert service.report(client, f"u{number}")
sys.stderr.write("ending\\n")
sys.exit(3)
"""
    with scripts.running(body) as script:
        script.wait_for("ending")
        watch = Stopwatch()
        assert script.end(None) == 3
        watch.assert_below(4)
        assert len(re.findall("10 events lost", script.text)) == 1, script.text


def test_exit_while_a_callback_hangs(scripts: Scripts) -> None:
    """A function of the service that blocks the client's thread for ever does not hold the end of the process."""
    body = """
import logging
logging.basicConfig()
def hang(*_): time.sleep(3600)
client = service.make_client(close_timeout_s=0.3, consent=lambda user: user != "bad" or hang())
service.report(client, "u1", wait=True)
threading.Thread(target=service.report, args=(client, "bad"), daemon=True).start()
time.sleep(0.1)
sys.stderr.write("ending\\n")
"""
    with scripts.running(body) as script:
        script.wait_for("ending")
        watch = Stopwatch()
        assert script.end(None) == 0
        watch.assert_below(4)
        assert "did not close in time" in script.text


@on_both
def test_lambda(scripts: Scripts, scene: Scene, product: str) -> None:
    """`asyncio.run` for each call: one client for each loop, closed with it; settings are loaded once.

    Closed by the call or by the end of the loop: what is on its way then arrives once.
    """
    body = """
import asyncio
clients = service.make_per_loop()
async def handle(number):
    client = await clients.get()
    for part in range(10):
        assert await service.track_with(client, f"u{number}-{part}")
        if part % 3 == 0: await asyncio.sleep(0.001)
    if number % 2: await clients.aclose()
for number in range(6): asyncio.run(handle(number))
"""
    with scripts.running(body) as script:
        assert script.end(None) == 0, script.text
        assert script.text.count("loaded") == 1
        assert len(script.accepted) == 60
        check(scene, script.accepted)


def test_a_loop_that_ends_while_vwo_hangs(scripts: Scripts) -> None:
    """The end of a loop takes no longer than closing may, and one line says what is lost."""
    body = """
import asyncio, logging, socket
logging.basicConfig()
listener = socket.create_server(("127.0.0.1", 0))
service.OPTIONS.update(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}", close_timeout_s=0.6)
clients = service.make_per_loop()
async def handle():
    client = await clients.get()
    for number in range(10): assert await service.report(client, f"u{number}")
    await asyncio.sleep(0.05)
begun = time.monotonic()
asyncio.run(handle())
assert 0.4 < time.monotonic() - begun < 4
"""
    with scripts.running(body) as script:
        assert script.end(None) == 0, script.text
        assert len(re.findall("10 events lost", script.text)) == 1, script.text


@on_both
def test_an_async_client_is_never_closed(scripts: Scripts, product: str) -> None:
    """Where a loop is dropped without being ended, and its client with it, one line says what that held."""
    body = """
import asyncio, logging
logging.basicConfig()
service.OPTIONS.update(base_url="http://127.0.0.1:9")
async def use():
    client = service.ASYNC_CLIENT(service.SETTINGS, **service.OPTIONS)
    for number in range(10): assert await service.report(client, f"u{number}")
    return client
warnings = __import__("warnings"); warnings.simplefilter("ignore", ResourceWarning)
loop = asyncio.new_event_loop()
kept = loop.run_until_complete(use())
loop.close()
sys.stderr.write("ending\\n")
sys.exit(3)
"""
    with scripts.running(body) as script:
        assert script.end(None) == 3, script.text
        warning = "WARNING:vwo_async:a client was not closed: 10 events were pending and are lost"
        assert script.text.partition("ending")[2].count(warning) == 1, script.text


@on_both
def test_an_async_client_is_closed_with_its_loop(
    scripts: Scripts, scene: Scene, product: str
) -> None:
    """A client of a module that nobody opens and nobody closes delivers what it has accepted, when its loop ends."""
    body = """
import asyncio
vwo = service.ASYNC_CLIENT(service.SETTINGS, **service.OPTIONS)
async def use():
    for number in range(100): assert await service.track_with(vwo, f"u{number}")
asyncio.run(use())
"""
    status, accepted = scripts.run(body)
    assert status == 0
    assert len(accepted) == 100
    check(scene, accepted)


def test_notebook(scripts: Scripts, scene: Scene) -> None:
    """Where a loop runs already, as in a notebook, calls work: those that wait hold the cell."""
    body = """
import asyncio
async def cell():
    for number in range(10): service.track(f"u{number}")
    assert service.report(service.client, "w", wait=True)
    sys.stderr.write("accepted w\\n")
    assert service.client.flush_events()
asyncio.run(cell())
"""
    status, accepted = scripts.run(body)
    assert status == 0
    check(scene, accepted)


def test_os_exit(scripts: Scripts, scene: Scene) -> None:
    """Before an `os._exit`, which ends a process without a word, `flush_events` delivers."""
    body = "for n in range(20): service.track(f'u{n}')\nassert service.client.flush_events()\nos._exit(0)"
    status, accepted = scripts.run(body)
    assert status == 0
    check(scene, accepted)


@on_both
def test_an_outbox_survives_a_kill(
    scripts: Scripts, scene: Scene, tmp_path: Path, product: str
) -> None:
    """With an outbox, the next process delivers what one that was killed has accepted."""
    body = f"""
client = service.make_client(
    base_url=sys.argv[1], outbox={str(tmp_path / "vwo.db")!r}, close_timeout_s=8)
for n in range(int(sys.argv[2])): assert service.report(client, f"u{{n}}")
if sys.argv[2] != "0": os.kill(os.getpid(), 9)
assert client.flush_events()
"""
    down = f"http://127.0.0.1:{find_free_port()}"
    with scripts.running(body, down, "10") as script:
        assert script.end(None) == -signal.SIGKILL
    with scripts.running(body, scene.environment["VWO_URL"], "0") as script:
        assert script.end(None) == 0, script.text
    assert len(set(received(scene.collector))) == 10
