"""What is wrong with a settings file, each fault a text that begins with the path of the field."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .model import Campaign, Variation

MAX_FAULTS = 20


def list_errors(error: ValidationError) -> list[ErrorDetails]:
    """Return what pydantic found, without any value of the file."""
    return error.errors(include_url=False, include_context=False, include_input=False)


def describe(detail: ErrorDetails) -> str:
    """Return the fault in one line."""
    path = ".".join(
        ascii(part)[1:-1] if isinstance(part, str) else str(part) for part in detail["loc"]
    )
    message = detail["msg"].removeprefix("Value error, ")
    return f"{path[:200]}: {message}" if path else message


def find_twins(ids: Iterable[int], keys: Iterable[str]) -> Iterator[str]:
    """Yield a fault for each id and key that several campaigns have."""
    yield from _repeated("campaigns", "id", ids)
    yield from _repeated("campaigns", "key", keys)


def find_inner_twins(index: int, campaign: Campaign) -> Iterator[str]:
    """Yield a fault for each id that several variations or goals of the campaign have."""
    path = f"campaigns.{index}"
    yield from _repeated(f"{path}.variations", "id", _numbers(campaign.variations))
    yield from _repeated(f"{path}.goals", "id", (goal.id for goal in campaign.goals))


def _numbers(variations: Sequence[Variation]) -> Iterator[int]:
    for position, variation in enumerate(variations, start=1):
        yield position if variation.id is None else variation.id


def _repeated(path: str, field: str, values: Iterable[object]) -> Iterator[str]:
    counts = Counter(value for value in values if value is not None)
    for times in counts.values():
        if times > 1:
            yield f"{path}: {times} entries have the same {field}"
