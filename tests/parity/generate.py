"""Random settings, users and call sequences: what is asked of the three SDKs.

A case is one settings file, launch options, the first content of the user storage and a sequence of
calls, in the spelling of the Node SDK. It follows from its seed and number alone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from math import ceil
from random import Random
from typing import Any

import mmh3

Json = dict[str, Any]

ACCOUNTS = (1, 123456, 888888, "888888")
TYPES = ("VISUAL_AB", "FEATURE_TEST", "FEATURE_ROLLOUT")
STATUSES = ("RUNNING",) * 9 + ("PAUSED", "running", "NOT_STARTED")
TRAFFIC = (0, 1, 10, 33.3, 50, 77, 99, 0.5) + (100,) * 12
GOAL_TYPES = ("CUSTOM_GOAL", "REVENUE_TRACKING")
IDENTIFIERS = ("G1", "G2", "G3", "G_vwo_X", "büy & go", "10")
VARIABLES = ("country", "age", "città")
FLAGS = ("isBucketingSeedEnabled", "isOB", "isOBv2", "isUserListEnabled")
WEIGHTS: tuple[Callable[[int], list[Any]], ...] = (
    lambda count: [100 / count] * count,
    lambda count: [33.3333] * count,
    lambda count: [0.001] + [99.999] * (count - 1),
    lambda count: [0] * (count - 1) + [100],
    lambda count: [1.1] * count,
    lambda count: [14.29] * count,
    lambda count: [0] * count,
    lambda count: [100] * count,
)
NAMED_USERS = (
    *("Ashley", "Bill", "user_1", "u28917", "m16", "m244", "x", "123", "12345678901234567890"),
    *(
        "użytkownik",
        "ü",
        "é",
        "用户-1",
        "🙂",
        "a🙂b",
        " ",
        "null",
        "user with blanks",
        "10.0",
        "_vwo_",
    ),
)
VALUES = (
    *("US", "us", "Us ", " US", "free", "Pro", "", "10", "10.0", " 10", "10.00", "1e1", "0", "0.0"),
    *("5abc", "10abc", "abc", "1_000", "inf", "nan", "-5", "null", "true", "é", "İstanbul", "٣"),
    *("5", ".5", "5.", "+7", "0x10", "1e400", "https://a.b/c?d=1", "a*b", "1100"),
    *(10, 10.0, 0, -0.0, 7, -5, 0.1, 5.5, 1e16, 1e21, 2**53, 1e-7, 100, True, False, None),
    *(1.5e21, 1e22, 1e20, -1e21, 1.2345678901234567e19, 1.5e-7, 1e-6, 1e-5, 123e-7),
    *("1e21", "1E-7", "9007199254740993", "12345678901234567890", "0.00001"),
)
CONTENTS = (
    *(
        "US",
        "us",
        "free",
        "PRO",
        "10",
        "10.0",
        "5",
        "5abc",
        "0",
        "0.0",
        "*",
        "**",
        "",
        "*US",
        "US*",
        "*S*",
    ),
    *(
        "1E3*",
        "1e+21",
        "*21",
        "*e-7",
        "0.0000*",
        "9007199254740992",
        "1234567890123456*",
        "*10*",
        "1*",
        "*0",
        "a*b",
        "abc",
        "nan",
        "inf",
        "1_000",
        "true",
        "é",
        "-5",
        "1e3",
        "1e1",
        ".5",
        "5.",
    ),
    *(" 10", "null", "5)x", "*a*b*", "***", "+5", "٣"),
)
NUMBERS = (
    "1e21",
    "1e-7",
    "5",
    "10",
    "-5",
    "1e3",
    ".5",
    "5.",
    "0",
    "0.0",
    "10.5",
    "abc",
    "1_000",
    "nan",
    " 5",
    "",
)
PATTERNS = (
    *(
        ".*",
        "^U",
        "[0-9]+",
        r"\d+$",
        "(?i)us",
        "(?<n>a)",
        "[",
        "a{2",
        "^$",
        "null",
        r"\bfree\b",
        "10",
    ),
    *("e", r"\+", "000$", "^0", "1e-7"),
    *("(?P<n>a)", "é", "^.$", r"[\w]+", "U|P", "(a", r"\.0$", "0$", "^1"),
)
OPERATORS = ("lower", "wildcard", "regex", "gt", "gte", "lt", "lte")
ODD_OPERANDS = (
    *(
        "equals(US)",
        "contains(S)",
        "startswith(U)",
        "Lower(us)",
        "lower(us",
        "lower(us)x",
        "gt",
        "()",
    ),
    *(
        "gt(5)x",
        "xlower(us)",
        "regex",
        "wildcard(*U*) ",
        "a(b)",
        "US",
        "10",
        "0",
        "",
        "true",
        "null",
    ),
)
AGENTS = ("Mozilla/5.0 (X; é) +x", "curl/8.0", "Браузер", "a%20b", "🙂", "ua=1&b=2", "")
ADDRESSES = ("1.2.3.4", "2001:db8::1", "a b", "")
REVENUES = (
    *(10, 10.0, 10.5, "10", "10.50", "-1e3", 0, "", "0", False, 1e21, -3, 0.1, 1e-7),
    *([1], {"a": 1}),
)
FEATURE_VALUES: Mapping[str, Sequence[Any]] = {
    "string": ("abc", "", "é", 1.5, 2, True, {"a": 1}, "10"),
    "integer": ("42", 0, -3, 5, 10.7, "10.7", "12abc", "abc", "", True, " 7", "0x1F", "-5", "1e3"),
    "double": (1.5, "2.5", 0.1, 5, "1e3", "abc", "", True, "2.5kg", ".5", "-.5", "5."),
    "boolean": (True, False, "true", 1, 0, ""),
    "json": ({"a": 1}, {}, '{"a":1}', "[1]", "abc", 5, True),
    "odd": ("x", 5),
}
# What a goal may name as its revenue is a plain value.
PROPERTIES: Mapping[str, Sequence[Any]] = {
    "amount": (5, 10.5, "x", True, 0, "", False),
    "total": (5, "10.50", "é"),
    "other": (5, 10.5, "x", True, None, [1], {"a": 1}),
    "é": (10.0, None),
}
VARIABLE_KEYS = ("S", "I", "D", "B", "J", "O")
# What a case is mostly about: with everything odd at once, most users would be in no campaign.
TOPICS = ("any", "any", "segments", "groups")
APIS = (
    *("activate", "getVariationName", "isFeatureEnabled", "getFeatureVariableValue"),
    *("track", "track", "track", "push"),
)


class Case:
    """Makes one case.

    Args:
        seed: Of the run.
        number: Of the case within it.
    """

    def __init__(self, seed: int, number: int) -> None:
        self.random = Random(f"{seed}:{number}")
        self.topic = self.random.choice(TOPICS)
        self.favourite: str | None = None
        self.users = self._users()

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def _users(self) -> list[str]:
        named = self.random.sample(NAMED_USERS, 4)
        return [*named, *(f"user_{self.random.randrange(10**6)}" for _ in range(4))]

    def make(self) -> Json:
        """Return the case."""
        settings = self.settings()
        if self.chance(0.3):
            self.users[:2] = [self.border_user(settings) for _ in range(2)]
        launch = self.launch()
        return {
            "settings": settings,
            "launch": launch,
            "rows": self.rows(settings) if "storage" in launch else [],
            "calls": [self.call(settings) for _ in range(self.random.randrange(10, 24))],
        }

    def border_user(self, settings: Json) -> str:
        """Return a user whose bucket value is the last of some range, or the first after it."""
        campaign = self.random.choice(settings["campaigns"])
        campaign_id = campaign["id"]
        group_id = settings.get("campaignGroups", {}).get(str(campaign_id))
        prefix = bucket_prefix(settings, campaign)
        weights = [variation["weight"] for variation in campaign["variations"]]
        if str(group_id) in settings.get("groups", {}) and self.chance(0.5):
            count = len(settings["groups"][str(group_id)]["campaigns"]) or 1
            prefix, weights = f"{group_id}_", [100 // count] * count
        ends = list(accumulate(min(ceil(weight * 100), 10_000) for weight in weights))
        wanted = self.random.choice([one for end in ends for one in (end, end + 1)])
        first = self.random.randrange(10**6)
        for user in map("u{}".format, range(first, first + 25_000)):
            if mmh3.hash(prefix + user, 1, signed=False) * 10_000 >> 32 == wanted - 1:
                self.favourite = campaign["key"]
                return user
        return self.users[0]

    # Settings

    def settings(self) -> Json:
        least = 3 if self.topic == "groups" else 1
        ids = self.random.sample(range(1, 400), self.random.randrange(least, 8))
        settings: Json = {
            "sdkKey": "someuniquestuff1234567",
            "accountId": self.random.choice(ACCOUNTS),
            "version": 1,
            "campaigns": [self.campaign(campaign_id) for campaign_id in ids],
        }
        for flag, share in (("isNB", 0.5), ("isNBv2", 0.4), ("isEventArchEnabled", 0.3)):
            if self.chance(share):
                settings[flag] = self.chance(0.8)
        if self.chance(0.15):
            settings["collectionPrefix"] = self.random.choice(("eu01", "as01", ""))
        if self.chance(0.03):
            del settings["sdkKey"]
        if self.chance({"any": 0.4, "segments": 0.1, "groups": 1.0}[self.topic]):
            self.add_groups(settings, ids)
        return settings

    def add_groups(self, settings: Json, ids: Sequence[int]) -> None:
        """Put some campaigns into one or two groups; sometimes the two tables contradict each other."""
        least = len(ids) if self.topic == "groups" and self.chance(0.7) else 1
        members = self.random.sample(ids, self.random.randrange(least, len(ids) + 1))
        cut = self.random.randrange(1, len(members) + 1) if self.chance(0.3) else len(members)
        settings["groups"], settings["campaignGroups"] = {}, {}
        for group_id, some in ((5, members[:cut]), (23, members[cut:])):
            if some:
                settings["groups"][str(group_id)] = self.group(some, ids)
                settings["campaignGroups"].update({str(one): group_id for one in some})
        if self.chance(0.06):
            settings["campaignGroups"][str(self.random.choice(ids))] = 77

    def group(self, members: Sequence[int], ids: Sequence[int]) -> Json:
        listed = list(members)
        if self.chance(0.1):
            listed = self.random.sample(ids, self.random.randrange(0, len(ids) + 1))
        if self.chance(0.05):
            listed.append(999)
        group: Json = {"name": "group é", "campaigns": listed}
        if self.chance(0.7):
            group["et"] = self.random.choice((1, 1, 2, 2, 2, 3))
        if self.chance(0.4):
            group["p"] = self.random.sample(members, self.random.randrange(0, len(members) + 1))
        if self.chance(0.6):
            some = self.random.sample(members, self.random.randrange(0, len(members) + 1))
            group["wt"] = {
                str(one): self.random.choice((0, 10, 20, 33.3333, 50, 80, 100)) for one in some
            }
        return group

    def campaign(self, campaign_id: int) -> Json:
        kind = self.random.choice(TYPES)
        campaign: Json = {
            "id": campaign_id,
            "key": f"C{campaign_id}",
            "name": f"Campaign {campaign_id}",
            "type": kind,
            "status": self.random.choice(STATUSES if self.topic != "segments" else STATUSES[:9]),
            "percentTraffic": self.random.choice(
                TRAFFIC if self.topic == "any" else (50, *(100,) * 9)
            ),
            "segments": self.segments(),
            "variations": self.variations(kind),
            "goals": self.goals(campaign_id),
        }
        if kind == "FEATURE_ROLLOUT" and self.chance(0.95):
            campaign["variables"] = self.variables()
        if self.chance(0.1 if self.topic == "segments" else 0.5):
            campaign["isForcedVariationEnabled"] = self.chance(0.6)
        for flag in FLAGS:
            if self.chance(0.3):
                campaign[flag] = self.chance(0.6)
        if self.chance(0.15 if self.topic == "any" else 0.03):
            campaign["isMAB"] = self.chance(0.7)
        return campaign

    def variations(self, kind: str) -> list[Json]:
        if kind == "FEATURE_ROLLOUT":
            return [{"id": 1, "name": "website", "weight": 100, "segments": self.forced_tree()}]
        count = self.random.randrange(1, 6)
        weights = self.random.choice(WEIGHTS)(count)
        return [self.variation(kind, number, weight) for number, weight in enumerate(weights)]

    def variation(self, kind: str, number: int, weight: float) -> Json:
        variation: Json = {
            "id": number + 1,
            "name": f"Variation-{number}" if number else "Control",
            "weight": weight,
            "changes": {},
            "segments": self.forced_tree(),
        }
        if self.chance(0.03):
            del variation["segments"]
        if kind == "FEATURE_TEST":
            if self.chance(0.9):
                variation["isFeatureEnabled"] = self.chance(0.6)
            if self.chance(0.95):
                variation["variables"] = self.variables()
        return variation

    def variables(self) -> list[Json] | Json:
        if self.chance(0.03):
            return {}
        return [
            {
                "id": number,
                "key": key,
                "type": kind,
                "value": self.random.choice(FEATURE_VALUES[kind]),
            }
            for number, (key, kind) in enumerate(zip(VARIABLE_KEYS, FEATURE_VALUES, strict=True))
            if self.chance(0.8)
        ]

    def goals(self, campaign_id: int) -> list[Json] | Json:
        if self.chance(0.03):
            return {}
        return [
            self.goal(campaign_id * 10 + number, identifier)
            for number, identifier in enumerate(IDENTIFIERS)
            if self.chance(0.75 if number < 4 else 0.15)
        ]

    def goal(self, goal_id: int, identifier: str) -> Json:
        goal: Json = {
            "id": goal_id,
            "identifier": identifier,
            "type": self.random.choice(GOAL_TYPES),
        }
        if self.chance(0.4):
            goal["revenueProp"] = self.random.choice(("amount", "total", ""))
        if self.chance(0.4):
            goal["mca"] = self.random.choice((-1, -1, 0, 1))
        if self.chance(0.2):
            goal["hasProps"] = self.chance(0.7)
        return goal

    # Segments

    def segments(self) -> Json:
        if self.topic == "segments":
            return self.tree(self.random.randrange(1, 4)) if self.chance(0.4) else self.leaf()
        return self.tree() if self.chance(0.4 if self.topic == "any" else 0.1) else {}

    def forced_tree(self) -> Json:
        if self.chance(0.95 if self.topic == "groups" else 0.6):
            return {}
        listed = ",".join(self.random.sample(self.users, 3))
        return {"or": [{"user": listed}]} if self.chance(0.6) else self.tree()

    def tree(self, depth: int = 0) -> Json:
        kinds = ("and", "or", "or", "not", "not", *("leaf",) * 4) if depth < 3 else ("leaf",)
        kind = self.random.choice(kinds)
        if kind == "leaf":
            return self.leaf()
        if kind == "not":
            return {"not": self.tree(depth + 1)}
        return {kind: [self.tree(depth + 1) for _ in range(self.random.randrange(0, 4))]}

    def leaf(self) -> Json:
        if self.chance(0.08):
            return {"user": self.random.choice((",".join(self.users[:3]), " Ashley , Bill ", ""))}
        if self.chance(0.03):
            return self.random.choice(({}, {"unknown": "x"}, {"and": {}}, {"or": {}}))
        return {"custom_variable": {self.random.choice(VARIABLES): self.operand()}}

    def operand(self) -> str:
        if self.chance(0.15):
            return self.random.choice(ODD_OPERANDS)
        if self.chance(0.25):
            return self.random.choice([str(value) for value in VALUES])
        operator = self.random.choice(OPERATORS)
        if operator == "regex":
            return f"regex({self.random.choice(PATTERNS)})"
        numbers = operator.startswith(("g", "lt")) or self.chance(0.1)
        return f"{operator}({self.random.choice(NUMBERS if numbers else CONTENTS)})"

    def values(self) -> Json:
        return {name: self.random.choice(VALUES) for name in VARIABLES if self.chance(0.85)}

    # Launch and storage

    def launch(self) -> Json:
        launch: Json = {}
        if self.chance(0.05 if self.topic == "segments" else 0.4):
            launch["storage"] = self.random.choice(("ok",) * 8 + ("get_raises", "set_raises"))
        if self.chance(0.3):
            launch["integrations"] = self.random.choice(("record", "record", "raise"))
        if self.chance(0.25):
            launch["goalTypeToTrack"] = self.random.choice((*GOAL_TYPES, "ALL"))
        if self.chance(0.2):
            launch["shouldTrackReturningUser"] = self.chance(0.6)
        if self.chance(0.08):
            launch["batchEvents"] = {"eventsPerRequest": 1}
        if self.chance(0.05):
            launch["isDevelopmentMode"] = self.chance(0.8)
        return launch

    def rows(self, settings: Json) -> list[list[Any]]:
        """Return what the storage holds at first: [user, campaign key, row]."""
        return [
            [user, campaign["key"], self.row(user, campaign)]
            for user in self.users
            for campaign in settings["campaigns"]
            if self.chance(0.1 if self.topic == "groups" else 0.3)
        ]

    def row(self, user: str, campaign: Json) -> Json:
        names = [variation["name"] for variation in campaign["variations"]]
        row: Json = {
            "userId": user,
            "campaignKey": campaign["key"],
            "variationName": self.random.choice(names),
        }
        if self.chance(0.4):
            some = self.random.sample(IDENTIFIERS, self.random.randrange(1, 4))
            row["goalIdentifier"] = "_vwo_".join(some)
        if self.chance(0.6 if self.topic == "groups" else 0.3):
            self.spoil(row)
        return row

    def spoil(self, row: Json) -> None:
        """Make a row one that a storage should not hold but may."""
        kinds = ("stale", "stale", "other", "missing", "spelling", "both", "meta", "empty")
        kind = self.random.choice(kinds)
        if kind == "stale":
            row["variationName"] = "Deleted"
        elif kind == "other":
            row["campaignKey"] = "C0"
        elif kind == "missing":
            del row[self.random.choice(("userId", "campaignKey", "variationName"))]
        elif kind == "spelling" and "goalIdentifier" in row:
            row["goalIdentifiers"] = row.pop("goalIdentifier")
        elif kind == "both":
            row["goalIdentifiers"] = self.random.choice(IDENTIFIERS)
        elif kind == "meta":
            row["metaData"] = {"old": 1}
        elif kind == "empty":
            row.clear()

    # Calls

    def call(self, settings: Json) -> Json:
        api = self.random.choice(APIS[:5] if self.topic == "segments" else APIS)
        if api == "push":
            return {"api": api, "args": self.push_args(), "options": {}}
        args: Json = {"campaignKey": self.key(settings, api), "userId": self.user()}
        if api == "track":
            args["campaignKey"] = self.specifier(settings)
            args["goalIdentifier"] = self.random.choice(
                (*IDENTIFIERS[:4] * 4, *IDENTIFIERS, "none", "")
            )
        if api == "getFeatureVariableValue":
            args["variableKey"] = self.random.choice((*VARIABLE_KEYS * 3, "none", ""))
        return {"api": api, "args": args, "options": self.options(settings, api, args["userId"])}

    def user(self) -> Any:
        return (
            self.random.choice(("", 5, None))
            if self.chance(0.01)
            else self.random.choice(self.users)
        )

    def key(self, settings: Json, api: str) -> Any:
        if self.chance(0.03):
            return self.random.choice(("nope", "", 5))
        kinds = {
            "activate": TYPES[:1],
            "getVariationName": TYPES[:2],
            "isFeatureEnabled": TYPES[1:],
            "getFeatureVariableValue": TYPES[1:],
        }
        fitting = [
            one["key"] for one in settings["campaigns"] if one["type"] in kinds.get(api, TYPES)
        ]
        every = [one["key"] for one in settings["campaigns"]]
        if self.favourite in fitting and self.chance(0.6):
            return self.favourite
        return self.random.choice(fitting if fitting and self.chance(0.9) else every)

    def specifier(self, settings: Json) -> Any:
        if self.chance(0.4):
            return self.key(settings, "track")
        if self.chance(0.5):
            return None
        if self.chance(0.05):
            return self.random.choice(([], 5, {}, True))
        keys = [one["key"] for one in settings["campaigns"]]
        some = self.random.sample(keys, self.random.randrange(1, len(keys) + 1))
        if self.chance(0.15):
            some.append("nope")
        if self.chance(0.1):
            some.append(self.random.choice(some))
        return some

    def options(self, settings: Json, api: str, user: Any) -> Json:
        makers: tuple[tuple[str, float, Callable[[], Any]], ...] = (
            ("customVariables", 1 if self.topic == "segments" else 0.7, self.values),
            ("variationTargetingVariables", 0.4, self.values),
            ("userAgent", 0.25, lambda: self.random.choice(AGENTS)),
            ("userIpAddress", 0.25, lambda: self.random.choice(ADDRESSES)),
            ("userStorageData", 0.06, lambda: self.given_row(settings, user)),
            ("metaData", 0.1, lambda: self.random.choice(({"browser": "chrome"}, {}, {"a": [1]}))),
        )
        options = {name: make() for name, share, make in makers if self.chance(share)}
        if api in ("activate", "isFeatureEnabled", "track") and self.chance(0.12):
            options["shouldTrackReturningUser"] = self.chance(0.6)
        if api == "track":
            options |= self.track_options()
        if self.chance(0.01):
            name = self.random.choice(("customVariables", "metaData", "userStorageData"))
            options[name] = self.random.choice(("text", 5, [1]))
        return options

    def given_row(self, settings: Json, user: Any) -> Json:
        if self.chance(0.2):
            return {}
        return self.row(str(user), self.random.choice(settings["campaigns"]))

    def track_options(self) -> Json:
        options: Json = {}
        if self.chance(0.55):
            options["revenueValue"] = self.random.choice(REVENUES)
        if self.chance(0.2):
            options["goalTypeToTrack"] = self.random.choice((*GOAL_TYPES * 3, "ALL", "", "OTHER"))
        if self.chance(0.35):
            names = self.random.sample(tuple(PROPERTIES), self.random.randrange(0, 4))
            options["eventProperties"] = {
                name: self.random.choice(PROPERTIES[name]) for name in names
            }
        return options

    def push_args(self) -> Json:
        if self.chance(0.5):
            keys = ("tag", "k é", " ", '"q"', "🙂", "a&b=c", "x" * 255, "x" * 256, "")
            return {
                "tagKey": self.random.choice(keys),
                "tagValue": self.random.choice((*keys, 5)),
                "userId": self.user(),
            }
        values = ("text", 'q"q', "é & x", "", " ", 5, 10.5, 10.0, True, None, [1], {"a": 1})
        names = self.random.sample(("a", "b", "c é", '"d"'), self.random.randrange(0, 4))
        return {"tags": {name: self.random.choice(values) for name in names}, "userId": self.user()}


def bucket_prefix(settings: Json, campaign: Json) -> str:
    """Return what stands before the user in the seed of his bucket (section 3.5)."""
    is_nb, is_nbv2 = settings.get("isNB"), settings.get("isNBv2")
    by_campaign = f"{campaign['id']}_"
    if (not is_nb and not is_nbv2) or (is_nb and campaign.get("isOB")):
        return by_campaign if is_nb or campaign.get("isBucketingSeedEnabled") else ""
    if not is_nbv2 or campaign.get("isOBv2"):
        return ""
    return f"{by_campaign}{settings['accountId']}_"


def make_case(seed: int, number: int) -> Json:
    """Return case *number* of the run with *seed*."""
    return Case(seed, number).make()
