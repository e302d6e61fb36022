"""What a service meets that has not installed an extra: one error, which says what to install."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from extra_uses import SETTINGS, SQL, USES

import vwo_async
from vwo_async._extra import LIBRARIES, explain_missing

# Runs a statement where some libraries are not installed.
WITHOUT = """
import sys

class Nothing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in LIBRARIES:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

# A tool that watches this process, such as coverage, may have imported some of them before.
for name in [one for one in sys.modules if one.partition(".")[0] in LIBRARIES]:
    del sys.modules[name]
sys.meta_path.insert(0, Nothing())
BEFORE = set(sys.modules)
import vwo_async
try:
    STATEMENT
except ImportError as error:
    print(type(error).__module__, type(error).__name__, isinstance(error, ValueError), str(error))
else:
    print("done")
"""
CASES = [
    ("redis", "redis", "import vwo_async.storage.redis"),
    ("collector", "starlette", "import vwo_async.collector"),
    ("collector", "uvicorn", "import vwo_async.collector.__main__"),
    ("postgres", "sqlalchemy", "import vwo_async.storage.sql"),
    ("postgres", "asyncpg", f"{SQL}('postgresql://u@h/d')"),
    ("postgres", "greenlet", f"{SQL}('postgres://u@h/d')"),
    ("psycopg", "psycopg", f"{SQL}('postgresql+psycopg://u@h/d')"),
    ("sqlite", "aiosqlite", f"{SQL}('sqlite:///x.db')"),
    *(
        (name, name, f"import vwo_async.integrations.{name}")
        for name in ("aiohttp", "fastapi", "litestar", "quart", "starlette")
    ),
    ("aiohttp", "aiohttp", f"vwo_async.VWOClient({SETTINGS!r}, transport='aiohttp')"),
    ("opentelemetry", "opentelemetry", "import vwo_async.integrations.opentelemetry"),
    ("sentry", "sentry_sdk", "import vwo_async.integrations.sentry"),
    ("httpx2", "httpx2", f"vwo_async.VWOClient({SETTINGS!r}, transport='httpx2')"),
    ("httpx2", "httpcore2", f"vwo_async.launch({SETTINGS!r}, transport='httpx2')"),
]


def run_without(libraries: set[str], statement: str) -> str:
    code = WITHOUT.replace("LIBRARIES", repr(libraries)).replace("STATEMENT", statement)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.mark.parametrize(("extra", "library", "statement"), CASES)
def test_a_missing_extra_is_named(extra: str, library: str, statement: str) -> None:
    """One error, an ImportError and bad input at once, says which library is missing and what brings it."""
    told = run_without({library}, statement)
    assert told.startswith("vwo_async MissingExtraError True ")
    assert f"{library} is not installed: pip install 'vwo-async[{extra}]'" in told


@pytest.mark.parametrize("library", LIBRARIES["cli"])
def test_the_command_names_its_extra(library: str) -> None:
    """Without one of its libraries the command says in one line what to install."""
    statement = "sys.stderr = sys.stdout; from vwo_async._cli.entry import _run; assert _run(['--help']) == 2"
    told = run_without({library}, statement)
    assert told == (f"vwo-async: {library} is not installed: pip install 'vwo-async[cli]'\ndone")


ALL = {one for each in LIBRARIES.values() for one in each}
# What the libraries of an extra bring in turn.
BROUGHT = {"fastapi": {"opentelemetry", "starlette"}}


@pytest.mark.parametrize("extra", LIBRARIES)
def test_an_extra_is_enough(extra: str) -> None:
    """What an extra is for works where none of the other extras is installed."""
    missing = ALL - {*LIBRARIES[extra]} - BROUGHT.get(extra, set())
    assert run_without(missing, f"exec({USES[extra]!r})") == "done"


def test_the_package_alone_loads_no_extra() -> None:
    """Where all of them are installed, importing the package and making its clients loads none of them."""
    statement = (
        f"vwo_async.VWOClient({SETTINGS!r}); import vwo_async.sync, vwo_async.testing;"
        f" print(*{{one.partition('.')[0] for one in set(sys.modules) - BEFORE}} & {ALL!r}, end='')"
    )
    assert run_without(set(), statement) == "done"


def test_without_any_extra() -> None:
    """All that needs no extra works without one."""
    statement = (
        f"vwo_async.VWOClient({SETTINGS!r}); import vwo_async.storage.cookie, vwo_async.outbox,"
        " vwo_async.transport, vwo_async.testing, vwo_async.integrations.asgi"
    )
    assert run_without(ALL, statement) == "done"


def test_a_missing_extra_is_named_with_what_else_is_wrong() -> None:
    """Beside other wrong options it is one of them, and installing it would not be enough."""
    statement = f"vwo_async.VWOClient({SETTINGS!r}, transport='aiohttp', workers=0)"
    code = f"try:\n        {statement}\n    except ValueError as error: print(type(error).__name__, error)"
    told = run_without({"aiohttp"}, code)
    assert told.startswith("InvalidInputError transport: aiohttp is not installed: pip install")
    assert "; workers: " in told


def test_what_is_broken_is_not_missing() -> None:
    """An error that is not about an extra's own library stays what it is."""
    error = ModuleNotFoundError("No module named 'ssl'", name="ssl")
    assert explain_missing(error, "redis") is error


def test_extras_are_those_of_the_package() -> None:
    """What is said to be in an extra is installed with it; re2 alone may be absent without a word."""
    project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text())[
        "project"
    ]
    extras = project["optional-dependencies"]
    assert extras.keys() == {*LIBRARIES, "re2"} == USES.keys()
    for name, libraries in LIBRARIES.items():
        for library in set(libraries) - {"greenlet", "httpcore2"}:
            package = library.replace("_", "-")
            assert any(one.startswith(package) for one in extras[name]), library
    assert issubclass(vwo_async.MissingExtraError, ImportError)
