"""Events of VWO FME: how one is written alone, and in a batch.

Alone an event goes to ``events/t``, several to ``batch-events-v2``, and the body of an event is the same in
both. As in `event`, its bytes follow from what was fixed when it was made. Formats are those of
docs/fme-reference.md, section F13.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from .._user import User
from .event import BASE_SIZE, NamedEvent
from .request import JSON_HEADER, Account, Request, make_agent_headers, quote_text


class FMEAccount(Account):
    """What is the same in all requests of one FME settings file: rendered once.

    Args:
        account_id: The VWO account.
        sdk_key: The key of the environment, None where the file has none.
        collection_prefix: Stands before the path of each request.
        sdk_name: The name under which VWO sees this SDK.
        sdk_version: Its version there.
        goes_to_gateway: Whether requests go to a gateway service, which takes each event alone and knows no
            prefix.
    """

    __slots__ = ("sdk_query", "takes_batches")

    def __init__(
        self,
        *,
        account_id: int | str,
        sdk_key: str | None,
        collection_prefix: str,
        sdk_name: str,
        sdk_version: str,
        goes_to_gateway: bool = False,
    ) -> None:
        self.takes_batches = not goes_to_gateway
        super().__init__(
            account_id=account_id,
            sdk_key=sdk_key,
            collection_prefix="" if goes_to_gateway else collection_prefix,
            sdk_name=sdk_name,
            sdk_version=sdk_version,
            usage={},
        )
        self.facts = {
            "product": "fme",
            "account_id": account_id,
            "collection_prefix": collection_prefix,
            "sdk_name": sdk_name,
            "sdk_version": sdk_version,
            "goes_to_gateway": goes_to_gateway,
        }
        self.sdk_query = f"&sn={quote_text(sdk_name)}&sv={quote_text(sdk_version)}"
        account = self.event_query.removeprefix("&")
        self.batch_target = f"{self.path}/server-side/batch-events-v2?{account}{self.sdk_query}"
        # Also what an outbox knows the account by: the product is part of it.
        self.event_query = f"{self.event_query}&p=FS"


class FMEEvent(NamedEvent):
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
        happened_ms: When what it tells of happened, in milliseconds since the epoch.
    """

    __slots__ = ("_names_environment", "_session_id", "is_batch_only")

    # Nobody sets it.
    @property
    def is_batchable(self) -> bool:  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        """Whether it has a batch form where it goes."""
        account = self.account
        return not isinstance(account, FMEAccount) or account.takes_batches

    def __init__(
        self,
        account: Account,
        user: User,
        name: str,
        millis: int,
        number: float,
        session_id: int,
        props: str,
        visitor_props: str,
        visitor_id: str,
        names_environment: bool,
        is_batch_only: bool,
        happened_ms: int,
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
        self.happened_ms = happened_ms
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
        target = self._make_target()
        if isinstance(account, FMEAccount):
            target += account.sdk_query
        headers = (JSON_HEADER, *make_agent_headers(self.user_agent, self.ip))
        return Request("POST", target, headers, self.render_item().encode())

    def render_item(self) -> str:
        """Return its body, which is also its place in a batch."""
        visitor, account = self._visitor(), self.account
        ours = account.named_props_text if self._names_environment else account.props_text
        agent = json.dumps(self.user_agent) if self.user_agent else '""'
        ip = json.dumps(self.ip) if self.ip else '""'
        return (
            f'{{"d":{{"msgId":"{visitor}-{self.millis}","visId":"{visitor}",'
            f'"sessionId":{self._session_id},"visitor_ua":{agent},'
            f'"visitor_ip":{ip},{self._body_end(ours)}'
        )

    def _dump_own(self, data: dict[str, Any]) -> None:
        super()._dump_own(data)
        data["kind"], data["session"] = "fme", self._session_id
        data["names_environment"] = self._names_environment
        data["is_batch_only"] = self.is_batch_only

    def _restore_own(self, data: Mapping[str, Any]) -> None:
        super()._restore_own(data)
        self._session_id = data["session"]
        self._names_environment = data["names_environment"]
        self.is_batch_only = data["is_batch_only"]
