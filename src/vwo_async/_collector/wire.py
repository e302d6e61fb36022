"""Reads requests of the wire format: events, and requests for the settings file."""

from __future__ import annotations

from .batch import read_batch
from .error import WireError
from .event import read_event
from .field import read_query
from .received import Received
from .request import Endpoint, WireRequest, locate
from .rule import Rules
from .single import read_push, read_track_goal, read_track_user

__all__ = ["check_retrieval", "parse"]

_RETRIEVAL = frozenset({"a", "i", "r", "platform", "sdk", "sdk-v", "api-version"})


_READERS = {
    Endpoint.TRACK_USER: read_track_user,
    Endpoint.TRACK_GOAL: read_track_goal,
    Endpoint.PUSH: read_push,
    Endpoint.EVENT: read_event,
}


def parse(request: WireRequest, rules: Rules) -> tuple[Received, ...]:
    """Return the events of a tracking request. For requests of the settings file see `check_retrieval`.

    Returns:
        One event for each item of a batch; one for any other call.

    Raises:
        WireError: The request does not follow the wire format.
    """
    endpoint, prefix = locate(request)
    rules.check_prefix(endpoint, prefix)
    fields = read_query(request.query)
    if endpoint is Endpoint.BATCH:
        return read_batch(request, fields, rules)
    return (_READERS[endpoint](request, fields, rules),)


def check_retrieval(request: WireRequest, rules: Rules) -> None:
    """Check a request for the settings file.

    Raises:
        WireError: The request is wrong: status 401 if account or SDK key differ from the settings file,
            else 400.
    """
    endpoint, prefix = locate(request)
    rules.check_prefix(endpoint, prefix)
    fields = read_query(request.query)
    rules.check_only(fields, _RETRIEVAL)
    fields.check_equal("platform", "server", "must be server")
    fields.check_random("r")
    rules.check_sdk(fields)
    fields.filled("a")
    fields.filled("i")
    try:
        rules.check_account(fields, "a")
        rules.check_key(fields, "i")
    except WireError as error:
        raise WireError(error.field, error.problem, 401) from None
