"""What VWO's gateway service answers to SDKs of FME: places and browsers, lists, and aliases."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

from .error import WireError
from .field import Fields, load_json, read_json, read_query
from .product import Product
from .request import WireRequest
from .rule import Rules
from .settings_files import SettingsFiles

__all__ = ["GatewayData", "answer_gateway", "is_of_gateway"]

_DETAILS, _LIST = "/get-user-details", "/check-attribute"
_SET_ALIAS, _FIND_USER = "/user-alias/setUserAlias", "/user-alias/getAliasUserId"
_ACCOUNT = frozenset({"accountId", "sdkKey"})

Texts = Mapping[str, str]

_KINDS: Mapping[str, type] = {
    "lists": list,
    "locations": dict,
    "user_agents": dict,
    "aliases": str,
}
_WORDS: Mapping[type, str] = {list: "lists", dict: "objects", str: "texts"}


@dataclass(frozen=True, slots=True)
class GatewayData:
    """What a stand-in for VWO's gateway service knows.

    Attributes:
        lists: The values in each list, by the list's id.
        locations: What is known of an IP address: ``{"country": ..., "region": ..., "city": ...}``.
        user_agents: What is known of a user agent: ``{"os": ..., "browser_string": ..., "device_type": ...,
            "browser_version": ..., "os_version": ...}``.
        aliases: The id of the user by each alias; SDKs may set more.

    Raises:
        ValueError: A list is a text.
    """

    lists: Mapping[str, frozenset[str]]
    locations: Mapping[str, Texts]
    user_agents: Mapping[str, Texts]
    aliases: Mapping[str, str]

    def __init__(
        self,
        lists: Mapping[str, Iterable[str]] | None = None,
        locations: Mapping[str, Texts] | None = None,
        user_agents: Mapping[str, Texts] | None = None,
        aliases: Texts | None = None,
    ) -> None:
        # A single text would be a list of its letters.
        if any(isinstance(values, str) for values in (lists or {}).values()):
            raise ValueError("gateway: lists must be lists of values")
        held = {name: frozenset(values) for name, values in (lists or {}).items()}
        for name, value in (
            ("lists", held),
            ("locations", dict(locations or {})),
            ("user_agents", dict(user_agents or {})),
            ("aliases", dict(aliases or {})),
        ):
            object.__setattr__(self, name, value)

    @classmethod
    def read(cls, source: bytes | str) -> GatewayData:
        """Read JSON: an object with the attributes by their names, none of which is required.

        Raises:
            ValueError: It is not such an object. The text never holds values of it.
        """
        try:
            given = load_json(source)
        except ValueError:
            raise ValueError("gateway: not JSON") from None
        if not isinstance(given, dict) or not given.keys() <= _KINDS.keys():
            raise ValueError(f"gateway: must be an object of {', '.join(_KINDS)}")
        for name, known in given.items():
            kind = _KINDS[name]
            if not isinstance(known, dict) or not all(isinstance(v, kind) for v in known.values()):
                raise ValueError(f"gateway: {name} must be an object of {_WORDS[kind]}")
        return cls(**given)

    def with_alias(self, alias: str, user_id: str) -> GatewayData:
        """Return the same with another alias."""
        return GatewayData(
            self.lists, self.locations, self.user_agents, {**self.aliases, alias: user_id}
        )

    def __repr__(self) -> str:
        return f"<GatewayData lists={len(self.lists)} aliases={len(self.aliases)}>"


def is_of_gateway(request: WireRequest) -> bool:
    """Tell whether it is the gateway service that a request asks."""
    return request.path in _ANSWERS


def answer_gateway(
    request: WireRequest, service: GatewayData, files: SettingsFiles, rules: Rules
) -> tuple[object, GatewayData]:
    """Return the answer to a question, and what the service knows after it.

    Raises:
        WireError: The request does not follow the wire format.
    """
    method, answer = _ANSWERS[request.path]
    if request.method != method:
        raise WireError("method", f"{request.path} takes {method} only", 405)
    fields = read_query(request.query)
    file = files.find(Product.FME, fields.values.get("accountId"), fields.values.get("sdkKey"))
    return answer(request, fields, service, replace(rules, catalogue=file))


_Answer = Callable[[WireRequest, Fields, GatewayData, Rules], tuple[object, GatewayData]]


def _find_details(
    request: WireRequest, fields: Fields, service: GatewayData, rules: Rules
) -> tuple[object, GatewayData]:
    """The official Python SDK names no account here."""
    rules.check_only(fields, frozenset({"accountId", "userAgent", "ipAddress"}))
    _check_account(fields, rules, is_key_needed=False)
    agent, address = (
        fields.text(name) if name in fields else "" for name in ("userAgent", "ipAddress")
    )
    if not agent and not address:
        fields.fail("ipAddress", "missing, and so is userAgent")
    known = {
        "location": service.locations.get(address),
        "userAgent": service.user_agents.get(agent),
    }
    return {name: dict(one) for name, one in known.items() if one is not None}, service


def _check_list(
    request: WireRequest, fields: Fields, service: GatewayData, rules: Rules
) -> tuple[object, GatewayData]:
    rules.check_only(fields, _ACCOUNT | {"attribute", "listId"})
    fields.get("accountId")
    _check_account(fields, rules, is_key_needed=False)
    held = service.lists.get(fields.filled("listId"), frozenset())
    return fields.text("attribute") in held, service


def _set_alias(
    request: WireRequest, fields: Fields, service: GatewayData, rules: Rules
) -> tuple[object, GatewayData]:
    rules.check_only(fields, _ACCOUNT | {"userId", "aliasId"})
    _check_account(fields, rules, is_key_needed=True)
    user_id, alias = fields.filled("userId"), fields.filled("aliasId")
    if user_id == alias:
        fields.fail("aliasId", "must differ from userId")
    if request.headers.get("content-type", "").partition(";")[0] != "application/json":
        raise WireError("header content-type", "must be application/json")
    if read_json(request.body, "body") != {"userId": user_id, "aliasId": alias}:
        raise WireError("body", "must repeat userId and aliasId of the query, and no more")
    return {"isAliasSet": True}, service.with_alias(alias, user_id)


def _find_user(
    request: WireRequest, fields: Fields, service: GatewayData, rules: Rules
) -> tuple[object, GatewayData]:
    rules.check_only(fields, _ACCOUNT | {"userId"})
    _check_account(fields, rules, is_key_needed=True)
    asked = read_json(fields.filled("userId"), "userId")
    if not isinstance(asked, list) or not all(isinstance(one, str) and one for one in asked):
        fields.fail("userId", "must be a JSON list of texts that are not empty")
    aliases = service.aliases
    return [{"aliasId": one, "userId": aliases[one]} for one in asked if one in aliases], service


def _check_account(fields: Fields, rules: Rules, *, is_key_needed: bool) -> None:
    if is_key_needed or "accountId" in fields:
        rules.check_account(fields, "accountId")
    if is_key_needed or "sdkKey" in fields:
        rules.check_key(fields, "sdkKey")


_ANSWERS: Mapping[str, tuple[str, _Answer]] = {
    _DETAILS: ("GET", _find_details),
    _LIST: ("GET", _check_list),
    _SET_ALIAS: ("POST", _set_alias),
    _FIND_USER: ("GET", _find_user),
}
