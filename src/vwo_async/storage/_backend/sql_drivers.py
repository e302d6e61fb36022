"""Running a statement on a connection of a driver, without what SQLAlchemy does for each.

Statements commit themselves. Behind a pooler that gives each transaction another connection, as PgBouncer
does in transaction mode, a statement that asyncpg has prepared is on a connection that is not ours any more.
They have names that nobody else gives, so that none can be taken for another, and the first that is missed
shows that there is such a pooler: from then on each is prepared and run in a transaction of its own.
psycopg sends a statement with its values at once, which any pooler passes on.
"""

from __future__ import annotations

import asyncio
import os
import re
import socket
import uuid
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from typing import Any, Final

# How long to wait for what another connection is about to do.
LOCK_S: Final = 0.1
# It had a lock for longer.
LOCKED: Final = "55P03"
# The statement is not there, or there is one of that name.
_MISSED = frozenset({"26000", "42P05"})
# It is there, and gives columns of other types than when it was prepared: a table has changed.
_OUTDATED = "0A000"
_PLACEHOLDER = re.compile(r"\$\d+")


class PostgresDriver:
    """Runs statements on connections of asyncpg or psycopg.

    Args:
        name: Which of them.
    """

    def __init__(self, name: str) -> None:
        self._is_psycopg = name.startswith("psycopg")
        self._texts: dict[str, str] = {}
        self._is_pooled = False

    async def fetch(
        self,
        driver: Any,
        prepared: MutableMapping[str, Any],
        statement: str,
        arguments: Sequence[Any],
    ) -> Sequence[Any]:
        """Return the rows of *statement*.

        Args:
            driver: The connection.
            prepared: What was prepared on it, by statement.
            statement: With ``$1`` and so on for its arguments, each once and in their order.
            arguments: A value for each.
        """
        if self._is_psycopg:
            return await self._fetch_by_psycopg(driver, statement, arguments)
        if not self._is_pooled:
            try:
                return await _fetch_prepared(driver, prepared, statement, arguments)
            except Exception as error:
                code = getattr(error, "sqlstate", None)
                if code not in _MISSED and code != _OUTDATED:
                    raise
            # The statement was not run, so that it can be now; after one that was missed, all go below at once.
            if code == _OUTDATED:
                return await _fetch_prepared(driver, prepared, statement, arguments)
            self._is_pooled = True
        async with driver.transaction():
            unnamed = await driver.prepare(statement, name="")
            rows: Sequence[Any] = await unnamed.fetch(*arguments)
        return rows

    async def run_and_undo(self, driver: Any, statement: str, arguments: Sequence[Any]) -> None:
        """Run *statement* in a transaction that is rolled back: what it waits for has then ended.

        It waits for no lock longer than `LOCK_S`, and fails then.
        """
        limit = f"SET LOCAL lock_timeout = {int(LOCK_S * 1000)}"
        if self._is_psycopg:
            async with driver.transaction(force_rollback=True):
                await driver.execute(limit)
                await self._fetch_by_psycopg(driver, statement, arguments)
            return
        transaction = driver.transaction()
        await transaction.start()
        try:
            await driver.execute(limit)
            unnamed = await driver.prepare(statement, name="")
            await unnamed.fetch(*arguments)
        finally:
            await transaction.rollback()

    async def _fetch_by_psycopg(
        self, driver: Any, statement: str, arguments: Sequence[Any]
    ) -> Sequence[Any]:
        from psycopg.rows import tuple_row  # noqa: PLC0415 - an optional extra

        text = self._texts.get(statement)
        if text is None:
            escaped = statement.replace("%", "%%")
            text = self._texts[statement] = _PLACEHOLDER.sub("%s", escaped)
        async with driver.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(text, arguments, prepare=False)
            rows: Sequence[Any] = await cursor.fetchall() if cursor.description else ()
        return rows


def make_name() -> str:
    """Return a name for a prepared statement that nobody else gives, on this connection or another."""
    return f"vwo_{uuid.uuid4().hex}"


async def _fetch_prepared(
    driver: Any, prepared: MutableMapping[str, Any], statement: str, arguments: Sequence[Any]
) -> Sequence[Any]:
    one = prepared.get(statement)
    if one is None:
        one = await driver.prepare(statement, name=make_name())
        prepared[statement] = one
    try:
        rows: Sequence[Any] = await one.fetch(*arguments)
    except Exception:
        # Whatever is wrong with it, the next one is prepared anew.
        prepared.pop(statement, None)
        raise
    return rows


def find_code(error: BaseException) -> str:
    """Return the SQLSTATE of PostgreSQL or the name of SQLite's code; empty where there is none."""
    for one in (error, getattr(error, "orig", None)):
        code = getattr(one, "sqlstate", None) or getattr(one, "sqlite_errorname", None)
        if code:
            return str(code)
    return ""


def is_closed(driver: Any) -> bool:
    """Tell whether a connection of a driver is known to be closed."""
    if hasattr(driver, "is_closed"):
        return bool(driver.is_closed())
    return bool(getattr(driver, "closed", False))


async def stop(driver: Any) -> None:
    """Ask the server to stop what a connection waits for, which then fails there.

    A connection that is cut is noticed by the server only when it has an answer: what waits for a lock
    until then happens all the same.
    """
    with suppress(Exception):
        if hasattr(driver, "_cancel"):
            # asyncpg does this itself where a call is cancelled, but does not tell when that has ended.
            await driver._cancel(asyncio.get_running_loop().create_future())  # noqa: SLF001
        elif hasattr(driver, "cancel_safe"):
            await driver.cancel_safe(timeout=1.0)


def terminate(driver: Any) -> bool:
    """Cut a connection, if it goes over a network; whoever waits for an answer on it is told."""
    if hasattr(driver, "terminate"):
        driver.terminate()
        return True
    if hasattr(driver, "pgconn"):
        _shut(driver)
        return True
    return False


def close_now(driver: Any) -> None:
    """Close a connection that nobody uses, without a good-bye, which waits for a server that may hang."""
    if hasattr(driver, "terminate"):
        driver.terminate()
    else:
        driver.pgconn.finish()


def _shut(driver: Any) -> None:
    """Cut a connection of psycopg: its loop sees the end of the socket, where it would not see it closed."""
    with suppress(Exception), socket.socket(fileno=os.dup(driver.fileno())) as copy:
        copy.shutdown(socket.SHUT_RDWR)
