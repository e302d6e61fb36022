"""The error for a request that does not follow the wire format."""

from __future__ import annotations

__all__ = ["WireError"]


class WireError(Exception):
    """A request does not follow the wire format.

    The text names the field and never holds a received value, since a value may be the SDK key or
    identify a visitor.

    Args:
        field: The field, such as ``u``, ``ev[3].sId`` or ``d.event.props.id``.
        problem: What is wrong with it, as a phrase.
        status: The HTTP status to answer with.
    """

    def __init__(self, field: str, problem: str, status: int = 400) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.status = status
