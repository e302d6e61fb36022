"""Reads requests of the wire format: events, and requests for the settings file."""

from __future__ import annotations

from dataclasses import replace

from .batch import read_batch
from .error import WireError
from .event import read_event
from .field import Fields, read_query
from .fme_event import read_fme_batch, read_fme_event
from .product import Account, Product
from .received import Received
from .request import Endpoint, WireRequest, locate
from .rule import Rules
from .settings_files import SettingsFiles
from .single import read_push, read_track_goal, read_track_user

__all__ = ["parse", "read_retrieval"]

_COMMON = frozenset({"a", "i", "r", "platform", "api-version"})
_RETRIEVAL = _COMMON | {"sdk", "sdk-v"}
# In their development mode the SDKs of FME leave out s.
_V2_RETRIEVAL = _COMMON | {"sn", "sv", "s"}

_READERS = {
    Endpoint.TRACK_USER: read_track_user,
    Endpoint.TRACK_GOAL: read_track_goal,
    Endpoint.PUSH: read_push,
}
_EVENT_READERS = {Product.FULLSTACK: read_event, Product.FME: read_fme_event}
_BATCH_READERS = {Endpoint.BATCH: read_batch, Endpoint.BATCH_V2: read_fme_batch}


def parse(request: WireRequest, files: SettingsFiles, rules: Rules) -> tuple[Received, ...]:
    """Return the events of a tracking request. For requests of a settings file see `read_retrieval`.

    Args:
        request: The request.
        files: The settings files, of which one is about this request.
        rules: What is checked, still without a settings file.

    Returns:
        One event for each item of a batch; one for any other call.

    Raises:
        WireError: The request does not follow the wire format.
    """
    endpoint, prefix = locate(request)
    fields = read_query(request.query)
    product = _find_product(endpoint, fields, files)
    account_id = fields.values.get("a", fields.values.get("account_id"))
    file = files.find(product, account_id, fields.values.get("env"))
    account = Account(product, str(account_id)) if file is None else file.account
    rules = replace(rules, catalogue=file, account=account)
    rules.check_prefix(endpoint, prefix)
    if endpoint in _BATCH_READERS:
        return _BATCH_READERS[endpoint](request, fields, rules)
    read = _EVENT_READERS[product] if endpoint is Endpoint.EVENT else _READERS[endpoint]
    return (read(request, fields, rules),)


def _find_product(endpoint: Endpoint, fields: Fields, files: SettingsFiles) -> Product:
    """Return whose SDK has sent a request; where both share a path, by how it names itself, or by its key."""
    if endpoint.product is not None:
        return endpoint.product
    if "sn" in fields or "sv" in fields:
        return Product.FME
    return files.guess_product(fields.values.get("env"))


def read_retrieval(request: WireRequest, files: SettingsFiles, rules: Rules) -> bytes:
    """Check a request for a settings file, and return the file.

    Raises:
        WireError: The request is wrong: status 401 if account or SDK key differ from the settings file,
            404 if there is no file of this product, else 400.
    """
    endpoint, prefix = locate(request)
    product = endpoint.product or Product.FULLSTACK
    rules.check_prefix(endpoint, prefix)
    fields = read_query(request.query)
    _check_retrieval(fields, rules, is_v2=product is Product.FME)
    file = files.find(product, fields.filled("a"), fields.filled("i"))
    if file is None:
        raise WireError("path", "this collector was given no settings file", 404)
    rules = replace(rules, catalogue=file)
    try:
        rules.check_account(fields, "a")
        rules.check_key(fields, "i")
    except WireError as error:
        raise WireError(error.field, error.problem, 401) from None
    return file.source


def _check_retrieval(fields: Fields, rules: Rules, *, is_v2: bool) -> None:
    rules.check_only(fields, _V2_RETRIEVAL if is_v2 else _RETRIEVAL)
    fields.check_equal("platform", "server", "must be server")
    fields.check_random("r")
    if is_v2:
        rules.check_sdk(fields, "sn", "sv")
        fields.check_equal("api-version", "1", "must be 1")
        if "s" in fields:
            fields.check_equal("s", "prod", "must be prod")
    else:
        rules.check_sdk(fields)
