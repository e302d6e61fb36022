"""Reading a v2 settings file: what is accepted, and what a refusal says (section F1.2)."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from fme_file import make_campaign, make_feature, make_file, make_flag
from sample import KEY, campaign
from sample import settings as make_fullstack_file

from vwo_async import SettingsError, parse_settings
from vwo_async._settings import FMESettings, parse_fme_settings
from vwo_async._settings.parse import LARGE_BYTES, parse_fme_with_pauses

SECRET = "SECRETVALUE"
FILE = make_file(
    [make_feature(1, make_campaign(1, "r"), make_campaign(2))],
    [make_campaign(1, "r"), make_campaign(2)],
    groups={"5": {"name": "g", "campaigns": ["2"], "et": 2, "p": ["2"], "wt": {"2": 50}}},
    campaignGroups={"2": 5},
    holdouts=[{"id": 9, "name": "h", "segments": {}, "percentTraffic": 5, "featureIds": [1]}],
)
GONE = object()


def damage(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return the file with one field replaced, or taken out."""
    file: Any = copy.deepcopy(FILE)
    place = file
    for part in path[:-1]:
        place = place[part]
    if value is GONE:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return file  # type: ignore[no-any-return]


F, C, V = ("features", 0), ("campaigns", 1), ("campaigns", 1, "variations", 0)
FAULTS: list[tuple[tuple[str | int, ...], object]] = [
    (("accountId",), GONE),
    (("accountId",), [SECRET]),
    (("version",), GONE),
    (("sdkKey",), "SECRET VALUE\n"),
    (("features",), SECRET),
    (("campaigns",), SECRET),
    ((*F, "id"), GONE),
    ((*F, "key"), ""),
    ((*F, "key"), "\ud800"),
    ((*F, "metrics"), GONE),
    ((*F, "rules", 0, "campaignId"), SECRET),
    ((*F, "rules", 0, "ruleKey"), GONE),
    ((*F, "rules", 0, "variationId"), "1"),
    ((*C, "id"), SECRET),
    ((*C, "key"), None),
    ((*C, "segments"), GONE),
    ((*C, "percentTraffic"), SECRET),
    ((*C, "percentTraffic"), float("nan")),
    ((*C, "isForcedVariationEnabled"), SECRET),
    ((*V, "id"), GONE),
    ((*V, "weight"), -5),
    ((*V, "weight"), True),
    ((*V, "weight"), SECRET),
    ((*V, "weight"), 10**400),
    ((*V, "variables", 0, "value"), None),
    ((*V, "variables", 0, "type"), GONE),
    ((*V, "salt"), [SECRET]),
    (("groups",), SECRET),
    (("groups", "5", "et"), SECRET),
    (("groups", "5", "campaigns"), SECRET),
    (("groups", "5", "wt", "2"), SECRET),
    (("campaignGroups", "2"), SECRET),
    (("holdouts", 0, "id"), GONE),
    (("holdouts", 0, "percentTraffic"), GONE),
    (("collectionPrefix",), "../SECRETVALUE"),
]


@pytest.mark.parametrize(("path", "value"), FAULTS)
def test_faults(path: tuple[str | int, ...], value: object) -> None:
    """A fault is named by the path of its field, and no value of the file is shown."""
    with pytest.raises(SettingsError) as error:
        parse_fme_settings(damage(path, value))
    assert ".".join(map(str, path)) in str(error.value)
    assert SECRET not in repr(error.value)
    assert error.value.__context__ is None


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sdkKey",), GONE),
        (("features",), None),
        (("campaigns",), {}),
        (("groups",), []),
        (("campaignGroups",), None),
        (("holdouts",), {}),
        ((*F, "rules"), GONE),
        ((*F, "rules", 0, "variationId"), None),
        ((*F, "impactCampaign"), GONE),
        ((*F, "impactCampaign"), []),
        ((*F, "impactCampaign"), None),
        ((*C, "percentTraffic"), GONE),
        ((*C, "percentTraffic"), -1),
        ((*C, "percentTraffic"), 250),
        ((*V, "weight"), "50"),
        ((*V, "segments"), GONE),
        ((*V, "variables"), {}),
        ((*V, "salt"), None),
        ((*V, "salt"), 5),
        (("groups", "5", "name"), GONE),
        (("groups", "5", "campaigns"), [2]),
        (("campaignGroups", "2"), "5"),
        (("campaignGroups", "x"), 5),
        (("pollInterval",), "soon"),
        (("unknown",), SECRET),
        ((*V, "unknown"), SECRET),
    ],
)
def test_what_is_accepted(path: tuple[str | int, ...], value: object) -> None:
    """What an official SDK works with is accepted; null is as absent, unknown fields are ignored."""
    assert isinstance(parse_fme_settings(damage(path, value)), FMESettings)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("features", "id"),
        ("features", "key"),
        ("campaigns", "id"),
        ("campaigns.1.variations", "id"),
        ("holdouts", "id"),
    ],
)
def test_ids_are_unique(path: str, field: str) -> None:
    """Two entries of one list with the same id are refused: it would not be clear which is meant."""
    file = copy.deepcopy(FILE)
    place: Any = file
    for part in path.split("."):
        place = place[int(part) if part.isdigit() else part]
    twin = copy.deepcopy(place[0])
    twin["key" if field == "id" else "id"] = twin.get("key", "") + "2" if field == "id" else 77
    place.append(twin)
    with pytest.raises(SettingsError, match=rf"{path}: 2 entries have the same {field}"):
        parse_fme_settings(file)


def test_depth() -> None:
    """A segment nested too deeply is refused, as JSON text and as an object."""
    tree: Any = {}
    for _ in range(60):
        tree = {"not": tree}
    file = make_flag(make_campaign(1, segments=tree))
    for source in (file, json.dumps(file)):
        with pytest.raises(SettingsError, match=r"campaigns\.0\.segments: is nested deeper"):
            parse_fme_settings(source)


def test_the_key_is_shown_nowhere() -> None:
    """No repr, dump or pickle of the settings holds the SDK key."""
    settings = parse_fme_settings({**FILE, "sdkKey": KEY})
    assert settings.sdk_key is not None
    assert settings.sdk_key.get_secret_value() == KEY
    for shown in (repr(settings), settings.model_dump_json(), repr(settings.model_dump())):
        assert KEY not in shown
    assert KEY.encode() not in pickle.dumps(settings)


def make_large(file: dict[str, Any]) -> str:
    """Return the file as a text that is large enough to be read in small steps."""
    return json.dumps({**file, "unknown": "x" * 400_000})


def test_a_file_of_the_other_product() -> None:
    """It is refused with one fault, which names the right client, whatever else is wrong with it."""
    fullstack = make_fullstack_file(campaign(1, "a"), campaign(2, "b", "FEATURE_ROLLOUT"))
    for source in (fullstack, json.dumps(fullstack), make_large(fullstack)):
        with pytest.raises(SettingsError) as error:
            parse_fme_settings(source)
        assert error.value.faults == (
            "the file is a settings file of VWO FullStack: give it to VWOClient",
        )
    nothing = {**fullstack, "campaigns": []}
    others = (
        {**nothing, "isNB": False},
        {**nothing, "isEventArchEnabled": True},
        make_fullstack_file(campaign(1, "a", "A_KIND_TO_COME")),
        parse_settings(fullstack),
    )
    for other in others:
        with pytest.raises(SettingsError, match="give it to VWOClient"):
            parse_fme_settings(other)  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="give it to FMEClient"):
        parse_settings(parse_fme_settings(FILE))  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="give it to FMEClient"):
        parse_settings({**nothing, "holdouts": []})
    empty = make_file([], [])
    for file in (FILE, empty, {**FILE, "features": GONE}):
        named = {key: value for key, value in file.items() if value is not GONE}
        for source in (named, json.dumps(named), make_large(named)):
            with pytest.raises(SettingsError) as error:
                parse_settings(source)
            assert error.value.faults == (
                "the file is a v2 settings file of VWO FME: give it to FMEClient",
            )


@pytest.mark.parametrize(
    "source", ["", "x", "[]", "null", b"\x1f\x8b", "<html>", Path("x.json"), 5]
)
def test_no_file(source: Any) -> None:
    """What is no settings file at all is refused with a word on what it is."""
    with pytest.raises(SettingsError):
        parse_fme_settings(source)


def make_many(number: int) -> dict[str, Any]:
    """Return a file of so many features, each with a rollout and a test."""
    features, campaigns = [], []
    for one in range(1, number + 1):
        own = [make_campaign(2 * one, "r"), make_campaign(2 * one + 1, name="użyteczność")]
        campaigns += own
        features.append(make_feature(one, *own))
    holdouts = [{"id": one, "percentTraffic": 5, "segments": {}} for one in range(1, 5)]
    return make_file(features, campaigns, holdouts=holdouts)


def test_a_large_file_reads_like_a_small_one() -> None:
    """A file that is read entry by entry gives the same settings, and pauses every 20 kilobytes or so."""
    pauses = 0

    def pause() -> None:
        nonlocal pauses
        pauses += 1

    file = make_many(300)
    for text in (json.dumps(file), json.dumps(file, ensure_ascii=False, indent=1)):
        body = text.encode()
        assert len(body) > LARGE_BYTES
        pauses = 0
        assert parse_fme_with_pauses(body, pause) == parse_fme_settings(file)
        assert pauses > len(body) / 40_000


@pytest.mark.parametrize(("path", "value"), FAULTS)
def test_faults_of_a_large_file(path: tuple[str | int, ...], value: object) -> None:
    """The faults of a large file are those of the same file read at once."""
    file = damage(path, value)
    found = []
    for source in (json.dumps(file), make_large(file)):
        with pytest.raises(SettingsError) as error:
            parse_fme_settings(source)
        found.append(error.value.faults)
    assert found[0] == found[1]


@pytest.mark.parametrize("broken", ["}", "", "]", ', "features": []}', "\ud800"])
def test_a_large_file_that_is_broken(broken: str) -> None:
    """A large file that is not JSON, or has a list twice, is read like a small one."""
    small = json.dumps(FILE)[:-1] + broken
    large = make_large(FILE)[:-1] + broken
    results = []
    for source in (small, large):
        try:
            results.append(len(parse_fme_settings(source).features))
        except SettingsError as error:
            results.append(len(error.faults) * -1)
    assert results[0] == results[1]
