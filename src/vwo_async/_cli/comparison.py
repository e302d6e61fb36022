"""What a new settings file changes for users: who gets another variation or other variables, and of what."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .exit_code import CommandError
from .subject import Subject

# So many ids of each change are named.
MAX_NAMED = 5


class Change(NamedTuple):
    """What changes for some users.

    Attributes:
        key: Of which campaign or feature.
        before: The variation by the old file, None for none.
        after: The variation by the new file.
        differs: What of it is another: ``variation``; or where that stays, ``is_on`` and the keys of variables.
    """

    key: str
    before: str | None
    after: str | None
    differs: tuple[str, ...]


class Gift(NamedTuple):
    """What a user gets of one campaign or feature.

    Attributes:
        variation: Its name, None for none.
        is_on: Whether the feature is on.
        values: The variables by key.
    """

    variation: str | None
    is_on: bool
    values: Mapping[str, Any]


NOTHING = Gift(None, False, {})


@dataclass
class Comparison:
    """How many users a new file gives something else.

    Attributes:
        users: How many were looked at.
        affected: How many of them get another variation of anything, or other variables with it.
        changes: How many are affected by each change.
        named: For each change, the ids of the first of them.
    """

    users: int = 0
    affected: int = 0
    changes: Counter[Change] = field(default_factory=Counter)
    named: dict[Change, list[str]] = field(default_factory=dict)

    def add(self, user_id: str, changes: Iterable[Change]) -> None:
        """Count one user."""
        self.users += 1
        found = list(changes)
        self.affected += bool(found)
        for one in found:
            self.changes[one] += 1
            ids = self.named.setdefault(one, [])
            if len(ids) < MAX_NAMED:
                ids.append(user_id)

    def as_json(self) -> dict[str, Any]:
        """Return all of it as JSON can hold it."""
        changes = [
            {**one._asdict(), "users": number, "examples": self.named[one]}
            for one, number in self.changes.most_common()
        ]
        return {"users": self.users, "affected": self.affected, "changes": changes}


def compare(old: Subject, new: Subject, users: Iterable[Any]) -> Comparison:
    """Decide everything by both files for all *users*.

    Raises:
        CommandError: The files are of different products.
    """
    if old.product != new.product:
        raise CommandError(
            f"the files are of {old.product} and {new.product}: give two of one product"
        )
    keys = list(dict.fromkeys((*old.keys, *new.keys)))
    pairs = [(key, _make_giver(old, key), _make_giver(new, key)) for key in keys]
    comparison = Comparison()
    for user in users:
        decided = ((key, before(user), after(user)) for key, before, after in pairs)
        comparison.add(user.id, (_describe(*one) for one in decided if one[1] != one[2]))
    return comparison


def _describe(key: str, before: Gift, after: Gift) -> Change:
    differs = ["variation"] if before.variation != after.variation else _list_changed(before, after)
    return Change(key, before.variation, after.variation, tuple(differs))


def _list_changed(before: Gift, after: Gift) -> list[str]:
    keys = dict.fromkeys((*before.values, *after.values))
    changed = [one for one in keys if before.values.get(one) != after.values.get(one)]
    return [*(["is_on"] if before.is_on != after.is_on else []), *changed]


def _make_giver(subject: Subject, key: str) -> Callable[[Any], Gift]:
    """Return a function from a user to what he gets."""
    if key not in subject.keys:
        return lambda user: NOTHING
    decider, known = subject.make_decider(key), dict[Any, Gift]()

    def give(user: Any) -> Gift:
        decided = decider(user)
        gift = known.get(decided)
        if gift is None:
            outcome = subject.read_outcome(decided)
            gift = Gift(outcome.variation, outcome.is_on, subject.read_values(decided))
            known[decided] = gift
        return gift

    return give
