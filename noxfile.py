"""Everything that is done with this project: ``nox -l`` lists it. Each session installs what it needs."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "uv|virtualenv"

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]
# What a change to how campaigns are decided or conversions are tracked breaks first.
QUICK_TESTS = [
    "tests/core",
    "tests/delivery",
    "tests/fme/test_fme_decision.py",
    "tests/fme/test_fme_vectors.py",
    "tests/test_api.py",
    "tests/test_track.py",
    "tests/test_vectors.py",
]
# Of the failure matrix, what reaches lines that no other test does: outbox and storages that fail.
REACHING_FAULTS = ["disk", "fme_storage", "outbox", "storage"]
PYTEST = ("python", "-X", "dev", "-m", "pytest")
# Tests of one `xdist_group` share servers that are slow to start: one process runs them.
IN_PARALLEL = ("--dist", "loadgroup", "--numprocesses")
# A bound of time that was not kept is tried again, since the machine may have been busy; nothing else is.
AGAIN = ("--reruns", "2", "--only-rerun", "TooSlowError")
# Most tests wait most of their time: for servers, for processes, for what must not happen.
WAITING = str(5 * (os.cpu_count() or 1) // 2 or 1)


def install(session: nox.Session, *groups: str) -> None:
    """Install the package with all extras that these groups' tools need."""
    session.install(
        "-q",
        *nox.project.dependency_groups(PROJECT, *groups),
        "-e",
        f".[{','.join(PROJECT['project']['optional-dependencies'])}]",
    )


def install_once(session: nox.Session, *groups: str) -> None:
    """Install as `install` does, unless this was done before with the same requirements."""
    asked = Path("pyproject.toml").read_text()
    stamp = Path(session.virtualenv.location, "installed.toml")
    if not stamp.exists() or stamp.read_text() != asked:
        install(session, *groups)
        stamp.write_text(asked)


def keep_compiled(session: nox.Session) -> dict[str, str]:
    """Return the environment in which what Python compiles is kept, for the next process and the next run.

    The suite starts hundreds of processes. Each would compile for itself all that it imports where the
    environment forbids to write bytecode, or where nobody may write beside the modules.
    """
    compiled = Path(session.cache_dir, "compiled").resolve()
    return {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(compiled)}


def run_tests(session: nox.Session) -> None:
    """Run in one process what the session's arguments name, or the whole suite in parallel.

    After it come, one by one, the tests that hold the time to narrow bounds.
    """
    env = keep_compiled(session)
    if session.posargs:
        session.run(*PYTEST, *session.posargs, env=env)
        return
    session.run(*PYTEST, *AGAIN, *IN_PARALLEL, WAITING, "-m", "not timed", env=env)
    session.run(*PYTEST, *AGAIN, "-m", "timed", *find_timed(), env=env)


def find_timed() -> list[str]:
    """Return the files that have tests marked `timed`, since to collect all others takes longer than to look."""
    files = sorted(Path("tests").rglob("test_*.py"))
    return [str(one) for one in files if "pytest.mark.timed" in one.read_text()]


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite; arguments go to pytest."""
    install(session, "test", "demo")
    run_tests(session)


@nox.session(reuse_venv=True)
def quick(session: nox.Session) -> None:
    """Run the tests of decisions, queue, track and API with few examples; arguments go to pytest."""
    install_once(session, "test", "demo")
    paths = session.posargs or QUICK_TESTS
    # Without Python's development mode, which takes half of the time.
    command = ("pytest", "-q", *IN_PARALLEL, "logical", "--hypothesis-profile=quick", *paths)
    session.run(*command, env=keep_compiled(session))


# Python 3.11 does not tell a tracer that something is thrown into a coroutine, as where a call is cancelled.
# Coverage then takes the end of the coroutine for that of its caller, of which it sees nothing more.
@nox.session(python="3.13")
def coverage(session: nox.Session) -> None:
    """Run what reaches code and measures no time, and say which lines and branches of the package they miss."""
    install(session, "test", "demo", "coverage")
    session.run("coverage", "erase")
    # What is watched is slower, so that narrow bounds of time say nothing, and few examples reach all lines.
    watched = ("coverage", "run", "-m", "pytest", "-q", *IN_PARALLEL, "logical")
    chosen = ("-m", "not timed and not slow", "--hypothesis-profile=quick")
    wanted = {f"test_fault_{one}" for one in REACHING_FAULTS}
    faults = sorted(Path("tests", "faults").glob("test_*.py"))
    ignored = [f"--ignore={one}" for one in faults if one.stem not in wanted]
    try:
        session.run(*watched, *chosen, *ignored, env=keep_compiled(session))
    finally:
        # A test that fails ends the session, but what the others missed is told all the same.
        session.run("coverage", "combine", "-q")
        session.run("coverage", "report")


@nox.session
def mutants(session: nox.Session) -> None:
    """Change the core in small ways and see whether its tests notice; arguments: names of mutants.

    Without arguments a fifth of them is tried; ``"*"`` is all, ``"*segment*"`` those of one module.
    """
    install(session, "test", "mutants")
    names = session.posargs or ["*[27]"]
    session.run("mutmut", "run", *names, env={"CI": "true"})
    session.run("mutmut", "results")
    session.run("mutmut", "export-cicd-stats", silent=True)
    found = json.loads(Path("mutants", "mutmut-cicd-stats.json").read_text())
    session.log(f"{found['killed']} of {found['killed'] + found['survived']} mutants were noticed")


@nox.session(python=PYTHONS)
def versions(session: nox.Session) -> None:
    """Run the test suite on every supported Python that is installed; arguments go to pytest."""
    install(session, "test", "demo")
    run_tests(session)


@nox.session(venv_backend="uv")  # it finds the oldest of a bound
def oldest(session: nox.Session) -> None:
    """Run the test suite with the oldest libraries that it and its extras allow; arguments go to pytest."""
    install(session, "test", "demo")
    project = PROJECT["project"]
    extras = [one for extra in project["optional-dependencies"].values() for one in extra]
    bounds = {*project["dependencies"], *extras, "opentelemetry-sdk>=1.38"}
    session.install("-q", "--upgrade", "--resolution", "lowest-direct", *sorted(bounds))
    run_tests(session)


FME_NODE_SDK = ("wingify-fme-node-sdk@1.60.0", "github:wingify/vwo-fme-node-sdk#v1.60.0")


def run_fme_parity(session: nox.Session) -> None:
    """Compare with the official SDKs of FME."""
    work_dir = Path(session.cache_dir, "parity-fme").resolve()
    python, node = work_dir / "python", work_dir / "node"
    if not (python / "installed").exists():
        session.run("python", "-m", "venv", "--clear", str(python))
        pip = (str(python / "bin" / "python"), "-m", "pip", "install", "-q")
        session.run(*pip, "vwo-fme-python-sdk==1.65.0", external=True)
        (python / "installed").touch()
    node.mkdir(parents=True, exist_ok=True)
    npm = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", "--prefix", str(node))
    for name in FME_NODE_SDK if "--node-sdk" not in session.posargs else ():
        if not (node / "node_modules" / "wingify-fme-node-sdk").exists():
            # Not every registry has it; the comparison says so where it is missing.
            session.run(*npm, name, external=True, success_codes=range(256), silent=True)
    arguments = [one for one in session.posargs if one != "--fme"]
    session.run("python", "tests/parity/fme_run.py", "--work-dir", str(work_dir), *arguments)


@nox.session(python="3.11")  # the old SDK's hash library is known to build with this one
def parity(session: nox.Session) -> None:
    """Compare with the official Node and Python SDKs; arguments: --seed N --cases N --show N.

    With --fme those of FME, and --node-sdk DIR for a checkout of its Node SDK. Needs Node.js with npm.
    """
    session.install("-q", "-e", ".")
    if "--fme" in session.posargs:
        run_fme_parity(session)
        return
    work_dir = Path(session.cache_dir, "parity").resolve()
    python, node = work_dir / "python", work_dir / "node"
    if not (python / "installed").exists():
        session.run("python", "-m", "venv", "--clear", str(python))
        pip = (str(python / "bin" / "python"), "-m", "pip", "install", "-q")
        # What the old SDK and its hash library are built with, and look up their version with.
        session.run(*pip, "setuptools<81", "wheel", external=True)
        session.run(*pip, "vwo-python-sdk==1.68.2", external=True)
        (python / "installed").touch()
    if not (node / "node_modules" / "vwo-node-sdk").exists():
        node.mkdir(parents=True, exist_ok=True)
        npm = ("npm", "install", "--no-audit", "--no-fund", "--ignore-scripts")
        session.run(*npm, "--prefix", str(node), "vwo-node-sdk@1.73.0", external=True)
    session.run("python", "tests/parity/run.py", "--work-dir", str(work_dir), *session.posargs)


@nox.session
def faults(session: nox.Session) -> None:
    """Run the failure matrix: every fault that delivery is promised to survive."""
    install(session, "test")
    env = {**keep_compiled(session), "VWO_TEST_FUZZ_S": "60"}
    session.run(*PYTEST, "tests/faults", "-v", *session.posargs, env=env)


@nox.session
def chaos(session: nox.Session) -> None:
    """Ten minutes of random faults, cancellations and kills; arguments go to the script."""
    install(session, "test")
    session.run("python", "tests/faults/chaos.py", *session.posargs)


@nox.session
def fleet(session: nox.Session) -> None:
    """Five minutes of pods, relays and a Redis that are killed again and again; arguments go to the script."""
    install(session, "test")
    session.run("python", "tests/fleet/fleet_chaos.py", *session.posargs)


@nox.session
def kills(session: nox.Session) -> None:
    """Report a file of 100,000 rows with the command, kill it ten times, and count what arrived; arguments go on."""
    install(session, "test")
    session.run("python", "tests/cli/kill_conversions.py", *session.posargs)


@nox.session(python="3.11")  # as for parity
def bench(session: nox.Session) -> None:
    """Measure beside the official SDKs and others; arguments: --quick --only TOPIC --rounds N --report.

    Needs Node.js with npm for the Node SDK.
    """
    work_dir = Path(session.cache_dir, "bench").resolve()
    session.run("python", "benchmarks/run.py", "--work-dir", str(work_dir), *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting, and that no workflow can be misused."""
    session.install("-q", *nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run("zizmor", "--offline", "--quiet", ".github")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly, in source, tests and examples."""
    install(session, "types", "test", "demo")
    session.run("mypy")
    session.run("pyright")
    # The SDKs beside which this one is measured are installed nowhere but in their own environments.
    session.run("mypy", "--ignore-missing-imports", "benchmarks")


DIST = Path("dist")
# The hour of a release is that of its last commit. Where there is none, as in an unpacked sdist, any will do.
SOME_TIME = "1767225600"


def find_source_date(session: nox.Session) -> str:
    """Return SOURCE_DATE_EPOCH as it was given, or the time of the last commit."""
    if given := os.environ.get("SOURCE_DATE_EPOCH"):
        return given
    if not Path(".git").exists():
        return SOME_TIME
    told = session.run("git", "log", "-1", "--format=%ct", external=True, silent=True)
    return str(told).strip()


def build_distribution(session: nox.Session, source: Path, target: Path, *, umask: str) -> None:
    """Build sdist and wheel of one tree, each out of the tree itself."""
    env = {"SOURCE_DATE_EPOCH": find_source_date(session)}
    command = f"umask {umask} && exec python -m build --installer uv --sdist --wheel"
    session.run(
        *("sh", "-c", f'{command} --outdir "$1" "$2"', "sh", str(target), str(source)),
        env=env,
        external=True,
        silent=True,
    )


def unpack_sdist(session: nox.Session) -> Path:
    """Return the folder into which the sdist of the session `build` was unpacked."""
    (archive,) = DIST.glob("*.tar.gz")
    folder = Path(session.create_tmp(), "sdist").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    (root,) = folder.iterdir()
    return root


@nox.session
def build(session: nox.Session) -> None:
    """Build sdist and wheel into dist/, check them, and check that the sdist builds them again, byte for byte."""
    session.install("-q", *nox.project.dependency_groups(PROJECT, "build"))
    shutil.rmtree(DIST, ignore_errors=True)
    build_distribution(session, Path.cwd(), DIST.resolve(), umask="022")
    again = Path(session.create_tmp(), "again").resolve()
    shutil.rmtree(again, ignore_errors=True)
    build_distribution(session, unpack_sdist(session), again, umask="077")
    built = sorted(DIST.iterdir())
    for one in built:
        if one.read_bytes() != (again / one.name).read_bytes():
            session.error(f"{one.name} was built twice and differs: dist/ and {again}")
    session.run("twine", "check", "--strict", *map(str, built))
    session.run("python", "tests/distribution/check.py", *map(str, DIST.glob("*.whl")))


@nox.session(python=PYTHONS)
def smoke(session: nox.Session) -> None:
    """Install the wheel of the session `build` alone, on each Python, and let it decide and deliver."""
    session.install("-q", *map(str, DIST.resolve().glob("*.whl")))
    script = Path("tests", "distribution", "smoke.py").resolve()
    outbox = Path(session.create_tmp(), "outbox.db").resolve()
    session.chdir(session.create_tmp())
    session.run("python", "-I", "-W", "error", str(script), str(outbox))


@nox.session
def extras(session: nox.Session) -> None:
    """Install the wheel of the session `build` with each extra alone, and use it; arguments: names of extras."""
    session.install("-q", "uv>=0.5")
    (wheel,) = DIST.resolve().glob("*.whl")
    script = Path("tests", "extra_uses.py").resolve()
    home = Path(session.create_tmp(), "alone").resolve()
    python = str(home / "bin" / "python")
    for extra in session.posargs or PROJECT["project"]["optional-dependencies"]:
        session.run("uv", "venv", "-q", "--clear", str(home), silent=True)
        session.run("uv", "pip", "install", "-q", "--python", python, f"{wheel}[{extra}]")
        session.run(python, "-I", str(script), extra, external=True)


@nox.session
def sdist(session: nox.Session) -> None:
    """Run the test suite out of the sdist of the session `build`; arguments go to pytest."""
    session.chdir(unpack_sdist(session))
    install(session, "test", "demo")
    run_tests(session)


@nox.session
def docs(session: nox.Session) -> None:
    """Build the pages of docs/ into site/, where every warning is an error; ``-- serve`` shows them as well."""
    install_once(session, "docs")
    source = Path(session.create_tmp(), "source").resolve()
    session.run("python", "docs/site/gather.py", str(source))
    env = {"SITE_SOURCE": str(source), "NO_MKDOCS_2_WARNING": "1"}
    config = ("--strict", "--config-file", "docs/site/mkdocs.yml")
    if session.posargs:
        session.run("mkdocs", *session.posargs, *config, env=env)
        return
    site = Path("site").resolve()
    session.run("mkdocs", "build", *config, "--site-dir", str(site), env=env)
    session.run("python", "docs/site/check_site.py", str(site))


@nox.session
def spelling(session: nox.Session) -> None:
    """Look for common misspellings in code and prose."""
    session.install("-q", *nox.project.dependency_groups(PROJECT, "spelling"))
    session.run("codespell")


@nox.session
def audit(session: nox.Session) -> None:
    """Ask whether what is installed with all extras has known vulnerabilities.

    Needs PyPI's own interface: behind a mirror that has packages alone, it fails and says so.
    """
    install(session, "audit")
    freeze = ("uv", "pip", "freeze", "-q", "--exclude-editable")
    requirements = Path(session.create_tmp(), "installed.txt")
    requirements.write_text(str(session.run(*freeze, external=True, silent=True)))
    # Strict: what could not be asked about is a failure, and not a pass.
    command = ("pip-audit", "--strict", "--no-deps", "--disable-pip", "--progress-spinner=off")
    session.run(*command, "--requirement", str(requirements))


@nox.session
def demo(session: nox.Session) -> None:
    """Send visitors through an example shop and compare both sides' books; arguments go to the demo.

    With --keep the collector's page stays up until Ctrl-C.
    """
    install(session, "demo")
    session.run("python", "examples/demo.py", *session.posargs)


@nox.session
def pictures(session: nox.Session) -> None:
    """Take the pictures of the collector's page and of the command anew. Needs Chromium."""
    install(session, "demo", "test")
    session.run("python", "docs/pictures/take.py", *session.posargs)


@nox.session
def load(session: nox.Session) -> None:
    """Hold a collector under load with its page open; arguments: --seconds N --rate N --every N."""
    session.install("-q", "-e", ".[collector]", "psutil")
    session.run("python", "benchmarks/collector_load.py", *session.posargs)
