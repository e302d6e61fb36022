"""Events of VWO FME: how one is written alone, and in a batch.

Alone an event goes to ``events/t``, several to ``batch-events-v2``, and the body of an event is the same in
both. As in `event`, its bytes follow from what was fixed when it was made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Self

from .._result import Receipt
from .._user import User
from .event import BASE_SIZE, ENVIRONMENT, Event
from .request import (
    Account,
    Header,
    Request,
    dump_json,
    join_objects,
    make_agent_headers,
    quote_text,
)

_JSON: Header = (b"Content-Type", b"application/json")


class FmeAccount(Account):
    """What is the same in all requests of one FME settings file: rendered once.

    Args:
        account_id: The VWO account.
        sdk_key: The key of the environment, None where the file has none.
        collection_prefix: Stands before the path of each request.
        sdk_name: The name under which VWO sees this SDK.
        sdk_version: Its version there.
    """

    __slots__ = ("batch_target", "sdk_query")

    def __init__(
        self,
        *,
        account_id: int | str,
        sdk_key: str | None,
        collection_prefix: str,
        sdk_name: str,
        sdk_version: str,
    ) -> None:
        super().__init__(
            account_id=account_id,
            sdk_key=sdk_key,
            collection_prefix=collection_prefix,
            sdk_name=sdk_name,
            sdk_version=sdk_version,
            usage={},
        )
        # Also what an outbox knows the account by: the product is part of it.
        self.event_query = f"{self.event_query}&p=FS"
        env = f"&env={quote_text(sdk_key)}" if sdk_key else ""
        self.sdk_query = f"&sn={quote_text(sdk_name)}&sv={quote_text(sdk_version)}"
        self.batch_target = (
            f"{self.path}/server-side/batch-events-v2?a={quote_text(str(account_id))}"
            f"{env}{self.sdk_query}"
        )

    def render_batch(self, items: Sequence[str]) -> Request:
        """Return the one request that carries *items*."""
        headers: tuple[Header, ...] = (_JSON,)
        if self.sdk_key:
            headers += ((b"Authorization", self.sdk_key.encode()),)
        body = f'{{"ev":[{",".join(items)}]}}'.encode()
        return Request("POST", self.batch_target, headers, body)


class FmeEvent(Event):
    """An event of VWO FME.

    Args:
        account: In whose name.
        user: About whom.
        name: The name of the event.
        millis: When it was made, in milliseconds since the epoch; different for each event of a visitor.
        number: A random number from 0 to 1.
        session_id: The visitor's session: seconds since the epoch.
        props: JSON text of the event's own properties, which has no key of the account's.
        visitor_props: JSON text of the visitor's properties, without the environment.
        visitor_id: The visitor's id where it is known; else it is made of the user id when it is needed.
        names_environment: Whether the environment stands among the event's properties too.
        is_batch_only: Whether it goes in batch form even when alone.
    """

    __slots__ = (
        "_name",
        "_names_environment",
        "_props",
        "_session_id",
        "_visitor_props",
        "is_batch_only",
        "millis",
    )
    is_batchable = True

    def __init__(
        self,
        account: Account,
        user: User,
        name: str,
        millis: int,
        number: float,
        *,
        session_id: int,
        props: str,
        visitor_props: str = "",
        visitor_id: str = "",
        names_environment: bool = False,
        is_batch_only: bool = False,
    ) -> None:
        # All in one place, the base's too: this is most of what making an event costs.
        self.outcome = self._callbacks = None
        self.account = account
        self._id_bytes = user.id_bytes
        self._visitor_id = visitor_id
        self.user_agent = user.user_agent
        self.ip = user.user_ip_address
        self.random = number
        self.millis = millis
        self.is_batch_only = is_batch_only
        self.size = BASE_SIZE + len(props) + len(visitor_props) + len(user.user_agent)
        self._name = name
        self._session_id = session_id
        self._props = props
        self._visitor_props = visitor_props
        self._names_environment = names_environment

    def render(self) -> Request:
        """Return POST events/t."""
        account = self.account
        target = (
            f"{account.path}/events/t?en={quote_text(self._name)}{account.event_query}"
            f"&eTime={self.millis}&random={self.random}"
            f"&visitor_ua={quote_text(self.user_agent)}&visitor_ip={quote_text(self.ip)}"
        )
        if isinstance(account, FmeAccount):
            target += account.sdk_query
        headers = (_JSON, *make_agent_headers(self.user_agent, self.ip))
        return Request("POST", target, headers, self.render_item().encode())

    def render_item(self) -> str:
        """Return its body, which is also its place in a batch."""
        visitor, account = self._visitor(), self.account
        environment = {ENVIRONMENT: account.sdk_key} if account.sdk_key else {}
        ours = {**account.props, **environment} if self._names_environment else account.props
        return (
            f'{{"d":{{"msgId":"{visitor}-{self.millis}","visId":"{visitor}",'
            f'"sessionId":{self._session_id},"visitor_ua":{json.dumps(self.user_agent)},'
            f'"visitor_ip":{json.dumps(self.ip)},'
            f'"event":{{"props":{join_objects(dump_json(ours), self._props)},'
            f'"name":{json.dumps(self._name)},"time":{self.millis}}},'
            f'"visitor":{{"props":{join_objects(dump_json(environment), self._visitor_props)}}}}}}}'
        )

    def dump(self) -> dict[str, Any]:
        """Return what makes this event, as JSON can hold it, without the SDK key and the user id."""
        return {
            "kind": "fme",
            "visitor": self._visitor(),
            "user_agent": self.user_agent,
            "ip": self.ip,
            "millis": self.millis,
            "random": self.random,
            "name": self._name,
            "session": self._session_id,
            "props": self._props,
            "visitor_props": self._visitor_props,
            "names_environment": self._names_environment,
            "is_batch_only": self.is_batch_only,
        }

    @classmethod
    def restore(cls, account: Account, data: Mapping[str, Any]) -> Self:
        """Return the event that `dump` was made of; it raises KeyError or TypeError where it was not."""
        event = cls.__new__(cls)
        Receipt.__init__(event)
        event.account = account
        event._visitor_id = data["visitor"]
        event.user_agent, event.ip = data["user_agent"], data["ip"]
        event.millis, event.random = data["millis"], data["random"]
        event._name, event._session_id = data["name"], data["session"]
        event._props, event._visitor_props = data["props"], data["visitor_props"]
        event._names_environment = data["names_environment"]
        event.is_batch_only = data["is_batch_only"]
        event.size = BASE_SIZE + len(event._props) + len(event._visitor_props)
        event.size += len(event.user_agent)
        return event
