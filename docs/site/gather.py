"""Gathers the source of the site: docs/, and what lies around it and is linked from there.

``python docs/site/gather.py FOLDER``, run by ``nox -s docs``. Pages of this project link to each other by
their paths in the repository, so that the links work there too. In the site docs/ is the root, and
everything else stands beside its pages: the README as the first page, other markdown as a page, files of
Python and JSON as pages that show them. Links are written anew for that. Folders of the source and large
files have no page: a link to one is left out.
"""

from __future__ import annotations

import posixpath
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = "docs/"
# Pages beside docs/ that stand in the navigation.
BESIDE = ("CHANGELOG.md", "CONTRIBUTING.md", "benchmarks/README.md", "benchmarks/RESULTS.md")
SHOWN = {".json": "json", ".py": "python"}
MAX_SHOWN_BYTES = 100_000
UNSEARCHED = "---\nsearch:\n  exclude: true\n---\n"
LINK = re.compile(r"\[([^]\n]*)\]\((?!https?://|#)([^)#\s]+)(#[^)\s]*)?\)")
CODE = re.compile(r"(^ *```.*?^ *```$)", re.DOTALL | re.MULTILINE)


def list_docs() -> list[str]:
    """Return the files of docs/ that are published, by their paths in the repository."""
    own = Path(__file__).parent
    files = (one for one in (ROOT / DOCS).rglob("*") if one.is_file() and own not in one.parents)
    # Scripts there draw pictures.
    return [one.relative_to(ROOT).as_posix() for one in files if one.suffix != ".py"]


def find_uri(path: str) -> str:
    """Return where in the site a file of the repository is."""
    if path == "README.md":
        return "index.md"
    uri = path.removeprefix(DOCS)
    return f"{uri}.md" if find_language(path) else uri


def find_language(path: str) -> str | None:
    """Return the language of a file that a page of its own shows; None for any other."""
    return None if path.startswith(DOCS) else SHOWN.get(posixpath.splitext(path)[1])


def resolve(path: str, target: str) -> str:
    """Return the path in the repository to which a page's link leads."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(path), target))


def list_linked(path: str) -> Iterator[str]:
    """Yield the files outside docs/ that a page links to."""
    if path.endswith(".md"):
        for _, target, _ in LINK.findall((ROOT / path).read_text()):
            linked = resolve(path, target)
            if not linked.startswith((DOCS, "README.md")) and is_published(linked):
                yield linked


def is_published(path: str) -> bool:
    """Return whether a file or page has a place in the site."""
    file = ROOT / path
    return file.is_file() and (file.suffix == ".md" or file.stat().st_size <= MAX_SHOWN_BYTES)


def render(path: str) -> str:
    """Return the text of a page of the site."""
    text = (ROOT / path).read_text()
    if language := find_language(path):
        return f"{UNSEARCHED}# {path}\n\n````{language}\n{text}\n````\n"
    here = posixpath.dirname(find_uri(path)) or "."

    def replace(found: re.Match[str]) -> str:
        linked = resolve(path, found[2])
        if not is_published(linked):
            return found[1]
        return f"[{found[1]}]({posixpath.relpath(find_uri(linked), here)}{found[3] or ''})"

    parts = CODE.split(text)
    parts[::2] = [LINK.sub(replace, one) for one in parts[::2]]
    return "".join(parts)


def gather(target: Path) -> None:
    """Write the source of the site into a folder, which is emptied before."""
    shutil.rmtree(target, ignore_errors=True)
    paths = {*list_docs(), *BESIDE}
    paths |= {linked for one in paths for linked in list_linked(one)}
    for path in sorted(paths):
        place = target / find_uri(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.suffix == ".md":
            place.write_text(render(path))
        else:
            shutil.copyfile(ROOT / path, place)


if __name__ == "__main__":
    gather(Path(sys.argv[1]))
