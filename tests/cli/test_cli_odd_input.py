"""The command with input that is odd: folders of sources, files of users, a terminal that is asked."""

from __future__ import annotations

import getpass
import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_command import Command
from sample import KEY, campaign, settings

from vwo_async import VWOClient
from vwo_async._cli import app as app_module
from vwo_async._cli.exit_code import CommandError, ExitCode
from vwo_async._cli.source import read_key, with_key


class Terminal(io.StringIO):
    """A terminal at which somebody has typed something."""

    def isatty(self) -> bool:
        return True


SOURCES = {
    "shop/cart.py": "client.activate('checkuot', user)\n",
    "shop/.venv/other.py": "client.activate('nothing', user)\n",
    "shop/node_modules/x/other.py": "client.activate('nothing', user)\n",
    "shop/lib/site-packages/other.py": "client.activate('nothing', user)\n",
    "shop/notes.txt": "client.activate('nothing', user)\n",
}
# Opened by everybody, and read by nobody: nothing is mapped at its beginning.
UNREADABLE = Path("/proc/self/mem")


def test_keys_of_a_folder(command: Command) -> None:
    """A folder is all Python in it, but what is hidden or installed."""
    for name, text in SOURCES.items():
        path = command.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"import vwo_async\n{text}")
    ended = command.run("keys", "--check", command.folder / "shop", "-s", command.fullstack)
    assert ended.code == ExitCode.FOUND
    (line,) = ended.out.splitlines()
    assert line.endswith("cart.py:2:17: unknown campaign 'checkuot': did you mean 'checkout'?")


def test_keys_that_depend(command: Command) -> None:
    """Both texts of a condition are keys; what is not certain is none, and neither is who the user is."""
    text = (
        "import vwo_async\n"
        "client.activate('checkout' if new else 'serch', user)\n"
        "client.activate(*names, 'nothing')\n"
        "client.activate('serch', user_id=user)\n"
        "shop.name = CAMPAIGN = 'nothing'\n"
    )
    file = command.write("service.py", text)
    ended = command.run("keys", "--check", file, "-s", command.fullstack)
    assert [one.partition("service.py:")[2][:4] for one in ended.out.splitlines()] == [
        "2:40",
        "4:17",
    ]


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = 1\ndef (:\n", ":2: is no Python that can be read: invalid syntax\n"),
        ("x = 1\0\n", ":1: is no Python that can be read: source code"),
        (
            "x = " + "-" * 30_000 + "1\n",
            ":1: is no Python that can be read: it is nested too deeply",
        ),
    ],
)
def test_a_source_that_is_no_python(command: Command, source: str, said: str) -> None:
    """The line that cannot be read is named, and what is wrong with it."""
    file = command.write("service.py", source)
    ended = command.run("keys", "--check", file, "-s", command.fullstack)
    assert ended.code == ExitCode.USAGE
    assert f"{file}{said}" in ended.err


def test_sources_of_which_some_are_no_python(command: Command) -> None:
    """The others are checked all the same; those that cannot be read are named after them."""
    folder = command.folder / "shop"
    folder.mkdir()
    (folder / "a.py").write_text("def (:\n")
    (folder / "b.py").write_text("import vwo_async\nclient.activate('serch', user)\n")
    (folder / "c.py").write_text("print 'old'\n")
    ended = command.run("keys", "--check", folder, "-s", command.fullstack, "--json")
    assert [one["key"] for one in ended.data] == ["serch"]
    assert ended.code == ExitCode.USAGE
    assert ended.err.endswith(
        "a.py:1: is no Python that can be read: invalid syntax (1 other file cannot be read either)\n"
    )
    (folder / "a.py").unlink()
    ended = command.run("keys", "--check", folder, "-s", command.fullstack)
    assert "unknown campaign 'serch'" in ended.out
    assert "c.py:1: is no Python" in ended.err
    assert "other file" not in ended.err


@pytest.mark.skipif(not UNREADABLE.exists(), reason="a file that even root cannot read is Linux's")
def test_a_source_that_cannot_be_opened(command: Command) -> None:
    """It is named like any file, after what the others have."""
    good = command.write("good.py", "import vwo_async\nclient.activate('serch', user)\n")
    ended = command.run("keys", "--check", UNREADABLE, good, "-s", command.fullstack)
    assert ended.code == ExitCode.FILE
    assert str(UNREADABLE) in ended.err
    assert "unknown campaign 'serch'" in ended.out


@pytest.mark.parametrize(
    "text",
    [
        "import vwo_async\nclient.activate("
        + "'checkout' if x else " * 1200
        + "'checkout', user)\n",
        f"import vwo_async\nimport {'m' * 300}\n{'m' * 300}.activate('checkout', user)\n",
    ],
)
def test_a_source_that_is_odd(command: Command, text: str) -> None:
    """Whatever there is in one source, what the others have is shown."""
    odd = command.write("odd.py", text)
    good = command.write("good.py", "import vwo_async\nclient.activate('serch', user)\n")
    ended = command.run("keys", "--check", odd, good, "-s", command.fullstack)
    assert "unknown campaign 'serch'" in ended.out
    assert ended.code in (ExitCode.FOUND, ExitCode.USAGE)
    assert "fault of this command" not in ended.err


def test_a_source_that_not_every_python_reads(command: Command) -> None:
    """What one Python reads and another finds too deep is checked, or named."""
    chain = "x = y" + ".z" * 5_000
    text = f"{chain}\nimport vwo_async\nclient.activate('serch', user)\n"
    file = command.write("service.py", text)
    ended = command.run("keys", "--check", file, "-s", command.fullstack)
    if sys.version_info < (3, 13):
        assert ended.code == ExitCode.USAGE
        assert f"{file}:1: is no Python that can be read: it is nested too deeply" in ended.err
    else:
        assert ended.code == ExitCode.FOUND
        assert f"{file}:3:17: unknown campaign 'serch'" in ended.out


def test_a_folder_with_links_and_warnings(command: Command) -> None:
    """A link that leads nowhere, a folder that is named like a source, and what Python warns of are no matter."""
    folder = command.folder / "shop"
    (folder / "folder.py").mkdir(parents=True)
    (folder / "gone.py").symlink_to("nowhere")
    (folder / "cart.py").write_text("import vwo_async\nx = '\\d'\nclient.activate('checkuot', x)\n")
    ended = command.run("keys", "--check", folder, "-s", command.fullstack, "--json")
    assert (ended.code, ended.err) == (ExitCode.FOUND, "")
    assert [one["key"] for one in ended.data] == ["checkuot"]


def test_users_in_another_encoding(command: Command) -> None:
    """A file that is not UTF-8 is refused, since its ids would be others."""
    file = command.folder / "users.txt"
    file.write_bytes("Zoë\n".encode("latin-1"))
    ended = command.run("simulate", "checkout", "-u", file, "-s", command.fullstack)
    assert ended.code == ExitCode.USAGE
    assert "users.txt: is not UTF-8" in ended.err


def test_a_user_without_an_id(command: Command) -> None:
    """An object that names nobody is named by its line; empty rows of a table are none."""
    file = command.write("users.jsonl", '"Ashley"\n{"plan": "pro"}\n')
    ended = command.run("simulate", "checkout", "-u", file, "-s", command.fullstack)
    assert "users.jsonl:2: has no user id" in ended.err
    table = command.write("users.csv", "id\nAshley\n\nBill\n")
    assert command.ask("simulate", "checkout", "-u", table, "-s", command.fullstack)["users"] == 2


def test_facts_of_an_explanation(command: Command) -> None:
    """The group, who was eligible in it, and what the hash was multiplied by are in the tree."""
    file = settings(
        campaign(11, "A", percentTraffic=50),
        campaign(12, "B"),
        campaignGroups={"11": 5, "12": 5},
        groups={"5": {"name": "pages", "campaigns": [11, 12], "et": 2, "p": [11]}},
    )
    grouped = command.write("grouped.json", file)
    shown = command.run("explain", "Ashley", "A", "-s", grouped).out
    for fact in ("eligible: A, B", "group pages", "multiplied by 2"):
        assert fact in shown


def test_the_key_is_asked_for(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the environment has no key a terminal is asked for it, unseen; a pipe is told what to set."""
    monkeypatch.setattr(sys, "stdin", Terminal())
    monkeypatch.setattr(getpass, "getpass", lambda prompt: KEY)
    assert read_key().get_secret_value() == KEY
    assert with_key(b'{"accountId": 1}') == {"accountId": 1, "sdkKey": KEY}
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(CommandError, match="set VWO_SDK_KEY"):
        read_key()


async def fill(path: Path) -> None:
    """Leave an event in an outbox, since nobody takes it."""
    options: dict[str, Any] = {"base_url": "http://127.0.0.1:9", "close_timeout_s": 0.1}
    async with VWOClient(settings(), outbox=path, **options) as client:
        await client.track("checkout", "Ashley", "signup")


@pytest.mark.anyio
async def test_purge_asks(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a terminal it asks, and removes nothing unless it is told yes."""
    path = command.folder / "outbox.db"
    await fill(path)
    monkeypatch.setattr(sys, "stdin", Terminal("n\n"))
    refused = await command.run_beside("outbox", "purge", path)
    assert refused.code == ExitCode.USAGE
    assert "remove 1 events" in refused.err
    assert "nothing was removed" in refused.err
    assert path.exists()
    monkeypatch.setattr(sys, "stdin", Terminal("Yes\n"))
    assert (await command.run_beside("outbox", "purge", path)).code == 0
    assert not path.exists()


def test_an_outbox_that_cannot_be_read(command: Command) -> None:
    """A file that is none of SQLite's is no outbox, and the one line says so."""
    path = command.folder / "outbox.db"
    path.write_bytes(b"not a database, but as long as one " * 400)
    ended = command.run("outbox", "status", path)
    assert (ended.code, ended.out) == (ExitCode.FILE, "")
    assert "is no outbox" in ended.err


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_all_characters(command: Command, encoding: str) -> None:
    """What a terminal cannot show is written as an escape, and JSON stays JSON that says the same."""
    file = command.write("odd.json", settings(campaign(1, "größe ✓")))
    words = [sys.executable, "-m", "vwo_async", "explain", "Zoë", "-s", file]
    env = {**os.environ, "PYTHONIOENCODING": encoding, "PYTHONUTF8": "1"}
    shown, asked = (
        subprocess.run([*words, *more], env=env, capture_output=True, check=True, timeout=60).stdout
        for more in ([], ["--json"])
    )
    assert "\\u2713 campaign: running" in shown.decode(encoding)
    assert list(json.loads(asked.decode(encoding))) == ["größe ✓"]


def test_an_error_that_nobody_reads(command: Command) -> None:
    """The exit code tells of an error where standard error is a closed pipe."""
    reading, writing = os.pipe()
    os.close(reading)
    words = [sys.executable, "-m", "vwo_async", "decide", "Ashley", "nowhere", "-s"]
    with os.fdopen(writing, "wb") as broken:
        done = subprocess.run([*words, command.fullstack], stderr=broken, check=False, timeout=60)
    assert done.returncode == ExitCode.USAGE


def test_sigterm(command: Command) -> None:
    """SIGTERM ends any command as Ctrl-C does, with the exit code that is documented for both."""
    words = [sys.executable, "-m", "vwo_async", "users", "checkout", "--variation", "on", "-u", "-"]
    with subprocess.Popen(
        [*words, "--count", "2", "-s", command.fullstack],
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdin is not None
        # Once this much of it has gone into the pipe, somebody reads there.
        process.stdin.write(b"\n" * 200_000)
        process.stdin.flush()
        process.send_signal(signal.SIGTERM)
        _, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (ExitCode.INTERRUPTED, b"vwo-async: interrupted\n")


def test_ctrl_c(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C ends it with one line and a code of its own."""

    def interrupted(arguments: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(app_module, "run", interrupted)
    ended = command.run("settings", "check", command.fullstack)
    assert (ended.code, ended.err) == (ExitCode.INTERRUPTED, "vwo-async: interrupted\n")


@pytest.mark.parametrize("name", ["decide", "explain", "simulate", "users"])
def test_no_text_steers_the_terminal(command: Command, name: str) -> None:
    """A key or a user id that moves a cursor or sets a title is shown without that; as JSON it is whole."""
    odd = "a\x1b[2J\x1b]0;title\x07\x9b31m\x7f\rb"
    file = command.write("odd.json", json.dumps(settings(campaign(1, odd))))
    asked = {"users": ("--variation", "Control", "--count", 1), "simulate": ("-n", 10)}
    words = (name, odd, *asked.get(name, (odd,)), "-s")
    shown, missing = command.run(*words, file), command.run(*words, command.fullstack)
    assert not shown.code
    assert missing.code
    for text in (*shown, *missing):
        assert not {*"\x1b\x07\x9b\x7f\r"} & {*str(text)}
    if name == "decide":
        assert odd in command.ask(*words, file)
