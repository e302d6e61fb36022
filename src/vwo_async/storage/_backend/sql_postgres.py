"""Rounds in PostgreSQL: one statement for all reads, and one for all conversions to count.

The statements are text for the driver, with arrays in place of a row each, so that there is one of a kind
however many requests there are. Rows are locked in the order of their keys: rounds of several processes
that meet wait for one another and do not lock each other out.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from typing import Any, TypeAlias

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql

from ..rounds import (
    AssignVariation,
    CountConversion,
    ReadRecord,
    StorageOutcome,
    StorageRequest,
    WithdrawConversion,
)
from .place import place_of
from .sql_drivers import LOCKED, find_code
from .sql_tables import NameCache, escape, make_hash, try_read_record, write_record

Fetch: TypeAlias = Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]]
"""Runs a statement with its arguments and returns the rows."""
Undo: TypeAlias = Callable[[str, Sequence[Any]], Awaitable[None]]
"""Runs a statement with its arguments in a transaction that is rolled back."""

_SAME_RECORD = "{0}.user_hash = {1}.user_hash AND {0}.campaign_hash = {1}.campaign_hash"
_SAME_CLAIM = _SAME_RECORD + " AND {0}.goal_hash = {1}.goal_hash"


def _same_record(one: str, other: str) -> str:
    return _SAME_RECORD.format(one, other)


def _same_claim(one: str, other: str) -> str:
    return _SAME_CLAIM.format(one, other)


def _wrap(goals: str) -> str:
    """Return goals between separators, in which each of them stands between two."""
    return f"'_vwo_' || {goals} || '_vwo_'"


def _holds(goals: str, goal: str) -> str:
    return f"strpos({_wrap(goals)}, {_wrap(goal)}) > 0"


def _add_goal(goal: str) -> str:
    """Return the goals of record r with *goal* among them."""
    return f"""CASE WHEN {_holds("coalesce(r.goal_identifier, '')", goal)} THEN r.goal_identifier
            ELSE concat_ws('_vwo_', nullif(r.goal_identifier, ''), {goal}) END"""


def _gone_hash(row: str) -> str:
    """Return the goal hash under which it is kept that the owner of *row* has withdrawn: that of the owner."""
    return f"sha256(convert_to({row}.owner, 'UTF8'))"


def _join_known(r: str, c: str) -> str:
    """Return the joins by which wanted row w finds its record r, its own claim, and that it was withdrawn."""
    return f"""LEFT JOIN {r} AS r ON {_same_record("r", "w")}
    LEFT JOIN {c} AS own ON {_same_claim("own", "w")} AND own.owner = w.owner
    LEFT JOIN {c} AS gone ON {_same_record("gone", "w")} AND gone.goal_hash = {_gone_hash("w")}"""


_MAY_CLAIM = (
    "gone.owner IS NULL AND (own.owner IS NOT NULL OR r.goal_identifier IS NULL"
    f" OR NOT {_holds('r.goal_identifier', 'w.goal_identifier')})"
)
_UNLESS_CLAIMED = """ON CONFLICT (user_hash, campaign_hash, goal_hash)
        DO UPDATE SET updated_at = now() WHERE c.owner = excluded.owner"""

_KEY = "user_hash, campaign_hash"
_RECORD = f"{_KEY}, user_id, campaign_key, variation_name, goal_identifier, meta_data"
_CLAIM = f"{_KEY}, goal_hash, user_id, campaign_key, goal_identifier"
_NEW = (
    "variation_name = excluded.variation_name, goal_identifier = excluded.goal_identifier,"
    " meta_data = excluded.meta_data, updated_at = now()"
)


def _text_of_read(r: str) -> str:
    """Return what reads many records: their number in the round, and what they hold."""
    return f"""
SELECT w.n, r.variation_name, r.goal_identifier, r.meta_data
FROM unnest($1::bytea[], $2::bytea[]) WITH ORDINALITY AS w (user_hash, campaign_hash, n)
JOIN {r} AS r ON {_same_record("r", "w")}"""


def _text_of_set(r: str) -> str:
    """Return what writes one record, whatever is there."""
    return f"""
INSERT INTO {r} ({_RECORD}) VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (user_hash, campaign_hash) DO UPDATE SET {_NEW}"""


def _text_of_claim(c: str) -> str:
    """Return what claims one conversion, without a mark."""
    return f"""
INSERT INTO {c} ({_CLAIM}) VALUES ($1, $2, $3, $4, $5, $6)
ON CONFLICT (user_hash, campaign_hash, goal_hash) DO NOTHING RETURNING 1"""


def _text_of_release(c: str) -> str:
    """Return what gives one claim back."""
    return f"""
DELETE FROM {c} WHERE user_hash = $1 AND campaign_hash = $2 AND goal_hash = $3"""


def _text_of_assign(r: str) -> str:
    """Return what writes many records where there are none."""
    return f"""
WITH wanted AS (
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::text[], $4::text[], $5::text[], $6::text[],
        $7::text[]) WITH ORDINALITY AS w ({_RECORD}, n)
), kept AS (
    INSERT INTO {r} ({_RECORD})
    SELECT {_RECORD} FROM wanted ORDER BY user_hash, campaign_hash
    ON CONFLICT (user_hash, campaign_hash) DO NOTHING
    RETURNING user_hash, campaign_hash
)
SELECT w.n FROM wanted AS w JOIN kept AS k ON {_same_record("k", "w")}"""


def _text_of_replace(r: str, c: str) -> str:
    """Return what writes one record in place of another with a certain variation, whose claims go."""
    return f"""
WITH kept AS (
    INSERT INTO {r} AS r ({_RECORD}) VALUES ($1, $2, $3, $4, $5, $6, $7)
    ON CONFLICT (user_hash, campaign_hash) DO UPDATE SET {_NEW} WHERE r.variation_name = $8
    RETURNING r.user_hash, r.campaign_hash
), freed AS (
    DELETE FROM {c} AS c USING kept AS k WHERE {_same_record("c", "k")}
        AND c.goal_hash IS DISTINCT FROM {_gone_hash("c")}
)
SELECT user_hash, campaign_hash FROM kept"""


def _text_of_count(r: str, c: str) -> str:
    """Return what claims and marks many conversions."""
    return f"""
WITH wanted AS (
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::text[], $5::text[], $6::text[],
        $7::text[], $8::text[], $9::text[], $10::text[], $11::boolean[]) WITH ORDINALITY
        AS w ({_CLAIM}, owner, variation_name, goals, meta_data, is_new, n)
), claimed AS (
    INSERT INTO {c} AS c ({_CLAIM}, owner)
    SELECT w.user_hash, w.campaign_hash, w.goal_hash, w.user_id, w.campaign_key, w.goal_identifier,
        w.owner
    FROM wanted AS w
    {_join_known(r, c)}
    WHERE w.owner IS NOT NULL AND {_MAY_CLAIM}
    ORDER BY w.user_hash, w.campaign_hash, w.goal_hash
    {_UNLESS_CLAIMED}
    RETURNING c.user_hash, c.campaign_hash, c.goal_hash
), ours AS (
    SELECT w.* FROM wanted AS w LEFT JOIN claimed AS c ON {_same_claim("c", "w")}
    WHERE w.owner IS NULL OR c.goal_hash IS NOT NULL
), {_mark_ours(r)}
SELECT n FROM ours"""


def _mark_ours(r: str) -> str:
    """Return the parts of a statement that mark the conversions in *ours*, with new records where there are none."""
    return f"""locked AS (
    SELECT r.user_hash, r.campaign_hash FROM {r} AS r JOIN ours AS o ON {_same_record("r", "o")}
    ORDER BY r.user_hash, r.campaign_hash FOR NO KEY UPDATE OF r
), marked AS (
    UPDATE {r} AS r SET
        goal_identifier = {_add_goal("o.goal_identifier")},
        variation_name = CASE WHEN o.is_new THEN o.variation_name ELSE r.variation_name END,
        meta_data = CASE WHEN o.is_new THEN o.meta_data ELSE r.meta_data END,
        updated_at = now()
    FROM ours AS o, locked AS l
    WHERE {_same_record("r", "o")} AND {_same_record("l", "o")}
    RETURNING r.user_hash, r.campaign_hash
), added AS (
    INSERT INTO {r} AS r ({_RECORD})
    SELECT o.user_hash, o.campaign_hash, o.user_id, o.campaign_key, o.variation_name, o.goals,
        o.meta_data
    FROM ours AS o LEFT JOIN marked AS m ON {_same_record("m", "o")}
    WHERE o.variation_name IS NOT NULL AND m.user_hash IS NULL
    ORDER BY o.user_hash, o.campaign_hash
    ON CONFLICT (user_hash, campaign_hash) DO UPDATE SET
        goal_identifier = concat_ws('_vwo_', nullif(r.goal_identifier, ''), excluded.goal_identifier),
        updated_at = now()
)"""


def _text_of_count_one(r: str, c: str) -> str:
    """Return what claims and marks one conversion of a known user, with less to sort, lock and join."""
    return f"""
WITH w AS (
    SELECT $1::bytea AS user_hash, $2::bytea AS campaign_hash, $3::bytea AS goal_hash,
        $4::text AS user_id, $5::text AS campaign_key, $6::text AS goal_identifier, $7::text AS owner
), claimed AS (
    INSERT INTO {c} AS c ({_CLAIM}, owner)
    SELECT w.* FROM w
    {_join_known(r, c)}
    WHERE {_MAY_CLAIM}
    {_UNLESS_CLAIMED}
    RETURNING c.user_hash, c.campaign_hash, c.goal_identifier
), marked AS (
    UPDATE {r} AS r SET
        goal_identifier = {_add_goal("k.goal_identifier")},
        updated_at = now()
    FROM claimed AS k WHERE {_same_record("r", "k")}
)
SELECT 1 FROM claimed"""


def _text_of_withdraw(r: str, c: str) -> str:
    """Return what takes many claims and marks back.

    A claim that is not there may be on its way, on a connection that was slow and is cut by now: that its
    owner has withdrawn is kept in a row beside the claims, so that it is not made any more.
    """
    # The goals without one, still between separators.
    rest = f"replace({_wrap('r.goal_identifier')}, {_wrap('m.goal_identifier')}, '_vwo_')"
    return f"""
WITH wanted AS (
    SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::text[], $5::text[], $6::text[],
        $7::text[]) WITH ORDINALITY AS w ({_CLAIM}, owner, n)
), found AS (
    SELECT w.n, c.user_hash, c.campaign_hash, c.goal_hash, c.owner
    FROM {c} AS c JOIN wanted AS w ON {_same_claim("c", "w")}
    ORDER BY c.user_hash, c.campaign_hash, c.goal_hash FOR UPDATE OF c
), mine AS (
    SELECT w.* FROM wanted AS w LEFT JOIN found AS f ON f.n = w.n
    WHERE (f.n IS NULL AND w.owner IS NULL)
        OR (f.n IS NOT NULL AND f.owner IS NOT DISTINCT FROM w.owner)
), freed AS (
    DELETE FROM {c} AS c USING mine AS m WHERE {_same_claim("c", "m")}
), kept AS (
    INSERT INTO {c} ({_CLAIM}, owner)
    SELECT w.user_hash, w.campaign_hash, {_gone_hash("w")}, w.user_id, w.campaign_key,
        w.goal_identifier, w.owner
    FROM wanted AS w LEFT JOIN mine AS m ON m.n = w.n
    WHERE w.owner IS NOT NULL AND m.n IS NULL
    ORDER BY 1, 2, 3
    ON CONFLICT (user_hash, campaign_hash, goal_hash) DO NOTHING
), locked AS (
    SELECT r.user_hash, r.campaign_hash FROM {r} AS r JOIN mine AS m ON {_same_record("r", "m")}
    ORDER BY r.user_hash, r.campaign_hash FOR NO KEY UPDATE OF r
), unmarked AS (
    UPDATE {r} AS r
    SET goal_identifier = nullif(substr({rest}, 6, greatest(length({rest}) - 10, 0)), '')
    FROM mine AS m, locked AS l
    WHERE {_same_record("r", "m")} AND {_same_record("l", "m")}
        AND {_holds("r.goal_identifier", "m.goal_identifier")}
)
SELECT n FROM mine"""


def _text_of_meet(c: str) -> str:
    """Return what waits for claims that another connection is making at this moment; to be rolled back."""
    return f"""
INSERT INTO {c} ({_CLAIM}, owner)
SELECT {_CLAIM}, owner FROM unnest($1::bytea[], $2::bytea[], $3::bytea[], $4::text[], $5::text[],
    $6::text[], $7::text[]) AS w ({_CLAIM}, owner)
ORDER BY 1, 2, 3
ON CONFLICT (user_hash, campaign_hash, goal_hash) DO NOTHING"""


class PostgresText:
    """The statements about two tables."""

    def __init__(self, records: Table, claims: Table) -> None:
        self._names = NameCache()
        quote = postgresql.dialect().identifier_preparer.format_table  # type: ignore[no-untyped-call]
        r, c = quote(records), quote(claims)
        self.read = _text_of_read(r)
        self.set = _text_of_set(r)
        self.claim = _text_of_claim(c)
        self.release = _text_of_release(c)
        self.assign = _text_of_assign(r)
        self.replace = _text_of_replace(r, c)
        self.count = _text_of_count(r, c)
        self.count_one = _text_of_count_one(r, c)
        self.withdraw = _text_of_withdraw(r, c)
        self.meet = _text_of_meet(c)

    async def run_round(
        self, fetch: Fetch, undo: Undo, requests: Sequence[StorageRequest]
    ) -> list[StorageOutcome]:
        """Answer *requests*, of which none or all are reads."""
        rows: dict[int, tuple[Any, ...]] = {}
        outcomes: list[StorageOutcome] = [None] * len(requests)
        for number, one in enumerate(requests):
            try:
                rows[number] = self._make_row(one)
            except Exception as error:  # noqa: BLE001 - a record may hold anything
                # What no row can hold is the trouble of this one alone.
                outcomes[number] = error
        for numbers in _split(requests, rows):
            parts: dict[str, list[int]] = {}
            for number in numbers:
                parts.setdefault(_name_of(requests[number]), []).append(number)
            for name, some in parts.items():
                found = await self._run(fetch, undo, name, [rows[one] for one in some])
                for number, outcome in zip(some, found, strict=True):
                    outcomes[number] = outcome
        return [
            try_read_record(*one, outcomes[number])
            if isinstance(one, ReadRecord)
            else outcomes[number]
            for number, one in enumerate(requests)
        ]

    def _make_row(self, request: StorageRequest) -> tuple[Any, ...]:
        """Return the values that the statement takes for *request*."""
        find = self._names.find
        if isinstance(request, ReadRecord):
            return make_hash(request.user_id), find(request.campaign_key)[0]
        if isinstance(request, AssignVariation):
            data, replaced = request
            keys = make_hash(data["userId"]), make_hash(data["campaignKey"])
            row = (*keys, *write_record(data))
            return row if replaced is None else (*row, escape(replaced))
        user_id, owner = request.user_id, request.owner or None
        campaign_hash, campaign = find(request.campaign_key)
        goal_hash, goal = find(request.goal_identifier)
        hashes = make_hash(user_id), campaign_hash, goal_hash
        if isinstance(request, WithdrawConversion):
            return (*hashes, escape(user_id), campaign, goal, owner)
        record = (None, None, None) if request.data is None else write_record(request.data)[2:]
        return (*hashes, escape(user_id), campaign, goal, owner, *record, request.is_new)

    async def _run(
        self, fetch: Fetch, undo: Undo, name: str, rows: Sequence[tuple[Any, ...]]
    ) -> list[Any]:
        """Return what statement *name* says of each row: what follows its number, True where nothing does."""
        if name == "replace":
            return [bool(await fetch(self.replace, row)) for row in rows]
        if name == "count" and len(rows) == 1 and _is_of_known_user(rows[0]):
            return [bool(await fetch(self.count_one, rows[0][:7]))]
        found = await self._run_once(fetch, name, rows)
        if name == "withdraw":
            await self._withdraw_late(fetch, undo, rows, found)
        return found

    async def _run_once(
        self, fetch: Fetch, name: str, rows: Sequence[tuple[Any, ...]]
    ) -> list[Any]:
        found = {row[0]: row[1:] or True for row in await fetch(getattr(self, name), _turn(rows))}
        return [found.get(number, False) for number in range(1, len(rows) + 1)]

    async def _withdraw_late(
        self, fetch: Fetch, undo: Undo, rows: Sequence[tuple[Any, ...]], found: list[Any]
    ) -> None:
        """Take back, too, what is being claimed at this moment on a connection that was cut.

        Its server goes on with it, and nobody sees the claim before it has ended. None begins any more.

        Args:
            fetch: Runs a statement.
            undo: Runs one without effect.
            rows: What was to be taken back.
            found: Whether it was; set where it is now, to an error where nobody can tell yet.
        """
        late = [n for n, row in enumerate(rows) if row[6] is not None and not found[n]]
        if not late:
            return
        missed = [rows[number] for number in late]
        again: list[Any]
        try:
            await undo(self.meet, _turn(missed))
            again = await self._run_once(fetch, "withdraw", missed)
        except Exception as error:
            if find_code(error) != LOCKED:
                raise
            again = [error] * len(late)
        for number, outcome in zip(late, again, strict=True):
            found[number] = outcome


def _turn(rows: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Return the columns of *rows*."""
    return [list(column) for column in zip(*rows, strict=True)]


def _is_of_known_user(row: Sequence[Any]) -> bool:
    """Tell whether a row to count has an owner and no record to write."""
    return row[6] is not None and row[7] is None


def _name_of(request: StorageRequest) -> str:
    """Return the statement that answers *request*."""
    if isinstance(request, AssignVariation) and request.replaced is not None:
        return "replace"
    return _STATEMENTS[type(request)]


_STATEMENTS: dict[type, str] = {
    ReadRecord: "read",
    AssignVariation: "assign",
    CountConversion: "count",
    WithdrawConversion: "withdraw",
}


def _split(requests: Sequence[StorageRequest], numbers: Iterable[int]) -> Iterator[list[int]]:
    """Yield the numbers of requests that can go in one statement: no two that write the same record."""
    waiting = list(numbers)
    while waiting:
        places: set[tuple[str, str]] = set()
        taken, left = [], []
        for number in waiting:
            one = requests[number]
            place = place_of(one)
            if place in places and not isinstance(one, ReadRecord):
                left.append(number)
            else:
                places.add(place)
                taken.append(number)
        yield taken
        waiting = left
