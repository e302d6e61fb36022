"""The doors: what has a public name says so, in errors, help, pickles and annotations."""

from __future__ import annotations

import dataclasses
import importlib
import pickle
import pydoc
import re
import subprocess
import sys
import types
import typing
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from sample import settings

import vwo_async
import vwo_async.sync

DOORS = (
    "",
    ".storage",
    ".storage.cookie",
    ".storage.redis",
    ".storage.rounds",
    ".storage.sql",
    ".transport",
    ".outbox",
    ".observer",
    ".integrations.opentelemetry",
    ".integrations.sentry",
    ".testing",
    ".collector",
    ".sync",
    ".integrations.aiohttp",
    ".integrations.asgi",
    ".integrations.fastapi",
    ".integrations.litestar",
    ".integrations.quart",
    ".integrations.starlette",
)
NAMES = [
    (f"vwo_async{door}", name)
    for door in DOORS
    for name in importlib.import_module(f"vwo_async{door}").__all__
]


def test_every_door_is_in_the_reference() -> None:
    """The pages of docs/api show each public module, and nothing that is private."""
    pages = (Path(__file__).parents[1] / "docs" / "api").glob("*.md")
    shown = [
        one for page in pages for one in re.findall(r"^::: (\S+)$", page.read_text(), re.MULTILINE)
    ]
    assert {f"vwo_async{door}" for door in DOORS} <= set(shown)
    assert len(shown) == len(set(shown))
    assert not [one for one in shown if "._" in one]


def find(door: str, name: str) -> Any:
    return getattr(importlib.import_module(door), name)


@pytest.mark.parametrize(("door", "name"), NAMES)
def test_public_names_are_at_home(door: str, name: str) -> None:
    """A public class or function says its door as its module, is documented, and is found there by pickle."""
    thing = find(door, name)
    if not isinstance(thing, (type, types.FunctionType)):
        return
    assert thing.__module__ == door
    assert thing.__doc__
    assert pickle.loads(pickle.dumps(thing)) is thing


def test_each_name_is_in_one_door() -> None:
    """No name is handed out by two doors, but those of the synchronous clients, which have the names of the
    async ones, and `VWO` of the web frameworks, of which a service uses one."""
    shared = {("vwo_async.integrations", "VWO")}
    names = [
        name
        for door, name in NAMES
        if door != "vwo_async.sync" and (door.rpartition(".")[0], name) not in shared
    ]
    assert len(set(names)) == len(names)
    ours = set(vwo_async.sync.__all__) - set(vwo_async.__all__)
    assert ours == {"load_settings"}


def is_record(thing: Any) -> bool:
    return dataclasses.is_dataclass(thing) or hasattr(thing, "_fields")


@pytest.mark.parametrize(
    ("door", "name"), [(door, name) for door, name in NAMES if is_record(find(door, name))]
)
def test_annotations_can_be_read(door: str, name: str) -> None:
    """Whoever evaluates the annotations of a record finds types, and so does pydantic."""
    thing = find(door, name)
    hints = typing.get_type_hints(thing)
    names = getattr(thing, "_fields", None) or [one.name for one in dataclasses.fields(thing)]
    assert set(names) <= set(hints)
    assert not [one for one in thing.__annotations__.values() if isinstance(one, str)]
    TypeAdapter(thing)


def test_settings_can_be_subclassed_and_pickled() -> None:
    """A service may build on the settings' model, which is at home in the package as well."""

    class Mine(vwo_async.Settings):
        label: str = ""

    assert Mine.model_validate(settings()).campaigns[0].key == "checkout"
    assert typing.get_type_hints(vwo_async.Settings)["campaigns"]
    parsed = vwo_async.parse_settings(settings())
    assert type(parsed).__module__ == "vwo_async"
    # All but the SDK key, which no pickle holds.
    pickled = pickle.loads(pickle.dumps(parsed))
    assert pickled.model_copy(update={"sdk_key": parsed.sdk_key}) == parsed


def test_an_error_shows_its_public_name() -> None:
    """A traceback names the error as one has to import it."""
    code = "import vwo_async; vwo_async.parse_settings('{')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].startswith("vwo_async.SettingsError: ")


def test_help_names_everything() -> None:
    """The page of the package begins with a map that has each of its names, and shows no private error."""
    page = pydoc.plain(pydoc.render_doc(vwo_async))
    head = page.partition("PACKAGE CONTENTS")[0]
    for name in set(vwo_async.__all__) - {"__version__"}:
        assert f"`{name}`" in head, name
    # It prints each class of `__all__` with all that the class inherits, so what comes first must do.
    assert len(head.splitlines()) <= 45
    assert "class Settings(" in page


@pytest.mark.parametrize("door", DOORS)
def test_doors_say_what_they_have(door: str) -> None:
    """The text of a door names each thing behind it."""
    module = importlib.import_module(f"vwo_async{door}")
    text = module.__doc__ or ""
    missing = [
        name for name in module.__all__ if name not in text and name not in ("__version__", "Step")
    ]
    assert not missing


def test_importing_stays_cheap() -> None:
    """What is slow to import waits until it is needed, and looking around imports nothing."""
    # A tool that watches this process, such as coverage, may have imported some of them before.
    code = (
        "import sys; before = set(sys.modules); import vwo_async; dir(vwo_async);"
        " print({'pydantic', 'pydantic_core', 'httpx', 'sqlite3'} & (set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
