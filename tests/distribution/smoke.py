"""Asks the installed package alone to decide and deliver: with what it depends on, and nothing else.

It is run by ``nox -s smoke`` in an environment into which the wheel was installed, from a folder that is not
this project's. It is no test of pytest, which is not there.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.metadata import distribution, distributions
from pathlib import Path

import vwo_async
import vwo_async.outbox
import vwo_async.storage
import vwo_async.storage.cookie
import vwo_async.sync
import vwo_async.testing
import vwo_async.transport
from vwo_async.outbox import SqliteOutbox
from vwo_async.testing import build_fme_settings, build_settings, campaign, feature

# What the five dependencies bring in turn, on some Python or with some of their versions.
EXPECTED = {
    "annotated-types",
    "anyio",
    "certifi",
    "exceptiongroup",
    "h11",
    "httpcore",
    "httpx",
    "idna",
    "mmh3",
    "pydantic",
    "pydantic-core",
    "sniffio",
    "typing-extensions",
    "typing-inspection",
    "vwo-async",
}


class Handler(BaseHTTPRequestHandler):
    """Takes every event."""

    received: list[str]

    def do_GET(self) -> None:
        self.do_POST()

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.received.append(self.path.partition("?")[0])
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        pass


@contextmanager
def server() -> Iterator[tuple[str, list[str]]]:
    """Give the URL of a server on this machine, and the paths that it was asked for."""
    received: list[str] = []
    handler = type("Own", (Handler,), {"received": received})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as own:
        threading.Thread(target=own.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{own.server_port}", received
        own.shutdown()


async def use_fullstack(base_url: str, outbox: SqliteOutbox) -> None:
    settings = build_settings(campaign("checkout").goal("purchase", revenue=True).split(50, 50))
    async with vwo_async.VWOClient(settings, base_url=base_url, outbox=outbox) as client:
        assert await client.activate("checkout", "user 1") in {"Control", "Variation-1"}
        result = await client.track("checkout", "user 1", "purchase", revenue_value=1, wait=True)
        assert result, result
        await client.flush_events()
        assert client.statistics().delivered == 2


async def use_fme(base_url: str) -> None:
    settings = build_fme_settings(feature("search").metric("purchase").test(50, 50, size=[10, 20]))
    async with vwo_async.FMEClient(settings, base_url=base_url) as client:
        flag = await client.get_flag("search", "user 1")
        assert flag.get_variable("size", 0) in {10, 20}
        assert await client.track_event("purchase", "user 1", wait=True)


def use_sync(base_url: str) -> None:
    settings = build_settings(campaign("checkout").goal("purchase"))
    with vwo_async.sync.VWOClient(settings, base_url=base_url) as client:
        assert client.track("checkout", "user 1", "purchase", wait=True)


def main() -> None:
    """Check what is installed, and use it."""
    there = {one.name.lower().replace("_", "-") for one in distributions()}
    assert there <= EXPECTED, there - EXPECTED
    home = Path(vwo_async.__file__).parent
    assert "site-packages" in home.parts, home
    assert (home / "py.typed").exists()
    (script,) = distribution("vwo-async").entry_points.select(group="console_scripts")
    assert script.name == "vwo-async"
    with server() as (base_url, received):
        asyncio.run(use_fullstack(base_url, SqliteOutbox(sys.argv[1])))
        asyncio.run(use_fme(base_url))
        use_sync(base_url)
    print(f"vwo-async {vwo_async.__version__} on Python {sys.version.split()[0]}: ", end="")
    print(f"{len(received)} requests, and nothing installed but its dependencies")


if __name__ == "__main__":
    main()
