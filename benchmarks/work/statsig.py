"""statsig-python-core at work: its specs come from this process through a data store."""

from __future__ import annotations

import json
from typing import Any

from statsig_python_core import DataStore, Statsig, StatsigOptions, StatsigUser
from statsig_python_core.data_store import DataStoreResponse
from worker import (
    USERS,
    VARIABLES,
    Request,
    Samples,
    check_split,
    last_key,
    serve,
    time_decisions,
)

FIVE_CONDITIONS = [
    ("plan", "str_contains_any", ["prof"]),
    ("age", "gte", 18),
    ("country", "any", ["DE"]),
    ("browser", "none", ["ie"]),
    ("visits", "lt", 1000),
]
NOW_MS = 1_700_000_000_000


def make_condition(kind: str, name: str | None, operator: str | None, target: Any) -> Any:
    """Return one condition of a spec."""
    return {
        "type": kind,
        "field": name,
        "operator": operator,
        "targetValue": target,
        "additionalValues": {},
        "idType": "userID",
    }


def make_rule(name: str, conditions: list[str], value: Any, percentage: int = 100) -> Any:
    """Return one rule of a spec."""
    return {
        "id": name,
        "name": name,
        "groupName": name,
        "salt": name,
        "passPercentage": percentage,
        "idType": "userID",
        "conditions": conditions,
        "returnValue": value,
        "isExperimentGroup": True,
    }


def make_spec(kind: str, rules: list[Any], salt: str) -> Any:
    """Return one gate or experiment."""
    return {
        "type": "feature_gate" if kind == "gate" else "dynamic_config",
        "entity": "feature_gate" if kind == "gate" else "experiment",
        "salt": salt,
        "enabled": True,
        "isActive": True,
        "defaultValue": False if kind == "gate" else {},
        "idType": "userID",
        "explicitParameters": ["name"],
        "rules": rules,
    }


def make_specs(campaigns: int, kind: str, *, has_segment: bool) -> str:
    """Return specs with that many gates at half the users, or experiments of two equal variations."""
    names = [f"condition-{number}" for number in range(5)] if has_segment else []
    conditions = {
        name: make_condition("user_field", *one)
        for name, one in zip(names, FIVE_CONDITIONS, strict=False)
    }
    conditions["everybody"] = make_condition("public", None, None, None)
    specs = {}
    for number in range(1, campaigns + 1):
        key = f"campaign-{number}"
        if kind == "gate":
            rules = [make_rule("half", names or ["everybody"], value=True, percentage=50)]
        else:
            rules = []
            for name, end in (("Control", 500), ("Variation-1", 1000)):
                bucket = make_condition("user_bucket", None, "lt", end)
                bucket["additionalValues"] = {"salt": key}
                conditions[f"{key}-{end}"] = bucket
                rules.append(make_rule(name, [*names, f"{key}-{end}"], {"name": name}))
        specs[key] = make_spec(kind, rules, key)
    return json.dumps(
        {
            "has_updates": True,
            "time": NOW_MS,
            "company_id": "company",
            "condition_map": conditions,
            "feature_gates": specs if kind == "gate" else {},
            "dynamic_configs": {} if kind == "gate" else specs,
            "layer_configs": {},
            "layers": {},
            "param_stores": {},
            "id_lists": {},
            "experiment_to_layer": {},
            "diagnostics": {},
        }
    )


class Specs(DataStore):  # type: ignore[misc]
    """Gives the specs to the SDK in place of its network."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self._text = text

    def get(self, key: str) -> DataStoreResponse:
        """Return the specs, whatever the key."""
        return DataStoreResponse(result=self._text, time=NOW_MS)


def measure_decision(request: Request) -> Samples:
    """Time `get_experiment`, or `check_gate`, for the last spec; a user is made for each call."""
    kind, has_segment = request["kind"], request["segment"]
    key = last_key(request["campaigns"])
    options = StatsigOptions(
        data_store=Specs(make_specs(request["campaigns"], kind, has_segment=has_segment)),
        disable_network=True,
        disable_all_logging=True,
        disable_country_lookup=True,
        output_log_level="none",
    )
    client = Statsig("secret-key", options)
    client.initialize().wait()
    given: dict[str, Any] = {"custom": VARIABLES} if has_segment else {}
    if kind == "gate":

        def decide(user: str) -> Any:
            return client.check_gate(StatsigUser(user_id=user, **given), key)

        check_split(map(decide, USERS[:100]), (True, False))
    else:

        def decide(user: str) -> Any:
            return client.get_experiment(StatsigUser(user_id=user, **given), key).group_name

        check_split(map(decide, USERS[:100]), ("Control", "Variation-1"))
    samples = time_decisions(request, decide)
    client.shutdown().wait()
    return samples


serve({"decision": measure_decision}, "statsig-python-core")
