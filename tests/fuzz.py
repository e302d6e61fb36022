"""Throws whatever JSON can hold at the two doors of the package: settings files, and the API methods.

``python tests/fuzz.py --seconds 60 --seed 1`` runs both targets by turns and prints how often. Where one
breaks its promise, the case is printed with the number that repeats it (``--target calls --case 17``),
and the exit code is 1.

settings: any file is Settings or a SettingsError that shows nothing of it; whatever is accepted decides
for everybody, by every method. calls: no argument makes a method raise; what is accepted can be sent.
"""

from __future__ import annotations

import argparse
import asyncio
import faulthandler
import json
import math
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from pathlib import Path
from random import Random
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import h11

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))

from sample import KEY, REQUIRED, campaign, settings, variation

from vwo_async import Reason, SettingsError, TrackResult, VWOClient, parse_settings
from vwo_async.storage import MemoryUserStorage
from vwo_async.testing import RecordingTransport
from vwo_async.transport import Request

# In texts of files, but in no name of a field: no error may show it.
MARK = "zq7value"
MAX_CASE_S = 1.0
MAX_HANG_S = 60.0


class BrokenPromiseError(Exception):
    """The package did what it promises not to do."""


def promise(holds: object, text: str) -> None:
    """Raise unless *holds*."""
    if not holds:
        raise BrokenPromiseError(text)


# Values

NAMES = [
    *("checkout", "search", "banner", "paused", "members", "Ashley", "Billy", "signup", "purchase"),
    *("often", "ALL", "CUSTOM_GOAL", "REVENUE_TRACKING", "plan", "pro", "Control", "Variation-1"),
    *("activate", "track", "vwoMeta", "vwo_envKey", "__proto__", "userId", "metaData", "1", "0"),
]
ODD_TEXTS = [
    *("", " ", "\x00", "\r\n", "a\r\nX-Evil: 1", "\u202e", "\u2028", "\x1b[31m", "\ufeff", "\x85"),
    *("\ud800", "a\ud800b", "\udfff", "\ude42\ud83d", "\U0001f642", "e\u0301", "\u0130", "\uffff"),
    *("%0d%0a", "a&b=c", "#", "?", "/../", '"', "'", "\\", "{}", "%s", "{0}", "<b>", "_vwo_", "*"),
    *("nan", "NaN", "inf", "-Infinity", "1e999", "-0", "0x10", "1_000", "\u0661", " 5 ", "5e", "."),
    *("true", "null", "undefined", MARK, "x" * 255, "x" * 4096, "x" * 4097, "\u00e9" * 2048),
    *("1" * 4095 + "x", " " * 4095 + "x", "." * 4096, "x" * 100_000, "\U0001f642" * 128),
]
OPERANDS = [
    *("lower(PRO)", "wildcard(*)", "wildcard(*a*a*b)", "wildcard(**)", "gt(5)", "lte(-0)", "gt(x)"),
    *("regex(", "regex()", "regex(()", "regex(^(a+)+$)", "regex((?:){4294967294}x)", "lower()"),
    *(
        "regex((a{1000}){1000})",
        r"regex((.+)\1x)",
        "regex((?i)^(ab|Ab)*$)",
        "regex(.*.*=x)",
        "gte()",
    ),
    *(r"regex(^[\w.+-]+@[\w-]+\.[\w.-]+$)", "regex(" + "(" * 200 + ")" * 200 + ")", "equals(5)"),
]
NUMBERS: list[Any] = [
    *(0, 1, -1, 5, 11, 12, 100, 101, 255, 2**31, 2**53, -(2**53), 2**63, 2**64, 2**1023, 10**400),
    *(0.0, -0.0, 0.5, 33.333, 99.999, 1e16, 1e21, 1e308, 5e-324, 1.0, 11.0, math.inf, math.nan),
    *(-math.inf, True, False, None, -(10**4000)),
]


class Draw:
    """Draws values, the same again for the same seed."""

    def __init__(self, seed: object) -> None:
        self.random = Random(str(seed))

    def is_one_in(self, number: int) -> bool:
        """Tell whether the chance of one in *number* has come."""
        return self.random.randrange(number) == 0

    def pick(self, *options: Any) -> Any:
        """Return one of *options*."""
        return self.random.choice(options)

    def text(self) -> str:
        """Return a text: a likely one, an odd one, some characters, or some of these together."""
        kind = self.random.randrange(8)
        if kind < 3:
            return str(self.random.choice(NAMES))
        if kind < 5:
            return self.random.choice(ODD_TEXTS)
        if kind == 5:
            return self.random.choice(OPERANDS)
        if kind == 6:
            top = self.pick(0x80, 0x100, 0x3000, 0x110000)
            length = self.random.randrange(12)
            return "".join(chr(self.random.randrange(top)) for _ in range(length))
        return self.text() + self.text()

    def name(self) -> str:
        """Return a text that an error may show, as it shows the names of fields."""
        return self.text().replace(MARK, "value")

    def scalar(self) -> Any:
        """Return a text, a number, true, false or null."""
        return self.text() if self.random.randrange(2) else self.random.choice(NUMBERS)

    def value(self, depth: int = 3) -> Any:
        """Return any value that ``json.loads`` can return."""
        if self.is_one_in(60):
            return self.deep()
        if depth == 0 or self.random.randrange(5) < 3:
            return self.scalar()
        size = self.pick(0, 1, 1, 2, 3, 5)
        if self.random.randrange(2):
            return [self.value(depth - 1) for _ in range(size)]
        return {self.name(): self.value(depth - 1) for _ in range(size)}

    def deep(self) -> Any:
        """Return a value that is nested as deeply as JSON is read."""
        wrap: Callable[[Any], Any] = self.pick(
            lambda inner: [inner], lambda inner: {"a": inner}, lambda inner: {"not": inner}
        )
        value = self.scalar()
        for _ in range(self.pick(30, 60, 200, 500, 900)):
            value = wrap(value)
        return value

    def mapping(self) -> dict[str, Any]:
        """Return an object, rarely one of many keys."""
        if self.is_one_in(80):
            return {f"key {number}": self.scalar() for number in range(self.pick(1000, 1001, 3000))}
        return {self.name(): self.value(2) for _ in range(self.pick(0, 1, 1, 2, 3))}


# Settings files


def draw_tree(draw: Draw, depth: int = 4) -> Any:
    """Return a segment tree, mostly well formed."""
    if draw.is_one_in(12):
        return draw.value()
    kind = draw.pick("and", "or", "not", "leaf", "leaf", "user")
    if kind == "user":
        return {"user": ",".join(draw.text() for _ in range(3))}
    if kind == "leaf" or depth == 0:
        operand = draw.pick(*OPERANDS) if draw.is_one_in(2) else draw.scalar()
        return {"custom_variable": {draw.pick("plan", "v", draw.name()): operand}}
    if kind == "not":
        return {"not": draw_tree(draw, depth - 1)}
    return {kind: [draw_tree(draw, depth - 1) for _ in range(draw.pick(0, 1, 2, 3))]}


def draw_campaign(draw: Draw, number: int) -> dict[str, Any]:
    """Return a campaign of any kind."""
    key = draw.pick("checkout", "search", "banner", "other")
    kind = draw.pick("VISUAL_AB", "FEATURE_TEST", "FEATURE_ROLLOUT", draw.text())
    found = campaign(number, key if number == 11 else f"{key}{number}", kind)
    found["segments"] = draw.pick({}, [], draw_tree(draw))
    found["percentTraffic"] = draw.pick(100, 100, 50, 0.01, 0)
    found["isForcedVariationEnabled"] = draw.pick(True, False)
    weights = draw.pick(
        (50, 50), (100, 0), (0.001, 99.999), (100, 100), (33.3333, 33.3333, 33.3334)
    )
    found["variations"] = [
        variation(
            index,
            f"Variation-{index}",
            weight,
            segments=draw_tree(draw),
            isFeatureEnabled=draw.pick(True, False, 1, None),
            variables=[draw_variable(draw) for _ in range(draw.pick(0, 1, 2))],
        )
        for index, weight in enumerate(weights, start=1)
    ]
    found["variables"] = [draw_variable(draw)]
    if draw.is_one_in(3):
        found["goals"][1] |= {"revenueProp": draw.text(), "mca": draw.pick(-1, draw.scalar())}
    return found


def draw_variable(draw: Draw) -> dict[str, Any]:
    """Return a feature variable."""
    kind = draw.pick("integer", "double", "string", "boolean", "json", draw.text())
    return {"id": 1, "key": draw.pick("size", draw.text()), "type": kind, "value": draw.value()}


def draw_file(draw: Draw) -> dict[str, Any]:
    """Return a settings file that is good, or nearly."""
    campaigns = [draw_campaign(draw, 11 + index) for index in range(draw.pick(0, 1, 2, 4))]
    flags = ("isNB", "isNBv2", "isEventArchEnabled")
    more: dict[str, Any] = {flag: draw.pick(True, False) for flag in flags}
    if draw.is_one_in(2):
        ids = [one["id"] for one in campaigns]
        more["campaignGroups"] = {str(id_): 5 for id_ in ids}
        members = {"campaigns": ids, "et": draw.pick(1, 2), "p": ids[:1], "wt": {"11": 60}}
        more["groups"] = {"5": {"name": draw.text(), **members}}
    return {**settings(), "campaigns": campaigns, **more}


def list_places(node: Any) -> list[tuple[Any, Any]]:
    """Return every container in *node* with each of its keys or indexes."""
    places, todo = [], [node]
    while todo:
        one = todo.pop()
        if isinstance(one, (dict, list)):
            steps = list(one) if isinstance(one, dict) else list(range(len(one)))
            places += [(one, step) for step in steps]
            todo += [one[step] for step in steps]
    return places


def mutate(draw: Draw, file: dict[str, Any]) -> None:
    """Change a few things in *file*, wherever they are."""
    for _ in range(draw.pick(0, 0, 1, 1, 2, 4)):
        places = list_places(file)
        if not places:
            return
        owner, step = draw.pick(*places)
        kind = draw.random.randrange(6)
        if kind == 0:
            del owner[step]
        elif kind == 1:
            other, place = draw.pick(*places)
            found = other[place]
            # A container could be put within itself.
            owner[step] = draw.scalar() if isinstance(found, (dict, list)) else found
        elif kind == 2 and isinstance(owner, list):
            owner.insert(step, owner[step])
        elif kind == 3 and isinstance(owner, dict):
            owner[draw.name()] = owner[step]
        else:
            owner[step] = draw.value()


TOKENS = [
    *(b"NaN", b"1e999", b"-", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\ud800", b"\xff"),
    *(b"\xed\xa0\x80", b"\x00", b"\xef\xbb\xbf", b"null", b"\n", b"//", b"1" * 400, b"[" * 3000),
    *(b'"id": 11,', b'"key": "twice",', b'"campaigns": [],', b'"sdkKey": "x",', b'"accountId": 1,'),
]


def mutate_bytes(draw: Draw, body: bytes) -> bytes:
    """Change a few bytes of *body*."""
    for _ in range(draw.pick(1, 1, 2, 5)):
        place = draw.random.randrange(len(body) + 1)
        kind = draw.random.randrange(4)
        if kind == 0:
            body = body[:place]
        elif kind == 1:
            body = body[:place] + body[place + draw.random.randrange(1, 9) :]
        elif kind == 2:
            # After a brace, so that a field is there twice more often than the JSON is broken.
            after = body.find(b"{", place) + 1
            body = body[:after] + draw.pick(*TOKENS[-5:]) + body[after:]
        else:
            body = body[:place] + draw.pick(*TOKENS) + body[place:]
    return body


def draw_source(draw: Draw) -> Any:
    """Return what may be given as a settings file: decoded, or as text or bytes."""
    if draw.is_one_in(20):
        return draw.value()
    file = draw_file(draw)
    mutate(draw, file)
    if draw.is_one_in(3):
        return file
    try:
        text = json.dumps(file, ensure_ascii=draw.pick(True, False))
    except RecursionError:
        return file
    if draw.is_one_in(3):
        body = mutate_bytes(draw, text.encode("utf-8", "surrogatepass"))
        return body if draw.is_one_in(2) else body.decode("utf-8", "replace")
    return text.encode("utf-8", "surrogatepass") if draw.is_one_in(2) else text


# What must hold of what is sent


def check_request(request: Request) -> None:
    """Assert that a request is one: printable, well formed, and in nobody's name but ours."""
    target = request.target
    promise(target.isascii() and target.isprintable() and " " not in target, "target not printable")
    promise(target.startswith("/") and "#" not in target, "target is no path and query")
    query = parse_qsl(urlsplit(target).query, keep_blank_values=True, strict_parsing=True)
    names = [name for name, _ in query]
    promise(len(set(names)) == len(names), "a name is twice in the query")
    promise(dict(query).get("env") == KEY, "the query is in another name")
    headers = [*request.headers, (b"Host", b"localhost")]
    for name, value in request.headers:
        promise((name + value).isascii() and value.decode().isprintable(), "header not printable")
    promise(len({name.lower() for name, _ in headers}) == len(headers), "a header is there twice")
    if request.method == "POST":
        headers.append((b"Content-Length", str(len(request.body)).encode()))
        check_body(request.body)
    else:
        promise(request.method == "GET" and not request.body, "neither GET nor POST")
    # What the engine writes it with: it refuses what HTTP cannot say.
    wire = h11.Connection(h11.CLIENT)
    wire.send(h11.Request(method=request.method, target=target, headers=headers))


def check_body(body: bytes) -> None:
    """Assert that *body* is JSON in the strict sense, whose objects have each name once."""
    decoded = json.loads(
        body.decode(), object_pairs_hook=_read_object, parse_constant=_refuse_constant
    )
    promise(isinstance(decoded, dict) and (decoded.keys() <= {"ev", "d"}), "body of no known form")
    json.dumps(decoded, ensure_ascii=False).encode()


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    promise(len({name for name, _ in pairs}) == len(pairs), "a name is twice in an object")
    return dict(pairs)


def _refuse_constant(name: str) -> None:
    promise(False, f"{name} in JSON")


def check_ledger(client: VWOClient) -> None:
    """Assert that every accepted event has ended in one way, or has not."""
    ledger = client.statistics()
    ended = ledger.delivered + ledger.rejected + sum(ledger.dropped.values())
    promise(ledger.accepted == ended + ledger.pending, "the ledger is out of balance")


class Clock:
    """Holds the steps of a case to the time that they may take, in time of the processor."""

    def __init__(self) -> None:
        self._began = time.thread_time()

    def check(self, step: str) -> None:
        """Assert that the step that ends here did not take long, and begin the next."""
        took_s = time.thread_time() - self._began
        promise(took_s < MAX_CASE_S, f"{step} took {took_s:.1f} s")
        self._began = time.thread_time()


# The first target: settings files


async def try_settings(draw: Draw, told: list[object]) -> None:
    """Parse a file, and where it is accepted, decide by it for a few users in every way."""
    source = draw_source(draw)
    told.append(("settings", source))
    clock = Clock()
    try:
        parsed = parse_settings(source)
    except SettingsError as error:
        check_refusal(error)
        clock.check("refusing")
        return
    clock.check("parsing")
    storage = draw.pick(None, MemoryUserStorage())
    transport = RecordingTransport()
    client = VWOClient(parsed, transport=transport, user_storage=storage)
    clock.check("making a client")
    async with client:
        promise(all(one.isprintable() for one in client.settings_warnings), "a note not printable")
        keys = [one.key for one in parsed.campaigns][:6]
        goals = {goal.identifier for one in parsed.campaigns for goal in one.goals}
        for user_id in ("Ashley", draw.text()):
            given = {"plan": "pro", "v": draw.scalar()}
            told.append(("user", user_id, given))
            await decide_everything(client, keys, list(goals)[:3], user_id, given, clock)
        await client.flush_events()
        check_ledger(client)
        promise(not client.statistics().dropped, "an event could not be sent")
    clock.check("delivering")
    for request in transport.requests:
        check_file_request(request, parsed.sdk_key is not None)


def check_refusal(error: SettingsError) -> None:
    """Assert that the error names faults and shows no value, nor holds one that did."""
    one: BaseException | None = error
    while one is not None:
        promise(MARK not in f"{one} {one!r} {one.args!r}", "an error shows a value of the file")
        one = one.__cause__ or one.__context__
    promise(error.faults and all(error.faults), "an error without a fault")
    str(error).encode()


def check_file_request(request: Request, has_key: bool) -> None:
    """Assert the same as of any request, whoever the file says that we are."""
    file_key = dict(parse_qsl(urlsplit(request.target).query)).get("env")
    promise(has_key or file_key is None, "a key from nowhere")
    if file_key == KEY:
        check_request(request)


async def decide_everything(
    client: VWOClient,
    keys: list[str],
    goals: list[str | None],
    user_id: str,
    given: dict[str, Any],
    clock: Clock,
) -> None:
    """Call every method for one user; none may raise, or take long."""
    both: Any = {"custom_variables": given, "variation_targeting_variables": given}
    for key in keys:
        name = await client.activate(key, user_id, **both)
        promise(name is None or isinstance(name, str), "activate")
        await client.get_variation_name(key, user_id, **both)
        promise(isinstance(await client.is_feature_enabled(key, user_id, **both), bool), "feature")
        await client.get_feature_variable_value(key, "size", user_id, **both)
        clock.check(f"deciding {key[:20]!r}")
        str(await client.explain(key, user_id, **both))
        clock.check(f"explaining {key[:20]!r}")
    for goal in goals:
        for specifier in (None, keys):
            result = await client.track(specifier, user_id, goal or "x", revenue_value=5, **both)
            check_result(result)
        clock.check("tracking")
    await client.decide_all(user_id, **both)
    clock.check("deciding all")


def check_result(result: TrackResult) -> None:
    """Assert that a result is true, or says why not."""
    promise(isinstance(result, TrackResult), "track returned no result")
    for one in result.values():
        promise(isinstance(one.reason, Reason), "a campaign without a reason")
        promise(one.tracked == (one.reason is Reason.TRACKED), "tracked for no reason")
    promise(
        result or result.values() or result.reason or not result.as_dict(), "false for no reason"
    )


# The second target: calls


class GarbageStorage:
    """Holds what anybody may have written into it."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw

    async def get(self, user_id: str, campaign_key: str) -> Any:
        """Return a record that may be anything, and is often nearly right."""
        if self._draw.is_one_in(3):
            return self._draw.value()
        return draw_record(self._draw) | {"userId": user_id, "campaignKey": campaign_key}

    async def set(self, data: Mapping[str, Any]) -> None:
        """Fail now and then."""
        if self._draw.is_one_in(5):
            raise RuntimeError


def draw_record(draw: Draw) -> dict[str, Any]:
    """Return a record in the official shape, more or less."""
    record = {
        "userId": draw.pick("Ashley", draw.value()),
        "campaignKey": draw.pick("checkout", draw.value()),
        "variationName": draw.pick("Control", draw.value()),
        "goalIdentifier": draw.pick("signup", "signup_vwo_often", draw.value()),
        "metaData": draw.value(),
    }
    return {key: value for key, value in record.items() if not draw.is_one_in(5)}


DECIDING = ("custom_variables", "variation_targeting_variables", "user_storage_data")
SENDING = (
    *DECIDING,
    "meta_data",
    "should_track_returning_user",
    "user_agent",
    "user_ip_address",
    "wait",
)
OPTIONAL = {
    "activate": SENDING,
    "get_variation_name": (*DECIDING, "meta_data"),
    "is_feature_enabled": SENDING,
    "get_feature_variable_value": (*DECIDING, "meta_data"),
    "track": (*SENDING, "revenue_value", "goal_type_to_track", "event_properties"),
    "push": ("wait",),
    "decide": SENDING,
    "decide_all": DECIDING,
    "explain": (*DECIDING, "api"),
}
USABLE: dict[str, Callable[[Draw], Any]] = {
    "campaign_key": lambda draw: draw.pick("checkout", "search", "banner", "members", "paused"),
    "user_id": lambda draw: draw.pick("Ashley", "Billy", draw.text()),
    "goal_identifier": lambda draw: draw.pick("signup", "purchase", "often"),
    "variable_key": lambda draw: "size",
    "tag_key": lambda draw: draw.pick("plan", draw.mapping()),
    "tag_value": lambda draw: draw.pick("pro", draw.text()),
    "custom_variables": lambda draw: {draw.text(): draw.scalar() for _ in range(3)},
    "variation_targeting_variables": lambda draw: {draw.text(): draw.scalar() for _ in range(3)},
    "user_storage_data": draw_record,
    "meta_data": Draw.mapping,
    "event_properties": Draw.mapping,
    "user_agent": Draw.text,
    "user_ip_address": Draw.text,
    "revenue_value": Draw.scalar,
    "goal_type_to_track": lambda draw: draw.pick("ALL", "CUSTOM_GOAL", "REVENUE_TRACKING"),
    "wait": lambda draw: draw.pick(True, False),
    "should_track_returning_user": lambda draw: draw.pick(True, False),
    "api": lambda draw: draw.pick("activate", "track"),
}


class Call(NamedTuple):
    """One call of an API method."""

    method: str
    given: dict[str, Any]


def draw_call(draw: Draw) -> Call:
    """Return a call most of whose arguments are usable, so that what lies behind the checks is reached."""
    method = draw.pick(*REQUIRED, "track", "track", "track")
    names = [*REQUIRED[method]]
    names += [name for name in OPTIONAL[method] if draw.is_one_in(3)]
    given = {name: draw.value() if draw.is_one_in(4) else USABLE[name](draw) for name in names}
    if method == "track" and draw.is_one_in(3):
        given["campaign_key"] = draw.pick(None, ["checkout", "search", draw.value(1)], draw.value())
    if method == "push" and isinstance(given["tag_key"], dict) and draw.is_one_in(2):
        given["tag_value"] = given.pop("user_id")
    return Call(method, given)


def make_client(draw: Draw, transport: RecordingTransport) -> VWOClient:
    """Return a client with one of many ways to be launched."""
    arch = draw.pick(True, False)
    tree = draw_tree(draw)
    file = settings(isEventArchEnabled=arch)
    file["campaigns"][0]["segments"] = draw.pick({}, {}, tree if isinstance(tree, dict) else {})
    file["campaigns"][0]["isForcedVariationEnabled"] = draw.pick(True, False)
    if draw.is_one_in(3):
        file["campaigns"][0]["goals"][1]["revenueProp"] = draw.pick("price", "metric", "vwoMeta")
    options: dict[str, Any] = {
        "user_storage": draw.pick(None, MemoryUserStorage(), GarbageStorage(draw)),
        "batch_events": draw.pick(None, None, {"events_per_request": 3}),
        "user_id_encoding": draw.pick("utf-8", "node"),
        "should_track_returning_user": draw.pick(True, False),
        "on_storage_error": draw.pick("decide", "refuse"),
    }
    try:
        return VWOClient(file, transport=transport, wait_timeout_s=0.01, **options)
    except SettingsError:
        return VWOClient(settings(), transport=transport, wait_timeout_s=0.01, **options)


async def try_calls(draw: Draw, told: list[object]) -> None:
    """Make a few calls of one client, then look at what was sent."""
    transport = RecordingTransport()
    client = make_client(draw, transport)
    told.append(("client", client.settings))
    async with client:
        for _ in range(6):
            call = draw_call(draw)
            told.append(call)
            clock = Clock()
            result = await getattr(client, call.method)(**call.given)
            clock.check(call.method)
            check_answer(call.method, result)
            check_ledger(client)
        await client.flush_events()
        ledger = client.statistics()
        promise(
            ledger.accepted == ledger.delivered, f"accepted and not sent: {dict(ledger.dropped)}"
        )
    for request in transport.requests:
        check_request(request)


def check_answer(method: str, answer: Any) -> None:
    """Assert that a method returned what it promises."""
    kinds: dict[str, Any] = {
        "activate": str | None,
        "get_variation_name": str | None,
        "is_feature_enabled": bool,
        "push": bool,
        "decide_all": Mapping,
    }
    promise(isinstance(answer, kinds.get(method, object)), f"{method} returned {type(answer)}")
    if method == "track":
        check_result(answer)
    if method == "explain":
        promise(isinstance(answer.reason, Reason) and str(answer), "explained nothing")


# Running


TARGETS = {"settings": try_settings, "calls": try_calls}


class Finding(NamedTuple):
    """A case that broke a promise."""

    target: str
    number: int
    text: str


def describe(one: object) -> str:
    """Return what *one* prints as, cut where it is long."""
    try:
        return repr(one)[:2000]
    except (RecursionError, ValueError):
        # Too deep, or a number of too many digits.
        return f"<{type(one).__name__} that cannot be printed>"


async def run_case(target: str, seed: int, number: int) -> Finding | None:
    """Run one case; return what it found."""
    told: list[object] = []
    # A case that never ends cannot be stopped in any other way; where it hangs is printed.
    faulthandler.dump_traceback_later(MAX_HANG_S, exit=True)
    try:
        await TARGETS[target](Draw(f"{seed} {target} {number}"), told)
    except Exception as error:  # noqa: BLE001 - whatever is raised here is a finding
        lines = traceback.format_exception(error)
        text = "".join([*lines[:12], *lines[-12:]] if len(lines) > 24 else lines)
        return Finding(target, number, "\n".join([text, *map(describe, told)]))
    finally:
        faulthandler.cancel_dump_traceback_later()
    return None


async def run(
    targets: list[str], seed: int, numbers: Iterator[int], ends_at: float
) -> tuple[dict[str, int], Finding | None]:
    """Run cases of each target by turns until the time is over or one breaks; return how many there were."""
    done = dict.fromkeys(targets, 0)
    for number in numbers:
        for target in targets:
            finding = await run_case(target, seed, number)
            done[target] += 1
            if finding is not None:
                return done, finding
        if time.monotonic() > ends_at:
            break
    return done, None


def main(arguments: list[str]) -> int:
    """Run from the command line; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--target", choices=[*TARGETS], help="one alone; both by default")
    parser.add_argument("--case", type=int, help="one case alone, or the first")
    given = parser.parse_args(arguments)
    targets = [given.target] if given.target else [*TARGETS]
    first = given.case or 0
    numbers = iter([first]) if given.case is not None else count(first)
    ends_at = time.monotonic() + given.seconds
    done, finding = asyncio.run(run(targets, given.seed, numbers, ends_at))
    for target, times in done.items():
        print(f"{target}: {times} executions")  # noqa: T201
    if finding is None:
        return 0
    repeat = f"--seed {given.seed} --target {finding.target} --case {finding.number}"
    print(f"{finding.text}\nto repeat it: {repeat}".encode("ascii", "backslashreplace").decode())  # noqa: T201
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
