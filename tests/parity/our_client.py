"""Our client under the same calls as the official SDKs."""

from __future__ import annotations

import copy
import inspect
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, NamedTuple

from vwo_async import Reason, TrackResult, VWOClient
from vwo_async.testing import RecordingTransport

Json = dict[str, Any]


class Step(NamedTuple):
    """One call, with the storage as it was before it.

    Attributes:
        call: The call, with the rows that the storage held.
        answer: Ours; None where our client has no such API.
    """

    call: Json
    answer: Json | None


class FaultyError(Exception):
    """What a storage or callback raises that was told to."""


class NotingStorage:
    """A user storage in memory that notes what it is asked and told."""

    def __init__(self, mode: str, rows: list[list[Any]]) -> None:
        self.mode = mode
        self.rows = {(user, campaign): row for user, campaign, row in rows}
        self.gets: list[list[str]] = []
        self.sets: list[Json] = []

    async def get(self, user_id: str, campaign_key: str) -> Json | None:
        self.gets.append([user_id, campaign_key])
        if self.mode == "get_raises":
            raise FaultyError
        return copy.deepcopy(self.rows.get((user_id, campaign_key)))

    async def set(self, data: Mapping[str, Any]) -> None:
        self.sets.append(copy.deepcopy(dict(data)))
        if self.mode == "set_raises":
            raise FaultyError
        self.rows[data["userId"], data["campaignKey"]] = copy.deepcopy(dict(data))

    def content(self, user_id: object) -> list[list[Any]]:
        """Return the rows of a user."""
        return [
            [user, campaign, copy.deepcopy(row)]
            for (user, campaign), row in self.rows.items()
            if user == user_id
        ]


class OurClient:
    """A client for one case.

    Args:
        case: The case; see generate.py.
    """

    def __init__(self, case: Json) -> None:
        launch = case["launch"]
        mode = launch.get("storage")
        self.transport = RecordingTransport()
        self.storage = NotingStorage(mode, copy.deepcopy(case["rows"])) if mode else None
        self.hooks: list[Json] = []
        self.raises = launch.get("integrations") == "raise"
        options: Json = {
            "sdk_name": "vwo-node-sdk",
            "sdk_version": "1.73.0",
            "transport": self.transport,
        }
        if "integrations" in launch:
            options["integrations"] = self.listen
        if self.storage is not None:
            options["user_storage"] = self.storage
        if "batchEvents" in launch:
            count = launch["batchEvents"]["eventsPerRequest"]
            options["batch_events"] = {"events_per_request": count}
        if "isDevelopmentMode" in launch:
            options["development_mode"] = launch["isDevelopmentMode"]
        for name in ("goalTypeToTrack", "shouldTrackReturningUser"):
            if name in launch:
                options[snake_case(name)] = launch[name]
        self.client = VWOClient(case["settings"], **options)

    def listen(self, payload: Json) -> None:
        self.hooks.append(copy.deepcopy(payload))
        if self.raises:
            raise FaultyError

    async def step(self, call: Json) -> Step:
        """Make one call."""
        rows = [] if self.storage is None else self.storage.content(call["args"]["userId"])
        asked = {**call, "rows": rows}
        name = snake_case(call["api"])
        method = getattr(self.client, name, None)
        if method is None:
            return Step(asked, None)
        self.transport.requests.clear()
        self.hooks.clear()
        if self.storage is not None:
            self.storage.gets, self.storage.sets = [], []
        value = await method(*positional(call), **accepted(name, call))
        return Step(asked, self.answer(value))

    def answer(self, value: Any) -> Json:
        storage = self.storage
        return {
            "ret": official(value) if isinstance(value, TrackResult) else plain(value),
            "requests": [
                {
                    "method": request.method,
                    "target": request.target,
                    "headers": {name.decode(): text.decode() for name, text in request.headers},
                    "body": request.body.decode(),
                }
                for request in self.transport.requests
            ],
            "gets": [] if storage is None else storage.gets,
            "sets": [] if storage is None else storage.sets,
            "hooks": list(self.hooks),
        }


def official(result: TrackResult) -> Json:
    """Return the official shape: of a call that was refused as a whole they say nothing, and we false."""
    refused = (Reason.INVALID_INPUT, Reason.OPTED_OUT)
    return {} if result.reason in refused else dict(result.as_dict())


def plain(value: Any) -> Any:
    """Return a value of JSON as it is, and the truth of any other result."""
    is_json = value is None or isinstance(value, (bool, int, float, str, list, dict))
    return value if is_json else bool(value)


def snake_case(name: str) -> str:
    return re.sub(r"(?<!^)([A-Z])", r"_\1", name).lower()


def positional(call: Json) -> list[Any]:
    args = copy.deepcopy(call["args"])
    names = ("tags", "campaignKey", "variableKey", "tagKey", "tagValue", "userId", "goalIdentifier")
    return [args[name] for name in names if name in args]


@lru_cache
def options_of(method: str) -> frozenset[str]:
    return frozenset(inspect.signature(getattr(VWOClient, method)).parameters)


def accepted(method: str, call: Json) -> Json:
    """Return the options of *call* that our method knows: each API of the official SDKs takes any."""
    known = options_of(method)
    options = {snake_case(name): value for name, value in copy.deepcopy(call["options"]).items()}
    given = {name: value for name, value in options.items() if name in known}
    return {**given, "wait": True} if "wait" in known else given


async def run_case(case: Json) -> list[Step]:
    """Make the calls of *case*, one after the other."""
    ours = OurClient(case)
    async with ours.client:
        return [await ours.step(call) for call in case["calls"]]
