"""The Python SDK as an oracle: reads cases as JSON lines, answers each with a JSON line.

Runs inside the virtual environment that has the SDK, with the standard library and the SDK alone. Two
copies of the SDK live side by side: the stock one, and the corrected one, whose sources pass through
the edits of python_edits.py while they are loaded. Nothing is written to disk and nothing goes over a
network: ``requests.Session.send`` is replaced.
"""

from __future__ import annotations

import builtins
import copy
import http.client
import importlib
import importlib.abc
import importlib.machinery
import json
import math
import re
import sys
import threading
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from types import CodeType, ModuleType, SimpleNamespace
from typing import Any, NamedTuple

from python_edits import EDITS

Json = dict[str, Any]

HOST = "https://dev.visualwebsiteoptimizer.com"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://vwo.com")
NOTHING = {"isFeatureEnabled": False}
FLAGGED = ("activate", "isFeatureEnabled", "track")
OPTIONS = {
    "customVariables": "custom_variables",
    "variationTargetingVariables": "variation_targeting_variables",
    "revenueValue": "revenue_value",
    "goalTypeToTrack": "goal_type_to_track",
    "eventProperties": "event_properties",
    "userAgent": "user_agent",
    "userIpAddress": "user_ip_address",
}
NUMBER = re.compile(
    r"[ \t\n\r\f\v]*[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[ \t\n\r\f\v]*"
)
OPERAND = re.compile(r"(lower|wildcard|regex|gte?|lte?)\((.*)\)")
COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "gt": lambda value, operand: value > operand,
    "gte": lambda value, operand: value >= operand,
    "lt": lambda value, operand: value < operand,
    "lte": lambda value, operand: value <= operand,
}


def strict_number(text: str) -> float | None:
    """Section 5.3: decimal with optional exponent, blanks around it allowed, finite."""
    if NUMBER.fullmatch(text) is None:
        return None
    number = float(text)
    return number if math.isfinite(number) else None


def number_text(number: float) -> str:
    """Section 5.3: JavaScript's text of a number."""
    sign, digits, point = Decimal(repr(number)).normalize().as_tuple()
    figures = "".join(map(str, digits))
    # The place of the decimal point, counted from the left of the figures.
    at = len(figures) + int(point)
    if number == 0:
        return "0"
    if -6 < at <= 21:
        whole, fraction = figures[: max(at, 0)].ljust(at, "0") or "0", figures[max(at, 0) :]
        text = f"{whole}.{'0' * max(-at, 0)}{fraction}" if fraction else whole
    else:
        rest = f".{figures[1:]}" if len(figures) > 1 else ""
        text = f"{figures[0]}{rest}e{at - 1:+d}"
    return f"-{text}" if sign else text


def value_text(value: Any) -> str:
    """Section 5.2, with integral floats as integers (row 19)."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return number_text(value)
    return str(value)


def wildcard(content: str) -> tuple[str, Callable[[str, str], bool]]:
    """Row 11: one star is taken from each end."""
    starts, ends = content.startswith("*"), content.endswith("*")
    inner = content.removeprefix("*")
    inner = inner.removesuffix("*")
    if starts and ends:
        return inner, lambda text, operand: operand in text
    if starts:
        return inner, lambda text, operand: text.endswith(operand)
    if ends:
        return inner, lambda text, operand: text.startswith(operand)
    return inner, lambda text, operand: text == operand


def searches(text: str, pattern: str) -> bool:
    """Row 34: regular expressions are Python's."""
    try:
        return re.search(pattern, text) is not None
    except Exception:  # noqa: BLE001 - a pattern may fail in any way, and matches nothing
        return False


TESTS: dict[str, Callable[[str, str], bool]] = {
    "equals": lambda text, operand: text == operand,
    "lower": lambda text, operand: text.lower() == operand.lower(),
    "regex": searches,
    "wildcard": lambda text, operand: text == operand,
}


def recommended_leaf(operand: str, value: Any) -> bool:
    """Section 5: what a custom variable's operand says of a value that is there."""
    text = value_text(value)
    match = OPERAND.match(operand)
    kind, content = ("equals", operand) if match is None else (match[1], match[2])
    if kind in COMPARISONS:
        bound = strict_number(content)
        if bound is not None:
            number = strict_number(text)
            return number is not None and COMPARISONS[kind](number, bound)
        kind, content = "equals", operand
    test = TESTS[kind]
    if kind == "wildcard":
        content, test = wildcard(content)
    pair = strict_number(text), strict_number(content)
    if pair[0] is not None and pair[1] is not None:
        text, content = number_text(pair[0]), number_text(pair[1])
    return test(text, content)


def leaf_row(operand: str, value: Any) -> str:
    """Name the row by which the two answers to a leaf part."""
    match = OPERAND.match(operand)
    texts = [str(value), match[2] if match else operand]
    if value == "":
        return "empty_value_is_absent"
    if match is None and re.match(r"^(.+?)\((.*)\)", operand):
        return "odd_operator_names"
    if match and match[1] == "wildcard" and match[2] in ("", "*", "**"):
        return "wildcard_bare_stars"
    if any(strict_number(text) is None and _is_float(text) for text in texts):
        return "number_parse"
    if match and match[1] in COMPARISONS:
        return "compare_error"
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    # A text that spells a number is compared in the form of that number beside another one.
    is_number = is_number or strict_number(str(value)) is not None
    return "number_format" if is_number else f"leaf {operand!r} {value!r}"


def _is_float(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def js_text(value: float) -> str:
    """A number as JavaScript prints it, which is what its parsers then read."""
    return number_text(value) if isinstance(value, float) else str(value)


def node_cast(value: Any, kind: Any) -> Any:
    """Row 15: the Node SDK's casts."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if kind in ("integer", "double"):
        if not is_number and not isinstance(value, str):
            return None
        text = js_text(value) if is_number else value
        pattern = (
            r"\s*([+-]?[0-9]+)"
            if kind == "integer"
            else r"\s*([+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)"
        )
        match = re.match(pattern, text)
        return None if match is None else (int if kind == "integer" else float)(match[1])
    if kind == "boolean":
        return value if isinstance(value, bool) else None
    if kind == "json":
        return value if isinstance(value, dict) else None
    return value


def json_text(value: Any) -> str:
    """JSON.stringify."""
    if isinstance(value, float) and value == math.floor(value):
        value = int(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


class Parity:
    """What the edits of the corrected copy ask; see python_edits.py."""

    def __init__(self) -> None:
        self.off: set[str] = set()
        self.fired: set[str] = set()
        self.is_corrected = False
        self.call: Json = {}
        self.options: Json = {}
        self.launch: Json = {}

    def row(self, name: str) -> bool:
        if not self.is_corrected or name in self.off:
            return False
        self.fired.add(name)
        return True

    def matching(self, pairs: list[Any], goal_type: str) -> list[Any]:
        kept = [pair for pair in pairs if goal_type in ("ALL", pair[1].get("type"))]
        if len(kept) < len(pairs) and self.row("track_null_type_mismatch_false"):
            return kept
        return pairs

    def revenue_prop(self, goal: Json) -> Any:
        prop = goal.get("revenueProp")
        is_other = prop and goal.get("type") != "REVENUE_TRACKING"
        return None if is_other and self.row("revprop_any_goal") else prop

    def listed_id(self, user_id: str, campaign: Json, settings: Json) -> str:
        if campaign.get("isUserListEnabled") and self.row("user_list_hashed"):
            account = uuid.uuid5(NAMESPACE, str(settings.get("accountId")))
            return uuid.uuid5(account, user_id).hex.upper()
        return user_id

    def lacks_group(self, group_id: Any, settings: Json) -> bool:
        is_there = str(group_id) in settings.get("groups", {})
        return not is_there and self.row("meg_group_missing")

    def is_absent(self, flag: Any) -> bool:
        return flag is None or (not flag and self.row("ob_present_counts"))

    def returning_flag(self) -> bool:
        given = self.options.get("shouldTrackReturningUser")
        from_launch = bool(self.launch.get("shouldTrackReturningUser"))
        if self.call["api"] == "track":
            return from_launch if given is None else given
        return bool(given) or from_launch

    def sends(self, is_user_tracked: bool) -> bool:
        return not is_user_tracked or (self.returning_flag() and self.row("returning_user_flag"))

    def repeats(self) -> bool:
        return self.returning_flag() and self.row("returning_user_flag")

    def is_off(self, flag: Any) -> bool:
        return flag is False or (not flag and self.row("feature_missing_flag"))

    def cast(self, stock: Any, variable: Json) -> Any:
        value = node_cast(variable.get("value"), variable.get("type"))
        is_same = value == stock and isinstance(value, bool) == isinstance(stock, bool)
        return stock if is_same or not self.row("feature_cast") else value

    def read(self, storage: Any, user_id: str, campaign_key: str) -> Any:
        given = self.options.get("userStorageData")
        if given and self.row("user_storage_data"):
            return python_row(given)
        return storage.get(user_id, campaign_key)

    def usable(self, data: Any, campaign: Json) -> Any:
        if not data:
            return data
        key = data.get("campaignKey")
        if key == campaign.get("key") and data.get("variationName"):
            return data
        return None if self.row("storage_activated") else data

    def names_variation(self, data: Json, campaign: Json) -> bool:
        names = [variation.get("name") for variation in campaign.get("variations", ())]
        return data.get("campaignKey") == campaign.get("key") and data.get("variationName") in names

    def written(self, data: Json) -> Json:
        row = {key: data.get(key) for key in ("campaignKey", "variationName")}
        row["userId"] = self.call["args"]["userId"]
        if data.get("goalIdentifiers"):
            row["goalIdentifiers"] = data["goalIdentifiers"]
        # What was stored with the activation stays, unless the call gives new data.
        meta = self.options.get("metaData", data.get("metaData"))
        if meta is not None:
            row["metaData"] = meta
        if row == data:
            return data
        name = "meta_data" if "metaData" in row or "metaData" in data else "stored_row_copied"
        return row if self.row(name) else data

    def no_winner(self, algorithm: Any) -> str:
        return "meg_no_winner_raises_equal" if algorithm == 1 else "meg_no_winner_raises_weighted"

    def leaf(self, evaluator: Any, operand: Json, variables: Json) -> bool:
        name, text = next(iter(operand.items()))
        error = None
        try:
            stock = evaluator.stock_custom_variable(operand, variables)
        except Exception as raised:  # noqa: BLE001 - the error is the answer
            stock, error = None, raised
        if not isinstance(text, str):
            if error is not None:
                raise error
            return bool(stock)
        value = variables.get(name)
        wanted = value is not None and recommended_leaf(text, value)
        if wanted == stock or self.row(leaf_row(text, value)):
            return wanted
        if error is not None:
            raise error
        return bool(stock)

    def tag_texts(self, tags: Json) -> Json:
        if all(isinstance(value, str) for value in tags.values()):
            return tags
        if not self.row("push_value_text"):
            return tags
        return {
            key: value if isinstance(value, str) else json_text(value)
            for key, value in tags.items()
        }

    def refuses(self) -> bool:
        """Tell whether an option that the stock SDK does not look at makes the call invalid."""
        options = self.options
        if self.call["api"] in FLAGGED and not isinstance(
            options.get("shouldTrackReturningUser", False), bool
        ):
            return self.row("returning_user_flag")
        if not isinstance(options.get("metaData", {}), dict):
            return self.row("meta_data")
        if not isinstance(options.get("userStorageData", {}), dict):
            return self.row("user_storage_data")
        return False


PARITY = Parity()
RECORD: Json = {}


def compile_edited(path: str, package: str, edits: Iterable[tuple[str, str, str]]) -> CodeType:
    """Compile a module of an SDK from its edited source; nothing is cached on disk."""
    source = Path(path).read_text()
    for file, old, new in edits:
        if path.endswith(f"/{package}/{file}"):
            if source.count(old) != 1:
                raise ValueError(f"{file}: {source.count(old)} places for {old[:80]!r}")
            source = source.replace(old, new)
    return compile(source, path, "exec", dont_inherit=True)


class Loader(importlib.machinery.SourceFileLoader):
    """Loads a module of the SDK with the edits of its file."""

    def get_code(self, fullname: str) -> CodeType:
        return compile_edited(self.get_filename(fullname), "vwo", EDITS)


class Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of the SDK for `Loader`."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> Any:
        if fullname.partition(".")[0] != "vwo":
            return None
        spec = importlib.machinery.PathFinder.find_spec(fullname, path)
        if spec is not None and spec.origin is not None:
            spec.loader = Loader(fullname, spec.origin)
        return spec


def load(*, corrected: bool) -> ModuleType:
    """Import a copy of the SDK of its own."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "vwo"]:
        del sys.modules[name]
    finder = Finder()
    if corrected:
        sys.meta_path.insert(0, finder)
    try:
        sdk = importlib.import_module("vwo")
    finally:
        if corrected:
            sys.meta_path.remove(finder)
    logger: Any = importlib.import_module("vwo.logger.VWOLogger")
    logger.VWOLogger.log = lambda self, level, message, disable_logs=False: None
    logger.create_console_logger = lambda name="", level=None: None
    events: Any = importlib.import_module("vwo.event.event_dispatcher")
    events.EventDispatcher.spawn_thread_to_sync = lambda self, events: self.sync_with_vwo(events)
    events.threading = SimpleNamespace(Lock=threading.Lock, Timer=Timer)
    return sdk


class Timer:
    """A timer that never fires: each batch is full with its first event."""

    def __init__(self, interval: float, function: Callable[..., Any]) -> None:
        pass

    def start(self) -> None:
        pass

    def cancel(self) -> None:
        pass


class Answered:
    """A response."""

    status_code = 200
    text = ""


def send(session: Any, request: Any, **arguments: Any) -> Answered:
    """Note a request in place of sending it, unless its headers cannot be written."""
    connection = http.client.HTTPConnection("localhost")
    connection.putrequest(request.method, request.path_url)
    for name, value in request.headers.items():
        try:
            connection.putheader(name, value)
        except UnicodeEncodeError:
            if not PARITY.row("header_encoding"):
                raise
    body = request.body or ""
    RECORD["requests"].append(
        {
            "method": request.method,
            "target": request.url.removeprefix(HOST),
            "headers": dict(request.headers),
            "body": body.decode() if isinstance(body, bytes) else body,
        }
    )
    return Answered()


def python_row(row: Any) -> Any:
    """Return a row in the spelling that this SDK reads (row 48)."""
    if not isinstance(row, dict) or "goalIdentifier" not in row:
        return row
    given = dict(row)
    goals = given.pop("goalIdentifier")
    if "goalIdentifiers" not in given:
        given["goalIdentifiers"] = goals
    elif PARITY.row("storage_field"):
        parts = [part for part in (goals, given["goalIdentifiers"]) if part]
        given["goalIdentifiers"] = "_vwo_".join(parts)
    return given


class Storage:
    """A user storage in memory that notes what it is asked and told."""

    def __init__(self, mode: str) -> None:
        self.mode = mode
        self.rows: dict[tuple[str, str], Any] = {}

    def reset(self, rows: Iterable[Sequence[Any]]) -> None:
        self.rows = {(user, campaign): row for user, campaign, row in rows}

    def get(self, user_id: str, campaign_key: str) -> Any:
        RECORD["gets"].append([user_id, campaign_key])
        if self.mode == "get_raises":
            raise RuntimeError("storage")
        return python_row(copy.deepcopy(self.rows.get((user_id, campaign_key))))

    def set(self, row: Json) -> None:
        is_unread = self.mode == "get_raises" and not PARITY.options.get("userStorageData")
        if is_unread and PARITY.row("storage_write_unread"):
            return
        row = copy.deepcopy(row)
        if "goalIdentifiers" in row:
            row["goalIdentifier"] = row.pop("goalIdentifiers")
        RECORD["sets"].append(row)
        if self.mode == "set_raises":
            raise RuntimeError("storage")
        self.rows[row.get("userId", ""), row.get("campaignKey", "")] = row


class Hook:
    """An integration that notes what it is told."""

    def __init__(self, mode: str) -> None:
        self.mode = mode

    def callback(self, payload: Json) -> None:
        RECORD["hooks"].append(copy.deepcopy(payload))
        if self.mode == "raise":
            raise RuntimeError("hook")


class Instance(NamedTuple):
    """One launched client."""

    client: Any
    storage: Storage | None


def start(sdk: Any, job: Json) -> Instance:
    options = job["launch"]
    storage = Storage(options["storage"]) if options.get("storage") else None
    hook = Hook(options["integrations"]) if options.get("integrations") else None
    batch = options.get("batchEvents")
    client = sdk.launch(
        json.dumps(job["settings"]),
        user_storage=storage,
        is_development_mode=options.get("isDevelopmentMode", False),
        goal_type_to_track=options.get("goalTypeToTrack"),
        integrations=hook,
        batch_events=batch and {"events_per_request": batch["eventsPerRequest"]},
    )
    if client is not None:
        client.event_dispatcher.connection.session.trust_env = False
    return Instance(client, storage)


def arguments_of(call: Json) -> tuple[str, list[Any]]:
    args = call["args"]
    if call["api"] == "push":
        names = ["tags", "userId"] if "tags" in args else ["tagKey", "tagValue", "userId"]
        return "push", [args[name] for name in names]
    third = {"getFeatureVariableValue": "variableKey", "track": "goalIdentifier"}
    names = ["campaignKey", "userId"]
    if call["api"] == "track":
        names.append(third["track"])
    elif call["api"] in third:
        names.insert(1, third[call["api"]])
    method = re.sub(r"([A-Z])", r"_\1", call["api"]).lower()
    return method, [args[name] for name in names]


def run(instance: Instance, job: Json, call: Json, without: Iterable[str] | None) -> Json:
    """Run one call, in the stock copy if *without* is None; return its value and what it did."""
    PARITY.is_corrected = without is not None
    PARITY.off, PARITY.fired = set(without or ()), set()
    PARITY.call, PARITY.launch = call, job["launch"]
    PARITY.options = options = copy.deepcopy(call.get("options") or {})
    RECORD.clear()
    RECORD.update(requests=[], sets=[], gets=[], hooks=[], ret=None)
    if instance.storage is not None:
        instance.storage.reset(call["rows"])
    if PARITY.is_corrected and PARITY.refuses():
        RECORD["ret"] = NOTHING.get(call["api"])
        return dict(RECORD)
    method, arguments = arguments_of(copy.deepcopy(call))
    given = {OPTIONS[name]: value for name, value in options.items() if name in OPTIONS}
    RECORD["ret"] = getattr(instance.client, method)(
        *arguments, **(given if method != "push" else {})
    )
    return dict(RECORD)


def run_corrected(instance: Instance, job: Json, call: Json, without: Iterable[str]) -> Json:
    answer = run(instance, job, call, without)
    return {"answer": answer, "fired": sorted(PARITY.fired), "asked": []}


def work(job: Json, stock: Any, corrected: Any) -> Any:
    fixed = start(corrected, job)
    if "without" in job:
        return [
            run_corrected(fixed, job, job["calls"][index], off) for index, off in job["without"]
        ]
    plain = start(stock, job)
    if plain.client is None:
        return {"error": "the Python SDK refuses the settings"}
    answers = []
    for call in job["calls"]:
        answer = run(plain, job, call, None)
        other = run_corrected(fixed, job, call, ())
        answers.append(
            {"stock": answer, "fired": []} if not other["fired"] else {**other, "stock": answer}
        )
    return answers


def main() -> None:
    warnings.simplefilter("ignore")
    builtins.PARITY = PARITY  # type: ignore[attr-defined]
    requests: Any = importlib.import_module("requests")
    requests.Session.send = send
    stock, corrected = load(corrected=False), load(corrected=True)
    validation: Any = importlib.import_module("vwo.helpers.validate_util")
    validation.is_valid_settings_file = lambda settings: True
    for line in sys.stdin:
        try:
            answer = work(json.loads(line), stock, corrected)
        except Exception:  # noqa: BLE001 - one bad line must not end the oracle
            answer = {"error": traceback.format_exc()}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
