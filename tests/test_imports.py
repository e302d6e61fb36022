"""The directions of the house: who may import whom, and what the core may not touch."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parent.parent / "src" / "vwo_async"

# Every room with the rooms that it may import. What is not named here may not exist.
PUBLIC = {
    "client",
    "error",
    "fetch",
    "options",
    "reason",
    "result",
    "settings",
    "storage",
    "transport",
}
ALLOWED: dict[str, set[str]] = {
    "_version": set(),
    "error": set(),
    "reason": set(),
    "log": set(),
    "result": {"reason"},
    "settings": {"error"},
    "user": {"error"},
    "_core": {"error", "explanation", "reason", "settings", "user"},
    "_event.request": {"_core"},
    "_event.event": {"_core", "_event.request", "result", "user"},
    "_event.press": {"_core", "_event.event", "_event.request", "error", "user"},
    "_event.answer": set(),
    "_event.breaker": set(),
    "_event.queue": {
        "_event.answer",
        "_event.breaker",
        "_event.event",
        "_event.request",
        "result",
    },
    "_event.journal": {
        "_event.event",
        "_event.outbox.protocol",
        "_event.request",
        "error",
        "result",
    },
    "_event.outbox.protocol": set(),
    "_event.outbox.slot": set(),
    "_event.outbox.sqlite": {"_event.outbox.protocol", "_event.outbox.slot", "error"},
    "_event.transport": {"_event.answer", "_event.request", "error"},
    "_event.certificate": {"error"},
    "_event.hush": set(),
    "_event.lane": {
        "_event.answer",
        "_event.certificate",
        "_event.hush",
        "_event.request",
        "_event.transport",
    },
    "_event.aiohttp": {"_event.answer", "_event.certificate", "_event.request", "_event.transport"},
    "_event.choice": {"_event.aiohttp", "_event.lane", "_event.transport", "error"},
    "_event.sender": {"_event.answer", "_event.event", "_event.queue", "_event.transport"},
    "storage.protocol": set(),
    "storage.memory": {"error"},
    "storage.redis": {"error", "storage.protocol"},
    "storage.sql": {"error", "storage.protocol"},
    "storage.cookie": {"error", "storage.protocol"},
    "storage.line": {"_core"},
    "storage.plain": set(),
    "storage.record": {"_core", "storage.protocol"},
    "storage.stall": set(),
    "storage.access": {
        "_core",
        "storage.line",
        "storage.memory",
        "storage.plain",
        "storage.protocol",
        "storage.record",
        "storage.stall",
    },
    "storage": {"storage.memory", "storage.protocol"},
    "options": {
        "_event.choice",
        "_event.outbox.protocol",
        "_event.outbox.sqlite",
        "_event.queue",
        "_event.transport",
        "_version",
        "consent",
        "error",
        "result",
        "settings",
        "source",
        "storage.protocol",
    },
    "pace": set(),
    "webhook": set(),
    "source": {
        "_core",
        "_event.choice",
        "_event.transport",
        "_version",
        "error",
        "fetch",
        "pace",
        "settings",
    },
    "refresh": set(),
    "renewal": {"callback", "error", "pace", "settings", "snapshot", "source"},
    "freshness": {
        "_event.transport",
        "callback",
        "error",
        "fetch",
        "options",
        "refresh",
        "renewal",
        "settings",
        "source",
    },
    "snapshot": {"_core", "_event.press", "_event.request", "options", "settings"},
    "callback": set(),
    "consent": set(),
    "explanation": {"reason"},
    "pushing": {"error", "user"},
    "integration": {"_core", "reason", "user"},
    "decider": {
        "_core",
        "explanation",
        "reason",
        "storage.access",
        "storage.line",
        "storage.record",
        "user",
    },
    "marking": {
        "_core",
        "_event.journal",
        "decider",
        "reason",
        "result",
        "storage.access",
        "storage.protocol",
        "tracking",
    },
    "tracking": {
        "_core",
        "_event.event",
        "_event.press",
        "decider",
        "error",
        "options",
        "reason",
        "result",
        "snapshot",
        "storage.protocol",
        "user",
    },
    "fetch": {
        "_event.choice",
        "_event.request",
        "_event.transport",
        "_version",
        "error",
        "pace",
        "settings",
        "user",
    },
    "reporting": {
        "_event.choice",
        "_event.event",
        "_event.journal",
        "_event.queue",
        "_event.request",
        "_event.sender",
        "callback",
        "error",
        "options",
        "patience",
        "result",
    },
    "engine": {
        "_core",
        "_event.choice",
        "_event.event",
        "_event.journal",
        "_event.transport",
        "callback",
        "consent",
        "decider",
        "error",
        "explanation",
        "freshness",
        "integration",
        "marking",
        "options",
        "pace",
        "reason",
        "reporting",
        "result",
        "settings",
        "snapshot",
        "storage.access",
        "storage.line",
        "storage.protocol",
        "tracking",
        "turn",
        "user",
    },
    "turn": set(),
    "patience": {"result"},
    "client": {
        "_core",
        "_version",
        "engine",
        "error",
        "explanation",
        "fetch",
        "options",
        "pushing",
        "reason",
        "result",
        "settings",
        "tracking",
        "user",
    },
    "transport": {
        "_event.answer",
        "_event.lane",
        "_event.queue",
        "_event.request",
        "_event.transport",
    },
    "": {
        "_version",
        "client",
        "error",
        "explanation",
        "fetch",
        "options",
        "result",
        "settings",
        "source",
        "webhook",
    },
    "outbox": {"_event.outbox.protocol", "_event.outbox.sqlite"},
    "testing": PUBLIC,
    "collector": PUBLIC,
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


def room_of(module: str) -> str | None:
    """Return the room that *module* belongs to: the longest name in the table that contains it."""
    names = [name for name in ALLOWED if module == name or (name and module.startswith(f"{name}."))]
    return max(names, key=len, default=None)


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
            else:
                yield from ("." + ".".join([*base, name]) for name in names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize(("module", "path"), list(modules()))
def test_directions(module: str, path: Path) -> None:
    """Imports go only downwards, along the arrows of the table."""
    room = room_of(module)
    if module in {"_core", "_event", "_event.outbox"} and path.name == "__init__.py":
        assert not list(imports_of(module, path)), "a private room's door holds no names"
        return
    assert room is not None, f"{module} has no place in the table"
    for imported in imports_of(module, path):
        if not imported.startswith("."):
            assert not imported.startswith("vwo_async"), "imports within the package are relative"
            continue
        if imported == ".log" and not module.startswith("_core"):
            continue
        target = room_of(imported[1:])
        assert target == room or target in ALLOWED[room], f"{module} imports {imported[1:]}"


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
        "httpcore": {"_event.lane"},
        "httpx": {"_event.certificate", "_event.lane", "_event.transport"},
        "mmh3": {"_core.bucketing"},
    }


def test_public_names_are_exported() -> None:
    """What the package names in __all__ is there and documented."""
    import vwo_async

    for name in vwo_async.__all__:
        assert getattr(vwo_async, name, None) is not None
        assert name == "__version__" or getattr(vwo_async, name).__doc__
