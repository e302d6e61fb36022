"""The keys that a settings file knows, and the Python module of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from keyword import iskeyword

from .._settings import FMESettings, Settings
from .._settings.campaign_type import AB_TEST
from .._settings.model import Variable
from .subject import FMESubject, Subject

# How the module calls each kind of key: its class, and its type.
_CLASSES = {
    "campaign": "Campaigns",
    "feature": "Features",
    "goal": "Goals",
    "event": "Events",
    "variable": "Variables",
}
_HEAD = '''"""The keys of VWO account {account} ({product}). Made by vwo-async keys: do not edit."""

from typing import Final, Literal, TypeAlias
'''


@dataclass(frozen=True)
class KnownKeys:
    """All keys of a file, by kind: campaign, feature, goal, event, variable.

    Attributes:
        product: The product of the file.
        account: The account.
        kinds: The keys of each kind, in the order of the file.
        variables: The variables of each campaign or feature.
        goals: The goals of each campaign of FullStack.
    """

    product: str
    account: str
    kinds: Mapping[str, list[str]]
    variables: Mapping[str, frozenset[str]]
    goals: Mapping[str, frozenset[str]]


def read_keys(subject: Subject) -> KnownKeys:
    """Return the keys of a settings file."""
    settings = subject.settings
    if isinstance(subject, FMESubject):
        assert isinstance(settings, FMESettings)
        return _read_fme(settings)
    assert isinstance(settings, Settings)
    return _read_fullstack(settings)


def _read_fullstack(settings: Settings) -> KnownKeys:
    campaigns = list(settings.campaigns)
    features = [one for one in campaigns if one.type != AB_TEST]
    variables = {
        one.key: _name_variables(one.variables, *(v.variables for v in one.variations))
        for one in features
    }
    goals = {one.key: [g.identifier for g in one.goals if g.identifier] for one in campaigns}
    kinds = {
        "campaign": [one.key for one in campaigns],
        "feature": [one.key for one in features],
        "goal": _join(goals.values()),
        "variable": _join(variables.values()),
    }
    return _make("FullStack", settings, kinds, variables, goals)


def _name_variables(*lists: Sequence[Variable]) -> list[str]:
    return [one.key for each in lists for one in each if one.key]


def _read_fme(settings: FMESettings) -> KnownKeys:
    campaigns = {one.id: one for one in settings.campaigns}
    variables = {
        feature.key: [
            variable.key
            for rule in feature.rules
            if rule.campaign_id in campaigns
            for variation in campaigns[rule.campaign_id].variations
            for variable in variation.variables
        ]
        for feature in settings.features
    }
    events = [[g.identifier for g in one.metrics if g.identifier] for one in settings.features]
    kinds = {
        "feature": [one.key for one in settings.features],
        "event": _join(events),
        "variable": _join(variables.values()),
    }
    return _make("FME", settings, kinds, variables, {})


def _make(
    product: str,
    settings: Settings | FMESettings,
    kinds: Mapping[str, list[str]],
    variables: Mapping[str, list[str]],
    goals: Mapping[str, list[str]],
) -> KnownKeys:
    sets = [{key: frozenset(ones) for key, ones in one.items()} for one in (variables, goals)]
    return KnownKeys(product, str(settings.account_id), kinds, *sets)


def _join(lists: Iterable[Iterable[str]]) -> list[str]:
    return list(dict.fromkeys(one for each in lists for one in each))


def write_module(known: KnownKeys) -> str:
    """Return a Python module with a constant for each key, and a Literal for each kind."""
    account = re.sub(r"[^\w-]", "", known.account, flags=re.ASCII)
    parts = [_HEAD.format(account=account, product=known.product)]
    parts += [_write_kind(kind, keys) for kind, keys in known.kinds.items() if keys]
    return "\n".join(parts)


def _write_kind(kind: str, keys: list[str]) -> str:
    name = _CLASSES[kind]
    constants = "".join(f"    {one}: Final = {_quote(key)}\n" for one, key in _name_constants(keys))
    literals = "".join(f"    {_quote(key)},\n" for key in keys)
    return (
        f"\n{name[:-1]}Key: TypeAlias = Literal[\n{literals}]\n\n\n"
        f'class {name}:\n    """The {kind}s."""\n\n{constants}'
    )


def _quote(text: str) -> str:
    """Return a literal of ASCII, in double quotes where it holds none."""
    return ascii(text) if '"' in text or "'" in text else f'"{ascii(text)[1:-1]}"'


def _name_constants(keys: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield a name for each key, which no other has."""
    taken: set[str] = set()
    for key in keys:
        words = re.sub(r"\W+|(?<=[a-z0-9])(?=[A-Z])", "_", key, flags=re.ASCII).strip("_").upper()
        base = words if words.isidentifier() and not iskeyword(words) else f"KEY_{words}"
        name, number = base, 1
        while name in taken:
            number += 1
            name = f"{base}_{number}"
        taken.add(name)
        yield name, key
