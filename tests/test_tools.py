"""What builds the site and guards a release sees what is wrong; the drawings are as their scripts draw them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def load(path: str) -> ModuleType:
    """Return the module of a script, which is in no package."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_drawing_has_the_numbers_of_the_package() -> None:
    """docs/bucketing.svg is what its script draws today, from the functions that decide."""
    drawn = load("docs/site/draw_bucketing.py").draw()
    assert (ROOT / "docs" / "bucketing.svg").read_text() == drawn
    assert ">Ashley gets Variation-1, " in drawn


def test_the_diagrams_are_as_their_script_draws_them() -> None:
    """The pictures of the folders and of the fleet are what their script draws today."""
    for name, draw in load("docs/site/draw_diagrams.py").DRAWINGS.items():
        assert (ROOT / "docs" / "pictures" / name).read_text() == draw(), name


# Gathering the site


CODE = "\n```python\n[x](../README.md)\n```\n"


@pytest.mark.parametrize(
    ("page", "link", "written"),
    [
        ("docs/fme.md", "[x](delivery.md#bounds)", "[x](delivery.md#bounds)"),
        ("docs/fme.md", "[x](../README.md)", "[x](index.md)"),
        ("docs/fme.md", "[x](../examples/shop.py)", "[x](examples/shop.py.md)"),
        (
            "docs/recipes/csv.md",
            "[x](../../CONTRIBUTING.md#style)",
            "[x](../CONTRIBUTING.md#style)",
        ),
        ("CONTRIBUTING.md", "[x](docs/faults.md#row-1)", "[x](faults.md#row-1)"),
        ("benchmarks/RESULTS.md", "![x](import.svg)", "![x](import.svg)"),
        ("docs/fme.md", "[tests](../tests/vectors)", "tests"),  # a folder has no page
        ("docs/fme.md", "[x](https://example.org/a.md)", "[x](https://example.org/a.md)"),
        ("docs/fme.md", CODE, CODE),
    ],
)
def test_links_are_written_anew(
    page: str, link: str, written: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link by a path in the repository leads to the place of that file in the site."""
    gather = load("docs/site/gather.py")
    for path in (page, "examples/shop.py", "README.md", "docs/delivery.md", "docs/faults.md"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("text")
    for path in ("CONTRIBUTING.md", "benchmarks/import.svg"):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text("text")
    (tmp_path / page).write_text(f"before {link} after")
    (tmp_path / "tests" / "vectors").mkdir(parents=True)
    monkeypatch.setattr(gather, "ROOT", tmp_path)
    assert gather.render(page) == f"before {written} after"


@pytest.mark.parametrize(
    ("html", "fault"),
    [
        ('<a href="other.html#here">x</a>', None),
        ('<a href="https://example.org">x</a>', None),
        ('<a href="#top">x</a><p id="top">', None),
        ('<a href="gone.html">x</a>', "leads nowhere"),
        ('<a href="other.html#there">x</a>', "names no place"),
        ('<script src="https://cdn.example.org/x.js"></script>', "is loaded from elsewhere"),
        ('<link rel="stylesheet" href="//fonts.example.org/css">', "is loaded from elsewhere"),
    ],
    ids=["link", "outside", "place", "gone", "no-place", "script", "style"],
)
def test_what_is_wrong_with_a_site(
    html: str, fault: str | None, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A dead link, a place that is not there, and what would be loaded from another server are faults."""
    (tmp_path / "page.html").write_text(html)
    (tmp_path / "other.html").write_text('<p id="here"><a href="page.html">x</a>')
    assert load("docs/site/check_site.py").main(tmp_path) == (0 if fault is None else 1)
    assert (fault or "0 faults") in capfd.readouterr().out


# Publishing


def make_tree(root: Path, version: str, heading: str, source: str, readme: str) -> None:
    (root / "src" / "vwo_async").mkdir(parents=True)
    (root / "src" / "vwo_async" / "_version.py").write_text(f'__version__ = "{version}"\n')
    (root / "pyproject.toml").write_text(f'[project]\n{readme}\nurls = {{Source = "{source}"}}\n')
    (root / "CHANGELOG.md").write_text(f"# Changelog\n\n{heading}\n")


HOME = "https://example.org/shop/vwo-async"
DATED = "## [1.2.0] - 2026-11-27"


@pytest.mark.parametrize(
    ("tag", "heading", "source", "readme", "fault"),
    [
        ("v1.2.0", DATED, HOME, "", None),
        ("v1.2.1", DATED, HOME, "", "the tag is v1.2.1, the version 1.2.0"),
        ("v1.2.0", "## [Unreleased]", HOME, "", "CHANGELOG.md has no dated heading of 1.2.0"),
        ("v1.2.0", DATED, "https://example.org/fork", "", "project.urls has no Source"),
        ("v1.2.0", DATED, HOME, 'readme = "README.md"', "PyPI would show README.md as it is"),
    ],
)
def test_what_may_be_published(
    tag: str, heading: str, source: str, readme: str, fault: str | None, tmp_path: Path
) -> None:
    """The tag is the version, the changelog has it with its date, the metadata name the repository, and the
    README's links lead there."""
    make_tree(tmp_path, "1.2.0", heading, source, readme)
    found = list(load("tests/distribution/check_release.py").find_faults(tmp_path, tag, HOME))
    assert [one[: len(fault or "")] for one in found] == ([fault] if fault else [])
