"""What no stream may show: the SDK key of the tests, and all data of a visitor that is marked.

The fixture holds every test to it. Tests about secrets use the marked visitor.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import pytest
from counted import logging_at
from sample import ACCOUNT, SECRET

# In no word of any language, so that it is found wherever it is written.
MARK = "zq7mark"
USER_ID = f"user-{MARK}"
AGENT = f"Agent/{MARK}"
ADDRESS = "203.0.113.151"
VARIABLES = {f"name-{MARK}": f"value-{MARK}"}
VISITOR = uuid5(uuid5(uuid5(NAMESPACE_URL, "https://vwo.com"), str(ACCOUNT)), USER_ID).hex.upper()
SECRETS = (SECRET, MARK, ADDRESS, VISITOR)
# What every record has; the rest was added to it.
_PLAIN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def find_secrets(text: str) -> list[str]:
    """Return which secrets *text* shows."""
    return [secret for secret in SECRETS if secret in text]


def chain_of(error: BaseException | None) -> Iterator[BaseException]:
    """Yield *error* with all that led to it and all that is in it."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        one = todo.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        todo += [one.__cause__, one.__context__]
        todo += getattr(one, "exceptions", ())


def describe_error(error: BaseException | None) -> Iterator[str]:
    """Yield all that a collector of errors might note of *error*, short of the variables of its frames."""
    for one in chain_of(error):
        yield f"{one!s} {one!r} {one.args!r} {getattr(one, '__dict__', {})!r}"
        yield "".join(traceback.format_exception_only(one))
        # The errors of HTTP clients carry the request, with the whole URL.
        request: Any = getattr(one, "_request", None)
        yield f"{request!r} {getattr(request, 'url', '')}"


def describe_record(record: logging.LogRecord) -> Iterator[str]:
    """Yield all that a handler might write of *record*."""
    yield record.getMessage()
    yield repr(record.args)
    yield repr({key: value for key, value in vars(record).items() if key not in _PLAIN})
    yield record.stack_info or ""
    if record.exc_info:
        yield "".join(traceback.format_exception(*record.exc_info))
        yield from describe_error(record.exc_info[1])


class Listener(logging.Handler):
    """Notes which records of any logger show a secret; not the secret itself.

    Attributes:
        found: One text for each such record.
        count: How many records there were.
    """

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.found: list[str] = []
        self.count = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Look at *record*."""
        self.count += 1
        for text in describe_record(record):
            for secret in find_secrets(text):
                place = f"{record.name} {record.levelname} {record.pathname}:{record.lineno}"
                self.found.append(f"{place} shows secret {SECRETS.index(secret)}")


@contextmanager
def listening() -> Iterator[Listener]:
    """Listen to every logger there is, at every level."""
    root, listener = logging.getLogger(), Listener()
    before = root.level
    root.setLevel(logging.DEBUG)
    root.addHandler(listener)
    try:
        yield listener
    finally:
        root.removeHandler(listener)
        root.setLevel(before)


@pytest.fixture(autouse=True)
def no_secret(
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[None]:
    """No logger of any package, at any level, and no stream of this process or a child shows a secret."""
    if request.node.get_closest_marker("shows_secrets"):
        yield
        return
    caplog.set_level(logging.DEBUG)
    # As services run it: at DEBUG it writes a line for each decision, which is for the tests of these.
    with logging_at(logging.INFO), listening() as listener:
        yield
    out, err = capfd.readouterr()
    assert not listener.found
    assert not find_secrets(caplog.text)
    assert not find_secrets(out + err)
