"""The directions of the house: who may import whom, and what the core may not touch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "vwo_async"

# Every folder and every door, each with those that it may import. What is not named here may not exist.
# The files with an underscore beside the folders are values: they know nothing of the rest.
VALUES = {
    "_cancellation",
    "_error",
    "_explanation",
    "_extra",
    "_flag",
    "_fork",
    "_home",
    "_log",
    "_observer",
    "_plain",
    "_reason",
    "_result",
    "_sdk_key",
    "_user",
    "_value",
    "_wording",
    "_version",
    "_wake",
}
ALLOWED: dict[str, set[str]] = {
    "values": set(),
    "_settings": {"values"},
    "_core": {"values", "_settings"},
    "storage": {"values"},
    "_delivery": {"values", "_core"},
    "_storage": {"values", "_core", "storage"},
    "_refresh": {"values", "_settings", "_core", "_delivery"},
    "_client": {
        "values",
        "_settings",
        "_core",
        "storage",
        "_delivery",
        "_storage",
        "_refresh",
    },
    # Many processes: it builds on what one has, and no client knows of it.
    "_fleet": {"values", "_settings", "storage", "_delivery", "_refresh"},
    "fleet": {"values", "_fleet"},
    "transport": {"values", "_delivery"},
    "outbox": {"values", "_delivery"},
    "webhook": set(),
    "observer": {"values"},
    "": {"values", "_settings", "_delivery", "_refresh", "_client", "webhook"},
    # What the collector's page and the command show of a decision; what the collector checks and counts
    # shares no code with it.
    "_look_up": {"values", "_settings", "_core", "_client"},
    "_collector": {"_look_up"},
    # What a test asks about a client it asks its inner parts; what was sent is read as the collector reads it.
    "_testing": {
        "",
        "values",
        "_settings",
        "_core",
        "storage",
        "_delivery",
        "_storage",
        "_refresh",
        "_client",
        "transport",
        "_collector",
    },
    "testing": {"values", "_testing"},
    "collector": {"values", "_collector"},
    # What frameworks and services need around the clients: each builds on what every service may use.
    "_sync": {"values", "_settings", "_delivery", "_refresh", "_client"},
    "sync": {"values", "_sync"},
    "integrations": {"", "values", "storage", "_client", "webhook", "testing", "sync"},
    # What the command shows of a decision it asks the core; nothing may import it.
    "_cli": {
        "",
        "values",
        "_settings",
        "_core",
        "_delivery",
        "_refresh",
        "_client",
        "_fleet",
        "_look_up",
        "_collector",
        "transport",
        "collector",
        "fleet",
    },
    "__main__": {"_cli"},
}
# One value may be needed by another.
VALUE_IMPORTS = {
    "_explanation": {"_reason", "_value"},
    "_extra": {"_error"},
    "_flag": {"_reason", "_result", "_value"},
    "_observer": {"_error", "_reason", "_result"},
    "_plain": {"_error"},
    "_result": {"_cancellation", "_error", "_log", "_plain", "_reason", "_value"},
    "_sdk_key": {"_error", "_plain"},
    "_user": {"_error", "_plain"},
}

# Modules by which the core could wait, know the time, draw lots, speak or reach outside.
IMPURE = {
    "anyio",
    "asyncio",
    "datetime",
    "httpx",
    "io",
    "logging",
    "os",
    "pathlib",
    "random",
    "secrets",
    "socket",
    "ssl",
    "subprocess",
    "sys",
    "threading",
    "time",
}


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(SOURCE.rglob("*.py")):
        parts = path.relative_to(SOURCE).with_suffix("").parts
        yield ".".join(part for part in parts if part != "__init__"), path


def room_of(module: str) -> str:
    """Return the folder or door that *module* belongs to."""
    top = module.split(".", maxsplit=1)[0]
    return "values" if top in VALUES else top


def is_module(name: str) -> bool:
    return (SOURCE / name).exists() or (SOURCE / f"{name}.py").exists()


def imports_of(module: str, path: Path) -> Iterator[str]:
    """Yield every import: absolute for others' modules, with a leading dot for ours."""
    parts = module.split(".") if module else []
    package = parts if path.name == "__init__.py" else parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level:
            base = package[: len(package) - node.level + 1]
            names = [name.name for name in node.names]
            if node.module:
                yield "." + ".".join([*base, node.module])
            elif base:
                yield from ("." + ".".join([*base, name]) for name in names)
            else:
                # From the package itself: a file of it, or a name that it exports.
                yield from (f".{name}" if is_module(name) else "." for name in names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize(("module", "path"), list(modules()))
def test_directions(module: str, path: Path) -> None:
    """Imports go only downwards, along the arrows of the table."""
    room = room_of(module)
    assert room in ALLOWED, f"{module} has no place in the table"
    for imported in imports_of(module, path):
        if not imported.startswith("."):
            assert not imported.startswith("vwo_async"), "imports within the package are relative"
            continue
        target = room_of(imported[1:])
        if target == room == "values":
            assert imported[1:] in VALUE_IMPORTS.get(module, set()), f"{module} imports {imported}"
        assert target == room or target in ALLOWED[room], f"{module} imports {imported[1:]}"


def test_the_table_has_no_circle() -> None:
    """No folder may import, however indirectly, what may import it."""
    seen: set[str] = set()
    for room, targets in ALLOWED.items():
        assert targets <= seen, f"{room} may import what stands below it in the table"
        seen.add(room)


def test_the_collector_asks_the_sdk_in_one_place() -> None:
    """What the collector checks and counts shares no code with the SDK, so that no mistake hides in both."""
    users = {
        module
        for module, path in modules()
        if room_of(module) == "_collector" and "._look_up" in set(imports_of(module, path))
    }
    assert users == {"_collector.page.look_up"}


def test_private_folders_hand_nothing_on() -> None:
    """What a private folder holds is imported from its file; `_settings` alone spares its users pydantic."""
    for module, path in modules():
        if module.startswith("_") and path.name == "__init__.py" and module != "_settings":
            assert not list(imports_of(module, path)), module


def test_the_core_is_silent() -> None:
    """Of the values, the core and the settings may not use the log."""
    for module, path in modules():
        if room_of(module) in {"_core", "_settings"}:
            assert "._log" not in set(imports_of(module, path))


def test_no_cycle() -> None:
    """No module is imported, however indirectly, by what it imports."""
    names = {module for module, _ in modules()}
    graph = {
        module: [name[1:] for name in imports_of(module, path) if name[1:] in names]
        for module, path in modules()
    }
    for _ in range(len(graph)):
        leaves = {module for module, targets in graph.items() if not targets}
        graph = {
            module: [target for target in targets if target not in leaves]
            for module, targets in graph.items()
            if module not in leaves
        }
    assert not graph, f"these import each other: {sorted(graph)}"


@pytest.mark.parametrize(
    ("module", "path"), [pair for pair in modules() if pair[0].startswith("_core.")]
)
def test_core_is_pure(module: str, path: Path) -> None:
    """The core awaits nothing and imports no clock, random number, logger or I/O."""
    tree = ast.parse(path.read_text())
    waiting = (ast.Await, ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Global)
    assert not [node for node in ast.walk(tree) if isinstance(node, waiting)]
    imported = {name.split(".")[0] for name in imports_of(module, path)}
    assert not imported & IMPURE
    calls = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {called.id for called in calls if isinstance(called, ast.Name)}
    assert not names & {"open", "print", "input"}


def test_only_one_room_knows_httpx_and_one_mmh3() -> None:
    """httpx and its engine are known to the transport alone, mmh3 to bucketing alone."""
    users: dict[str, set[str]] = {"httpcore": set(), "httpx": set(), "mmh3": set()}
    for module, path in modules():
        for imported in imports_of(module, path):
            if imported.split(".")[0] in users:
                users[imported.split(".")[0]].add(module)
    assert users == {
        "httpcore": {"_delivery.transport.httpx"},
        "httpx": {
            "_delivery.transport.proxy",
            "_delivery.transport.protocol",
            "_delivery.transport.tls",
        },
        "mmh3": {"_core.bucketing"},
    }


def test_public_names_are_exported() -> None:
    """What the package names in __all__ is there and documented."""
    import vwo_async

    for name in vwo_async.__all__:
        assert getattr(vwo_async, name, None) is not None
        assert name == "__version__" or getattr(vwo_async, name).__doc__
