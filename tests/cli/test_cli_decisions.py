"""The command about users: what they get, why, how a split comes out, and what a new file changes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from cli_command import Command, run_process
from sample import KEY, campaign, settings, variation

from vwo_async import FMEClient, VWOClient
from vwo_async._cli.sample_ratio import check_ratio, list_shares
from vwo_async.testing import (
    RecordingTransport,
    build_fme_settings,
    build_settings,
    feature,
    feature_test,
)


@pytest.mark.parametrize("user_id", ["Ashley", "Bill", "Zoë"])
def test_decide_gives_what_the_client_gives(command: Command, user_id: str) -> None:
    """For every campaign and feature the command shows what a client of that product decides."""

    async def ask() -> tuple[dict[str, object], object]:
        file, fme_file = (Path(one).read_bytes() for one in (command.fullstack, command.fme))
        async with (
            VWOClient(file, transport=RecordingTransport()) as client,
            FMEClient(fme_file, transport=RecordingTransport()) as fme,
        ):
            decided = await client.decide_all(user_id)
            flag = await fme.get_flag("search", user_id)
            return (
                {key: one.variation_name for key, one in decided.items()},
                (flag.get_variable("size", None), bool(flag)),
            )

    decided, flag = asyncio.run(ask())
    shown = command.ask("decide", user_id, "-s", command.fullstack)
    assert {key: shown[key]["variation"] for key in decided} == decided
    found = command.ask("decide", user_id, "search", "-s", command.fme)["search"]
    assert (found["variables"].get("size"), found["is_on"]) == flag


def test_attributes_are_considered(command: Command) -> None:
    """Variables on the command line are those of the user."""
    members = ("members", "-s", command.fullstack)
    assert command.ask("decide", "Ashley", *members)["members"]["reason"] == "not_in_segment"
    found = command.ask("decide", "Ashley", *members, "-v", "plan=pro")["members"]
    assert found["reason"] == "assigned"


def test_explain_names_the_failing_operand(command: Command) -> None:
    """A segment that does not hold is shown with its operand and what the user has."""
    ended = command.run("explain", "Ashley", "members", "-s", command.fullstack, "-v", "plan=free")
    assert ended.code == 0
    assert "✗ segment: does not hold: 'plan' is 'pro', but it is 'free'" in ended.out


@pytest.mark.parametrize("product", ["fullstack", "fme"])
def test_explain_shows_hash_and_range(command: Command, product: str) -> None:
    """The steps of bucketing show seed, hash, bucket value and range, in both forms."""
    file = getattr(command, product)
    key = {"fullstack": "checkout", "fme": "search"}[product]
    ended = command.run("explain", "Ashley", key, "-s", file)
    step = command.ask("explain", "Ashley", key, "-s", file)[key]["steps"][-1]
    facts = step["facts"]
    assert facts["start"] <= facts["value"] <= facts["end"]
    assert f"hash {facts['hash']}, bucket value {facts['value']}" in ended.out
    assert f"range {facts['start']}..{facts['end']}" in ended.out
    assert f"seed {facts['seed']!r}" in ended.out


def test_explain_of_what_does_not_run(command: Command) -> None:
    """A paused campaign is explained by that."""
    ended = command.run("explain", "Ashley", "paused", "-s", command.fullstack)
    assert "✗ campaign: campaign not running" in ended.out


def test_simulate_counts_and_tests_the_split(command: Command) -> None:
    """Every user is counted once, and the test of the split is that of scipy."""
    found = command.ask("simulate", "checkout", "-s", command.fullstack, "-n", 20_000)
    assert found["users"] == sum(one["users"] for one in found["outcomes"]) == 20_000
    (split,) = found["splits"]
    observed = [one["observed"] for one in split["shares"]]
    assert sum(observed) == 20_000
    assert [one["expected"] for one in split["shares"]] == [10_000, 10_000]
    from scipy.stats import chisquare  # every process of the suite would import it else

    expected = chisquare(observed)
    assert split["test"]["chi_square"] == pytest.approx(expected.statistic)
    assert split["test"]["p_value"] == pytest.approx(expected.pvalue)
    assert not found["sample_ratio_mismatch"]


def test_simulate_divides_by_rule(command: Command) -> None:
    """Of FME the test is of those whom the rollout let in, and the others are counted with their reason."""
    found = command.ask("simulate", "search", "-s", command.fme, "-n", 5_000)
    reasons = {one["reason"]: one["users"] for one in found["outcomes"]}
    assert 900 < reasons["not_in_traffic"] < 1_100
    (split,) = found["splits"]
    assert split["name"] == "rule2"
    observed = sum(one["observed"] for one in split["shares"])
    assert observed == 5_000 - reasons["not_in_traffic"]


def test_a_mismatch_is_found(command: Command) -> None:
    """Users who are no fair sample fail the test: exit code 1, and words that say what it means."""
    chosen = command.run(
        "users", "checkout", "--variation", "Control", "-c", 300, "-s", command.fullstack
    ).out
    file = command.write("users.txt", chosen)
    ended = command.run("simulate", "checkout", "-u", file, "-s", command.fullstack)
    assert ended.code == 1
    assert "SAMPLE RATIO MISMATCH" in ended.out
    assert "do not trust" in ended.out


def test_too_few_users_prove_nothing(command: Command) -> None:
    """With fewer than five expected of a variation nothing is claimed."""
    ended = command.run("simulate", "checkout", "-n", 5, "-s", command.fullstack)
    assert ended.code == 0
    assert "too few users to tell" in ended.out


def test_expected_shares_follow_the_ranges() -> None:
    """Weights are laid out as the SDKs do: rounded up, and cut where the 10,000 values end."""
    weights = [("a", 33.3333), ("b", 33.3333), ("none", 0), ("c", 33.3334)]
    shares = list_shares(weights, [3334, 3334, 0, 3332])
    assert [(one.name, one.expected) for one in shares] == [("a", 3334), ("b", 3334), ("c", 3332)]
    test = check_ratio(shares, 0.001)
    assert test is not None
    assert test.p_value == 1
    assert check_ratio(list_shares([("only", 100)], [7]), 0.001) is None


def test_the_chart_is_written(command: Command) -> None:
    """The SVG has a bar and the number of each variation, needs nothing from elsewhere, and escapes names."""
    odd = campaign(11, "checkout", variations=[variation(1, "<A&B>", 50), variation(2, "B", 50)])
    file, svg = command.write("odd.json", settings(odd)), command.folder / "chart.svg"
    found = command.ask("simulate", "checkout", "-n", 1_000, "--svg", svg, "-s", file)
    tree = ET.fromstring(svg.read_text(encoding="utf-8"))
    texts = [one.text or "" for one in tree.iter() if one.tag.endswith("text")]
    assert "<A&B>" in texts
    for share in found["splits"][0]["shares"]:
        assert any(one.startswith(f"{share['observed']:,} (") for one in texts)
    assert len([one for one in tree.iter() if one.tag.endswith("rect")]) == 3


def test_the_terminal_has_bars(command: Command) -> None:
    """The chart in the terminal has a bar for each variation."""
    ended = command.run("simulate", "checkout", "-n", 1_000, "-s", command.fullstack)
    rows = [one for one in ended.out.splitlines() if "█" in one]
    assert [row.split()[1] for row in rows] == ["Control", "Variation-1"]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("users.txt", "Ashley\nBill\n"),
        ("users.csv", "id,plan\nAshley,pro\nBill,free\n"),
        ("users.tsv", "user_id\tplan\nAshley\tpro\nBill\tfree\n"),
        ("excel.csv", " id ; plan \r\nAshley;pro\r\nBill;free\r\n"),
        ("odd.csv", "custom_variables,id,plan,\nx,Ashley,pro,\ny,Bill,free,\n"),
        ("users.jsonl", '{"id": "Ashley", "plan": "pro"}\n"Bill"\n'),
        ("more.jsonl", '{"userId": "Ashley", "custom_variables": {"plan": "pro"}}\n\n"Bill"\n'),
    ],
)
def test_files_of_users(command: Command, name: str, content: str) -> None:
    """Ids and attributes are read from text, CSV and JSON lines."""
    file = command.write(name, content)
    found = command.ask("simulate", "members", "-u", file, "-s", command.fullstack)
    reasons = {one["reason"]: one["users"] for one in found["outcomes"]}
    expected = (
        {"not_in_segment": 2} if name == "users.txt" else {"not_in_segment": 1, "assigned": 1}
    )
    assert reasons == expected


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("users.csv", "name,plan\nAshley,pro\n", "users.csv:2: has no user id: name it 'id'"),
        ("users.csv", "id\nAshley,pro\n", "users.csv:2: has more cells"),
        ("users.csv", "id,plan,plan\nAshley,pro,free\n", "users.csv: column 'plan' is there twice"),
        ("users.jsonl", '"Ashley"\n{"id": \n', "users.jsonl:2: is no JSON"),
        ("users.jsonl", '{"id": ' + "[" * 100_000, "users.jsonl:1: is no JSON"),
        ("users.jsonl", '{"id": true}\n', "users.jsonl:1: user_id must be"),
        ("users.jsonl", '"Ashley"\n{"id": []}\n', "users.jsonl:2: user_id must be"),
        ("users.jsonl", '{"id": "x", "custom_variables": 3}\n', "users.jsonl:1: custom_variables"),
    ],
)
def test_rows_that_are_no_users(command: Command, name: str, content: str, said: str) -> None:
    """A row that cannot be used is named by file and line."""
    file = command.write(name, content)
    ended = command.run("simulate", "checkout", "-u", file, "-s", command.fullstack)
    assert ended.code == 2
    assert said in ended.err
    assert ended.err.count("\n") == 1


@pytest.mark.parametrize(
    ("product", "key", "wanted"),
    [
        ("fullstack", "checkout", "Variation-1"),
        ("fullstack", "closed", "none"),
        ("fme", "search", "FLAG_TESTING-2"),
        ("fme", "search", "off"),
    ],
)
def test_users_get_the_variation(command: Command, product: str, key: str, wanted: str) -> None:
    """Each id that is listed gets what was asked for."""
    file = getattr(command, product)
    ids = command.ask("users", key, "--variation", wanted, "-c", 4, "-s", file)
    assert len(set(ids)) == 4
    for one in ids:
        found = command.ask("decide", one, key, "-s", file)[key]
        assert found["variation"] == (None if wanted in ("none", "off") else wanted)


def test_nobody_gets_it(command: Command) -> None:
    """Where nobody of a file gets it, nothing is listed and the exit code says so."""
    file = command.write("users.txt", "Ashley\n")
    asked = ("users", "closed", "--variation", "Control", "-u", file, "-s", command.fullstack)
    ended = command.run(*asked)
    assert (ended.code, ended.out) == (1, "nobody gets Control of closed\n")


def test_diff_names_who_changes(command: Command) -> None:
    """Of two files: how many users change, in which campaigns, from what to what, and who they are."""
    new = command.write(
        "new.json",
        settings(
            campaign(
                11,
                "checkout",
                variations=[variation(1, "Control", 40), variation(2, "Variation-1", 60)],
            ),
            campaign(12, "search", "FEATURE_TEST"),
            campaign(13, "banner", "FEATURE_ROLLOUT", variations=[variation(1, "website", 100)]),
        ),
    )
    ended = command.run("diff", command.fullstack, new, "-n", 2_000, "--json")
    assert ended.code == 1
    (change,) = ended.data["changes"]
    assert (change["key"], change["before"], change["after"]) == (
        "checkout",
        "Control",
        "Variation-1",
    )
    assert change["differs"] == ["variation"]
    assert ended.data["users"] == 2_000
    assert 150 < change["users"] == ended.data["affected"] < 250
    user_id = change["examples"][0]
    for file, name in ((command.fullstack, "Control"), (new, "Variation-1")):
        found = command.ask("decide", user_id, "checkout", "-s", file)
        assert found["checkout"]["variation"] == name
    shown = command.run("diff", command.fullstack, new, "-n", 2_000).out
    assert f"{change['users']} of 2,000 users get something else" in shown
    assert command.run("diff", new, new, "-n", 50).code == 0


def test_diff_finds_other_variables(command: Command) -> None:
    """Who stays in his variation and gets other variables with it, or the feature off, is named as well."""

    def make_fme(size: int) -> Any:
        return build_fme_settings(feature("menu").test(50, 50, size=[1, size]))

    def make_fullstack(size: int) -> Any:
        menu = feature_test("menu").variation("A", 50, size=1).variation("B", 50, size=size)
        return build_settings(menu)

    for make in (make_fme, make_fullstack):
        old, new = (command.write(f"{size}.json", make(size)) for size in (2, 3))
        ended = command.run("diff", old, new, "-n", 100, "--json")
        (change,) = ended.data["changes"]
        assert change["before"] == change["after"]
        assert change["differs"] == ["size"]
        assert 0 < change["users"] == ended.data["affected"] < 100
        user_id, name = change["examples"][0], change["before"]
        for file, size in ((old, 2), (new, 3)):
            found = command.ask("decide", user_id, "menu", "-s", file)["menu"]
            assert (found["variation"], found["variables"]) == (name, {"size": size})


def test_diff_wants_one_product(command: Command) -> None:
    """Files of two products are refused."""
    ended = command.run("diff", command.fullstack, command.fme)
    assert ended.code == 2
    assert ended.err.startswith("vwo-async: the files are of FullStack and FME")


@pytest.mark.no_debug
@pytest.mark.parametrize(("product", "key"), [("fullstack", "checkout"), ("fme", "search")])
def test_simulation_is_quick(command: Command, product: str, key: str) -> None:
    """A million users are no matter of minutes: a processor decides far more than 50,000 in a second.

    The bound leaves room for development mode and for coverage.
    """
    found = command.ask("simulate", key, "-n", 50_000, "-s", getattr(command, product))
    assert found["users_per_s"] > 50_000


def test_a_process_of_its_own(command: Command) -> None:
    """The real process reads settings from standard input, and prints JSON and nothing else."""
    file = Path(command.fullstack).read_bytes()
    code, out, err = run_process("decide", "Ashley", "checkout", "-s", "-", "--json", stdin=file)
    assert (code, err) == (0, "")
    assert json.loads(out)["checkout"]["variation"] == "Control"
    assert KEY not in out
