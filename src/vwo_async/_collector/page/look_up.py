"""Answers why a user gets what he gets, by the settings files that the collector hands out.

Here alone the collector asks the SDK: the page shows what the SDK decides. What is checked and counted is
not concerned.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from ..catalogue import Catalogue
from ..product import Product
from ..settings_files import SettingsFiles
from .entry import name_visitor

__all__ = ["LookUps"]

_TEXTS = ("user_agent", "ip_address", "bucketing_seed")
_VARIABLES = ("custom_variables", "variation_targeting_variables")
_KNOWN = frozenset({"user_id", "key", *_TEXTS, *_VARIABLES})


class LookUps:
    """The settings files, compiled when they are first asked about."""

    def __init__(self) -> None:
        self._compiled: dict[int, tuple[Catalogue, Any]] = {}

    async def explain(
        self, files: SettingsFiles, asked: Mapping[str, Any]
    ) -> list[dict[str, object]]:
        """Return what a user gets by each file, and why.

        Args:
            files: The files.
            asked: ``user_id`` and what else is known of him; with ``key`` only about the campaigns or
                features of that key.

        Raises:
            ValueError: Such a user cannot be decided. The text never holds values.
        """
        _check(asked)
        return await asyncio.to_thread(self._explain_all, files.files, asked)

    def _explain_all(
        self, files: Sequence[Catalogue], asked: Mapping[str, Any]
    ) -> list[dict[str, object]]:
        self._compiled = {key: one for key, one in self._compiled.items() if one[0] in files}
        return [self._explain(file, asked) for file in files]

    def _explain(self, file: Catalogue, asked: Mapping[str, Any]) -> dict[str, object]:
        from ..._look_up import AskedUser  # noqa: PLC0415 - a collector without a page needs no SDK

        names = {name: asked.get(name) for name in (*_TEXTS, *_VARIABLES)}
        user = AskedUser(asked["user_id"], **names)
        found: dict[str, object] = {"product": file.product.value, "account_id": file.account_id}
        try:
            look_up = self._compile(file)
        except ValueError as error:
            return found | {"error": str(error), "decisions": []}
        keys = [one for one in look_up.keys if asked.get("key") in (None, "", one)]
        decisions = look_up.explain(user, keys)
        return found | {"visitor": name_visitor(file.account, user.id), "decisions": decisions}

    def _compile(self, file: Catalogue) -> Any:
        from ..._look_up import load_look_up  # noqa: PLC0415 - the same

        if id(file) not in self._compiled:
            look_up = load_look_up(file.source, is_fme=file.product is Product.FME)
            self._compiled[id(file)] = file, look_up
        return self._compiled[id(file)][1]


def _check(asked: Mapping[str, Any]) -> None:
    if not isinstance(asked.get("user_id"), str):
        raise ValueError("user_id: must be a text")
    if not asked.keys() <= _KNOWN:
        raise ValueError(f"body: must have no more than {', '.join(sorted(_KNOWN))}")
    for name in ("key", *_TEXTS):
        if not isinstance(asked.get(name), str | None):
            raise ValueError(f"{name}: must be a text")
    for name in _VARIABLES:
        if not isinstance(asked.get(name), dict | None):
            raise ValueError(f"{name}: must be an object")
