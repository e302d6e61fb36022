"""Neutral forms: what of an answer must be equal, in one spelling for all three SDKs.

An answer is a dict: ``ret``, ``requests`` (method, target, headers, body), ``sets`` (rows written),
``gets`` (rows asked for) and ``hooks`` (payloads of the integrations callback).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

Json = dict[str, Any]

SDK_PROPS = ("vwo_sdkName", "vwo_sdkVersion", "vwo_envKey")
WIRE_HEADERS = ("x-device-user-agent", "vwo-x-forwarded-for", "authorization")
# What changes from run to run, and its shape.
DYNAMIC = {
    "random": re.compile(r"0(\.\d+)?|\d(\.\d+)?e-\d+"),
    "sId": re.compile(r"\d{10}"),
    "eTime": re.compile(r"\d{13}"),
    "msgId": re.compile(r"[0-9A-F]{32}-\d{13}"),
    "sessionId": re.compile(r"\d{10}"),
    "time": re.compile(r"\d{13}"),
}
# Section 13: keys that one SDK adds, or spells for itself.
HOOK_EXTRAS = ("group_algo", "sdk_version", "source")


def loose(value: Any) -> Any:
    """Return *value* with every number inside as ``n:<float>``, so that 10, 10.0 and "10" are equal."""
    if isinstance(value, dict):
        return {key: loose(one) for key, one in value.items()}
    if isinstance(value, list):
        return [loose(one) for one in value]
    if isinstance(value, bool):
        return f"b:{value}"
    if value is None:
        return None
    if value in ("true", "True"):
        return "b:True"
    try:
        return f"n:{float(Decimal(str(value))) + 0.0}"
    except InvalidOperation:
        return value


def strict(value: Any) -> Any:
    """Return *value* with 10 and 10.0 alike, but numbers, texts and booleans apart."""
    if isinstance(value, dict):
        return {key: strict(one) for key, one in value.items()}
    if isinstance(value, list):
        return [strict(one) for one in value]
    if isinstance(value, bool):
        return f"b:{value}"
    if isinstance(value, (int, float)):
        return f"n:{float(value) + 0.0}"
    return value if value is None else f"s:{value}"


def neutral(answer: Json, call: Json) -> Json:
    """Return what of *answer* to *call* must be equal in all SDKs."""
    return {
        "ret": neutral_value(answer["ret"], call["api"]),
        "impressions": [one for request in answer["requests"] for one in impressions(request)],
        "shape": [shape(request) for request in answer["requests"]],
        "sets": sorted(map(neutral_row, answer["sets"]), key=_sortable),
        "hooks": [neutral_hook(payload) for payload in answer["hooks"]],
    }


def neutral_value(value: Any, api: str) -> Any:
    """Return a returned value; section 10.4: nothing tracked is an empty mapping."""
    if api == "push":
        return bool(value) and (value is True or any(value.values()))
    if api == "track":
        if value is None:
            return {}
        if isinstance(value, dict):
            return {key: one for key, one in value.items() if key != "isDevelopmentMode"}
    return strict(value)


def shape(request: Json) -> list[str]:
    return [request["method"], urlsplit(request["target"]).path.rpartition("/")[2]]


def impressions(request: Json) -> list[list[Any]]:
    """Return what a request says: one entry for each event, however they are packed."""
    try:
        return list(_impressions(request))
    except (ValueError, KeyError, TypeError):
        return [["unreadable", request["target"], request["body"]]]


def _impressions(request: Json) -> Iterator[list[Any]]:
    url = urlsplit(request["target"])
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    path = url.path.rpartition("/")[2]
    if path == "batch-events":
        yield from map(_item, json.loads(request["body"])["ev"])
        return
    agent = [query.get("visitor_ua", ""), query.get("visitor_ip", "")]
    if path == "push":
        yield ["push", query["u"], _tags(query["tags"])]
    elif path == "t":
        yield ["event", *_event(json.loads(request["body"])), *agent]
    else:
        ids = [query.get(part) for part in ("experiment_id", "combination", "goal_id")]
        yield [path, query["u"], *ids, loose(query.get("r")), *agent]


def _item(item: Json) -> list[Any]:
    if item["eT"] == 3:
        text = item["t"]
        return ["push", item["u"], _tags(text if text.startswith("{") else unquote(text))]
    ids = [None if item.get(part) is None else str(item[part]) for part in "ecg"]
    agent = [item.get("visitor_ua", ""), item.get("visitor_ip", "")]
    return [
        "track-user" if item["eT"] == 1 else "track-goal",
        item["u"],
        *ids,
        loose(item.get("r")),
        *agent,
    ]


def _tags(text: str) -> Any:
    try:
        return strict(json.loads(text)["u"])
    except (ValueError, KeyError):
        return f"broken: {text}"


def _event(body: Json) -> list[Any]:
    data = body["d"]
    props = {key: one for key, one in data["event"]["props"].items() if key not in SDK_PROPS}
    visitor = {
        key: one for key, one in data["visitor"]["props"].items() if key != "vwo_fs_environment"
    }
    return [data["event"]["name"], data["visId"], loose(props), strict(visitor)]


def neutral_row(row: Json) -> Json:
    """Return a written row. An empty metaData says nothing, nor does the repetition of a goal."""
    kept = {key: one for key, one in row.items() if not (key == "metaData" and one == {})}
    if isinstance(row.get("goalIdentifier"), str):
        kept["goalIdentifier"] = list(dict.fromkeys(row["goalIdentifier"].split("_vwo_")))
    return kept


def _sortable(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def neutral_hook(payload: Mapping[str, Any]) -> Json:
    """Return what the integrations callback is told, in snake_case."""
    hook = {
        re.sub(r"(?<!^)([A-Z])", r"_\1", key).lower(): value
        for key, value in payload.items()
        if value is not None
    }
    for key in HOOK_EXTRAS:
        hook.pop(key, None)
    hook["is_forced_variation_enabled"] = bool(hook.get("is_forced_variation_enabled"))
    for key in ("custom_variables", "variation_targeting_variables"):
        variables = dict(hook.get(key) or {})
        variables.pop("_vwo_user_id", None)
        hook[key] = strict(variables)
    if hook.get("campaign_type") == "FEATURE_TEST":
        is_told = {"isFeatureEnabled", "is_feature_enabled"} & payload.keys()
        hook["is_feature_enabled"] = hook.get("is_feature_enabled", False) if is_told else "absent"
    return hook


def wire(answer: Json) -> list[Any]:
    """Return the requests of *answer* in full, for the comparison with the Node SDK."""
    return [_wire(request) for request in answer["requests"]]


def _wire(request: Json) -> Json:
    url = urlsplit(request["target"])
    query = parse_qsl(url.query, keep_blank_values=True)
    headers = {name.lower(): value for name, value in request["headers"].items()}
    return {
        "method": request["method"],
        "path": url.path,
        "query": sorted([key, _static(key, value)] for key, value in query),
        "headers": {name: headers[name] for name in WIRE_HEADERS if name in headers},
        "body": _static_tree(_parse(request["body"])),
    }


def _parse(body: str) -> Any:
    try:
        return json.loads(body) if body else None
    except ValueError:
        return f"unreadable: {body}"


def _static(key: str, value: Any) -> Any:
    """Return *value*, or the word that it is dynamic and looks it."""
    if key in DYNAMIC and DYNAMIC[key].fullmatch(str(value)):
        return "dynamic"
    return loose(value)


def _static_tree(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _static_tree(one) if isinstance(one, (dict, list)) else _static(key, one)
            for key, one in value.items()
        }
    if isinstance(value, list):
        return [_static_tree(one) for one in value]
    return loose(value)


def in_one_request(form: Json, targets: int) -> Json:
    """Apply row 49 to a neutral form: what was asked of several targets goes in one batch."""
    sent = [entry for entry in form["shape"] if entry[1] in ("track-goal", "push")]
    if targets < 2 or not sent:
        return form
    return {**form, "shape": [["POST", "batch-events"]]}


def reads_fit(ours: Sequence[Any], model: Sequence[Any], members: Sequence[str]) -> bool:
    """Tell whether the rows asked for are those of the model.

    The model reads the rows of a group one by one until one decides; others read them together. Rows of
    other members that it did not come to are therefore no difference.
    """
    extra = {tuple(one) for one in ours} - {tuple(one) for one in model}
    missing = {tuple(one) for one in model} - {tuple(one) for one in ours}
    return not missing and all(key in members for _, key in extra)


def difference(form: Json, other: Json) -> list[str]:
    """Name the parts in which two neutral forms differ."""
    return [part for part in form if form[part] != other[part]]
