"""What one FME call asks the gateway service about its user: his id, his place and browser, and his lists.

Requests and answers are those of docs/fme-reference.md, section F16.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import TypeGuard

from .._core.fme.evaluation import Known, Needs, Records
from .._core.fme.user import Details, read_details
from .._delivery.request import Account, Header, Request, quote_text
from .._error import InvalidInputError
from .._reason import Reason
from .._result import AliasResult
from .._user import encode_id
from .fme_user import CallUser
from .gateway import Gateway, Reply

DETAILS_PATH = "/get-user-details"
LIST_PATH = "/check-attribute"
SET_ALIAS_PATH = "/user-alias/setUserAlias"
FIND_USER_PATH = "/user-alias/getAliasUserId"

# An alias that was found is looked up again after this time; at most so many are known at once.
ALIAS_LIFETIME_S = 60.0
MAX_ALIASES = 10_000

_JSON: tuple[Header, ...] = ((b"Content-Type", b"application/json"),)
_NO_DETAILS = (
    "the gateway service did not say what it knows of the user: what asks for it does not hold"
)
_NO_LISTS = "the gateway service did not say what is in a list: what asks for it does not hold"
_NO_ALIAS = "the gateway service did not say whose alias the id is: it is taken for the user's own"


class AliasCache:
    """The users of aliases, for a short time. What is no alias is not remembered: it may be one any moment."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: OrderedDict[str, tuple[str, float]] = OrderedDict()

    def find(self, alias: str, now: float) -> str | None:
        """Return the id of the user, None where it is not known at *now*, in monotonic seconds."""
        user_id, ends_at = self._found.get(alias, ("", now))
        return user_id if now < ends_at else None

    def add(self, alias: str, user_id: str, now: float) -> None:
        """Remember whose alias it is."""
        self._found[alias] = user_id, now + ALIAS_LIFETIME_S
        self._found.move_to_end(alias)
        while len(self._found) > MAX_ALIASES:
            self._found.popitem(last=False)

    def forget(self, alias: str) -> None:
        """Look it up again next time."""
        self._found.pop(alias, None)

    def __repr__(self) -> str:
        return f"<AliasCache of {len(self._found)}>"


class Lookup:
    """What one call has asked, all of it within one time limit.

    Args:
        gateway: Who is asked, None for nobody.
        account_id: The account of the settings in force.
        account: The same, with the SDK key.
        aliases: What is known of aliases; None where no id is one.
        timeout_s: The limit.

    Attributes:
        notes: A text for each thing that was asked in vain.
    """

    def __init__(
        self,
        gateway: Gateway | None,
        account_id: int | str,
        account: Account,
        aliases: AliasCache | None,
        timeout_s: float,
    ) -> None:
        self._gateway = gateway
        self._account_id = str(account_id)
        self._sdk_key = account.sdk_key or ""
        self._aliases = aliases
        self._ends_at = time.monotonic() + timeout_s
        self._details: Details | None = None
        self._lists: dict[tuple[str, str], bool] = {}
        self.notes: list[str] = []

    def make_known(self, records: Records | None) -> Known:
        """Return what is known by now, with the stored *records*."""
        return Known(records, self._gateway is not None, self._details, self._lists)

    async def find(self, needs: Needs, user: CallUser) -> None:
        """Find out what of *needs* the gateway knows; what it does not say does not hold, and is noted."""
        if needs.details:
            self._details = await self._find_details(user)
        held = await asyncio.gather(*(self._is_in_list(*pair) for pair in needs.lists))
        self._lists |= dict(zip(needs.lists, held, strict=True))

    async def _find_details(self, user: CallUser) -> Details:
        given = {"userAgent": user.user_agent, "ipAddress": user.user_ip_address}
        query = {key: value for key, value in given.items() if value}
        reply = await self._get(DETAILS_PATH, query)
        if not isinstance(reply.content, Mapping):
            self._note(_NO_DETAILS)
            return Details()
        return read_details(reply.content, self.notes)

    async def _is_in_list(self, list_id: str, text: str) -> bool:
        reply = await self._get(LIST_PATH, {"attribute": text, "listId": list_id})
        if reply.fault:
            self._note(_NO_LISTS)
        return _says_yes(reply.content)

    async def name_user(self, user: CallUser) -> CallUser:
        """Return *user* under his own id, where the id that he has is an alias."""
        aliases = self._aliases
        if aliases is None:
            return user
        now = time.monotonic()
        own = aliases.find(user.id, now)
        if own is None:
            own = await self._find_owner(user.id)
            if own is None:
                return user
            aliases.add(user.id, own, now)
        return user.rename(own)

    async def _find_owner(self, alias: str) -> str | None:
        query = {"sdkKey": self._sdk_key, "userId": json.dumps([alias], ensure_ascii=False)}
        reply = await self._get(FIND_USER_PATH, query)
        if reply.fault:
            self._note(_NO_ALIAS)
            return None
        rows = reply.content if isinstance(reply.content, list) else [reply.content]
        for row in rows:
            owner = row.get("userId") if isinstance(row, Mapping) else None
            if _is_id(owner) and row.get("aliasId") == alias:
                return owner
        return None

    async def set_alias(self, user_id: str, alias: str) -> AliasResult:
        """Tell the gateway that *alias* is another id of the user."""
        aliases, gateway = self._aliases, self._gateway
        if aliases is None or gateway is None:
            return AliasResult(False, Reason.ALIASING_OFF)
        body = {"userId": user_id, "aliasId": alias}
        query = {"accountId": self._account_id, "sdkKey": self._sdk_key, **body}
        target = f"{SET_ALIAS_PATH}?{_write_query(query)}"
        request = Request("POST", target, _JSON, json.dumps(body).encode())
        reply = await gateway.ask(request, self._ends_at)
        aliases.forget(alias)
        if reply.fault:
            return AliasResult(False, Reason.GATEWAY_ERROR, reply.fault)
        if not isinstance(reply.content, Mapping) or reply.content.get("isAliasSet") is not True:
            return AliasResult(False, Reason.GATEWAY_ERROR, "it did not set the alias")
        return AliasResult(True)

    async def _get(self, path: str, query: Mapping[str, str]) -> Reply:
        assert self._gateway is not None
        named = {"accountId": self._account_id, **query}
        request = Request("GET", f"{path}?{_write_query(named)}")
        return await self._gateway.ask(request, self._ends_at)

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def __repr__(self) -> str:
        return "<Lookup>"


def _says_yes(content: object) -> bool:
    """Tell whether the gateway says that a list holds a text; an object with status 0 is its error."""
    if isinstance(content, Mapping) and content.get("status") == 0:
        return False
    return bool(content) and content != "false"


def _is_id(value: object) -> TypeGuard[str]:
    try:
        encode_id(value)
    except InvalidInputError:
        return False
    return True


def _write_query(values: Mapping[str, str]) -> str:
    return "&".join(f"{key}={quote_text(value)}" for key, value in values.items())
