"""Checks that a tag may be published: ``check_release.py TAG REPOSITORY``; run by ``.github/workflows/release.yml``."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]


def find_faults(root: Path, tag: str, repository: str) -> Iterator[str]:
    """Yield what speaks against publishing *tag* out of *repository*, whose address it is."""
    text = (root / "src" / "vwo_async" / "_version.py").read_text()
    found = re.search(r'__version__ = "(.+)"', text)
    version = found[1] if found else "none"
    if tag != f"v{version}":
        yield f"the tag is {tag}, the version {version}"
    project = tomllib.loads((root / "pyproject.toml").read_text())["project"]
    if project.get("urls", {}).get("Source") != repository:
        yield f"project.urls has no Source = {repository!r}"
    if "readme" in project:
        yield "PyPI would show README.md as it is, where its links lead nowhere"
    changes = (root / "CHANGELOG.md").read_text()
    if not re.search(rf"^## \[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d$", changes, re.MULTILINE):
        yield f"CHANGELOG.md has no dated heading of {version}"


if __name__ == "__main__":
    faults = list(find_faults(ROOT, *sys.argv[1:3]))
    print("\n".join(faults) or f"{sys.argv[1]} may be published")
    sys.exit(1 if faults else 0)
