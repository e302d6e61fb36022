"""The faults of a settings file: texts that begin with the path of the field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .model import Campaign

MAX_FAULTS = 20


def list_errors(error: ValidationError) -> list[ErrorDetails]:
    """Return the errors that pydantic found, without values of the file."""
    return error.errors(include_url=False, include_context=False, include_input=False)


def describe(detail: ErrorDetails) -> str:
    """Return the fault as one line."""
    path = ".".join(
        ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in detail["loc"]
    )
    message = detail["msg"].removeprefix("Value error, ")
    return f"{path[:200]}: {message}" if path else message


def describe_all(details: Iterable[ErrorDetails]) -> list[str]:
    """Return the faults as lines."""
    return [describe(one) for one in details]


def find_duplicates(ids: Iterable[int], keys: Iterable[str]) -> Iterator[str]:
    """Yield a fault for each id and each key that several campaigns share."""
    yield from find_repeated("campaigns", "id", ids)
    yield from find_repeated("campaigns", "key", keys)


def find_inner_duplicates(index: int, campaign: Campaign) -> Sequence[str]:
    """Return a fault for each id that several variations or several goals of the campaign share."""
    goals = [goal.id for goal in campaign.goals if goal.id is not None]
    variations = [
        position if variation.id is None else variation.id
        for position, variation in enumerate(campaign.variations, start=1)
    ]
    if len({*goals}) == len(goals) and len({*variations}) == len(variations):
        return ()
    path = f"campaigns.{index}"
    return (
        *find_repeated(f"{path}.variations", "id", variations),
        *find_repeated(f"{path}.goals", "id", goals),
    )


def find_repeated(path: str, field: str, values: Iterable[object]) -> Iterator[str]:
    """Yield a fault for each value that several entries of the list at *path* have in *field*."""
    for times in Counter(values).values():
        if times > 1:
            yield f"{path}: {times} entries have the same {field}"
