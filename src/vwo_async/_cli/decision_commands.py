"""The commands that ask what users get: decide, explain, simulate, users, diff."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter
from cyclopts.types import PositiveInt
from cyclopts.validators import Number

from .chart import draw_svg, make_chart
from .comparison import Comparison, compare
from .exit_code import CommandError, ExitCode
from .explanation_tree import make_tree
from .output import Output, make_table
from .sample_ratio import Share
from .simulation import Simulation, show_outcome
from .simulation import simulate as simulate_users
from .source import FileName, Source, load_file
from .subject import Outcome, Subject
from .users import Attributes, Population

_SOURCE = Source()
_OUTPUT = Output()
_ATTRIBUTES = Attributes()
_POPULATION = Population()
# So many made-up users in a row may not get what is looked for.
MAX_TRIED = 1_000_000
ON, OFF, NONE = "on", "off", "none"


def decide(
    user_id: str,
    /,
    *keys: str,
    seed: str | None = None,
    attributes: Attributes = _ATTRIBUTES,
    source: Source = _SOURCE,
    output: Output = _OUTPUT,
) -> int:
    """Show what a user gets, as new: without a user storage.

    Args:
        user_id: The user.
        keys: Campaigns or features; all where none is named.
        seed: The bucketing seed, of FME alone.
    """
    subject, user = _prepare(user_id, seed, attributes, source)
    found = [(key, _decide(subject, key, user)) for key in _choose(subject, keys)]
    data = {
        key: {
            **show_outcome(one),
            "variables": subject.read_values(subject.make_decider(key)(user)),
        }
        for key, one in found
    }
    rows = [
        (key, one.variation or "-", "on" if one.is_on else "off", one.reason.value, one.rule)
        for key, one in found
    ]
    output.show(data, make_table((subject.noun, "variation", "state", "reason", "rule"), rows))
    return ExitCode.OK


def explain(
    user_id: str,
    /,
    *keys: str,
    seed: str | None = None,
    attributes: Attributes = _ATTRIBUTES,
    source: Source = _SOURCE,
    output: Output = _OUTPUT,
) -> int:
    """Show why a user gets what he gets: each step, with hash, bucket value and range.

    Args:
        user_id: The user.
        keys: Campaigns or features; all where none is named.
        seed: The bucketing seed, of FME alone.
    """
    subject, user = _prepare(user_id, seed, attributes, source)
    found = {key: subject.explain(key, user) for key in _choose(subject, keys)}
    data = {key: one.as_json() for key, one in found.items()}
    output.show(data, *(make_tree(key, one) for key, one in found.items()))
    return ExitCode.OK


def simulate(
    key: str,
    /,
    *,
    svg: Path | None = None,
    alpha: Annotated[float, Parameter(validator=Number(gt=0, lt=1))] = 0.001,
    attributes: Attributes = _ATTRIBUTES,
    population: Population = _POPULATION,
    source: Source = _SOURCE,
    output: Output = _OUTPUT,
) -> int:
    """Send many users through a campaign or feature, and test the split.

    Args:
        key: The campaign or feature.
        svg: Write the chart to this file.
        alpha: A smaller p-value is a sample ratio mismatch.
    """
    subject = source.load()
    users = population.make_users(subject, attributes)
    result = simulate_users(subject, subject.check_key(key), users, alpha)
    if svg is not None:
        splits = [(_title(key, one.name), one.verdict, one.shares) for one in result.splits]
        shown = splits or [(key, "all users", _count_all(result))]
        svg.write_text(draw_svg(shown), encoding="utf-8")
    output.show(result.as_json(), *_show_simulation(result))
    return ExitCode.FOUND if result.is_mismatch else ExitCode.OK


def find_users(
    key: str,
    /,
    *,
    variation: str,
    count_: Annotated[PositiveInt, Parameter(name="--count", alias="-c")] = 10,
    file: Annotated[str, Parameter(name="--users", alias="-u", allow_leading_hyphen=True)] = "",
    prefix: str = "user-",
    attributes: Attributes = _ATTRIBUTES,
    source: Source = _SOURCE,
    output: Output = _OUTPUT,
) -> int:
    """List ids of users who get a variation, for tests and for trying it out.

    Args:
        key: The campaign or feature.
        variation: Its name; or on, off, none.
        count_: How many.
        file: A file of users to choose from, as for simulate; without it they are made up.
        prefix: What the ids of made-up users begin with.
    """
    subject = source.load()
    _check_variation(subject, subject.check_key(key), variation)
    if file:
        users = Population(users=file).make_users(subject, attributes)
    else:
        shared = attributes.make_fields("")
        subject.check_fields(shared)
        users = subject.make_users((f"{prefix}{number}" for number in count(1)), shared)
    found = list(islice(_choose_users(subject, key, variation, users), count_))
    output.show(found, "\n".join(found) or f"nobody gets {variation} of {key}")
    return ExitCode.OK if found else ExitCode.FOUND


def diff(
    old: FileName,
    new: FileName,
    /,
    *,
    attributes: Attributes = _ATTRIBUTES,
    population: Population = _POPULATION,
    output: Output = _OUTPUT,
) -> int:
    """Show which users a new settings file gives something else.

    Args:
        old: The settings file before.
        new: The settings file after.
    """
    before, after = load_file(old), load_file(new)
    result = compare(before, after, population.make_users(after, attributes))
    output.show(result.as_json(), *_show_comparison(result))
    return ExitCode.FOUND if result.changes else ExitCode.OK


def _prepare(
    user_id: str, seed: str | None, attributes: Attributes, source: Source
) -> tuple[Subject, Any]:
    subject, fields = source.load(), attributes.make_fields(user_id, seed)
    subject.check_fields(fields)
    return subject, subject.make_user(fields)


def _choose(subject: Subject, keys: Sequence[str]) -> Sequence[str]:
    return [subject.check_key(key) for key in keys] or subject.keys


def _decide(subject: Subject, key: str, user: Any) -> Outcome:
    return subject.read_outcome(subject.make_decider(key)(user))


def _show_simulation(result: Simulation) -> Iterator[Any]:
    for one in result.splits:
        yield make_chart(_title(result.key, one.name), one.shares)
        yield one.verdict
    has_rules = any(one.rule for one, _ in result.outcomes)
    rows = [
        (
            one.variation or "-",
            one.reason.value,
            *((one.rule,) if has_rules else ()),
            f"{number:,}",
            _share(number, result),
        )
        for one, number in result.outcomes
    ]
    rule = ("rule",) if has_rules else ()
    yield make_table(("variation", "reason", *rule, "users ", "share "), rows, "all users")
    yield f"{result.users:,} users, {result.users_per_s:,.0f} a second"


def _title(key: str, split: str) -> str:
    return key if key == split else f"{key}: {split}"


def _share(number: int, result: Simulation) -> str:
    return f"{number / result.users:.2%}"


def _count_all(result: Simulation) -> list[Share]:
    return [Share(one.variation or one.reason.value, n, n) for one, n in result.outcomes]


def _check_variation(subject: Subject, key: str, variation: str) -> None:
    names = subject.list_variations(key)
    if variation not in (*names, ON, OFF, NONE):
        known = ", ".join((*names, ON, OFF, NONE))
        raise CommandError(f"{key!r} has no variation {variation!r}: it has {known}")


def _choose_users(subject: Subject, key: str, wanted: str, users: Any) -> Iterator[str]:
    decider, missed = subject.make_decider(key), 0
    for user in users:
        if _is_wanted(subject.read_outcome(decider(user)), wanted):
            missed = 0
            yield user.id
        else:
            missed += 1
            if missed == MAX_TRIED:
                return


def _is_wanted(outcome: Outcome, wanted: str) -> bool:
    # The name of a variation goes before the words for a state.
    if outcome.variation == wanted:
        return True
    if wanted == NONE:
        return outcome.variation is None
    return wanted in (ON, OFF) and outcome.is_on is (wanted == ON)


def _show_comparison(result: Comparison) -> Iterator[Any]:
    if result.changes:
        rows = [
            (
                one.key,
                one.before or "-",
                one.after or "-",
                ", ".join(one.differs),
                f"{number:,}",
                ", ".join(result.named[one]),
            )
            for one, number in result.changes.most_common()
        ]
        yield make_table(("key", "before", "after", "differs", "users ", "such as"), rows)
    yield f"{result.affected:,} of {result.users:,} users get something else"
