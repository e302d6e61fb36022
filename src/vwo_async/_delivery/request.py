"""One HTTP request, and what is the same in all requests of one settings file.

Formats are those of docs/reference.md, section 15.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from .._core.visitor import make_namer, make_namespace

# encodeURIComponent leaves these alone, and so do the Node SDK's requests.
_SAFE = "!~*'()"

Header = tuple[bytes, bytes]
JSON_HEADER: Header = (b"Content-Type", b"application/json")


@dataclass(frozen=True, slots=True, repr=False)
class Request:
    """One HTTP request, ready to send.

    No sequence, unlike a named tuple: tools that report errors show a sequence by its elements, and these
    hold the SDK key.

    Attributes:
        method: ``GET`` or ``POST``.
        target: Path and query below the base URL, in ASCII.
        headers: Beyond those that every request has.
        body: Empty for GET.
    """

    method: str
    target: str
    headers: tuple[Header, ...] = ()
    body: bytes = b""

    def __repr__(self) -> str:
        """Show no query and no header: they hold the SDK key."""
        return f"<Request {self.method} {self.target.partition('?')[0]}>"


# The property that names the environment of a visitor, which no custom dimension may override.
ENVIRONMENT = "vwo_fs_environment"


class Account:
    """What is the same in all requests of one settings file: rendered once.

    Attributes:
        name_visitor: Makes the visitor ids of the account.
        facts: What it was made of besides the key, as JSON can hold it.
        sdk_key: The key of the environment, None where the file has none.
        path: What stands before the path of each request.
        query: The query of a classic request.
        usage: The usage statistics in a query.
        event_query: The query of an event that goes alone.
        batch_target: Path and query of a batch.
        props_text: JSON text of the properties of each event.
        environment_text: JSON text of the properties of each event's visitor.
        named_props_text: `props_text` with the environment.
    """

    __slots__ = (
        "batch_target",
        "environment_text",
        "event_query",
        "facts",
        "name_visitor",
        "named_props_text",
        "path",
        "props_text",
        "query",
        "sdk_key",
        "usage",
    )

    def __init__(
        self,
        *,
        account_id: int | str,
        sdk_key: str | None,
        collection_prefix: str,
        sdk_name: str,
        sdk_version: str,
        usage: Mapping[str, int],
    ) -> None:
        account, name, version = (
            quote_text(str(account_id)),
            quote_text(sdk_name),
            quote_text(sdk_version),
        )
        env = f"&env={quote_text(sdk_key)}" if sdk_key else ""
        self.facts: Mapping[str, Any] = {
            "product": "fullstack",
            "account_id": account_id,
            "collection_prefix": collection_prefix,
            "sdk_name": sdk_name,
            "sdk_version": sdk_version,
            "usage": dict(usage),
        }
        self.name_visitor = make_namer(make_namespace(account_id))
        self.sdk_key = sdk_key
        self.path = f"/{collection_prefix}" if collection_prefix else ""
        self.usage = "".join(f"&{key}={value}" for key, value in usage.items())
        self.query = f"&sdk={name}&sdk-v={version}{env}&account_id={account}&ap=server"
        self.event_query = f"&a={account}{env}"
        self.batch_target = (
            f"{self.path}/server-side/batch-events"
            f"?a={account}&sdk={name}&sdk-v={version}{env}{self.usage}"
        )
        own = {"vwo_sdkName": sdk_name, "vwo_sdkVersion": sdk_version}
        self.props_text = dump_json({**own, "vwo_envKey": sdk_key} if sdk_key else own)
        self.environment_text = dump_json({ENVIRONMENT: sdk_key} if sdk_key else {})
        self.named_props_text = join_objects(self.props_text, self.environment_text)

    def render_batch(self, items: Sequence[str]) -> Request:
        """Return the one request that carries *items*."""
        headers: tuple[Header, ...] = (JSON_HEADER,)
        if self.sdk_key:
            headers += ((b"Authorization", self.sdk_key.encode()),)
        body = f'{{"ev":[{",".join(items)}]}}'.encode()
        return Request("POST", self.batch_target, headers, body)

    def __repr__(self) -> str:
        return "<Account>"


def dump_json(value: Mapping[str, Any]) -> str:
    return json.dumps(value, separators=(",", ":"))


def join_objects(first: str, second: str) -> str:
    """Join the JSON texts of two objects that share no key."""
    if second in ("", "{}"):
        return first
    return second if first == "{}" else f"{first[:-1]},{second[1:]}"


def quote_text(text: str) -> str:
    return quote(text, safe=_SAFE)


def make_agent_headers(user_agent: str, ip: str) -> tuple[Header, ...]:
    """Percent-encoded as in the Node SDK, so that no text can end a header or fail to encode."""
    headers: tuple[Header, ...] = ()
    if user_agent:
        headers += ((b"X-Device-User-Agent", quote_text(user_agent).encode()),)
    if ip:
        headers += ((b"VWO-X-Forwarded-For", quote_text(ip).encode()),)
    return headers
