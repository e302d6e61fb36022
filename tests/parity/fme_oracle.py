"""The official FME SDK for Python as an oracle: reads cases as JSON lines, answers each with a JSON line.

Runs inside the virtual environment that has the SDK, with the standard library and the SDK alone. Its
argument is ``stock``, or ``corrected``: then the SDK's sources pass through the edits of
fme_python_edits.py while they are loaded. Nothing goes over a network.
"""

from __future__ import annotations

import builtins
import copy
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import io
import json
import math
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from types import CodeType
from typing import Any
from urllib.parse import quote, urlsplit

from fme_gateway import answer, is_of_gateway, read_alias
from fme_python_edits import EDITS
from oracle import (
    compile_edited,
    number_text,
    searches,
    strict_number,
    value_text,
    wildcard,
)

Json = dict[str, Any]

KEY = "someuniquestuff1234567"
CONTEXT = {
    "customVariables": "custom_variables",
    "variationTargetingVariables": "variation_targeting_variables",
    "postSegmentationVariables": "post_segmentation_variables",
    "userAgent": "user_agent",
    "ipAddress": "ip_address",
    "sessionId": "session_id",
    "platformVariables": "platform_variables",
    "useIdForWeb": "use_id_for_web",
}
OPERAND = re.compile(r"(lower|wildcard|regex|gte?|lte?)\((.*)\)")
BOUND = re.compile(r"(gte?|lte?)\(([0-9]+(?:\.[0-9]+)*|\.[0-9]+)\)")
WEB_ID = re.compile(r"[DJ][0-9A-Fa-f]{32}")
VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")
COMPARISONS: dict[str, Callable[[int], bool]] = {
    "gt": lambda order: order > 0,
    "gte": lambda order: order >= 0,
    "lt": lambda order: order < 0,
    "lte": lambda order: order <= 0,
}
# What a segment asks the SDK's evaluator about, which holds the user of one call at a time.
CONTEXT_OPERANDS = (
    *("featureId", "ua", "ip_address", "browser_version", "os_version", "campaignVariation"),
    *("country", "region", "city", "os", "browser_string", "device_type", "device"),
)
STORED = tuple(
    f"{kind}{name}" for kind in ("rollout", "experiment") for name in ("Id", "Key", "VariationId")
)


def canonical(text: str) -> str:
    number = strict_number(text)
    return text if number is None else number_text(number)


def parse_version(text: str) -> list[int] | None:
    """Return the parts of a version without zeros at its end."""
    if VERSION.fullmatch(text) is None:
        return None
    parts = [int(part) for part in text.split(".")]
    while parts and not parts[-1]:
        parts.pop()
    return parts


def recommended_leaf(operand: str, value: Any) -> bool:
    """What an operand says of a value that is there: sections 6.2 to 6.4, with the causes of section 13."""
    text = value_text(value)
    match = OPERAND.match(operand)
    kind, content = ("equals", operand) if match is None else (match[1], match[2])
    if kind in COMPARISONS:
        bound = BOUND.fullmatch(operand)
        if bound is not None:
            wanted, found = parse_version(canonical(bound[2])), parse_version(canonical(text))
            if wanted is None or found is None or isinstance(value, bool):
                return False
            return COMPARISONS[kind]((found > wanted) - (found < wanted))
        kind, content = "equals", operand
    test: Any = {
        "equals": str.__eq__,
        "lower": lambda one, other: one.lower() == other.lower(),
        "regex": searches,
    }.get(kind)
    if kind == "wildcard":
        content, test = wildcard(content)
    if strict_number(text) is not None and strict_number(content) is not None:
        text, content = canonical(text), canonical(content)
    return bool(test(text, content))


def leaf_row(operand: str, value: Any) -> str:
    """Name the row by which the stock answer to a leaf parts from the recommended one."""
    match = OPERAND.match(operand)
    content = match[2] if match else operand
    if isinstance(value, bool):
        return "bool_text"
    if match and match[1] in COMPARISONS and not _sees_comparison(operand):
        return "compare_operand_form"
    if match and match[1] == "wildcard" and len(content) - len(content.strip("*")) > 2:
        return "wildcard_stars"
    if match and match[1] == "wildcard" and ("**" in (content[:2], content[-2:])):
        return "wildcard_stars"
    if any(_python_number(one) != canonical(one) for one in (value_text(value), content)):
        return "number_normalising"
    if (strict_number(value_text(value)) is None) != (strict_number(content) is None):
        return "number_normalising"
    return "text_of_value" if isinstance(value, float) else "leaf"


def _sees_comparison(operand: str) -> bool:
    """Tell whether both sides see, or do not see, a comparison here."""
    stock = re.match(r"(gte?|lte?)\([\d.]+\)$", operand) is not None
    return stock == (BOUND.fullmatch(operand) is not None)


def _python_number(text: str) -> str:
    """The canonical text of a number as the SDK makes it, each side alone."""
    try:
        number = float(text)
    except ValueError:
        return text
    if not math.isfinite(number):
        return str(number)
    return str(int(number)) if number.is_integer() else str(number)


class Parity:
    """What the edits ask; see fme_python_edits.py."""

    def __init__(self) -> None:
        self.off: set[str] = set()
        self.fired: set[str] = set()

    def row(self, name: str) -> bool:
        if name in self.off:
            return False
        self.fired.add(name)
        return True

    def settle(self, wanted: bool, stock: Any, error: Exception | None, name: str) -> Any:
        """Return the recommended answer, unless its row is switched off."""
        if (error is None and bool(stock) is wanted) or self.row(name):
            return wanted
        if error is not None:
            raise error
        return stock

    def leaf(self, stock: Any, operand: str, value: Any) -> Any:
        """The recommended answer of an operand; *stock* calls the SDK's own."""
        answer, error = self._try(stock)
        if value is None:
            return self.settle(False, answer, error, "null_value")
        if isinstance(value, (list, dict)):
            return self.settle(False, answer, error, "compound_value")
        wanted = recommended_leaf(operand, value)
        return self.settle(wanted, answer, error, leaf_row(operand, value))

    def _try(self, stock: Any) -> tuple[Any, Exception | None]:
        try:
            return stock(), None
        except Exception as error:  # noqa: BLE001 - the error is the answer
            return None, error

    def custom_variable(self, evaluator: Any, node: Any, variables: Json, context: Any) -> Any:
        def stock() -> Any:
            return evaluator.stock_custom_variable(node, variables, context)

        if node == {}:
            answer, error = self._try(stock)
            return self.settle(False, answer, error, "empty_node")
        name, operand = next(iter(node.items())) if isinstance(node, dict) else ("", 0)
        if name not in variables:
            return stock()
        value = variables[name]
        if not isinstance(operand, str):
            # A value that is left out cannot reach a part that cannot be evaluated.
            if value is None or isinstance(value, (list, dict)):
                answer, error = self._try(stock)
                row = "null_value" if value is None else "compound_value"
                return self.settle(False, answer, error, row)
            return stock()
        if "inlist" in operand:
            return self.is_in_list(stock, operand, value, context)
        return self.leaf(stock, operand, value)

    def is_in_list(self, stock: Any, operand: str, value: Any, context: Any) -> Any:
        """What the gateway says of a list, which the SDK never asks about."""
        match = re.search(r"inlist\(([^)]+)\)", operand)
        # Without a gateway no list holds anybody.
        if match is None or not GATEWAY[0]:
            return stock()
        if value is None or isinstance(value, (list, dict)):
            return self.settle(False, *self._try(stock), "list_never_asked")
        query = {"attribute": quote(value_text(value), safe=""), "listId": quote(match[1], safe="")}
        util = importlib.import_module("wingify.utils.gateway_service_util")
        found = util.get_from_gateway_service(query, "/check-attribute", context)
        is_failure = isinstance(found, dict) and found.get("status") == 0
        wanted = bool(found) and found != "false" and not is_failure
        return self.settle(wanted, *self._try(stock), "list_never_asked")

    def aliases(self, response: Any) -> bool:
        """Tell whether the gateway has said whose aliases ids are: an empty list is an answer."""
        return bool(response) or (response == [] and self.row("no_alias"))

    def has_empty_details(self, details: Any) -> bool:
        """Tell whether there are details that say nothing: then the gateway is not asked for others."""
        return details == {} and GATEWAY[0] is not None and self.row("empty_details")

    def visitor(self, user_id: str, stock: str) -> str:
        """Return the visitor id of the owner of an alias."""
        if SETTINGS[0].get("isWebConnectivityEnabled") is False or not WEB_ID.fullmatch(user_id):
            return stock
        return user_id if self.row("alias_visitor") else stock

    def when_failed(self, requests: list[Json], rows: Iterable[Json]) -> list[Json]:
        """Leave out what was reported before a flag failed: without a gateway the SDK reports nothing then.

        Holdouts stay that stand on record by then: *rows* are those of the user.
        """
        if GATEWAY[0] is None:
            return requests
        events = [one["d"]["event"] for one in requests]
        logged = [one["props"]["vwoMeta"] for one in events if one["name"] == "vwo_sdkDebug"]
        has_failed = any(
            one.get("an") == "getFlag" and one.get("msg_t") == "EXECUTION_FAILED" for one in logged
        )
        keys = {one["id"]: one["key"] for one in SETTINGS[0]["features"]}
        known = {
            (row["featureKey"], holdout_id)
            for row in rows
            for name in ("isInHoldoutId", "notInHoldoutId")
            for holdout_id in row.get(name) or ()
        }
        early = [
            one["name"] == "vwo_variationShown"
            and (keys.get(one["props"].get("fId")), one["props"]["id"]) not in known
            for one in events
        ]
        if not (has_failed and any(early) and self.row("reported_before_it_failed")):
            return requests
        return [one for one, is_early in zip(requests, early, strict=True) if not is_early]

    def id_text(self, given: Any) -> Any:
        is_number = isinstance(given, int) and not isinstance(given, bool)
        return str(given) if is_number and self.row("numeric_id") else given

    def alias(self, given: str) -> str:
        stock = "".join(given.strip().split())
        return given.strip() if stock != given.strip() and self.row("alias_blanks") else stock

    def user_agent(self, evaluator: Any, operand: Any, context: Any) -> Any:
        def stock() -> Any:
            return evaluator.stock_user_agent(operand, context)

        text = context.get_user_agent()
        return self.leaf(stock, operand, text) if text and isinstance(operand, str) else stock()

    def string_operand(self, evaluator: Any, operand: Any, context: Any, kind: str) -> Any:
        def stock() -> Any:
            return evaluator.stock_string_operand(operand, context, kind)

        value = evaluator.get_tag_value_for_operand_type(context, kind)
        answer, error = self._try(stock)
        if value is None or (value == "" and kind == "ip_address"):
            return self.settle(False, answer, error, "empty_address")
        text = value_text(operand).replace('"', "").strip()
        version = parse_version(text)
        if version is None:
            wanted = recommended_leaf(text, value)
        else:
            wanted = parse_version(value_text(value)) == version
        return self.settle(wanted, answer, error, "string_operand_numbers")

    def feature_number(self, text: str) -> int:
        return int(text) if text.isdigit() or not self.row("feature_id_text") else -1

    def place(self, value: Any) -> str:
        stock = str(value).replace('"', "").strip()
        wanted = re.sub(r'\A"|"\Z', "", str(value)).strip()
        return wanted if stock != wanted and self.row("quotes_in_location") else stock

    def is_empty_campaigns(self, campaigns: Any) -> bool:
        return campaigns == "" and self.row("web_falsy")

    def read(self, row: Any) -> Any:
        """Return a stored row as it is to be read."""
        if not row:
            return row
        row = dict(row)
        if row.get("holdoutGroupId"):
            older = row["holdoutGroupId"]
            if not row.get("isInHoldoutId") and self.row("old_holdout_field"):
                del row["holdoutGroupId"]
                if row.get("isInHoldoutId") is None:
                    row["isInHoldoutId"] = list(older)
        is_part = row.get("rolloutKey") and "rolloutVariationId" not in row
        if is_part and self.row("stored_rollout_incomplete"):
            row["rolloutVariationId"] = None
        return row

    def kept(self, row: Any, name: str) -> Json:
        """Return the decision on record, which a row that is written over it keeps."""
        if not row or not any(row.get(one) for one in STORED) or not self.row(name):
            return {}
        whole = [kind for kind in ("rollout", "experiment") if row.get(f"{kind}VariationId")]
        return {one: row[one] for one in STORED if row.get(one) and one.startswith(tuple(whole))}

    def campaign_key(self, settings: Any, row: Json) -> str:
        """Return the key under which a stored rollout is written again."""
        keys = {one.get_id(): one.get_key() for one in settings.get_campaigns()}
        stored: str = row["rolloutKey"]
        key: str = keys.get(row["rolloutId"], stored)
        return key if key != stored and self.row("storage_key_form") else stored

    def asks_context(self, applicable: Iterable[Any], row: Json) -> bool:
        """Tell whether a holdout that the row does not know asks about what is not yet set for the call."""
        known = [*(row.get("isInHoldoutId") or ()), *(row.get("notInHoldoutId") or ())]
        new = [one.get_segments() for one in applicable if one.get_id() not in known]
        text = json.dumps(new)
        asks = any(f'"{name}":' in text for name in CONTEXT_OPERANDS)
        return asks and self.row("stale_holdout_context")

    def not_in(self, row: Any) -> list[Any]:
        """Return the holdouts that the user is known not to be in, which the SDK forgets."""
        known = list((row or {}).get("notInHoldoutId") or ())
        return known if known and self.row("not_in_holdout_forgotten") else []

    def is_stored_rule(self, campaign: Any, feature_key: str, row: Any) -> bool:
        """Tell whether the row names this rule of a group, in either form of its key."""
        if not row or not row.get("experimentVariationId"):
            return False
        keys = (campaign.get_key(), f"{feature_key}_{campaign.get_rule_key()}")
        ids = [one.get_id() for one in campaign.get_variations()]
        return row.get("experimentKey") in keys and row["experimentVariationId"] in ids

    def present(self, context: Json) -> Json:
        """Return a context without the lists and mappings that are given as None."""
        names = {
            name
            for name, one in context.items()
            if one is None and name.endswith("_variables") and name != "platform_variables"
        }
        if not names or not self.row("null_variables"):
            return context
        return {name: one for name, one in context.items() if name not in names}

    def list_user(self, context: Any, user_id: str, row: str) -> None:
        """Let user lists see *user_id*."""
        variables = context.get_custom_variables()
        if variables.get("_vwoUserId", user_id) != user_id and self.row(row):
            context.set_custom_variables({**variables, "_vwoUserId": user_id})

    def same_visitor(self, properties: Json, context: Any) -> Json:
        data, visitor = properties["d"], context.get_vwo_uuid()
        if visitor and data["visId"] != visitor and self.row("holdout_visitor"):
            data["msgId"] = data["msgId"].replace(data["visId"], visitor)
            data["visId"] = visitor
        session = context.get_session_id()
        if session and data["sessionId"] != session and self.row("holdout_session"):
            data["sessionId"] = session
        return properties

    def properties(self, given: Json) -> Json:
        """Leave out what VWO's SDKs set themselves."""
        kept = {key: one for key, one in given.items() if not is_own_name(key)}
        return kept if len(kept) < len(given) and self.row("reserved_properties") else given

    def reports(self, variables: Json, key: str) -> bool:
        if isinstance(variables.get(key), (list, dict)):
            return not self.row("compound_value")
        return key in variables

    def sends_nothing(self, call: Json) -> bool:
        """Tell whether a call gives only attributes that VWO's SDKs set themselves."""
        names = call["attributes"] if "attributes" in call else [call["key"]]
        is_own = isinstance(names, (dict, list)) and all(map(is_own_name, names))
        return is_own and bool(names) and self.row("reserved_properties")


def is_own_name(name: object) -> bool:
    return isinstance(name, str) and (
        name.startswith("vwo_") or name in ("vwoMeta", "isCustomEvent")
    )


PARITY = Parity()
RECORD: Json = {}
SETTINGS: list[Json] = []
# What the gateway knows, None where there is none.
GATEWAY: list[Json | None] = [None]


class Response:
    """An answer of the server."""

    def __init__(self, data: Any) -> None:
        self.status_code, self.data = 200, data
        self.headers = {"Content-Type": "application/json"}
        self.text = json.dumps(data)

    def json(self) -> Any:
        return copy.deepcopy(self.data)


def get(session: Any, url: str, **options: Any) -> Response:
    found = ask_gateway(url)
    return Response(SETTINGS[0]) if found is None else found


def ask_gateway(url: str) -> Response | None:
    """Return what the gateway answers, None where somebody else is asked."""
    parts = urlsplit(importlib.import_module("requests").utils.requote_uri(url))
    if GATEWAY[0] is None or not is_of_gateway(parts.path):
        return None
    target = f"{parts.path}?{parts.query}"
    told = read_alias(target)
    if told is not None:
        RECORD["aliased"].append(told)
    return Response(answer(GATEWAY[0], target))


def post(session: Any, url: str, **options: Any) -> Response:
    found = ask_gateway(url)
    if found is not None:
        return found
    RECORD.setdefault("requests", []).append(json.loads(json.dumps(options["json"])))
    return Response({})


class Storage:
    """A user storage in memory that notes what it is asked and told."""

    def __init__(self) -> None:
        self.rows: dict[tuple[str, str], Json] = {}

    def get(self, feature_key: str, user_id: str) -> Any:
        RECORD["gets"].append(feature_key)
        RECORD["asked"].append(user_id)
        row = copy.deepcopy(self.rows.get((user_id, feature_key)))
        return PARITY.read(row) if sys.argv[1] == "corrected" else row

    def set(self, row: Json) -> None:
        row = {key: one for key, one in copy.deepcopy(row).items() if one is not None}
        RECORD["sets"].append(row)
        self.rows[row["userId"], row["featureKey"]] = row

    def content(self) -> list[list[Any]]:
        return [[user, key, copy.deepcopy(row)] for (user, key), row in self.rows.items()]

    def list_asked(self) -> list[Json]:
        """Return the rows of the users that the call asked about."""
        return [row for (user, _), row in self.rows.items() if user in RECORD["asked"]]


class EditedLoader(importlib.machinery.SourceFileLoader):
    """Loads a module with the edits of its file."""

    def get_code(self, fullname: str) -> CodeType:
        return compile_edited(self.get_filename(fullname), "wingify", EDITS)


class EditedFinder(importlib.abc.MetaPathFinder):
    """Finds the modules that have edits."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        names = {f"/wingify/{name}" for name, _, _ in EDITS}
        if spec is not None and spec.origin and any(map(spec.origin.endswith, names)):
            spec.loader = EditedLoader(fullname, spec.origin)
        return spec


def to_context(given: Json) -> Json:
    context = {CONTEXT.get(name, name): one for name, one in copy.deepcopy(given).items()}
    platform = context.get("platform_variables")
    if platform:
        campaigns = platform["webTestingCampaigns"]
        context["platform_variables"] = {"web_testing_campaigns": campaigns}
    return context


class Client:
    """The SDK started with one settings file."""

    def __init__(self, sdk: Any, job: Json) -> None:
        SETTINGS[:] = [job["settings"]]
        RECORD.clear()
        # What belongs to the process in this SDK, and would stay from the case before.
        sdk.client.WingifyClient._client_instance = None
        sdk.storage.Storage._instance = None
        self.storage = Storage() if job["stores"] else None
        options: Json = {"sdk_key": KEY, "account_id": job["settings"]["accountId"]}
        options |= {"threading": {"enabled": False}, "is_usage_stats_disabled": True}
        GATEWAY[:] = [job.get("gateway")]
        if GATEWAY[0] is not None:
            options["gateway_service"] = {"url": "http://gateway.test"}
            options["is_aliasing_enabled"] = GATEWAY[0]["is_asked"]
        if self.storage is not None:
            options["storage"] = self.storage
        self.sdk = sdk.init(options)
        if self.sdk is None:
            raise ValueError("the Python SDK refuses the settings")
        manager = sdk.manager.SettingsManager.get_instance()
        is_valid = manager.is_settings_valid(self.sdk.original_settings)
        # Most of the SDK's time is this check, which it makes again for each call.
        manager.is_settings_valid = lambda settings: is_valid
        if not is_valid:
            raise ValueError("the Python SDK finds the settings invalid")

    def run(self, call: Json, rows: Any) -> Json:
        """Make one call; return its value and what it did."""
        if self.storage is not None and rows is not None:
            self.storage.rows = {(user, key): row for user, key, row in copy.deepcopy(rows)}
        before = [] if self.storage is None else self.storage.content()
        RECORD.clear()
        RECORD.update(requests=[], sets=[], gets=[], asked=[], aliased=[])
        ret = self.make(copy.deepcopy(call))
        after = [] if self.storage is None else self.storage.content()
        if sys.argv[1] == "corrected" and call["api"] == "get_flag":
            rows = [] if self.storage is None else self.storage.list_asked()
            RECORD["requests"] = PARITY.when_failed(RECORD["requests"], rows)
        return {**copy.deepcopy(RECORD), "ret": ret, "before": before, "after": after}

    def make(self, call: Json) -> Any:
        context = to_context(call["context"])
        if call["api"] == "get_flag":
            flag = self.sdk.get_flag(call["feature"], context)
            variables = [
                [one[name] for name in ("key", "value", "type", "id")] for one in listed(flag)
            ]
            return {"on": bool(flag.is_enabled()), "variables": variables}
        if call["api"] == "set_alias":
            return bool(self.sdk.set_alias(context, call["alias"]))
        if call["api"] == "track_event":
            given = [call["properties"]] if "properties" in call else []
            return self.sdk.track_event(call["event"], context, *given)
        if PARITY.sends_nothing(call):
            return None
        if "attributes" in call:
            return self.sdk.set_attribute(call["attributes"], context)
        return self.sdk.set_attribute(call["key"], call["value"], context)


def listed(flag: Any) -> list[Json]:
    return [one if isinstance(one, dict) else one.__dict__ for one in flag.get_variables()]


def run_corrected(client: Client, call: Json, rows: Any, without: Iterable[str]) -> Json:
    PARITY.off, PARITY.fired = set(without), set()
    answer = client.run(call, rows)
    return {**answer, "fired": sorted(PARITY.fired)}


def work(sdk: Any, job: Json) -> Any:
    client = Client(sdk, job)
    calls = job["calls"]
    if job.get("is_sequence") and client.storage is not None:
        client.storage.rows = {(user, key): row for user, key, row in copy.deepcopy(job["rows"])}
    answers = []
    for call in calls:
        rows = None if job.get("is_sequence") else call.get("rows")
        answers.append(run_corrected(client, call["call"], rows, job.get("without", ())))
    return answers


class Sdk:
    """The parts of the SDK that are used here."""

    def __init__(self) -> None:
        builder: Any = importlib.import_module("wingify.wingify_builder")
        builder.WingifyBuilder.init_polling = lambda self: self
        network: Any = importlib.import_module(
            "wingify.packages.network_layer.manager.network_manager"
        )
        network.NetworkManager.execute_in_background = lambda self, send: send()
        self.client: Any = importlib.import_module("wingify.wingify_client")
        self.manager: Any = importlib.import_module("wingify.services.settings_manager")
        self.storage: Any = importlib.import_module("wingify.packages.storage.storage")
        self.init: Any = importlib.import_module("vwo").init


def main() -> None:
    builtins.PARITY = PARITY  # type: ignore[attr-defined]
    requests: Any = importlib.import_module("requests")
    requests.Session.get, requests.Session.post = get, post
    if sys.argv[1] == "corrected":
        sys.meta_path.insert(0, EditedFinder())
    sdk = Sdk()
    # The SDK prints.
    out, sys.stdout = sys.stdout, io.StringIO()
    for line in sys.stdin:
        try:
            answer = work(sdk, json.loads(line))
        except Exception:  # noqa: BLE001 - one bad line must not end the oracle
            answer = {"error": traceback.format_exc()}
        out.write(json.dumps(answer) + "\n")
        out.flush()
    # The SDK's timers would let the process live for ever.
    os._exit(0)


if __name__ == "__main__":
    main()
