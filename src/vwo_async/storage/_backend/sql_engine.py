"""From the URL of a database to an engine of the storage's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import quote, urlencode

from sqlalchemy import URL, event, make_url
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from ..._error import InvalidInputError, MissingExtraError
from ..._extra import check_extra
from .sql_connection import RECYCLE_S
from .sql_drivers import close_now, is_closed, make_name

POOL_SIZE: Final = 5
# SQLite has one writer at a time; more of them would only wait for one another.
SQLITE_POOL_SIZE: Final = 2
CONNECT_S: Final = 3.0
# How long SQLite waits for another process to finish writing.
BUSY_S: Final = 5.0

_DRIVERS = {
    "postgres": "postgresql+asyncpg",
    "postgresql": "postgresql+asyncpg",
    "postgresql+asyncpg": "postgresql+asyncpg",
    "postgresql+psycopg": "postgresql+psycopg",
    "sqlite": "sqlite+aiosqlite",
    "sqlite+aiosqlite": "sqlite+aiosqlite",
}
_EXTRAS = {"aiosqlite": "sqlite", "asyncpg": "postgres", "psycopg": "psycopg"}
# Of the parameters of libpq, which URLs of providers are made of, those that asyncpg reads itself.
_ASYNCPG_READS = {
    "gsslib",
    "krbsrvname",
    "passfile",
    "service",
    "sslcert",
    "sslcrl",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslpassword",
    "sslrootcert",
    "ssl_max_protocol_version",
    "ssl_min_protocol_version",
    "target_session_attrs",
}
# Those that go to the server, which has them for the session.
_SETTINGS = {
    "application_name",
    "client_min_messages",
    "datestyle",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "idle_in_transaction_session_timeout",
    "idle_session_timeout",
    "jit",
    "lock_timeout",
    "options",
    "role",
    "search_path",
    "statement_timeout",
    "tcp_keepalives_count",
    "tcp_keepalives_idle",
    "tcp_keepalives_interval",
    "timezone",
}
# Those that change nothing with asyncpg: None where that is so for any value, else the values.
_NO_EFFECT: Mapping[str, frozenset[str] | None] = {
    "channel_binding": frozenset({"disable", "prefer"}),
    "client_encoding": frozenset({"utf8", "utf-8", "auto"}),
    "fallback_application_name": None,
    "gssencmode": frozenset({"disable", "prefer"}),
    "keepalives": None,
    "keepalives_count": None,
    "keepalives_idle": None,
    "keepalives_interval": None,
    "load_balance_hosts": frozenset({"disable"}),
    "pgbouncer": None,
    "prepared_statement_cache_size": None,
    "statement_cache_size": None,
    "tcp_user_timeout": None,
}
_TIMEOUTS = ("connect_timeout", "timeout")


def read_url(url: str | URL) -> URL:
    """Return *url* with the driver that is used for it.

    Raises:
        InvalidInputError: It is none of a database that is known.
    """
    try:
        read = make_url(url)
    except (ArgumentError, ValueError):
        # The error shows the URL, and the URL may hold a password.
        raise InvalidInputError("url is not a URL of a database") from None
    driver = _DRIVERS.get(read.drivername)
    if driver is None:
        raise InvalidInputError("url must begin with postgresql:// or sqlite:///")
    read = read.set(drivername=driver)
    return read if read.get_backend_name() == "postgresql" else _read_path(read)


def _read_path(url: URL) -> URL:
    """Return *url* with an absolute path as a URI, which needs no look at the current directory."""
    path = url.database or ""
    if path == "" or ":memory:" in path or url.query.get("mode") == "memory":
        # Each of the connections would have another one.
        raise InvalidInputError(
            "a SQLite database must be a file; in memory, use MemoryUserStorage"
        )
    if not path.startswith("/"):
        return url
    return url.set(database=f"file:{quote(path)}").update_query_dict({"uri": "true"})


def make_engine(url: URL) -> AsyncEngine:
    """Return an engine for the storage alone.

    Args:
        url: As `read_url` returns it.

    Raises:
        InvalidInputError: *url* has parts that make no sense for its database.
        MissingExtraError: Its driver is not installed.
    """
    check_extra(_EXTRAS[url.get_driver_name()])
    if url.get_backend_name() == "sqlite":
        engine = _create(url, {"timeout": BUSY_S}, isolation_level="AUTOCOMMIT")
        event.listen(engine.sync_engine, "connect", _set_wal)
        return engine
    if url.get_driver_name() == "psycopg":
        arguments = _read_for_psycopg(url)
        engine = _create(url.set(query={}), arguments, isolation_level="AUTOCOMMIT")
    else:
        engine = _create(url.set(query={}), _read_for_asyncpg(url))
    event.listen(engine.sync_engine, "checkout", _refuse_closed)
    event.listen(engine.sync_engine, "close", _close_now)
    return engine


def _create(url: URL, connect_args: Mapping[str, Any], **options: Any) -> AsyncEngine:
    try:
        return create_async_engine(
            url,
            connect_args=dict(connect_args),
            hide_parameters=True,
            max_overflow=0,
            pool_recycle=RECYCLE_S,
            # Statements that commit themselves leave nothing to roll back.
            pool_reset_on_return=None,
            pool_size=choose_size(url),
            pool_use_lifo=True,
            poolclass=AsyncAdaptedQueuePool,
            **options,
        )
    except (ArgumentError, ValueError):
        raise InvalidInputError("url has parts that its database does not know") from None


def _read_for_asyncpg(url: URL) -> dict[str, Any]:
    """Return what `asyncpg.connect` is given, which knows other names than libpq.

    Raises:
        InvalidInputError: A parameter is neither known to it nor without effect.
    """
    query = dict(url.normalized_query)
    dsn: dict[str, str] = {}
    timeout_s = CONNECT_S
    for name, values in query.items():
        value = values[-1]
        if name in _TIMEOUTS:
            timeout_s = _read_timeout(name, value)
        elif name == "ssl":
            dsn["sslmode"] = value
        elif name in _ASYNCPG_READS or name.lower() in _SETTINGS or "." in name:
            dsn[name] = value
        elif name not in _NO_EFFECT:
            raise InvalidInputError(f"url has the parameter {name!a}, which is not known")
        elif not _has_no_effect(name, value):
            raise InvalidInputError(
                f"url asks for a {name} that asyncpg does not have; postgresql+psycopg:// may"
            )
    arguments: dict[str, Any] = {
        "timeout": timeout_s,
        # Statements that the storage prepares have names of its own; see `sql_drivers`.
        "statement_cache_size": 0,
        "prepared_statement_cache_size": 0,
        "prepared_statement_name_func": make_name,
    }
    return arguments | ({"dsn": f"postgresql://?{urlencode(dsn)}"} if dsn else {})


def _has_no_effect(name: str, value: str) -> bool:
    values = _NO_EFFECT[name]
    return values is None or value.lower() in values


def _read_timeout(name: str, value: str) -> float:
    try:
        timeout_s = float(value)
    except ValueError:
        raise InvalidInputError(f"url has a {name} that is no number of seconds") from None
    # To libpq, 0 means to wait for ever.
    return timeout_s if timeout_s > 0 else CONNECT_S


def _read_for_psycopg(url: URL) -> dict[str, Any]:
    """Return what `psycopg.connect` is given: the parameters of libpq, as they are.

    Raises:
        InvalidInputError: libpq does not know a parameter.
    """
    try:
        from psycopg import pq  # noqa: PLC0415 - an optional extra
    except ImportError:
        # Without the binary it needs libpq.
        raise MissingExtraError(
            "psycopg finds no libpq: pip install 'vwo-async[psycopg]'"
        ) from None

    known = {one.keyword.decode() for one in pq.Conninfo.get_defaults()}
    arguments: dict[str, Any] = {"connect_timeout": str(int(CONNECT_S)), "prepare_threshold": None}
    for name, values in url.normalized_query.items():
        if name == "ssl":
            arguments["sslmode"] = values[-1]
        elif name in known:
            arguments[name] = values[-1]
        elif name not in _NO_EFFECT:
            raise InvalidInputError(f"url has the parameter {name!a}, which is not known")
    return arguments


def choose_size(url: URL) -> int:
    """Return how many connections there may be."""
    return SQLITE_POOL_SIZE if url.get_backend_name() == "sqlite" else POOL_SIZE


def _set_wal(connection: Any, record: object) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode = WAL")
    # In this mode it survives the death of a process, and no commit waits for the disk.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.close()


def _refuse_closed(connection: Any, record: object, proxy: object) -> None:
    """Have the pool replace a connection that the server has closed, which costs no round trip to see."""
    if is_closed(connection.driver_connection):
        raise DisconnectionError


def _close_now(connection: Any, record: object) -> None:
    close_now(connection.driver_connection)
