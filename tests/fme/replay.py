"""Replaying the golden vectors of FME through the core: finding out what a decision needs, and nothing else."""

from __future__ import annotations

import json
import lzma
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from vwo_async._core.fme.decision import decide_feature
from vwo_async._core.fme.evaluation import Known, Needs
from vwo_async._core.fme.lazy_plan import compile_fme_plan
from vwo_async._core.fme.plan import FlagDecision, FMEPlan
from vwo_async._core.fme.record import FeatureRecord, read_record
from vwo_async._core.fme.user import Details, FlagUser, read_details
from vwo_async._settings import parse_fme_settings

VECTORS = Path(__file__).parent.parent / "vectors" / "fme"

# What the gateway of the vectors answers.
GATEWAY = {
    "location": {"country": "India", "region": "Delhi", "city": "New Delhi"},
    "userAgent": {
        "os": "Linux",
        "browser_string": "Chrome",
        "device_type": "desktop",
        "device": "PC",
        "browser_version": "120.0",
        "os_version": "10.15.7",
    },
}
LISTS = {"L1": {"gold", "10", "silver"}, "L2": {"us", "true"}}


@cache
def load(name: str) -> Any:
    """Return the content of a vector file, which several tests read and none may change."""
    return json.loads(lzma.decompress((VECTORS / f"{name}.json.xz").read_bytes()))


@cache
def compile_cases(name: str) -> Sequence[FMEPlan]:
    """Return the plans of the cases of a vector file, in order; several tests replay the same ones."""
    return [compile_file(case["settings"]) for case in load(name)["cases"]]


def compile_file(file: Any) -> FMEPlan:
    """Return the plan of a settings file."""
    return compile_fme_plan(parse_fme_settings(file))


def make_user(context: Mapping[str, Any]) -> FlagUser:
    """Return the user that a context in the Node SDK's spelling describes."""
    platform = context.get("platformVariables") or {}
    return FlagUser(
        context["id"],
        context.get("customVariables"),
        context.get("variationTargetingVariables"),
        context.get("userAgent"),
        context.get("ipAddress"),
        context.get("bucketingSeed"),
        platform.get("webTestingCampaigns"),
        context.get("_vwo"),
    )


class Caller:
    """Calls the core until it decides, and brings what it asks for.

    Args:
        plan: The plan.
        rows: The storage: rows by ``featureKey|userId``. None for none.
        has_gateway: Whether the gateway of the vectors may be asked.

    Attributes:
        asked: The keys of the records that the last decision asked for, in order.
        rounds: How often it had to ask.
        asked_details: Whether it asked for the user's details.
    """

    def __init__(
        self,
        plan: FMEPlan,
        rows: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        has_gateway: bool = False,
    ) -> None:
        self.plan = plan
        self.rows = None if rows is None else dict(rows)
        self.has_gateway = has_gateway
        self.asked: list[str] = []
        self.rounds = 0
        self.asked_details = False

    def read(self, key: str, user: FlagUser) -> FeatureRecord | None:
        """Return a record of the storage."""
        assert self.rows is not None
        return read_record(self.rows.get(f"{key}|{user.id}"))

    def store(self, row: Mapping[str, Any]) -> None:
        """Replace a row of the storage."""
        assert self.rows is not None
        self.rows[f"{row['featureKey']}|{row['userId']}"] = row

    def decide(self, feature_key: str, user: FlagUser, *, at_once: bool = False) -> FlagDecision:
        """Decide a flag; *at_once* gives everything that could be asked for before it is."""
        records: dict[str, FeatureRecord | None] | None = None if self.rows is None else {}
        details: Details | None = None
        lists: dict[tuple[str, str], bool] = {}
        self.asked, self.rounds, self.asked_details = [], 0, False
        if at_once:
            details = read_details(GATEWAY, []) if self.has_gateway else None
            feature = self.plan.features.get(feature_key)
            if records is not None and feature is not None:
                keys = self.plan.list_record_keys(feature)
                records |= {key: self.read(key, user) for key in keys}
        while True:
            known = Known(records, self.has_gateway, details, lists)
            found = decide_feature(self.plan, feature_key, user, known)
            if not isinstance(found, Needs):
                return found
            assert found != Needs(), "it must say what it needs"
            self.rounds += 1
            for key in found.keys:
                assert records is not None
                assert key not in records, "it must not ask twice"
                self.asked.append(key)
                records[key] = self.read(key, user)
            if found.details:
                assert details is None
                self.asked_details = True
                details = read_details(GATEWAY, [])
            lists |= {pair: pair[1] in LISTS.get(pair[0], ()) for pair in found.lists}


def name_variation(decision: FlagDecision) -> Any:
    """Return the value of the variable ``who``, which names the variation in most vectors."""
    if decision.variation is None:
        return None
    return next((one.value for one in decision.variation.variables if one.key == "who"), None)


def list_impressions(decision: FlagDecision) -> list[list[int]]:
    """Return the impressions as the vectors write them."""
    return [[one.campaign_id, one.variation_id] for one in decision.impressions]
