"""Counted things, in English."""


def count_of(number: int, noun: str) -> str:
    """Return how many of a *noun* in the singular there are: ``1 rule``, ``2 rules``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
