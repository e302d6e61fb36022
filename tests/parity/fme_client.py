"""Our FME client under the same calls as the official SDKs."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Mapping
from typing import Any

from fme_gateway import serve

from vwo_async import FMEClient
from vwo_async.testing import RecordingTransport

Json = dict[str, Any]

OUR_FIELDS = frozenset({"campaignKey", "variationName", "metaData"})


class FMEStorage:
    """A user storage in memory that notes what it is asked."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Json] = {}
        self.gets: list[str] = []

    async def get(self, user_id: str, key: str) -> Json | None:
        self.gets.append(key)
        return copy.deepcopy(self.rows.get((user_id, key)))

    async def set(self, data: Mapping[str, Any]) -> None:
        row = {key: one for key, one in copy.deepcopy(dict(data)).items() if key not in OUR_FIELDS}
        self.rows[row["userId"], row["featureKey"]] = row

    def load(self, rows: list[list[Any]]) -> None:
        self.rows = {(user, key): row for user, key, row in copy.deepcopy(rows)}

    def content(self) -> list[list[Any]]:
        return [[user, key, copy.deepcopy(row)] for (user, key), row in self.rows.items()]


async def run_fme_case(case: Json, before: list[list[Any]] | None = None) -> list[Json]:
    """Make the calls of *case*, one after the other.

    Args:
        case: The case; see fme_generate.py.
        before: For each call the rows that the storage holds; None to go on with our own.
    """
    gateway = case.get("gateway")
    if gateway is None:
        return await run_calls(case, before, {}, [])
    aliased: list[list[str]] = []
    async with serve(gateway, aliased) as url:
        options: Json = {"gateway_service": {"url": url}, "gateway_timeout_s": 20}
        options["is_aliasing_enabled"] = gateway["is_asked"]
        return await run_calls(case, before, options, aliased)


async def run_calls(
    case: Json, before: list[list[Any]] | None, options: Json, aliased: list[list[str]]
) -> list[Json]:
    """Make the calls with a client that has *options*; *aliased* takes the aliases that it sets."""
    transport, storage = RecordingTransport(), FMEStorage()
    storage.load(case["rows"])
    if case["writer"]:
        options = {**options, "user_storage": storage}
    answers: list[Json] = []
    async with FMEClient(case["settings"], transport=transport, **options) as client:
        await client.flush_events()
        for index, call in enumerate(case["calls"]):
            if before is not None:
                storage.load(before[index])
            held = storage.content()
            transport.requests.clear()
            storage.gets.clear()
            aliased.clear()
            ret = await make_call(client, respell(copy.deepcopy(call), case.get("spelling")))
            await client.flush_events()
            answers.append(
                {
                    "ret": ret,
                    "requests": [read_request(one) for one in transport.requests],
                    "gets": list(storage.gets),
                    "aliased": list(aliased),
                    "before": held if case["writer"] else [],
                    "after": storage.content() if case["writer"] else [],
                }
            )
    return answers


def respell(call: Json, spelling: str | None) -> Json:
    """Return *call* with the context in the spelling of the Node SDK, camel, or of the Python SDK, snake."""
    if spelling == "snake":
        names = {name: re.sub(r"([A-Z])", r"_\1", name).lower() for name in call["context"]}
        call["context"] = {names[name]: one for name, one in call["context"].items()}
    return call


def read_request(request: Any) -> Json:
    headers = {name.decode(): text.decode() for name, text in request.headers}
    return {"target": request.target, "headers": headers, "body": json.loads(request.body)}


async def make_call(client: FMEClient, call: Json) -> Any:
    context = call["context"]
    if call["api"] == "get_flag":
        flag = await client.get_flag(call["feature"], context)
        variables = [
            [one[name] for name in ("key", "value", "type", "id")] for one in flag.get_variables()
        ]
        return {"on": flag.is_enabled(), "variables": variables}
    if call["api"] == "set_alias":
        return bool(await client.set_alias(context, call["alias"]))
    if call["api"] == "track_event":
        result = await client.track_event(call["event"], context, call.get("properties"))
        return dict(result.as_dict()) or {call["event"]: False}
    if "attributes" in call:
        await client.set_attribute(call["attributes"], context)
    else:
        await client.set_attribute(call["key"], call["value"], context)
    return None
