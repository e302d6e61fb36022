"""Random v2 settings, users and call sequences: what is asked of the FME SDKs.

A case is one settings file, the first content of the user storage, who writes that storage, and a
sequence of calls, with contexts in the spelling of the Node SDK. It follows from its seed and number alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

Json = dict[str, Any]

ROLLOUT, TESTING, PERSONALIZE = "FLAG_ROLLOUT", "FLAG_TESTING", "FLAG_PERSONALIZE"
ACCOUNTS = (1, 123456, 888888)
WEB_ID = "D0123456789abcdefABCDEF0123456789"
NAMED_USERS = (
    *("Ashley", "Bill", "user_1", "x", "123", "12345678901234567890", "użytkownik", "ü", "用户-1"),
    *("🙂", "a🙂b", "  ", "null", "user with blanks", "10.0", "_vwo_", WEB_ID, f"J{WEB_ID[1:]}"),
)
VARIABLES = ("plan", "age", "città", "country", "os")
VALUES: Sequence[Any] = (
    *(
        "US",
        "us",
        " US",
        "free",
        "Pro",
        "",
        "10",
        "10.0",
        " 10",
        "10.00",
        "1e1",
        "0",
        "0.0",
        "1.10",
    ),
    *("5abc", "abc", "1_000", "inf", "nan", "-5", "null", "true", "é", "İstanbul", "٣", ".5", "5."),
    *(
        "1.0",
        "1.0.0",
        "1.2.9",
        "1.2.10",
        "2.beta",
        "v2",
        "+7",
        "010",
        "1e400",
        "a*b",
        "1100",
        "1..2",
    ),
    *(10, 10.0, 0, 7, -5, 0.1, 5.5, 1e16, 1e21, 2**53, 1e-7, 100, 1.1, True, False, None),
    *([1], {"a": 1}, []),
)
CONTENTS = (
    *("US", "us", "free", "PRO", "10", "10.0", "5", "0", "0.0", "*", "**", "", "*US", "US*", "*S*"),
    *(
        "*10*",
        "1*",
        "*0",
        "a*b",
        "abc",
        "nan",
        "1_000",
        "true",
        "True",
        "é",
        "-5",
        "1e1",
        ".5",
        "5.",
    ),
    *(" 10", "null", "5)x", "*a*b*", "***", "**US", "1.0", "1.0.0", "010", "٣"),
)
VERSIONS = (
    *("5", "10", "10.25", "1.0", "1.0.0", "1.2.9", "1.2.10", "0", ".5", "5.", "1..2", "1.1", "2"),
    *("-5", "abc", "", " 5", "1e1", "5x", "010"),
)
PATTERNS = (
    *(".*", "^U", "[0-9]+", r"\d+$", "(?i)us", "(?<n>a)", "[", "a{2", "^$", "null", r"\bfree\b"),
    *("(?P<n>a)", "é", "^.$", r"[\w]+", "U|P", "(a", r"\.0$", "10"),
)
PLAIN = (
    "US",
    "10",
    "free",
    "true",
    "0",
    "1.0",
    "gt(5)x",
    "xlower(us)",
    "()",
    "equals(US)",
    "Lower(us)",
)
AGENTS = (
    *(
        "Mozilla/5.0 (X; é) +x",
        "curl/8.0",
        "Браузер",
        "a%20b",
        "🙂",
        "ua=1&b=2",
        "",
        "10.0",
        "100%",
    ),
)
LISTS = ("inlist(list_1)", "inlist(list_1)", "inlist", "inlist(", "inlist()", "no inlist here")
ADDRESSES = ("1.2.3.4", "2001:db8::1", "10.0.0.1", "10", "a b", "", "", None)
PLACES: Mapping[str, Sequence[str]] = {
    "country": ("India", '"India"', "US", "India ", ""),
    "region": ("Delhi", 'De"lhi'),
    "city": ("New Delhi", "Pune"),
}
DEVICES: Mapping[str, Sequence[Any]] = {
    "os": (
        "Linux",
        "wildcard(*lin*)",
        "wildcard(lin)",
        "wildcard(*ux)",
        "wildcard(l.nux)",
        "wildcard(mac|lin)",
        "wildcard([k-m]in*)",
        "wildcard(^linux$)",
        "wildcard((l+)(in)?u)",
        "wildcard(\\W*\\w+)",
        "wildcard([)",
        "wildcard(+)",
        ["wildcard([)", "linux"],
        ["macOS", "Linux"],
        "linux",
        5,
    ),
    "browser_string": ("Chrome", "wildcard(chr*)", "firefox", "wildcard(c.r)", "wildcard(ch(r)"),
    "device_type": ("desktop", "Mobile", ["mobile", "tablet"]),
    "device": ("iPhone", "wildcard(i*ne)"),
}
DETAILS: Sequence[Json] = (
    {
        "location": {"country": "India", "region": "Delhi", "city": "New Delhi"},
        "userAgent": {
            "os": "Linux",
            "browser_string": "Chrome",
            "device_type": "desktop",
            "device": "iPhone",
            "browser_version": "120.0",
            "os_version": "1.2.10",
        },
    },
    {"location": {"country": "US"}, "userAgent": {"os": "macOS", "browser_version": "10"}},
    {"location": {"country": "India"}, "userAgent": {}},
    {"userAgent": {"os": "Linux", "os_version": "1.0"}},
    {
        "location": {"country": "", "region": "Delhi"},
        "userAgent": {"os": "", "browser_version": "", "os_version": 0, "device": "iPhone"},
    },
    {"location": {}, "userAgent": None},
    {},
)
WEB_CAMPAIGNS: Sequence[Any] = (
    {"122": "2"},
    {"122": 1, "7": "3"},
    '{"122": 2}',
    {},
    "broken",
    "",
    None,
    {"122": None},
)
WEB_OPERANDS = ("122", "!122", "122_2", "122_!1", "122_", 122, " 122 ", "x", "7_3", "", True)
WEIGHTS = (
    *((50, 50), (100, 100), (33.33, 33.33, 33.34), (10, 90), (0, 100), (100,), (0.5, 99.5)),
    *((20, 20, 20), (100, 0), (25, 25, 25, 25)),
)
TRAFFIC = (*(100,) * 10, 0, 1, 10, 33.3, 50, 77, 99, 0.5, 1.99)
SALTS = ("saltA", "saltB", "", "sält")
VARIABLE_VALUES: Mapping[str, Sequence[Any]] = {
    "string": ("abc", "", "é", "10"),
    "integer": (42, 0, -3, "42"),
    "double": (1.5, 0.1, 10.0, "2.5"),
    "boolean": (True, False, "true"),
    "json": ({"a": 1}, {}, '{"a":1}', {"a": {"b": [1, None]}}),
}
EVENTS = ("purchase", "signup", "büy & go", "click")
PROPERTIES: Mapping[str, Sequence[Any]] = {
    "amount": (5, 10.5, "x", True, 0, "", False, None),
    "é": ([1, 2], {"a": None}, 1e21),
    "id": (7, "x"),
    "variation": (3,),
    "isCustomEvent": (False, True),
    "vwo_envKey": ("other",),
    "vwo_own": (1,),
    "vwoMeta": ({"a": 1},),
}
ATTRIBUTES: Mapping[str, Sequence[Any]] = {
    "plan": ("pro", "", 5, 1.5, True, False, 0),
    "é": ("ü",),
    "age": (10, 10.0),
    "vwo_fs_environment": ("other",),
}
# What a case is mostly about: with everything odd at once, most users would get nothing.
TOPICS = ("any", "segments", "groups", "holdouts", "whitelists", "storage", "gateway", "plain")
ALIASES = ("alias_1", " padded ", "an alias", "é", "", "  ", 5, None)


class FMECase:
    """Makes one case.

    Args:
        seed: Of the run.
        number: Of the case within it.
    """

    def __init__(self, seed: int, number: int) -> None:
        self.random = Random(f"fme:{seed}:{number}")
        self.topic = self.random.choice(TOPICS)
        named = self.random.sample(NAMED_USERS, 4)
        self.users = [*named, *(f"user_{self.random.randrange(10**6)}" for _ in range(4))]
        self.feature_ids: list[int] = []
        self.gateway = self.make_gateway()

    def chance(self, share: float) -> bool:
        return self.random.random() < share

    def pick(self, choices: Sequence[Any]) -> Any:
        return self.random.choice(choices)

    def make(self) -> Json:
        """Return the case."""
        settings = self.settings()
        stores = self.topic == "storage" or self.chance(0.8 if self.topic == "holdouts" else 0.45)
        calls = [self.call(settings) for _ in range(self.random.randrange(12, 28))]
        return {
            "settings": settings,
            "writer": self.pick(("ours", "python", "node")) if stores else None,
            "rows": self.rows(settings) if stores else [],
            "calls": calls,
            "spelling": self.pick(("camel", "snake")),
            "gateway": self.gateway,
        }

    def make_gateway(self) -> Json | None:
        """Return what a gateway knows, and whether it is asked for aliases; None where there is no gateway."""
        if not self.chance(1.0 if self.topic == "gateway" else 0.1):
            return None
        names = (*self.users, "alias_1", "123")
        aliases = {one: self.pick(self.users) for one in names if self.chance(0.3)}
        return {
            "places": {one: self.pick(DETAILS).get("location") for one in ADDRESSES if one},
            "devices": {one: self.pick(DETAILS).get("userAgent") for one in AGENTS if one},
            "aliases": aliases,
            "refused": [one for one in ALIASES if self.chance(0.2)],
            "is_asked": self.chance(0.4),
        }

    # Settings

    def settings(self) -> Json:
        count = self.random.randrange(2 if self.topic == "groups" else 1, 6)
        self.feature_ids = self.random.sample(range(1, 60), count)
        campaigns: list[Json] = []
        features = [self.feature(one, campaigns) for one in self.feature_ids]
        settings: Json = {
            "sdkKey": "someuniquestuff1234567",
            "accountId": self.pick(ACCOUNTS),
            "version": 1,
            "features": features,
            "campaigns": campaigns,
        }
        if self.chance({"groups": 1.0, "any": 0.4, "storage": 0.4}.get(self.topic, 0.1)):
            self.add_groups(settings)
        if self.chance({"holdouts": 1.0, "any": 0.3}.get(self.topic, 0.12)):
            count = self.random.randrange(2 if self.topic == "holdouts" else 1, 5)
            holdout_ids = self.random.sample(range(500, 520), count)
            settings["holdouts"] = [self.holdout(one) for one in holdout_ids]
        if self.chance(0.2):
            settings["isMAU"] = True
        if self.chance(0.1):
            settings["isWebConnectivityEnabled"] = self.chance(0.3)
        if self.chance(0.1):
            settings["collectionPrefix"] = "eu01"
        settings["sdkMetaInfo"] = {"wasInitializedEarlier": True}
        return settings

    def feature(self, feature_id: int, campaigns: list[Json]) -> Json:
        key = f"f{feature_id}"
        feature: Json = {
            "id": feature_id,
            "key": key,
            "name": f"Feature {feature_id}",
            "type": "FEATURE_FLAG",
            "status": self.pick(("ON", "OFF")),
            "metrics": [self.metric(n, one) for n, one in enumerate(EVENTS) if self.chance(0.5)],
            "rules": [],
            "impactCampaign": {},
        }
        if self.chance(0.15):
            feature["impactCampaign"] = {"campaignId": 9000 + feature_id, "type": "FLAG_IMPACT"}
        kinds = [ROLLOUT] * self.pick((0, 1, 1, 1, 2)) + [
            self.pick((TESTING, TESTING, PERSONALIZE)) for _ in range(self.pick((0, 1, 1, 2, 3)))
        ]
        for kind in kinds:
            self.add_rule(feature, kind, campaigns)
        if self.chance(0.05):
            self.random.shuffle(feature["rules"])
        if self.chance(0.05):
            feature["rules"].append({"type": TESTING, "campaignId": 7777, "ruleKey": "gone"})
        return feature

    def metric(self, number: int, identifier: str) -> Json:
        metric: Json = {"id": number + 1, "type": "CUSTOM_GOAL", "identifier": identifier}
        return {**metric, "mca": -1, "hasProps": self.chance(0.5), "revenueProp": "amount"}

    def add_rule(self, feature: Json, kind: str, campaigns: list[Json]) -> None:
        """Add a rule of a new campaign, or of one that the feature's rules share."""
        number = len(feature["rules"]) + 1
        shared = [
            one
            for one in campaigns
            if one["type"] == kind and one["key"].startswith(f"{feature['key']}_")
        ]
        rule: Json = {"type": kind, "ruleKey": f"r{number}"}
        if kind != TESTING and shared and self.chance(0.4):
            campaign = self.pick(shared)
        else:
            campaign = self.campaign(100 + len(campaigns), f"{feature['key']}_r{number}", kind)
            campaigns.append(campaign)
        rule["campaignId"] = campaign["id"]
        variation_ids = [one["id"] for one in campaign["variations"]]
        if kind != TESTING or self.chance(0.05):
            rule["variationId"] = self.pick(variation_ids)
        if self.chance(0.03):
            rule["variationId"] = 99
        feature["rules"].append(rule)

    def campaign(self, campaign_id: int, key: str, kind: str) -> Json:
        count = 1 if kind == ROLLOUT and self.chance(0.7) else self.random.randrange(1, 4)
        weights = self.pick(WEIGHTS) if kind == TESTING else [self.pick(TRAFFIC)] * count
        segments = self.segments() if kind == TESTING else {}
        campaign: Json = {
            "id": campaign_id,
            "key": key,
            "name": f"Campaign {campaign_id}",
            "type": kind,
            "status": self.pick(("RUNNING", "PAUSED")),
            "segments": segments,
            "variations": [self.variation(kind, n + 1, one) for n, one in enumerate(weights)],
        }
        if kind == TESTING:
            campaign["percentTraffic"] = self.pick(TRAFFIC)
            if self.chance(0.02):
                del campaign["percentTraffic"]
            if self.chance(0.2):
                campaign["salt"] = self.pick(SALTS)
        if self.chance(0.9 if self.topic == "whitelists" else 0.3):
            campaign["isForcedVariationEnabled"] = self.chance(0.8)
        if self.chance(0.25):
            campaign["isUserListEnabled"] = self.chance(0.6)
        return campaign

    def variation(self, kind: str, number: int, weight: float) -> Json:
        variation: Json = {"id": number, "name": f"Variation-{number}", "weight": weight}
        variation["segments"] = self.segments() if kind != TESTING else self.whitelist()
        variation["variables"] = [
            {"id": n, "key": f"v_{type_}", "type": type_, "value": self.pick(values)}
            for n, (type_, values) in enumerate(VARIABLE_VALUES.items(), start=1)
            if self.chance(0.6)
        ]
        if kind != TESTING and self.chance(0.2):
            variation["salt"] = self.pick(SALTS)
        return variation

    def holdout(self, holdout_id: int) -> Json:
        return {
            "id": holdout_id,
            "name": f"Holdout {holdout_id}",
            "segments": self.holdout_segments(),
            "percentTraffic": self.pick((0, 10, 30, 50, 100)),
            "isGlobal": self.chance(0.4),
            "featureIds": self.pick(
                (self.random.sample(self.feature_ids, 1), self.feature_ids, [4040], [])
            ),
            "metrics": [self.metric(9, "held")] if self.chance(0.3) else [],
        }

    def holdout_segments(self) -> Json:
        kind = self.random.random()
        if kind < 0.2:
            return {"or": [self.feature_operand()]}
        if kind < 0.35:
            return self.tree()
        return self.segments() if self.chance(0.4) else {}

    def add_groups(self, settings: Json) -> None:
        """Put testing and personalize rules into one or two groups."""
        names = self.members(settings)
        if not names:
            return
        some = self.random.sample(names, self.random.randrange(1, len(names) + 1))
        cut = self.random.randrange(1, len(some) + 1) if self.chance(0.3) else len(some)
        settings["groups"], settings["campaignGroups"] = {}, {}
        for group_id, members in ((5, some[:cut]), (23, some[cut:])):
            if members:
                settings["groups"][str(group_id)] = self.group(members)
                settings["campaignGroups"].update(dict.fromkeys(members, group_id))
        if self.chance(0.04):
            settings["campaignGroups"][self.pick(names)] = 77

    def members(self, settings: Json) -> list[str]:
        """Return the texts by which groups name the rules of a file."""
        campaigns = {one["id"]: one for one in settings["campaigns"]}
        names: list[str] = []
        for feature in settings["features"]:
            for rule in feature["rules"]:
                campaign = campaigns.get(rule["campaignId"])
                if campaign is None or campaign["type"] == ROLLOUT:
                    continue
                ids = [one["id"] for one in campaign["variations"]]
                first = rule.get("variationId")
                first = first if first in ids else ids[0]
                is_test = campaign["type"] == TESTING
                names.append(str(campaign["id"]) if is_test else f"{campaign['id']}_{first}")
        return list(dict.fromkeys(names))

    def group(self, members: Sequence[str]) -> Json:
        group: Json = {"name": "group é", "campaigns": list(members)}
        members = list(members)
        if self.chance(0.15):
            # Of no campaign, or of no variation, in the file.
            unknown = self.pick(("999", "999_1", f"{members[0]}_77"))
            group["campaigns"].append(unknown)
            if self.chance(0.7):
                members.append(unknown)
        if self.chance(0.8):
            group["et"] = self.pick((1, 2, 2))
        if self.chance(0.5):
            group["p"] = self.random.sample(members, self.random.randrange(0, len(members) + 1))
        if self.chance(0.7):
            some = self.random.sample(members, self.random.randrange(0, len(members) + 1))
            group["wt"] = {one: self.pick((0, 10, 20, 33.3333, 50, 80, 100)) for one in some}
        return group

    # Segments

    def segments(self) -> Json:
        shares = {"segments": 0.95, "gateway": 0.9, "any": 0.4, "plain": 0.0}
        if not self.chance(shares.get(self.topic, 0.2)):
            return {}
        return self.tree(self.random.randrange(0, 4))

    def whitelist(self) -> Json:
        if not self.chance(0.8 if self.topic == "whitelists" else 0.2):
            return {}
        if self.chance(0.6):
            return {"or": [{"user": ",".join(self.random.sample(self.users, 5))}]}
        return self.tree(2)

    def tree(self, depth: int = 0) -> Json:
        kinds = ("and", "or", "or", "not", *("leaf",) * 5) if depth < 3 else ("leaf",)
        kind = self.pick(kinds)
        if kind == "leaf":
            return self.leaf()
        if kind == "not":
            return {"not": self.tree(depth + 1)}
        if self.chance(0.6 if self.topic == "gateway" else 0.2):
            return {"and": self.places()} if kind == "and" else {"or": self.devices()}
        return {kind: [self.tree(depth + 1) for _ in range(self.random.randrange(0, 4))]}

    def places(self) -> list[Json]:
        kinds = self.random.sample(sorted(PLACES), self.random.randrange(1, 4))
        nodes = [{kind: self.pick(PLACES[kind])} for kind in kinds]
        return [*nodes, self.leaf()] if self.chance(0.2) else nodes

    def devices(self) -> list[Json]:
        if self.chance(0.3):
            return [self.feature_operand()]
        kinds = self.random.sample(sorted(DEVICES), self.random.randrange(1, 4))
        nodes = [{kind: self.pick(DEVICES[kind])} for kind in kinds]
        return [*nodes, self.leaf()] if self.chance(0.2) else nodes

    def feature_operand(self) -> Json:
        feature_id = self.pick([*self.feature_ids, 4040])
        return {"featureId": {str(feature_id): self.pick(("on", "off", "on", "odd"))}}

    def leaf(self) -> Json:
        if self.topic == "gateway" and self.chance(0.3):
            return {"custom_variable": {self.pick(VARIABLES): f"inlist({self.pick('abc')})"}}
        kind = self.random.random()
        if kind < 0.12:
            return {"user": self.pick((",".join(self.users[:3]), f" {self.users[0]} , Bill ", ""))}
        if kind < 0.16:
            return {"ua": self.operand()}
        if kind < 0.22:
            name = self.pick(("ip_address", "browser_version", "os_version"))
            return {
                name: self.pick((self.operand(), *("10", 10, '"1.2.3.4"', "gt(9.9)", "1.2.10")))
            }
        if kind < 0.26:
            return {"campaignVariation": self.pick(WEB_OPERANDS)}
        if kind < 0.29:
            plain: Json = self.pick(({}, {"unknown": "x"}, {"country": "India"}, {"os": "Linux"}))
            return plain
        if kind < 0.30:
            odd: Sequence[Json] = (
                {"custom_variable": {"plan": 5}},
                {"custom_variable": {}},
                {"user": 5},
            )
            broken: Json = self.pick(odd)
            return broken
        return {"custom_variable": {self.pick(VARIABLES): self.operand()}}

    def operand(self) -> str:
        kind = self.random.random()
        if kind < 0.1:
            return str(self.pick(PLAIN))
        if kind < 0.14:
            return str(self.pick(LISTS))
        if kind < 0.35:
            return str(self.pick(VALUES[:-3]))
        operator = self.pick(("lower", "wildcard", "regex", "gt", "gte", "lt", "lte"))
        contents = {"lower": CONTENTS, "wildcard": CONTENTS, "regex": PATTERNS}
        return f"{operator}({self.pick(contents.get(operator, VERSIONS))})"

    # Users and storage

    def context(self) -> Json:
        context: Json = {"id": self.pick(self.users)}
        if self.gateway is not None and self.chance(0.2):
            context["id"] = self.pick(("alias_1", *self.gateway["aliases"]))
        if self.chance(0.02):
            context["id"] = self.pick((123, ""))
        if self.chance(0.9 if self.topic == "segments" else 0.6):
            context["customVariables"] = self.variables()
        if self.chance(0.3):
            context["variationTargetingVariables"] = self.variables()
        share = 0.7 if self.topic == "gateway" else 0.4
        if self.chance(share):
            context["userAgent"] = self.pick(AGENTS)
        if self.chance(share):
            context["ipAddress"] = self.pick(ADDRESSES)
        if self.chance(0.15):
            context["sessionId"] = self.pick((1700000000, 1700000000, 0, None))
        if self.chance(0.2):
            context["postSegmentationVariables"] = self.random.sample(VARIABLES, 3)
        if self.chance(0.1 if self.topic == "gateway" else 0.4):
            context["_vwo"] = self.pick(DETAILS)
        self.empty(context)
        return context | self.newer_fields()

    def empty(self, context: Json) -> None:
        """Put null or an empty mapping in place of some fields."""
        for name in sorted(context.keys() - {"id"}):
            if self.chance(0.01):
                context[name] = {} if isinstance(context[name], dict) and self.chance(0.5) else None

    def newer_fields(self) -> Json:
        """Return fields of a context that came later."""
        fields: Json = {}
        if self.chance(0.15):
            fields["bucketingSeed"] = self.pick(("team1", "", "  ", " pad ", "ü", 5, None))
        if self.chance(0.2):
            fields["platformVariables"] = {"webTestingCampaigns": self.pick(WEB_CAMPAIGNS)}
        if self.chance(0.03):
            fields["useIdForWeb"] = True
        return fields

    def variables(self) -> Json:
        values = VALUES if self.chance(0.9) else VALUES[:-3]
        return {name: self.pick(values) for name in VARIABLES if self.chance(0.6)}

    def rows(self, settings: Json) -> list[list[Any]]:
        """Return what the storage holds at first: decisions of other days and files too."""
        share = 0.35 if self.topic in ("storage", "holdouts") else 0.15
        rows = [
            [user, feature["key"], self.row(user, feature, settings)]
            for feature in settings["features"]
            for user in self.users
            if self.chance(share)
        ]
        keys = [f"_vwo_meta_meg_{group_id}" for group_id in settings.get("groups", {})]
        won = [(user, key) for key in keys for user in self.users if self.chance(0.1)]
        return [*rows, *([user, key, self.winner_row(user, key, settings)] for user, key in won)]

    def row(self, user: str, feature: Json, settings: Json) -> Json:
        row: Json = {"featureKey": feature["key"], "userId": user}
        if self.chance(0.6):
            row["featureId"] = feature["id"]
        campaigns = {one["id"]: one for one in settings["campaigns"]}
        linked = [(one, campaigns.get(one["campaignId"])) for one in feature["rules"]]
        for kind in ("rollout", "experiment"):
            fitting = [
                (rule, campaign)
                for rule, campaign in linked
                if campaign is not None and (campaign["type"] == ROLLOUT) is (kind == "rollout")
            ]
            if fitting and self.chance(0.6):
                row |= self.stored(kind, feature, *self.pick(fitting))
        holdout_ids = [one["id"] for one in settings.get("holdouts", ())] + [600]
        if "holdouts" in settings or self.chance(0.1):
            if self.chance(0.5 if self.topic == "holdouts" else 0.2):
                row["isInHoldoutId"] = self.random.sample(holdout_ids, 1)
            if self.chance(0.5):
                row["notInHoldoutId"] = self.random.sample(holdout_ids, self.random.randrange(0, 2))
            if self.chance(0.05):
                row["holdoutGroupId"] = self.random.sample(holdout_ids, 1)
        return row

    def stored(self, kind: str, feature: Json, rule: Json, campaign: Json) -> Json:
        ids = [one["id"] for one in campaign["variations"]]
        key = campaign["key"] if self.chance(0.6) else f"{feature['key']}_{rule['ruleKey']}"
        first = rule.get("variationId")
        first = first if campaign["type"] != TESTING and first in ids else self.pick(ids)
        found: Json = {f"{kind}Id": campaign["id"], f"{kind}Key": key, f"{kind}VariationId": first}
        if self.chance(0.08):
            found[f"{kind}VariationId"] = 88
        if self.chance(0.04):
            found[f"{kind}Key"] = "another"
        if self.chance(0.03):
            del found[f"{kind}VariationId"]
        return found

    def winner_row(self, user: str, key: str, settings: Json) -> Json:
        member = self.pick(self.members(settings))
        campaign_id, _, variation_id = member.partition("_")
        campaign = next(one for one in settings["campaigns"] if str(one["id"]) == campaign_id)
        return {
            "featureKey": key,
            "userId": user,
            "experimentId": campaign["id"],
            "experimentKey": campaign["key"],
            "experimentVariationId": int(variation_id) if variation_id else -1,
        }

    # Calls

    def call(self, settings: Json) -> Json:
        kind = self.random.random()
        if kind < 0.8:
            keys = [one["key"] for one in settings["features"]]
            key = "gone" if self.chance(0.03) else self.pick(keys)
            return {"api": "get_flag", "feature": key, "context": self.context()}
        if kind < 0.92:
            name = self.pick((*EVENTS, *EVENTS, *EVENTS, "held", "unknown", ""))
            call: Json = {"api": "track_event", "event": name, "context": self.context()}
            if self.chance(0.6):
                call["properties"] = self.some(PROPERTIES)
            elif self.chance(0.1):
                call["properties"] = self.pick(([], "", "text", 5, 0, False))
            return call
        if self.gateway is not None and self.chance(0.3):
            alias = self.pick((*ALIASES, *self.users[:3]))
            return {"api": "set_alias", "context": self.context(), "alias": alias}
        call = {"api": "set_attribute", "context": self.context()}
        if self.chance(0.5):
            attributes = self.some(ATTRIBUTES)
            if self.chance(0.1):
                attributes[self.pick(("", "odd"))] = self.pick((None, [1], {"a": 1}, "x", 1e21))
            return {**call, "attributes": attributes}
        name = self.pick((*sorted(ATTRIBUTES), ""))
        value = self.pick((*ATTRIBUTES.get(name, ("x",)), None, [1], {"a": 1}, [], 1e21, 0.0))
        return {**call, "key": name, "value": value}

    def some(self, table: Mapping[str, Sequence[Any]]) -> Json:
        share = self.pick((0.2, 0.5, 0.8))
        return {name: self.pick(values) for name, values in table.items() if self.chance(share)}


def make_fme_case(seed: int, number: int) -> Json:
    """Return one case."""
    return FMECase(seed, number).make()
