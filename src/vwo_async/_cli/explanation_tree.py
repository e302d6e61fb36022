"""An explained decision as a tree: a branch for each step, its facts below it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.text import Text
from rich.tree import Tree

from .._explanation import Explanation, FlagExplanation, Step


def make_tree(key: str, explanation: Explanation | FlagExplanation) -> Tree:
    """Return the tree of one decision."""
    name = explanation.variation_name
    end = "no variation" if name is None else name
    if isinstance(explanation, FlagExplanation):
        end = f"on, {end}" if explanation.is_enabled else "off"
    root = Text.assemble((key, "bold"), ": ", (end, "bold cyan"), f" ({explanation.reason.value})")
    tree = Tree(root)
    for step in explanation.steps:
        branch = tree.add(_make_branch(step))
        for line in _list_facts(step.facts):
            branch.add(Text(line, style="dim"))
    return tree


def _make_branch(step: Step) -> Text:
    mark = ("✓", "green") if step.passed else ("✗", "red")
    return Text.assemble(mark, " ", (step.name, "bold"), ": ", step.text)


def _list_facts(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield what the words of a step leave out."""
    if "seed" in facts:
        yield f"seed {facts['seed']!a}"
    if "hash" in facts:
        yield f"hash {facts['hash']}, bucket value {facts['value']}"
    if facts.get("multiplier", 1) != 1:
        yield f"multiplied by {facts['multiplier']:g}"
    if "start" in facts:
        yield f"range {facts['start']}..{facts['end']}"
    if facts.get("eligible"):
        yield f"eligible: {', '.join(facts['eligible'])}"
    if "group" in facts and facts["group"] is not None:
        yield f"group {facts['group']}"
