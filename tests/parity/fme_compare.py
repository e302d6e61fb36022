"""Neutral forms: what of an answer must be equal, in one spelling for all FME SDKs.

An answer is a dict: ``ret``, ``requests``, ``before`` and ``after``: the rows of the storage.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from compare import strict

Json = dict[str, Any]

# Rows "errors and the client's options" and "the SDK's own start" of docs/deviations.md.
UNSENT = frozenset({"vwo_sdkDebug", "vwo_sdkUsageStats", "vwo_fmeSdkInit", "vwo_log"})
SDK_PROPS = frozenset({"vwo_sdkName", "vwo_sdkVersion", "vwo_envKey"})
SHOWN = "vwo_variationShown"
GIVEN_SESSION = 1700000000
QUERY = frozenset(
    {"en", "a", "env", "eTime", "random", "p", "visitor_ua", "visitor_ip", "sn", "sv"}
)
DYNAMIC = {"eTime": re.compile(r"\d{13}"), "random": re.compile(r"0(\.\d+)?|\d(\.\d+)?e-\d+")}


def neutral_fme(answer: Json) -> Json:
    """Return what of *answer* must be equal in all SDKs."""
    return {
        "ret": strict(answer["ret"]),
        # What the gateway was told.
        "aliased": answer["aliased"],
        "events": sorted((neutral_event(one) for one in events(answer)), key=_sortable),
        "rows": {
            f"{user} {key}": neutral_row(row)
            for user, key, row in answer["after"]
            if row is not None
        },
    }


def events(answer: Json) -> Iterator[Json]:
    """Yield the events of an answer, however they are packed."""
    for request in answer["requests"]:
        body = request.get("body", request)
        for one in body.get("ev", [body]):
            if one["d"]["event"]["name"] not in UNSENT:
                yield one["d"]


def neutral_event(data: Json) -> Json:
    """Return what an event says, without time and random numbers, nor the name of the SDK."""
    event = data["event"]
    props = {key: one for key, one in event["props"].items() if key not in SDK_PROPS}
    if event["name"] == SHOWN:
        # A text in Python, a number in Node; flags on the use of the SDK in Python alone.
        props["variation"] = int(props["variation"])
        props.pop("vwoMeta", None)
    visitor = data["visId"]
    message = re.compile(re.escape(visitor or "") + r"-\d{13}")
    return {
        "has_message_id": message.fullmatch(data["msgId"]) is not None,
        "name": event["name"],
        "visitor": visitor,
        "session": GIVEN_SESSION if data["sessionId"] == GIVEN_SESSION else "now",
        # Left out or empty where there is none.
        "agent": data.get("visitor_ua") or "",
        "ip": data.get("visitor_ip") or "",
        "props": strict(props),
        "visitor_props": strict(data["visitor"]["props"]),
    }


def neutral_row(row: Json) -> Json:
    """Return what a stored row says: Python does not write the feature's id, and writes None for nothing."""
    lists = ("isInHoldoutId", "notInHoldoutId")
    kept = {key: one for key, one in row.items() if one is not None and key != "featureId"}
    # The older name of a field says the same, where the newer one is not there.
    older = kept.pop("holdoutGroupId", None)
    if older is not None:
        kept.setdefault("isInHoldoutId", older)
    for kind in ("rollout", "experiment"):
        # A variation without an id is none.
        if not kept.get(f"{kind}VariationId"):
            kept = {key: one for key, one in kept.items() if not key.startswith(kind)}
    # Node writes an id that is a number as it is.
    kept["userId"] = str(kept["userId"])
    found: Json = strict({key: one for key, one in kept.items() if key not in lists or one != []})
    return found


def _sortable(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def wire_faults(answer: Json, case: Json) -> list[str]:
    """Name what is wrong with the form of our own requests, by sections F13.2 and F14 of the FME reference."""
    prefix = case["settings"].get("collectionPrefix")
    # A gateway takes each event alone, and without the prefix.
    has_gateway = case.get("gateway") is not None
    path = "" if has_gateway or not prefix else f"/{prefix}"
    found = [
        fault
        for one in answer["requests"]
        for fault in _request_faults(one, case["settings"], path, can_batch=not has_gateway)
    ]
    return sorted(set(found))


def _request_faults(
    request: Json, settings: Json, prefix: str, *, can_batch: bool
) -> Iterator[str]:
    url = urlsplit(request["target"])
    query = dict(parse_qsl(url.query, keep_blank_values=True, strict_parsing=True))
    if (query.get("a"), query.get("env")) != (str(settings["accountId"]), settings["sdkKey"]):
        yield "wire: account"
    if can_batch and url.path == f"{prefix}/server-side/batch-events-v2":
        if query.keys() != {"a", "env", "sn", "sv"}:
            yield "wire: query"
        if request["headers"].get("Authorization") != settings["sdkKey"]:
            yield "wire: headers"
        return
    if url.path != f"{prefix}/events/t":
        yield "wire: path"
    data = request["body"]["d"]
    wanted = {"en": data["event"]["name"], "eTime": str(data["event"]["time"]), "p": "FS"}
    wanted |= {"visitor_ua": data["visitor_ua"], "visitor_ip": data["visitor_ip"]}
    if query.keys() != QUERY or any(query[key] != one for key, one in wanted.items()):
        yield "wire: query"
    if any(pattern.fullmatch(query[key]) is None for key, pattern in DYNAMIC.items()):
        yield "wire: query"


def fme_difference(form: Json, other: Json) -> list[str]:
    """Name the parts in which two neutral forms differ."""
    return [part for part in form if form[part] != other[part]]
