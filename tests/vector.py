"""Reading the golden vectors: from the official SDKs' spelling to ours and back."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from vwo_async import Reason, TrackResult, VWOClient
from vwo_async.storage import MemoryUserStorage
from vwo_async.transport import Request

VECTORS = Path(__file__).parent / "vectors"
SDK_PROPS = {"vwo_sdkName", "vwo_sdkVersion", "vwo_envKey"}


def load(name: str) -> Any:
    """Return the content of a vector file."""
    return json.loads((VECTORS / f"{name}.json").read_text())


def snake_case(name: str) -> str:
    """Return an option's or method's name in this package's spelling."""
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


class RecordingStorage(MemoryUserStorage):
    """An in-memory storage that keeps a list of what it was asked."""

    def __init__(self, rows: Sequence[Mapping[str, Any]] = ()) -> None:
        super().__init__(rows)
        self.gets: list[list[str]] = []
        self.sets: list[Mapping[str, Any]] = []

    async def get(self, user_id: str, campaign_key: str) -> Mapping[str, Any] | None:
        self.gets.append([user_id, campaign_key])
        return await super().get(user_id, campaign_key)

    async def set(self, data: Mapping[str, Any]) -> None:
        self.sets.append(dict(data))
        await super().set(data)


def launch_options(launch: Mapping[str, Any]) -> dict[str, Any]:
    """Return a vector's launch options as ours; storage and integrations are made."""
    options: dict[str, Any] = {}
    for name, value in launch.items():
        if name == "storage":
            options["user_storage"] = RecordingStorage(value["initial"])
        elif name == "integrations":
            options["integrations"] = _listen
        elif name == "isDevelopmentMode":
            options["development_mode"] = value
        elif name == "batchEvents":
            batching = {snake_case(key): one for key, one in value.items()}
            options["batch_events"] = {**batching, "flush_callback": _hear_of_flush}
        else:
            options[snake_case(name)] = value
    return options


def _listen(payload: dict[str, Any]) -> None:
    """An integration that does nothing."""


def _hear_of_flush(error: Exception | None, events: list[dict[str, Any]]) -> None:
    """A flush callback that holds the client to delivering."""
    assert error is None
    assert events


async def call(client: VWOClient, case: Mapping[str, Any], *, wait: bool = True) -> Any:
    """Make the call of a vector, await its delivery, and return its value in the official shape."""
    name, options = snake_case(case["api"]), dict(case.get("options", {}))
    if name == "push":
        return await client.push(*case["args"].values(), wait=wait)
    arguments = {snake_case(key): value for key, value in case["args"].items()}
    arguments |= {snake_case(key): value for key, value in options.items()}
    if name in ("activate", "track", "is_feature_enabled"):
        arguments["wait"] = wait
    else:
        for ignored in ("user_agent", "user_ip_address", "should_track_returning_user"):
            arguments.pop(ignored, None)
    if name != "track":
        for ignored in ("revenue_value", "goal_type_to_track", "event_properties"):
            arguments.pop(ignored, None)
    value = await getattr(client, name)(**arguments)
    return official(value) if isinstance(value, TrackResult) else value


def official(result: TrackResult) -> dict[str, bool]:
    """Return what the official SDKs do: nothing for a call that was refused as a whole, which has a key here."""
    return {} if result.reason is Reason.INVALID_INPUT else result.as_dict()


def impressions(requests: Sequence[Request]) -> list[list[Any]]:
    """Return requests in the neutral form of the vectors."""
    return [one for request in requests for one in _impressions(request)]


def _impressions(request: Request) -> Iterator[list[Any]]:
    url = urlsplit(request.target)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    path = url.path.rpartition("/")[2]
    if path == "track-user":
        yield ["track-user", int(query["experiment_id"]), int(query["combination"])]
    elif path == "track-goal":
        ids = [int(query[part]) for part in ("experiment_id", "combination", "goal_id")]
        yield ["track-goal", *ids, *([neutral(query["r"])] if "r" in query else [])]
    elif path == "batch-events":
        yield from map(_item, json.loads(request.body)["ev"])
    else:
        event = json.loads(request.body)["d"]["event"]
        props = {key: one for key, one in event["props"].items() if key not in SDK_PROPS}
        yield ["event", event["name"], neutral(props)]


def _item(item: Mapping[str, Any]) -> list[Any]:
    if item["eT"] == 1:
        return ["track-user", item["e"], item["c"]]
    revenue = [neutral("true" if item["r"] is True else item["r"])] if "r" in item else []
    return ["track-goal", item["e"], item["c"], item["g"], *revenue]


def neutral(value: Any) -> Any:
    """Return *value* with every number inside as ``n:<float>``, so that 10, 10.0 and "10" are equal."""
    if isinstance(value, dict):
        return {key: neutral(one) for key, one in value.items()}
    if isinstance(value, list):
        return [neutral(one) for one in value]
    if isinstance(value, bool) or value is None:
        return value
    try:
        return f"n:{float(Decimal(str(value)))}"
    except InvalidOperation:
        return value
