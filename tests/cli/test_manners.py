"""Help that starts fast, completion by the shell, colours, and Ctrl-C during long work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import click
import pytest

from flowverdict_cli.commands import EXIT_INTERRUPTED, cli
from tests.helpers.command import HEADER, RDP, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.helpers.command import Runner

COMMAND = [sys.executable, "-c", "from flowverdict_cli.commands import run; run()"]
TIMEOUT = 60  # seconds


def commands_of(
    group: click.Group, *before: str
) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Yield every command with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands_of(command, *before, name)
        yield (*before, name), command


COMMANDS = dict(commands_of(cli))


# --- help

SHOW_ALL = """
import contextlib, io, json, sys
from flowverdict_cli.commands import cli
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()):
        cli([*words, "--help"], standalone_mode=False)
print(json.dumps(sorted(sys.modules)))
"""
MOST_MODULES = 260  # Python's own and click's are 200


def test_help_of_all_commands_imports_little() -> None:
    words = json.dumps([[], *COMMANDS])
    shown = subprocess.run(  # noqa: S603 - ours
        [sys.executable, "-c", SHOW_ALL, words], capture_output=True, check=True, timeout=TIMEOUT
    )
    modules = json.loads(shown.stdout)
    heavy = {"boto3", "botocore", "duckdb", "moto", "numpy", "pydantic", "rich", "jinja2"}
    assert heavy & set(modules) == set()
    assert [name for name in modules if name.startswith("flowverdict.verdict")] == []
    assert len(modules) < MOST_MODULES


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_option_has_help_of_its_own(words: tuple[str, ...]) -> None:
    options = [each for each in COMMANDS[words].params if isinstance(each, click.Option)]
    texts = [each.help for each in options if each.help is not None]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("words", [(), *COMMANDS], ids=" ".join)
def test_help_at_80_columns_cuts_and_overflows_no_line(
    run: Runner, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    usage, *lines = run(*words, "--help").out.splitlines()
    assert usage.startswith("Usage: ")
    assert [line for line in lines if len(line) > 80 or line.endswith("...")] == []


# --- completion


@pytest.mark.parametrize(
    ("words", "complete", "offered"),
    [
        ("flowverdict ", "rep", {"replay", "report"}),
        ("flowverdict explain ", "--sev", {"--severity"}),
        ("flowverdict explain --output ", "ma", {"markdown"}),
        ("flowverdict explain --severity ", "h", {"high"}),
        ("flowverdict explain --verdict ", "block", {"block-public-access"}),
        ("flowverdict policy ", "", {"check"}),
    ],
)
def test_shell_completes_commands_options_and_values(
    run: Runner, monkeypatch: pytest.MonkeyPatch, words: str, complete: str, offered: set[str]
) -> None:
    monkeypatch.setenv("_FLOWVERDICT_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", words + complete)
    monkeypatch.setenv("COMP_CWORD", str(len(words.split())))
    lines = run().out.splitlines()
    assert {line.partition(",")[2] for line in lines} == offered


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shell_gets_its_script(run: Runner, monkeypatch: pytest.MonkeyPatch, shell: str) -> None:
    monkeypatch.setenv("_FLOWVERDICT_COMPLETE", f"{shell}_source")
    assert "_FLOWVERDICT_COMPLETE" in run().out


# --- colours


@pytest.mark.slow
def test_no_color_is_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "flow.log", HEADER, RDP)
    shown = []
    for colours in ({}, {"NO_COLOR": "1"}):
        ours, theirs = os.openpty()
        environment = os.environ | {"TERM": "xterm-256color", "COLUMNS": "100"} | colours
        process = subprocess.Popen(  # noqa: S603 - ours
            [*COMMAND, "explain", path], stdout=theirs, stderr=subprocess.DEVNULL, env=environment
        )
        os.close(theirs)
        out = b""
        try:
            while chunk := os.read(ours, 65_536):
                out += chunk
        except OSError:
            pass  # how Linux tells that the other side was closed
        os.close(ours)
        assert process.wait(TIMEOUT) == 0
        shown.append(out)
    assert b"\x1b[1;33m" in shown[0]  # bold yellow: high
    assert not any(colour in shown[1] for colour in (b"\x1b[3", b";3"))
    assert b"HIGH" in shown[1]


# --- Ctrl-C


class Waiting(BaseHTTPRequestHandler):
    """An AWS that never answers."""

    asked = threading.Event()
    over = threading.Event()

    def do_GET(self) -> None:
        """Wait until the test is over."""
        self.asked.set()
        self.over.wait(TIMEOUT)

    do_POST = do_GET  # noqa: N815 - the base class's name


@pytest.fixture
def silent_aws(socket_enabled: None) -> Iterator[str]:  # noqa: ARG001 - lets the server listen
    """Return the address of an AWS that never answers."""
    Waiting.asked.clear()
    Waiting.over.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Waiting)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    Waiting.over.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [
        ["explain", "s3://flow-logs/AWSLogs/"],
        ["explain", "cloudwatch:vpc-flow-logs"],
        ["snapshot"],
        ["backfill", "--queue-url", "https://sqs.eu-west-1.amazonaws.com/1/q", "s3://flow-logs/"],
    ],
    ids=" ".join,
)
def test_interrupt_while_aws_does_not_answer_ends_at_once(
    tmp_path: Path, silent_aws: str, arguments: list[str]
) -> None:
    environment = os.environ | {
        "AWS_ENDPOINT_URL": silent_aws,
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }
    with subprocess.Popen(  # noqa: S603 - ours
        [*COMMAND, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        cwd=tmp_path,
        # In a shell's background SIGINT is ignored, which child processes inherit.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - set before threads matter
    ) as process:
        assert Waiting.asked.wait(TIMEOUT)
        sent = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    assert time.monotonic() - sent < 5
    assert (process.returncode, out) == (EXIT_INTERRUPTED, b"")
    assert b"Traceback" not in err
