"""Launch options: every place that lists them lists the same."""

from __future__ import annotations

import ast
import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from vwo_async import GoalType
from vwo_async._client import fme_options as fme_module
from vwo_async._client import options as module
from vwo_async._client.fme_options import FMELaunchOptions, FMEOptions, read_fme_options
from vwo_async._client.options import LaunchOptions, Options, read_options

DOCS = Path(__file__).parent.parent / "docs"
# The derived fields of `Options`, and of `FMEOptions`, which nobody gives.
DERIVED = {"flush_callback", "usage"}
FME_DERIVED = {"settings_url"}
NAMES = {one.name for one in fields(Options)} - DERIVED
# What means nothing in FME.
FULLSTACK = {"goal_type_to_track", "should_track_returning_user", "user_id_encoding"}
# How docs/options.md writes what is no literal.
IN_WORDS: dict[str, Any] = {
    "none": None,
    "off": None,
    "everybody": None,
    "nobody": (),
    "nothing": frozenset(),
}


def list_rows() -> list[tuple[list[str], str]]:
    """Return the options and the default of each row of the table in docs/options.md."""
    text = (
        (DOCS / "options.md").read_text().partition("| option | default |")[2].partition("\n\n")[0]
    )
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `")]
    return [(re.findall(r"`(\w+)`", names), default.strip()) for _, names, default, *_ in rows]


def read_default(text: str) -> Any:
    """Return the value that a default of that table stands for."""
    if text in IN_WORDS:
        return IN_WORDS[text]
    if text.startswith("`GoalType."):
        return GoalType[text.strip("`").removeprefix("GoalType.")]
    return ast.literal_eval(text.strip("`"))


def test_type_checkers_know_every_option() -> None:
    """The keyword arguments of the client's constructor are the fields of its options."""
    assert LaunchOptions.__annotations__.keys() == NAMES


def test_the_page_names_every_option() -> None:
    """The table of docs/options.md has every option once."""
    named = [name for names, _ in list_rows() for name in names]
    assert sorted(named) == sorted(NAMES)


def test_the_page_has_the_defaults() -> None:
    """Where docs/options.md says what an option is by default, it is that."""
    defaults = Options()
    said = {names[0]: text for names, text in list_rows() if text not in ("", "VWO", "ours")}
    assert len(said) > 15
    assert {name: read_default(text) for name, text in said.items()} == {
        name: getattr(defaults, name) for name in said
    }


def test_options_of_fme() -> None:
    """FMEClient has what both clients have and its own, each of which docs/fme.md names with its default."""
    own = {one.name for one in fields(FMEOptions)} - NAMES - DERIVED - FME_DERIVED
    assert FMELaunchOptions.__annotations__.keys() == NAMES - FULLSTACK | own
    page = (DOCS / "fme.md").read_text()
    said = dict(re.findall(r"^\| `(\w+)` \| ([^|]+) \|", page, re.MULTILINE))
    defaults = FMEOptions()
    assert {name: read_default(said[name]) for name in own} == {
        name: getattr(defaults, name) for name in own
    }
    given = {name: getattr(defaults, name) for name in FMELaunchOptions.__annotations__}
    assert read_fme_options(given) == read_fme_options({})


def list_explained(path: str, name: str) -> set[str]:
    """Return the fields of a class that are followed by a text."""
    (body,) = (
        node.body
        for node in ast.parse(Path(path).read_text()).body
        if isinstance(node, ast.ClassDef) and node.name == name
    )
    return {
        field.target.id
        for field, text in pairwise(body)
        if isinstance(field, ast.AnnAssign)
        and isinstance(field.target, ast.Name)
        and isinstance(text, ast.Expr)
    }


def test_every_option_is_explained() -> None:
    """Each field of the options is followed by a text that says what it means."""
    assert list_explained(module.__file__, "Options") == NAMES | DERIVED
    own = {one.name for one in fields(FMEOptions)} - NAMES - DERIVED | {"return_promise_for"}
    assert list_explained(fme_module.__file__, "FMEOptions") == own


def test_a_default_is_a_value_that_can_be_given() -> None:
    """To give an option's default is as good as not to give it."""
    defaults = Options()
    given = {name: getattr(defaults, name) for name in NAMES}
    chosen = read_options(given)
    assert {name: getattr(chosen, name) for name in NAMES} == given
