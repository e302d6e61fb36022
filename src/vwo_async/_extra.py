"""The optional extras of this package: what each brings, and the error where it is not installed."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec

from ._error import MissingExtraError

_SQL = ("sqlalchemy", "greenlet")
LIBRARIES: Mapping[str, tuple[str, ...]] = {
    "aiohttp": ("aiohttp",),
    "cli": ("cyclopts", "rich", "scipy", "starlette", "uvicorn"),
    "collector": ("starlette", "uvicorn"),
    "fastapi": ("fastapi",),
    "httpx2": ("httpx2", "httpcore2"),
    "litestar": ("litestar",),
    "openfeature": ("openfeature",),
    "opentelemetry": ("opentelemetry",),
    "parquet": ("duckdb",),
    "postgres": (*_SQL, "asyncpg"),
    "psycopg": (*_SQL, "psycopg"),
    "quart": ("quart",),
    "redis": ("redis",),
    "sentry": ("sentry_sdk",),
    "sqlite": (*_SQL, "aiosqlite"),
    "starlette": ("starlette",),
}


def check_extra(extra: str) -> None:
    """Check that all is installed that *extra* brings, without importing it.

    Raises:
        MissingExtraError: Something is not.
    """
    for library in LIBRARIES[extra]:
        if not _is_there(library):
            raise MissingExtraError(_describe(library, (extra,)))


def explain_missing(error: ImportError, *extras: str) -> ImportError:
    """Return what to raise in place of *error*: the error that names the extras, where they lack a library.

    Args:
        error: From an import.
        extras: Any of them would do.
    """
    common = [one for one in LIBRARIES[extras[0]] if all(one in LIBRARIES[each] for each in extras)]
    missing = next((one for one in common if not _is_there(one)), None)
    return error if missing is None else MissingExtraError(_describe(missing, extras))


def _is_there(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except (ImportError, ValueError):
        # Something of that name cannot be imported.
        return False


def _describe(library: str, extras: tuple[str, ...]) -> str:
    commands = " or ".join(f"pip install 'vwo-async[{one}]'" for one in extras)
    return f"{library} is not installed: {commands}"
