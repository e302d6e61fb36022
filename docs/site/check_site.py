"""Checks the site as it was built: every link within it leads somewhere, and no page asks another server.

``python docs/site/check_site.py FOLDER``, run by ``nox -s docs``. MkDocs has checked the links that were
written; this sees those of the theme and of the reference as well, and what a browser would load.
"""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

# Attributes whose address a browser fetches by itself.
LOADED = {"img": "src", "script": "src", "iframe": "src", "source": "src", "link": "href"}


class Link(NamedTuple):
    """An address in a page, and whether a browser fetches it without being asked."""

    url: str
    is_loaded: bool


class Reader(HTMLParser):
    """Collects the anchors of a page, and its links."""

    def __init__(self) -> None:
        super().__init__()
        self.anchors = {""}
        self.links: list[Link] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note the anchors and addresses of an element."""
        values = dict(attrs)
        self.anchors |= {values[one] or "" for one in ("id", "name") if one in values}
        loaded = LOADED.get(tag)
        for name in ("href", "src"):
            if url := values.get(name):
                is_loaded = name == loaded and values.get("rel") not in {
                    "canonical",
                    "prev",
                    "next",
                }
                self.links.append(Link(url, is_loaded))


def read_pages(site: Path) -> dict[Path, Reader]:
    """Read every page of the site, by its place."""
    pages = {}
    for path in sorted(site.rglob("*.html")):
        pages[path] = Reader()
        pages[path].feed(path.read_text())
    return pages


def find_fault(page: Path, link: Link, pages: dict[Path, Reader], site: Path) -> str | None:
    """Return what is wrong with a link of a page, if anything is."""
    parts = urlsplit(link.url)
    if parts.scheme or parts.netloc:
        is_foreign = link.is_loaded and parts.scheme != "data"
        return f"{link.url} is loaded from elsewhere" if is_foreign else None
    target = page if not parts.path else (page.parent / unquote(parts.path)).resolve()
    if parts.path.startswith("/"):  # of the page for what is not found, which may be anywhere
        target = site / unquote(parts.path).lstrip("/")
    target = target / "index.html" if target.is_dir() else target
    if not target.is_file():
        return f"{link.url} leads nowhere"
    if target in pages and unquote(parts.fragment) not in pages[target].anchors:
        return f"{link.url} names no place of that page"
    return None


def main(site: Path) -> int:
    """Print each fault of the site; return the exit code."""
    pages = read_pages(site)
    faults = [
        f"{page.relative_to(site)}: {fault}"
        for page, reader in pages.items()
        for link in reader.links
        if (fault := find_fault(page, link, pages, site)) is not None
    ]
    print("\n".join(sorted(set(faults))))
    links = sum(len(reader.links) for reader in pages.values())
    print(f"{len(pages)} pages, {links} links, {len(faults)} faults")
    return 1 if faults or not links else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).resolve()))
