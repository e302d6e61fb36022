"""The last known good file: private, without the SDK key, replaced as a whole, and refused in doubt."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import random
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from own_time import Stopwatch
from sample import ACCOUNT, KEY
from sample import settings as make_file
from search_effort import examples

from vwo_async import parse_settings
from vwo_async._sdk_key import SdkKey
from vwo_async._settings.last_known_good import LastKnownGood
from vwo_async._settings.seal import UnusableError

NOW = 1_800_000_000.0
DAY_S = 86_400.0
BODY = json.dumps(make_file(future={"sdkKey": "not the key"})).encode()
HERE = Path(__file__)
WRITER = str(HERE.with_name("writer.py"))


def keep_at(path: Path, **changes: Any) -> LastKnownGood:
    """Return the file at *path* as a client of the account uses it."""
    given_: dict[str, Any] = {
        "account_id": ACCOUNT,
        "sdk_key": SdkKey(KEY),
        "max_age_s": DAY_S,
        "wall_clock": lambda: NOW,
    }
    return LastKnownGood(path, **{**given_, **changes})


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of a kept, valid settings file."""
    found = tmp_path / "settings.json"
    keep_at(found).save(BODY, NOW - 10)
    return found


def refusal(path: Path, **changes: Any) -> str:
    """Return why the file at *path* cannot be used."""
    with pytest.raises(UnusableError) as caught:
        keep_at(path, **changes).load()
    assert KEY not in repr(caught.value)
    return str(caught.value)


# Saving


def test_round_trip(path: Path) -> None:
    """The kept file is the settings file without its SDK key, with the time when it was fetched."""
    kept = keep_at(path).load()
    assert kept.wall_s == NOW - 10
    file = json.loads(BODY)
    del file["sdkKey"]
    assert json.loads(kept.body) == file
    assert parse_settings(kept.body) == parse_settings(file)


def test_mode(path: Path) -> None:
    """Only the owner can read the file, whatever file was there before."""
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o666)
    keep_at(path).save(BODY, NOW)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_private_from_the_first_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The temporary file is private before it has any content, and is in the same folder."""
    seen: list[tuple[int, Path]] = []
    real = os.fsync

    def look(number: int) -> None:
        seen.extend((stat.S_IMODE(one.stat().st_mode), one.parent) for one in tmp_path.iterdir())
        real(number)

    monkeypatch.setattr(os, "fsync", look)
    keep_at(tmp_path / "settings.json").save(BODY, NOW)
    assert seen
    assert set(seen) == {(0o600, tmp_path)}


@pytest.mark.parametrize(
    "body",
    [
        BODY,
        json.dumps(make_file(), indent=2).encode(),
        json.dumps(make_file()).replace('"sdkKey"', '"sdk\\u004bey"').encode(),
        json.dumps(make_file()).replace('"sdkKey"', '"sdkKey": "x", "sdkKey"').encode(),
        json.dumps(make_file()).replace(f'"{KEY}"', '"\\u0053' + KEY[1:] + '"').encode(),
        json.dumps(dict(reversed(make_file().items()))).encode(),
        b'{"sdkKey":"' + KEY.encode() + b'"}',
    ],
    ids=["usual", "indented", "escaped name", "twice", "escaped key", "last", "alone"],
)
def test_no_key(tmp_path: Path, body: bytes) -> None:
    """The SDK key is nowhere in the file, however the settings file spells it."""
    path = tmp_path / "settings.json"
    keep_at(path).save(body, NOW)
    content = path.read_bytes()
    assert KEY.encode() not in content
    assert KEY[1:].encode() not in content
    assert b"sdkKey" not in content.replace(b'"future": {"sdkKey": "not the key"}', b"")
    kept = json.loads(keep_at(path).load().body)
    assert "sdkKey" not in kept
    assert kept == {name: one for name, one in json.loads(body).items() if name != "sdkKey"}


def test_key_elsewhere(path: Path) -> None:
    """A file with the SDK key in a place from which it cannot be removed is not kept; the old file stays."""
    before = path.read_bytes()
    with pytest.raises(UnusableError):
        keep_at(path).save(json.dumps(make_file(note=f"see {KEY}")).encode(), NOW)
    assert path.read_bytes() == before


def test_key_cannot_be_guessed(path: Path) -> None:
    """The fingerprint is not a plain hash of the SDK key, and differs between accounts."""
    header = json.loads(path.read_bytes().partition(b"\n")[0])
    assert set(header) == {"format", "fingerprint", "fetched_at", "seal"}
    plain = hashlib.sha256(KEY.encode()).hexdigest()
    assert header["fingerprint"] not in plain
    keep_at(path, account_id=5).save(BODY, NOW)
    other = json.loads(path.read_bytes().partition(b"\n")[0])
    assert other["fingerprint"] != header["fingerprint"]


def test_nothing_else_is_left(path: Path) -> None:
    """Writing leaves one file, and removes old temporary files of killed writers."""
    folder = path.parent
    stale, fresh, other = (
        folder / ".settings.json.0.tmp",
        folder / ".settings.json.1.tmp",
        folder / ".other.json.2.tmp",
    )
    for one in (stale, fresh, other):
        one.write_text("x")
    long_ago = time.time() - 4000
    os.utime(stale, (long_ago, long_ago))
    os.utime(other, (long_ago, long_ago))
    keep_at(path).save(BODY, NOW)
    assert set(folder.iterdir()) == {path, fresh, other}


def make_folder(path: Path) -> Path:
    path.mkdir()
    (path / "x").touch()
    return path


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder / "missing" / "settings.json",
        lambda folder: make_folder(folder / "settings.json"),
        lambda folder: Path("/proc/settings.json"),
        lambda folder: Path("/dev/null/settings.json"),
        lambda folder: folder / ("x" * 300),
    ],
    ids=["no folder", "a folder", "read-only", "no folder at all", "long name"],
)
def test_unwritable(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    """If the file cannot be written an OSError is raised and no temporary file is left."""
    path = make(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(OSError):  # noqa: PT011 - which one is the system's affair
        keep_at(path).save(BODY, NOW)
    assert sorted(tmp_path.rglob("*")) == before


def test_full_disk(path: Path) -> None:
    """On a full disk the old file stays as it is, and nothing is left of the new one."""
    before = path.read_bytes()
    code = (
        "import resource, signal, sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(HERE.parent)!r}); sys.path.insert(0, {str(HERE.parent.parent)!r})\n"
        "import test_last_known_good\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: test_last_known_good.keep_at(Path(sys.argv[1])).save(test_last_known_good.BODY, test_last_known_good.NOW)\n"
        "except OSError as error: print(error.errno)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip().isdigit()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_link_is_not_written_through(tmp_path: Path) -> None:
    """A link at the path is replaced; the file that it points to stays as it is."""
    victim, path = tmp_path / "victim", tmp_path / "settings.json"
    victim.write_text("precious")
    path.symlink_to(victim)
    keep_at(path).save(BODY, NOW)
    assert victim.read_text() == "precious"
    assert not path.is_symlink()
    assert keep_at(path).load()


def test_one_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """While a write hangs, another one fails at once instead of waiting."""
    opened, entered = threading.Event(), threading.Event()
    real = os.fsync

    def hang(number: int) -> None:
        entered.set()
        opened.wait()
        real(number)

    keeper = keep_at(path)
    monkeypatch.setattr(os, "fsync", hang)
    thread = threading.Thread(target=keeper.save, args=(BODY, NOW))
    thread.start()
    assert entered.wait(5)
    with pytest.raises(OSError, match="goes on"):
        keeper.save(BODY, NOW)
    opened.set()
    thread.join()
    keeper.save(BODY, NOW)
    assert keeper.load().wall_s == NOW


# Loading


def rewrite(path: Path, **fields: Any) -> None:
    """Change fields of the header."""
    header, _, body = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps({**json.loads(header), **fields}).encode() + b"\n" + body)


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


def link(path: Path) -> None:
    target = path.with_name("target")
    path.rename(target)
    path.symlink_to(target)


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.truncate(10_001_001)


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)


def extend(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


def forge(path: Path) -> None:
    """Sign other settings without the SDK key."""
    header, _, body = path.read_bytes().partition(b"\n")
    other = body.replace(b'"percentTraffic": 100', b'"percentTraffic": 0')
    fields = json.loads(header)
    fields["seal"] = hmac.new(b"guess", other, hashlib.sha256).hexdigest()
    path.write_bytes(json.dumps(fields).encode() + b"\n" + other)


@pytest.mark.parametrize(
    ("harm", "why"),
    [
        (Path.unlink, "there is none"),
        (lambda path: path.write_bytes(b""), "it is damaged"),
        (lambda path: path.write_bytes(BODY), "it is damaged"),
        (lambda path: path.write_bytes(b"\n" + BODY), "it is damaged"),
        (lambda path: path.write_bytes(b"[" * 900 + b"\n{}"), "it is damaged"),
        (lambda path: path.write_bytes(b"\xff\xfe\0" * 99), "it is damaged"),
        (lambda path: path.write_bytes(b" " * 100_000), "it is damaged"),
        (lambda path: path.write_bytes(b"[1]\n{}"), "it is damaged"),
        (lambda path: cut(path, path.stat().st_size - 1), "it is damaged"),
        (lambda path: cut(path, 50), "it is damaged"),
        (flip, "it is damaged"),
        (extend, "it is damaged"),
        (forge, "it is damaged"),
        (lambda path: rewrite(path, fetched_at=NOW - 5), "it is damaged"),
        (lambda path: rewrite(path, fetched_at=None), "it is damaged"),
        (lambda path: rewrite(path, fetched_at=float("nan")), "it is damaged"),
        (lambda path: rewrite(path, fetched_at=10**400), "it is damaged"),
        (lambda path: rewrite(path, seal="\ud800"), "it is damaged"),
        (lambda path: rewrite(path, seal=None), "it is damaged"),
        (lambda path: rewrite(path, fingerprint=5), "it is of another account or SDK key"),
        (lambda path: rewrite(path, format=2), "it is of another version"),
        (lambda path: rewrite(path, format="x"), "it is damaged"),
        (grow, "it is too large"),
        (link, "it is not a regular file"),
        (pipe, "it is not a regular file"),
        (folder, "it is not a regular file"),
    ],
    ids=range(26),
)
def test_unusable(path: Path, harm: Callable[[Path], object], why: str) -> None:
    """A file with any fault is refused at once, with the reason."""
    harm(path)
    watch = Stopwatch()
    assert refusal(path) == why
    watch.assert_below(2)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"account_id": 5}, "it is of another account or SDK key"),
        ({"sdk_key": SdkKey("other")}, "it is of another account or SDK key"),
        ({"sdk_key": SdkKey(KEY.lower())}, "it is of another account or SDK key"),
        ({"wall_clock": lambda: NOW + DAY_S}, "it is too old"),
        ({"max_age_s": 9}, "it is too old"),
        ({"wall_clock": lambda: NOW - 400}, "it is dated in the future"),
        ({"wall_clock": lambda: 0.0}, "it is dated in the future"),
    ],
    ids=range(7),
)
def test_not_for_this_client(path: Path, changes: dict[str, Any], why: str) -> None:
    """Settings of another account or key, too old or from the future are refused."""
    assert refusal(path, **changes) == why


@pytest.mark.parametrize(
    "changes",
    [
        {"account_id": str(ACCOUNT)},
        {"wall_clock": lambda: NOW + DAY_S - 11},
        {"wall_clock": lambda: NOW - 300},
        {"max_age_s": 10},
    ],
    ids=range(4),
)
def test_just_good_enough(path: Path, changes: dict[str, Any]) -> None:
    """The account id in its other type, and times within the limits, are accepted."""
    assert keep_at(path, **changes).load().wall_s == NOW - 10


@given(st.binary(max_size=300), st.integers(0, 500), st.integers(0, 30))
@settings(
    max_examples=examples(200),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_damage(tmp_path: Path, scrap: bytes, place: int, length: int) -> None:
    """A damaged file is refused, unless it still holds exactly what was written."""
    path = tmp_path / "settings.json"
    keep_at(path).save(BODY, NOW)
    good = keep_at(path).load()
    content = path.read_bytes()
    path.write_bytes(content[:place] + scrap + content[place + length :])
    try:
        kept = keep_at(path).load()
    except UnusableError:
        return
    assert kept == good


# Killed in the middle


@pytest.mark.slow
def test_killed(path: Path) -> None:
    """A writer that is killed at any moment leaves a whole file: the old or the new one."""
    numbers = []
    for _ in range(20):
        with subprocess.Popen(
            [sys.executable, WRITER, str(path), str(NOW)], stdout=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(random.uniform(0.0, 0.1))
            process.kill()
        file = json.loads(keep_at(path).load().body)
        number = file.get("number", 0)
        numbers.append(number)
        assert len(file.get("padding", "")) == number % 7 * 100_000
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for left in path.parent.iterdir():
            assert KEY.encode() not in left.read_bytes()
    assert max(numbers) > 1
