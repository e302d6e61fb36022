"""Everything that is done with this project: ``nox -l`` lists it. Each session installs what it needs."""

from __future__ import annotations

import json
from pathlib import Path

import nox

nox.needs_version = ">=2024.10.9"
nox.options.sessions = ["lint", "types", "tests"]
nox.options.default_venv_backend = "uv|virtualenv"

PROJECT = nox.project.load_toml("pyproject.toml")
PYTHONS = ["3.11", "3.12", "3.13"]
DELIVERY_TESTS = [
    "tests/test_transport.py",
    "tests/test_cancellation.py",
    "tests/faults/test_fault_server.py",
]
OTHER_TRANSPORTS = ["aiohttp", "httpx2"]
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
PYTEST = ("python", "-X", "dev", "-m", "pytest")
IN_PARALLEL = ("--numprocesses", "logical", "--dist", "loadgroup")


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


def run_suite(session: nox.Session, *arguments: str, **env: str) -> None:
    """Run tests in parallel, and after them, one by one, those that hold the time to narrow bounds."""
    session.run(*PYTEST, *IN_PARALLEL, "-m", "not timed", *arguments, env=env)
    session.run(*PYTEST, "-m", "timed", *arguments, env=env)


def run_tests(session: nox.Session) -> None:
    """Run the whole suite, or in one process what the session's arguments name."""
    if session.posargs:
        session.run(*PYTEST, *session.posargs)
    else:
        run_suite(session)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the test suite, delivery also on the transports that are extras; arguments go to pytest."""
    install(session, "test", "demo")
    run_tests(session)
    if not session.posargs:
        for name in OTHER_TRANSPORTS:
            run_suite(session, "-q", *DELIVERY_TESTS, VWO_TEST_TRANSPORT=name)


@nox.session(reuse_venv=True)
def quick(session: nox.Session) -> None:
    """Run the tests of decisions, queue, track and API with few examples; arguments go to pytest."""
    install_once(session, "test", "demo")
    paths = session.posargs or QUICK_TESTS
    # What was compiled is kept, also where the environment says otherwise: it saves a third of the time.
    compiled = Path(session.virtualenv.location, "compiled").resolve()
    env = {"PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": str(compiled)}
    # Without Python's development mode, which takes half of the time.
    session.run("pytest", "-q", *IN_PARALLEL, "--hypothesis-profile=quick", *paths, env=env)


@nox.session
def coverage(session: nox.Session) -> None:
    """Run the tests but for the failure matrix, and say which lines and branches of the package they miss."""
    install(session, "test", "demo", "coverage")
    session.run("coverage", "erase")
    # What is watched is slower, so that narrow bounds of time say nothing.
    watched = ("coverage", "run", "-m", "pytest", "-q", *IN_PARALLEL, "-m", "not timed")
    session.run(*watched, "--ignore=tests/faults")
    for name in OTHER_TRANSPORTS:
        session.run(*watched, "tests/test_transport.py", env={"VWO_TEST_TRANSPORT": name})
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


@nox.session
def oldest(session: nox.Session) -> None:
    """Run the test suite with the oldest dependencies that are allowed; arguments go to pytest."""
    install(session, "test", "demo")
    bounds = [one.replace(">=", "==") for one in PROJECT["project"]["dependencies"]]
    session.install("-q", *bounds)
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
    session.run(*PYTEST, "tests/faults", "-v", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Ten minutes of random faults, cancellations and kills; arguments go to the script."""
    install(session, "test")
    session.run("python", "tests/faults/chaos.py", *session.posargs)


@nox.session(python="3.11")  # as for parity
def bench(session: nox.Session) -> None:
    """Measure beside the official SDKs and others; arguments: --quick --only TOPIC --rounds N --report.

    Needs Node.js with npm for the Node SDK.
    """
    work_dir = Path(session.cache_dir, "bench").resolve()
    session.run("python", "benchmarks/run.py", "--work-dir", str(work_dir), *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and formatting."""
    session.install("-q", *nox.project.dependency_groups(PROJECT, "lint"))
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check types, strictly, in source, tests and examples."""
    install(session, "types", "test", "demo")
    session.run("mypy")
    session.run("pyright")
    # The SDKs beside which this one is measured are installed nowhere but in their own environments.
    session.run("mypy", "--ignore-missing-imports", "benchmarks")


@nox.session
def demo(session: nox.Session) -> None:
    """Send visitors through an example shop and compare both sides' books; arguments go to the demo."""
    install(session, "demo")
    session.run("python", "examples/demo.py", *session.posargs)
