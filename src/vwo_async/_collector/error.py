"""Why a request does not follow the wire format."""

from __future__ import annotations

__all__ = ["WireError"]


class WireError(Exception):
    """A request that VWO's servers should never be sent.

    The text names fields by their place in the wire format and never repeats what was received: a
    value may be the SDK key or tell who a visitor is.

    Args:
        field: The place of the fault, such as ``u``, ``ev[3].sId`` or ``d.event.props.id``.
        problem: What is wrong there, as a phrase.
        status: The HTTP status to answer with.
    """

    def __init__(self, field: str, problem: str, status: int = 400) -> None:
        super().__init__(f"{field}: {problem}")
        self.field = field
        self.problem = problem
        self.status = status
