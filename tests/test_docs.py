"""The documents say what is so: their examples run, and what they name is there."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import runpy
import tomllib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import cache, partial
from inspect import CO_COROUTINE
from pathlib import Path
from statistics import median
from types import CodeType
from typing import Any, NamedTuple

import fastapi
import httpx
import pytest
from database import any_redis
from fastapi.routing import APIRoute
from sample import ACCOUNT, KEY, campaign, settings, variation
from server import answer, running_server
from test_imports import ALLOWED

import vwo_async
import vwo_async.integrations.fastapi  # before the clients are replaced
import vwo_async.integrations.openfeature
from vwo_async import SettingsSource, VWOClient, fetch_settings
from vwo_async._cli.entry import _run as run_command
from vwo_async.collector import Collector, serve
from vwo_async.testing import RecordingTransport

ROOT = Path(__file__).parent.parent
TESTS = ROOT / "tests"
PACKAGE = ROOT / "src" / "vwo_async"
PAGES = (
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "benchmarks/README.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
)
# Where a page may say that a file is.
ROOTS = (ROOT, PACKAGE, TESTS, ROOT / "docs")
# Pages whose examples run in a test of their own, with what only that one has.
ELSEWHERE = {
    "docs/tutorial.md": "test_tutorial.py",
    "docs/recipes/aiohttp.md": "integrations/test_framework_recipes.py",
    "docs/recipes/fastapi.md": "integrations/test_framework_recipes.py",
    "docs/recipes/litestar.md": "integrations/test_framework_recipes.py",
    "docs/recipes/quart.md": "integrations/test_framework_recipes.py",
    "docs/recipes/starlette.md": "integrations/test_framework_recipes.py",
    "docs/recipes/logging.md": "integrations/test_observing_recipes.py",
    "docs/recipes/opentelemetry.md": "integrations/test_observing_recipes.py",
    "docs/recipes/sentry.md": "integrations/test_observing_recipes.py",
    "docs/recipes/celery.md": "sync/test_recipes.py",
    "docs/recipes/django.md": "sync/test_recipes.py",
    "docs/recipes/flask.md": "sync/test_recipes.py",
    "docs/recipes/jupyter.md": "sync/test_recipes.py",
    "docs/recipes/lambda.md": "sync/test_recipes.py",
    "docs/recipes/rq.md": "sync/test_recipes.py",
    "docs/recipes/scripts.md": "sync/test_recipes.py",
    "docs/recipes/pytest.md": "test_plugin.py",
}
# For the recipes whose block defines a function: what calls it, and looks at what came of it.
CONVERSIONS = """user,goal,revenue,time
user 1,purchase,49.90,{0}
user 2,no such goal,,{0}
"""
LAST_ROW = 94


def title(page: Path) -> str:
    return str(page.relative_to(ROOT))


def read(name: str) -> str:
    return (ROOT / name).read_text()


# Examples


class Block(NamedTuple):
    """A fenced block of code."""

    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(path: Path) -> Iterator[Block]:
    text = path.read_text()
    for found in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        line = text.count("\n", 0, found.start()) + 1
        yield Block(title(path), line, found[1], found[2])


PYTHON = [one for page in PAGES for one in blocks_of(page) if one.language == "python"]
RUNNING = sorted({one.page for one in PYTHON} - ELSEWHERE.keys())


def compile_block(block: Block, text: str | None = None) -> CodeType:
    # So many lines before it that a traceback shows the line of the page.
    source = "\n" * block.line + (block.text if text is None else text)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    code = compile(source, block.page, "exec", flags=flags, dont_inherit=True)
    assert isinstance(code, CodeType)
    return code


def test_every_page_with_code_runs_somewhere() -> None:
    """The blocks are found; those of a page that this file does not run are run by the test that says so."""
    assert len(RUNNING) >= 15
    assert len(PYTHON) >= 100
    assert ELSEWHERE.keys() <= {one.page for one in PYTHON}
    for page, file in ELSEWHERE.items():
        text = (TESTS / file).read_text()
        assert re.search(rf'"{Path(page).stem}(\.md)?"', text), f"{file} does not run {page}"


@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_blocks_compile(block: Block) -> None:
    """Every Python block is Python, with await where a reader stands in an async function."""
    compile_block(block)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with any_redis(tmp_path_factory.mktemp("redis")) as url:
        yield url


FME_FILE = json.loads((ROOT / "examples" / "fme_settings.json").read_bytes()) | {"sdkKey": KEY}


def shop_settings() -> dict[str, Any]:
    """Return a settings file with the campaigns that the examples speak of."""
    size = [{"id": 1, "key": "size", "type": "integer", "value": 10}]
    on = [
        variation(1, "Control", 50, variables=size),
        variation(2, "Variation-1", 50, variables=size, isFeatureEnabled=True),
    ]
    return settings(
        campaign(11, "checkout"),
        campaign(12, "search", "FEATURE_TEST", variations=on),
        campaign(13, "cart"),
    )


@asynccontextmanager
async def a_readers_names(base_url: str) -> AsyncIterator[dict[str, Any]]:
    """Give the names that the pages take for granted: what a service has of its own. All else they import."""
    file = shop_settings()
    async with (
        VWOClient(file, base_url=base_url) as client,
        vwo_async.FMEClient(FME_FILE, transport=RecordingTransport()) as fme,
    ):
        yield {
            "ACCOUNT_ID": ACCOUNT,
            "SDK_KEY": KEY,
            "SECRET": "a secret of the service's own, long enough",
            "WEBHOOK_SECRET": "another",
            "account_id": ACCOUNT,
            "agent": "agent/1.0",
            "app": fastapi.FastAPI(),
            "client": client,
            "fme": fme,
            "fme_settings_file": FME_FILE,
            "fme_settings": vwo_async.parse_fme_settings(FME_FILE),
            "ip": "203.0.113.7",
            "result": await client.track("checkout", "user 1", "signup", wait=True),
            "sdk_key": KEY,
            "settings": vwo_async.parse_settings(file),
            "settings_file": file,
            "user_id": "user 1",
        }


async def run_block(block: Block, text: str, names: dict[str, Any]) -> None:
    code = compile_block(block, text)
    ended = eval(code, names)
    if code.co_flags & CO_COROUTINE:
        async with asyncio.timeout(20):
            await ended


def point_at(monkeypatch: pytest.MonkeyPatch, base_url: str) -> None:
    """Let what asks VWO by default ask the collector."""
    for name, asks in (
        ("VWOClient", VWOClient),
        ("launch", vwo_async.launch),
        ("SettingsSource", SettingsSource),
        ("fetch_settings", fetch_settings),
    ):
        monkeypatch.setattr(vwo_async, name, partial(asks, base_url=base_url))


@pytest.mark.anyio
@pytest.mark.parametrize("page", RUNNING)
async def test_blocks_run(
    page: str, tmp_path: Path, redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every Python block of these pages runs, one after the other, against servers on this machine."""
    places = {
        "/var/lib/shop": str(tmp_path),
        "redis://localhost": redis_url,
        "examples/fme_settings.json": str(ROOT / "examples" / "fme_settings.json"),
        "postgresql://shop@localhost/shop": f"sqlite:///{tmp_path}/users.db",
    }
    (tmp_path / "conversions.csv").write_text(CONVERSIONS.format(datetime.now(UTC).isoformat()))
    names: dict[str, Any] = {"__name__": "reader"}
    async with serve(Collector(shop_settings())) as base_url, running_server() as fme:
        fme.default = answer(body=json.dumps(FME_FILE).encode())
        point_at(monkeypatch, base_url)
        for name in ("fetch_fme_settings", "FMEClient", "FMESettingsSource"):
            asks = partial(getattr(vwo_async, name), base_url=fme.base_url)
            monkeypatch.setattr(vwo_async, name, asks)
        for block in (one for one in PYTHON if one.page == page):
            text = block.text
            for place, ours in places.items():
                text = text.replace(place, ours)
            # Anew for each block, since one of them opts out for good.
            async with a_readers_names(base_url) as own:
                ran = names | own
                await run_block(block, text, ran)
                names |= {name: ran[name] for name in names_defined_by(text)}
                if page in SHOWN:
                    code = [line for line in text.splitlines() if line.strip()]
                    assert len(code) < 20
                    await SHOWN[page](ran, tmp_path)


async def report_csv(names: dict[str, Any], folder: Path) -> None:
    # In each of the three campaigns that has the goal.
    assert (await names["report_file"](folder / "conversions.csv")).accepted == 3


async def ask_openfeature(names: dict[str, Any], folder: Path) -> None:
    on, size = await names["serve"]()
    assert on is True
    assert size in (10, 20)


async def serve_app(names: dict[str, Any], folder: Path) -> None:
    """Let a visitor ask for each page of an app that has a `VWO`."""
    if "vwo" in names:
        app = names["app"]
        at = httpx.ASGITransport(app)
        async with (
            app.router.lifespan_context(app),
            httpx.AsyncClient(transport=at, base_url="http://shop") as visitor,
        ):
            paths = [one.path for one in app.routes if isinstance(one, APIRoute)]
            assert len(paths) == 1
            page = await visitor.get(paths[0], headers={"Cookie": "visitor=Ashley"})
        assert page.json() in ({"size": 10}, {"size": 20}, "Control", "Variation-1")


SHOWN = {
    "README.md": serve_app,
    "docs/recipes/csv.md": report_csv,
    "docs/recipes/openfeature.md": ask_openfeature,
}


def names_defined_by(text: str) -> Iterator[str]:
    """Yield the names of a block's functions, classes and imports, on which later blocks build."""
    for node in ast.parse(text).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            for one in node.names:
                yield one.asname or one.name.partition(".")[0]


def load_own_storage() -> type:
    """Return the test class that docs/storage.md shows, of the storage that it shows."""
    names: dict[str, Any] = {"__name__": __name__}
    for block in blocks_of(ROOT / "docs" / "storage.md"):
        if "DictUserStorage" in block.text:
            exec(compile_block(block), names)
    found = names["TestDictUserStorage"]
    assert isinstance(found, type)
    return found


# Collected like any other: the storage of the page passes the contract that is printed beside it.
TestDictUserStorage = load_own_storage()


SHELL = [one for page in PAGES for one in blocks_of(page) if one.language == "sh"]


@pytest.mark.parametrize("block", SHELL, ids=str)
def test_commands_exist(block: Block, capfd: pytest.CaptureFixture[str]) -> None:
    """Each extra, nox session and command of ``vwo-async`` that a reader is told to type is there."""
    extras = tomllib.loads(read("pyproject.toml"))["project"]["optional-dependencies"]
    for line in block.text.splitlines():
        for found in re.findall(r"vwo-async\[([\w,]+)\]", line):
            assert {*found.split(",")} <= extras.keys()
        for session in re.findall(r"nox -s ([\w-]+)", line):
            assert re.search(rf"^def {session}\(session", read("noxfile.py"), re.MULTILINE)
        if command := re.match(r"vwo-async ([a-z]+)", line):
            assert run_command([command[1], "--help"]) == 0


@pytest.mark.parametrize(
    "block", [one for page in PAGES for one in blocks_of(page) if one.language == "json"], ids=str
)
def test_json_is_json(block: Block) -> None:
    """A block of JSON can be read."""
    assert json.loads(block.text)


@pytest.mark.parametrize("page", ["docs/cost.md", "docs/delivery.md"])
def test_tables_that_stand_twice_are_equal(page: str) -> None:
    """What README shows of what a call costs, and of what delivery promises, is what the page of it says."""
    tables = [set(table_starting(read(name), page)) for name in ("README.md", page)]
    assert len(tables[0]) > 3
    assert tables[0] == tables[1]


def table_starting(text: str, page: str) -> list[str]:
    """Return the rows of the table that README shares with a page."""
    start = {"docs/cost.md": "| | vwo_async |", "docs/delivery.md": "| what happens |"}[page]
    return text[text.index(start) :].partition("\n\n")[0].splitlines()


def tracked(metric: str, *labels: str) -> list[tuple[str, str, str]]:
    return [("track/1", label, metric) for label in labels]


# What the benchmarks call each number of the table of what it costs, row by row.
MEASURED = [
    [
        *(
            (f"flag/{features}/plain", label, "wall_us")
            for label in ("vwo-async", "vwo-fme-python-sdk", "vwo-fme-node-sdk")
            for features in (1, 100)
        ),
        ("flag/1/plain", "launchdarkly", "wall_us"),
    ],
    [
        ("decision/1/plain", label, "wall_us")
        for label in ("vwo-async", "vwo-python-sdk", "vwo-node-sdk", "launchdarkly")
    ],
    tracked(
        "p50_us",
        "vwo-async",
        *("vwo-python-sdk, GET", "vwo-python-sdk, batches"),
        *("vwo-node-sdk, one each", "vwo-node-sdk, batches"),
        "launchdarkly",
    ),
    tracked(
        "events_per_s",
        *("vwo-async", "vwo-async, aiohttp"),
        *("vwo-python-sdk, GET", "vwo-python-sdk, batches"),
        *("vwo-node-sdk, one each", "vwo-node-sdk, batches"),
        *("launchdarkly", "launchdarkly, async"),
    ),
]


def test_what_it_costs_was_measured() -> None:
    """Each number of the table is the median that the benchmarks have found, as it is rounded."""
    samples: dict[tuple[str, str], list[dict[str, list[float]]]] = defaultdict(list)
    for one in json.loads(read("benchmarks/results.json"))["samples"]:
        samples[one["case"], one["label"]].append(one["values"])
    rows = table_starting(read("docs/cost.md"), "docs/cost.md")[2:]
    for row, names in zip(rows, MEASURED, strict=True):
        _, _, numbers = row.removeprefix("| ").partition(" | ")
        shown = re.findall(r"(\d[\d,]*(?:\.\d+)?)(?: (ms))?", numbers)
        for (text, unit), (case, label, metric) in zip(shown, names, strict=True):
            plain = text.replace(",", "")
            _, dot, decimals = plain.partition(".")
            zeros = len(plain) - len(plain.rstrip("0"))
            last = 10 ** -len(decimals) if dot else 10**zeros
            found = median([value for each in samples[case, label] for value in each[metric]])
            assert float(plain) == pytest.approx(
                found / (1000 if unit else 1), abs=last / 2, rel=0
            ), (row, text, case, label)


def test_the_readme_is_short() -> None:
    """The README is what fits into a few screens; all else is a page of docs/."""
    assert len(read("README.md").splitlines()) <= 150


# What is named


@cache
def names_of_tests() -> dict[str, set[str]]:
    """Return the names of the tests in each file below tests/."""
    found: dict[str, set[str]] = {}
    for path in TESTS.rglob("test_*.py"):
        functions = (ast.FunctionDef, ast.AsyncFunctionDef)
        tree = ast.parse(path.read_text())
        names = {node.name for node in ast.walk(tree) if isinstance(node, functions)}
        found[path.relative_to(TESTS).as_posix()] = {one for one in names if one.startswith("test")}
    return found


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_named_tests_exist(page: Path) -> None:
    """A page names no test that is not there."""
    everywhere = set().union(*names_of_tests().values())
    for file, name in re.findall(r"`(?:tests/)?(?:([\w/]+\.py)::)?(test_\w+)`", page.read_text()):
        assert name in (names_of_tests().get(file, ()) if file else everywhere), f"{file}::{name}"


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_named_files_exist(page: Path) -> None:
    """A page names no file or folder of this project that is not there."""
    whole = page.read_text()
    text = re.sub(r"^```.*?^```$", "", whole, flags=re.DOTALL | re.MULTILINE)
    # Those that a reader saves under the name in the first line of their block.
    shown = set(re.findall(r"^```python\n# ([\w.]+)$", whole, re.MULTILINE))
    for name in re.findall(r"`([\w./-]+(?:\.(?:py|md|json|toml)|/))`", text):
        if name.startswith("/") or name in shown:
            continue
        is_there = any((root / name).exists() for root in (page.parent, *ROOTS))
        assert is_there or ("/" not in name and any(ROOT.glob(f"*/**/{name}"))), name


def anchors_of(path: Path) -> set[str]:
    """Return the anchors of a page: those that are set, and those that its headings get."""
    text = path.read_text()
    anchors = set(re.findall(r'<a id="([^"]+)"></a>', text))
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", heading.lower())
        anchors.add(plain.replace(" ", "-"))
    return anchors


@pytest.mark.parametrize("page", PAGES, ids=title)
def test_links_lead_somewhere(page: Path) -> None:
    """A link within the project leads to a file, and to a place in it that exists."""
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if target.startswith(("http://", "https://")):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        assert path.exists(), target
        assert not anchor or anchor in anchors_of(path), target


@pytest.mark.parametrize("name", ["CONTRIBUTING.md", "docs/architecture.md"])
def test_named_code_exists(name: str) -> None:
    """What these pages name in the code is there, so that whoever looks for it finds it."""
    files = [*PACKAGE.rglob("*.py"), *TESTS.rglob("*.py"), ROOT / "noxfile.py"]
    code = "\n".join(path.read_text() for path in files)
    known = set(re.findall(r"\w+", code + read("pyproject.toml"))) | {"values"}
    for text in re.findall(r"`([A-Za-z_][\w.]*)`", read(name)):
        if not text.endswith((".py", ".md", ".json", ".toml")):
            assert set(text.split(".")) <= known, text


def test_named_sessions_exist() -> None:
    """Every nox session that a page tells to run is there."""
    sessions = set(re.findall(r"^def (\w+)\(session", read("noxfile.py"), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`(?:[^`\n]*&& )?nox -s ([\w-]+)", page.read_text()))
        assert named <= sessions, page.name


# The failure matrix


def fault_rows() -> dict[int, list[str]]:
    """Return the tests that docs/faults.md names, by row."""
    rows: dict[int, list[str]] = {}
    for line in read("docs/faults.md").splitlines():
        found = re.match(r'\| (?:<a id="row-(\d+)"></a>)(\d+) \|(.+)\|(.+)\|(.+)\|$', line)
        if found is None:
            continue
        anchor, number, fault, promise, tests = found.groups()
        assert int(anchor) == int(number) not in rows
        assert fault.strip()
        assert promise.strip()
        rows[int(number)] = re.findall(r"`([^`]+)`", tests)
    return rows


def names_by_row() -> dict[int, set[str]]:
    """Return the tests that are named after a row of the failure matrix, by row."""
    found = defaultdict(set)
    for file, names in names_of_tests().items():
        for name in names:
            if row := re.match(r"test_row_(\d+)", name):
                found[int(row[1])].add(f"{file}::{name}")
    return found


def test_every_row_of_the_matrix_is_tested() -> None:
    """Each row names tests; those that are named after a row are named after this one."""
    rows, named_after = fault_rows(), names_by_row()
    assert sorted(rows) == list(range(1, LAST_ROW + 1))
    everywhere = {f"{file}::{name}" for file, names in names_of_tests().items() for name in names}
    for number, tests in rows.items():
        assert tests, f"row {number} names no test"
        assert set(tests) <= everywhere, f"row {number}"
        for one in tests:
            assert one in named_after[number] or "::test_row_" not in one, f"row {number}: {one}"


def test_every_row_that_tests_are_named_after_is_in_the_matrix() -> None:
    """A test named after a row is in that row, so that the matrix is all that is tested."""
    rows = fault_rows()
    for number, tests in names_by_row().items():
        assert tests <= set(rows.get(number, ())), f"row {number} of docs/faults.md"


def rows_of_both_products() -> set[int]:
    """Return the rows of which a test runs over both clients, or is one of FME beside one of FullStack."""
    found = set()
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        text = path.read_text()
        is_whole = re.search(r"^pytestmark = .*BOTH_PRODUCTS", text, re.MULTILINE) is not None
        for node in ast.parse(text).body:
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            row = re.match(r"test_row_(\d+)", node.name)
            marks = [ast.unparse(one) for one in node.decorator_list]
            is_marked = is_whole or any(
                re.match("BOTH_PRODUCTS$|once_in_fme", one) for one in marks
            )
            is_of_fme = path.stem in ("test_fault_fme", "test_fault_gateway") or node.name.endswith(
                "_fme"
            )
            if row and (is_marked or is_of_fme):
                found.add(int(row[1]))
    return found


def test_the_rows_of_both_products() -> None:
    """docs/faults.md says which rows run over both clients."""
    (listed,) = re.findall(r"These rows run for both: ([^.]+)\.", read("docs/faults.md"))
    assert [int(one) for one in re.findall(r"\d+", listed)] == sorted(rows_of_both_products())


# Citations


def cited(pattern: str, *folders: str) -> Iterator[tuple[str, str]]:
    """Yield where, and what, the code cites by *pattern*."""
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix in (".py", ".js") and path != Path(__file__):
                for found in re.finditer(pattern, path.read_text()):
                    yield str(path.relative_to(ROOT)), found[1]


@pytest.mark.parametrize(
    ("page", "pattern", "least"),
    [("reference.md", r"\d+(?:\.\d+)?", 30), ("fme-reference.md", r"F\d+(?:\.\d+)?", 30)],
)
def test_cited_sections_exist(page: str, pattern: str, least: int) -> None:
    """Every section that a comment or test cites is in one of the two references; those of FME begin with F."""
    anchors = anchors_of(ROOT / "docs" / page)
    folders = ("src", "tests", "benchmarks", "examples")
    found = list(cited(rf"[Ss]ections? ({pattern})", *folders))
    assert len(found) > least
    for file, number in found:
        assert f"section-{number}" in anchors, f"{file} cites section {number}"


def test_cited_rows_exist() -> None:
    """Every row that a test cites is in docs/deviations.md; those of the failure matrix are seen to above."""
    rows = set(re.findall(r"^\| (\d+) \|", read("docs/deviations.md"), re.MULTILINE))
    found = [one for one in cited(r"\b[Rr]ow (\d+)", "tests") if "faults/" not in one[0]]
    assert len(found) > 30
    for file, number in found:
        assert number in rows, f"{file} cites row {number}"
    bracketed = re.findall(r"\[(\d+(?:, \d+)*)\](?!\()", read("docs/reference.md"))
    assert {one for text in bracketed for one in text.split(", ")} - {"0", "1"} <= rows


# The drawing of the house


def reach(arrows: dict[str, set[str]]) -> set[tuple[str, str]]:
    """Return all pairs between which there is a way along the arrows."""
    ways = {(start, end) for start, ends in arrows.items() for end in ends}
    while True:
        more = {(a, d) for a, b in ways for c, d in ways if b == c} - ways
        if not more:
            return ways
        ways |= more


def allowed() -> dict[str, set[str]]:
    """Return what the import test allows, with the package's own name for its door."""
    named = {folder or "vwo_async": targets for folder, targets in ALLOWED.items()}
    return {folder: {one or "vwo_async" for one in targets} for folder, targets in named.items()}


def test_the_table_of_folders_is_what_imports_are_held_to() -> None:
    """docs/architecture.md has each folder once, with exactly those that it may import."""
    table = {}
    for line in read("docs/architecture.md").splitlines():
        if found := re.match(r"\| `(\w+)` \| [^|]+ \|([^|]*)\|$", line):
            assert found[1] not in table
            table[found[1]] = set(re.findall(r"`(\w+)`", found[2]))
    assert table == allowed()


def test_the_drawing_of_folders_is_what_imports_are_held_to() -> None:
    """Each arrow of the drawing is allowed, and its ways are all that is allowed."""
    path = str(ROOT / "docs/site/draw_diagrams.py")
    arrows = {start: set(ends) for start, ends in runpy.run_path(path)["IMPORTS"].items()}
    for start, ends in arrows.items():
        assert ends <= allowed()[start], start
    assert reach(arrows) == reach(allowed())
