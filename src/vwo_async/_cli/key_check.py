"""Finds keys in source code that a settings file does not have; by the syntax tree, never by text.

A call is looked at where its method is one of the clients' and the key is a literal, or a name that the
module binds to one. Methods with names that other libraries have too are looked at in modules that import
vwo_async, or on something that is called after VWO.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NamedTuple

from .exit_code import CommandError, ExitCode
from .key_names import KnownKeys

PACKAGE = "vwo_async"
# Folders with the code of others.
_FOREIGN = ("node_modules", "site-packages")


class Argument(NamedTuple):
    """One argument of a method that takes a key.

    Attributes:
        kind: What the key names.
        name: Its name.
        position: Its place among the positional arguments of a client.
        handle_position: The same for a handle of one user, whose methods do not take the user.
    """

    kind: str
    name: str
    position: int
    handle_position: int


class Method(NamedTuple):
    """A method that takes keys.

    Attributes:
        arguments: Those that are keys.
        required: How many positional arguments a client's method has without its options.
        is_common: Whether other libraries have methods of that name.
    """

    arguments: tuple[Argument, ...]
    required: int
    is_common: bool = False


_CAMPAIGN = Argument("campaign", "campaign_key", 0, 0)
_FEATURE = Argument("feature", "feature_key", 0, 0)
_VARIABLE = Argument("variable", "variable_key", 1, 1)
_GOAL = Argument("goal", "goal_identifier", 2, 1)
_FULLSTACK: Mapping[str, Method] = {
    "activate": Method((_CAMPAIGN,), 2, is_common=True),
    "decide": Method((_CAMPAIGN,), 2, is_common=True),
    "explain": Method((_CAMPAIGN,), 2, is_common=True),
    "get_variation_name": Method((_CAMPAIGN,), 2),
    "get_variation": Method((_CAMPAIGN,), 2, is_common=True),
    "is_feature_enabled": Method((_CAMPAIGN,), 2),
    "get_feature_variable_value": Method((_CAMPAIGN, _VARIABLE), 3),
    "track": Method((_CAMPAIGN, _GOAL), 3, is_common=True),
}
_FME: Mapping[str, Method] = {
    "get_flag": Method((_FEATURE,), 2),
    "explain": Method((_FEATURE,), 2, is_common=True),
    "track_event": Method((Argument("event", "event_name", 0, 0),), 2),
    "get_variable": Method((Argument("variable", "key", 0, 0),), 1, is_common=True),
}


@dataclass(frozen=True)
class UnknownKey:
    """A key that the settings do not have.

    Attributes:
        path: The file.
        line: The line, from 1.
        column: The column, from 1.
        kind: What it should name.
        key: The key.
        hint: What it may have been meant to be, empty where nothing is near.
    """

    path: str
    line: int
    column: int
    kind: str
    key: str
    hint: str

    def __str__(self) -> str:
        mend = f": did you mean {self.hint!r}?" if self.hint else ""
        return f"{self.path}:{self.line}:{self.column}: unknown {self.kind} {self.key!r}{mend}"

    def as_json(self) -> dict[str, Any]:
        """Return it as JSON can hold it."""
        return asdict(self)


def list_sources(paths: Sequence[Path]) -> list[Path]:
    """Return the Python files that *paths* name; of folders all in them but hidden ones.

    Raises:
        CommandError: One is not there, or there is no Python file in them.
    """
    found: list[Path] = []
    for path in paths:
        if not path.exists():
            raise CommandError(f"{path}: there is no such file or folder")
        found += sorted(_walk(path)) if path.is_dir() else [path]
    if not found:
        raise CommandError(f"{paths[0]}: there is no Python file in it")
    return found


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the Python files in *folder*, and what cannot be looked into: whoever reads it finds out why."""
    unread: list[Path] = []

    def note(error: OSError) -> None:
        unread.append(Path(error.filename or folder))

    for parent, folders, files in os.walk(folder, onerror=note):
        # Virtual environments are the code of others.
        folders[:] = [one for one in folders if not one.startswith(".") and one not in _FOREIGN]
        paths = [Path(parent, one) for one in files if one.endswith(".py")]
        yield from (one for one in paths if not one.name.startswith(".") and _may_be_file(one))
    yield from unread


def _may_be_file(path: Path) -> bool:
    """Tell whether *path* is a file, or nobody can tell; a link may lead nowhere, and a pipe holds whoever reads."""
    try:
        return path.is_file()
    except OSError:
        return True


def check_file(path: Path, known: KnownKeys) -> list[UnknownKey]:
    """Return the unknown keys of one file, in the order of its lines.

    Raises:
        CommandError: It cannot be read, or is no Python.
    """
    tree = _parse(path)
    try:
        return list(_find_unknown(path, tree, known))
    except RecursionError:
        raise CommandError(f"{path}: is nested too deeply") from None


def _find_unknown(path: Path, tree: ast.Module, known: KnownKeys) -> Iterator[UnknownKey]:
    module = _Module(path, tree, known)
    found = [
        one
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
        for one in module.check_call(node, node.func)
    ]
    for kind, at, key in sorted(found, key=lambda one: (one[1].lineno, one[1].col_offset)):
        near = get_close_matches(key, known.kinds.get(kind, ()), 1)
        hint = near[0] if near else ""
        yield UnknownKey(str(path), at.lineno, at.col_offset + 1, kind, key, hint)


def _parse(path: Path) -> ast.Module:
    try:
        with warnings.catch_warnings():
            # What Python finds unwise, such as an unknown escape, is for others to say.
            warnings.simplefilter("ignore")
            return ast.parse(path.read_bytes())
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror or error}", ExitCode.FILE) from error
    except SyntaxError as error:
        line, why = error.lineno or 1, error.msg
    except ValueError as error:
        line, why = 1, str(error)
    except (RecursionError, MemoryError):
        line, why = 1, "it is nested too deeply"
    raise CommandError(f"{path}:{line}: is no Python that can be read: {why}")


class _Module:
    """One module under check."""

    def __init__(self, path: Path, tree: ast.Module, known: KnownKeys) -> None:
        self._known = known
        self._folders = path.resolve().parents
        self._methods = _FME if known.product == "FME" else _FULLSTACK
        self._constants = dict(_list_constants(tree))
        self._imports = dict(_list_imports(tree))
        self._made: dict[str, list[str]] = {}
        for name, root in _list_made(tree):
            self._made.setdefault(name, []).append(root)
        roots = {one.partition(".")[0] for one in self._imports.values()}
        self._uses_package = PACKAGE in roots

    def check_call(
        self, call: ast.Call, function: ast.Attribute
    ) -> Iterator[tuple[str, ast.expr, str]]:
        """Yield what of a call is unknown: kind, place and key."""
        method = self._methods.get(function.attr)
        if method is None or not self._is_ours(method, function.value):
            return
        is_handle = self._is_handle(call, method)
        # What two asterisks bring may be the user, and then the places are a client's.
        is_open = is_handle and any(one.arg is None for one in call.keywords)
        campaigns: list[str] = []
        for argument in method.arguments:
            position = argument.handle_position if is_handle else argument.position
            if is_open and argument.handle_position != argument.position:
                continue
            value = _find_argument(call, argument.name, position)
            for at, key in self._read_keys(value):
                if argument is _CAMPAIGN:
                    campaigns.append(key)
                if not self._is_known(argument, key, campaigns):
                    yield argument.kind, at, key

    def _is_ours(self, method: Method, receiver: ast.expr) -> bool:
        """Tell whether a method of that name is likely one of ours."""
        if not method.is_common:
            return True
        names = [one.lower() for one in _list_names(receiver)]
        if any("vwo" in one or "fme" in one for one in names):
            return True
        return self._uses_package and not self._is_foreign(receiver)

    def _is_foreign(self, receiver: ast.expr) -> bool:
        """Tell whether it comes from another package, as `translation` of Django does, and what that makes."""
        name = _find_root(receiver)
        if name is None or name in self._imports:
            return name is not None and self._is_imported_from_others(name)
        made = self._made.get(name, [])
        return bool(made) and all(self._is_imported_from_others(one) for one in made)

    def _is_imported_from_others(self, name: str) -> bool:
        """Tell whether an import binds it, and neither from this package nor from where the module itself stands."""
        top = self._imports.get(name, PACKAGE).partition(".")[0]
        return top != PACKAGE and not any(_has_module(folder, top) for folder in self._folders)

    @staticmethod
    def _is_handle(call: ast.Call, method: Method) -> bool:
        """Tell whether the call is one of a user's handle: it names no user."""
        if any(one.arg in ("user_id", "user") for one in call.keywords):
            return False
        keys = {one.name for one in method.arguments}
        named = sum(one.arg in keys for one in call.keywords)
        return len(call.args) + named < method.required

    def _is_known(self, argument: Argument, key: str, campaigns: Sequence[str]) -> bool:
        known = self._known
        # Of the campaigns that the call names, where all of them are known.
        table = {"goal": known.goals, "variable": known.variables}.get(argument.kind)
        if table and campaigns and all(one in table for one in campaigns):
            return any(key in table[one] for one in campaigns)
        return key in known.kinds.get(argument.kind, ())

    def _read_keys(self, value: ast.expr | None) -> Iterator[tuple[ast.expr, str]]:
        """Yield the texts that an argument certainly holds."""
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value, value.value
        elif isinstance(value, ast.Name) and value.id in self._constants:
            yield value, self._constants[value.id]
        elif isinstance(value, (ast.List, ast.Tuple, ast.Set)):
            for one in value.elts:
                yield from self._read_keys(one)
        elif isinstance(value, ast.IfExp):
            yield from self._read_keys(value.body)
            yield from self._read_keys(value.orelse)


def _has_module(folder: Path, name: str) -> bool:
    """Tell whether a module of that name stands in *folder*; no file may have a name that is too long."""
    try:
        return (folder / name).is_dir() or (folder / f"{name}.py").is_file()
    except OSError:
        return False


def _find_argument(call: ast.Call, name: str, position: int) -> ast.expr | None:
    for one in call.keywords:
        if one.arg == name:
            return one.value
    before = call.args[: position + 1]
    if len(before) <= position or any(isinstance(one, ast.Starred) for one in before):
        return None
    return before[position]


def _find_root(node: ast.expr | None) -> str | None:
    """Return the name with which a chain of attributes and calls begins, None where there is none."""
    while isinstance(node, (ast.Attribute, ast.Call, ast.Await)):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else None


def _list_made(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the names that are bound to what something makes or has, each with the name that this begins with.

    A name that is bound in any other way begins with itself, which no import binds.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            yield node.arg, _find_root(node.annotation) or node.arg
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.NamedExpr)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            for target in targets:
                yield from _list_bound(target, node.value)
        elif isinstance(node, ast.withitem) and node.optional_vars is not None:
            yield from _list_bound(node.optional_vars, node.context_expr)
        elif isinstance(node, (ast.For, ast.AsyncFor, ast.comprehension)):
            yield from _list_bound(node.target, node.iter)


def _list_bound(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str, str]]:
    for one in ast.walk(target):
        if isinstance(one, ast.Name):
            yield one.id, _find_root(value) or one.id


def _list_names(node: ast.expr) -> Iterator[str]:
    for one in ast.walk(node):
        if isinstance(one, ast.Name):
            yield one.id
        elif isinstance(one, ast.Attribute):
            yield one.attr


def _list_imports(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the names that imports bind, each with the package it is from; relative imports are the own."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for one in node.names:
                yield (one.asname or one.name).partition(".")[0], one.name
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for one in node.names:
                yield one.asname or one.name, node.module or ""


def _list_constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield the names that the module binds to one text, once."""
    bound = [one for one in ast.walk(tree) if isinstance(one, ast.Name)]
    stored = Counter(one.id for one in bound if isinstance(one.ctx, ast.Store))
    arguments = {one.arg for one in ast.walk(tree) if isinstance(one, ast.arg)}
    for name, value in _list_assignments(tree.body):
        is_text = isinstance(value, ast.Constant) and isinstance(value.value, str)
        if is_text and stored[name] == 1 and name not in arguments:
            assert isinstance(value, ast.Constant)
            yield name, str(value.value)


def _list_assignments(body: Iterable[ast.stmt]) -> Iterator[tuple[str, ast.expr | None]]:
    for node in body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1:
            target: ast.expr = node.targets[0]
        elif isinstance(node, ast.AnnAssign):
            target = node.target
        else:
            continue
        if isinstance(target, ast.Name):
            yield target.id, node.value
