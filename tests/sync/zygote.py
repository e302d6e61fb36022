"""A process that has imported what the scripts of these tests need, and forks one for each: that is much quicker.

It reads a line of JSON for each script, and says its pid, and later the status with which it ended. A script
runs on the top level, has a session of its own, and ends as the interpreter does.
"""

from __future__ import annotations

import json
import os
import select
import sys
from typing import Any

import anyio._backends._asyncio
import certifi
import httpx

import vwo_async._settings.parse
import vwo_async.sync
import vwo_async.transport

READY = (anyio._backends._asyncio, certifi, httpx, vwo_async._settings.parse, vwo_async.transport)


def say(**words: int) -> None:
    """Tell the test."""
    os.write(1, json.dumps(words).encode() + b"\n")


def serve() -> Any:
    """Return the script, in the process that is to run it; end where the test has ended."""
    while True:
        if select.select([0], [], [], 0.01)[0]:
            line = sys.stdin.readline()
            if not line:
                sys.exit()
            script = json.loads(line)
            pid = os.fork()
            if not pid:
                return script
            say(started=pid)
        reap()


def reap() -> None:
    """Tell of the scripts that have ended."""
    try:
        while (found := os.waitpid(-1, os.WNOHANG))[0]:
            say(ended=found[0], status=os.waitstatus_to_exitcode(found[1]))
    except ChildProcessError:
        pass


def become(script: Any) -> None:
    """Have the session, environment, arguments and output of the script."""
    os.setsid()
    os.environ.update(script["environment"])
    output = os.open(script["output"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for number in (1, 2):
        os.dup2(output, number)
    os.close(output)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.argv = ["-c", *script["arguments"]]


if __name__ == "__main__":
    job = serve()
    become(job)
    exec(job["code"])
