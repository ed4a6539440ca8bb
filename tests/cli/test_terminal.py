"""The command on terminals and pipes, with signals and a full disk."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict_cli import commands
from tests.helpers.command import HEADER, RDP, SSH, SUMMARY, write

if TYPE_CHECKING:
    from tests.helpers.command import Outcome, Runner

# What `flowverdict` runs, by this very interpreter.
COMMAND = [sys.executable, "-c", "from flowverdict_cli.commands import run; run()"]
TIMEOUT = 60  # seconds


def environment() -> dict[str, str]:
    """Return the caller's environment with a terminal that can show a bar."""
    return os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"}


def explained_on_terminal(path: Path) -> str:
    """Run ``explain`` with standard error on a terminal; return what was shown there."""
    ours, theirs = os.openpty()
    with subprocess.Popen(  # noqa: S603 - ours
        [*COMMAND, "explain", path], stdout=subprocess.DEVNULL, stderr=theirs, env=environment()
    ) as process:
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65_536):
                shown += chunk
        except OSError:
            pass  # how Linux tells that the other side was closed
        os.close(ours)
        assert process.wait(TIMEOUT) == 0
    return shown.decode()


@pytest.fixture(scope="module")
def long_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of a little more than 1 MB."""
    return write(
        tmp_path_factory.mktemp("long") / "long.log", HEADER, *[RDP] * (1_000_000 // len(RDP) + 1)
    )


@pytest.mark.slow
def test_progress_is_shown_on_a_terminal_for_a_long_file(long_file: Path) -> None:
    shown = explained_on_terminal(long_file)
    assert "long.log" in shown
    assert "MB" in shown
    assert "rejected in 1 flow" in shown


@pytest.mark.slow
def test_no_progress_is_shown_on_a_terminal_for_a_short_file(tmp_path: Path) -> None:
    assert explained_on_terminal(
        write(tmp_path / "short.log", HEADER, SSH, RDP)
    ) == SUMMARY.replace("\n", "\r\n")


def test_no_progress_is_shown_where_standard_error_is_not_a_terminal(
    run: Runner, long_file: Path
) -> None:
    outcome = run("explain", long_file)
    assert outcome.code == 0
    assert re.fullmatch(r"[\d,]+ records: 0 accepted, [\d,]+ rejected in 1 flow\n", outcome.err)


def explained_into_closed_pipe(path: Path, output: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``explain`` with its standard output closed by the reader."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return subprocess.run(  # noqa: S603 - ours
            [*COMMAND, "explain", "--output", output, path],
            stdout=writing,
            stderr=subprocess.PIPE,
            check=False,
            timeout=TIMEOUT,
        )
    finally:
        os.close(writing)


@pytest.fixture(scope="module", params=["json", "table"])
def closed_pipe(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> subprocess.CompletedProcess[bytes]:
    """Return the outcome for each output."""
    return explained_into_closed_pipe(
        write(tmp_path_factory.mktemp("pipe") / "flow.log", HEADER, RDP), request.param
    )


@pytest.mark.slow
def test_closed_pipe_is_quiet(closed_pipe: subprocess.CompletedProcess[bytes]) -> None:
    assert closed_pipe.stderr == b""
    assert closed_pipe.returncode != 0


def test_interrupt_is_quiet_and_ends_with_130() -> None:
    with subprocess.Popen(  # noqa: S603 - ours
        [*COMMAND, "explain", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # In a shell's background SIGINT is ignored, which child processes inherit.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as process:
        assert process.stdin is not None
        # More than a pipe and the command's buffer hold, so the command reads records by now.
        process.stdin.write(HEADER + RDP * 5_000)
        process.stdin.flush()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT)
    assert (process.returncode, out) == (commands.EXIT_INTERRUPTED, b"")
    assert err in {b"", b"\n"}  # click ends the line that shows ^C


def test_standard_input_that_is_closed_is_one_line_and_exit_2(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", ["flowverdict", "explain", "-"])
    monkeypatch.setattr(sys, "stdin", None)
    with pytest.raises(SystemExit, match="2"):
        commands.run()


SCENARIOS = Path(__file__).parents[1] / "scenarios"
FULL = Path("/dev/full")


@pytest.mark.slow
@pytest.mark.skipif(not FULL.exists(), reason="Linux has a device that is always full")
def test_full_disk_is_one_line(tmp_path: Path) -> None:
    command = [
        *COMMAND,
        "explain",
        "--output",
        "json",
        str(write(tmp_path / "flow.log", HEADER, RDP)),
    ]
    with FULL.open("wb") as full:
        ended = subprocess.run(  # noqa: S603 - ours
            command, stdout=full, stderr=subprocess.PIPE, check=False, timeout=TIMEOUT
        )
    assert b"Traceback" not in ended.stderr
    assert ended.returncode != 0


# --- names that would act on a terminal

ACTING = "a\x1b[2J\x9b2J\u202eb\nflowverdict: all is well"


def is_shown_as_text(outcome: Outcome) -> bool:
    return (
        all(line.isprintable() for line in f"{outcome.out}{outcome.err}".split("\n"))
        and "\nflowverdict: all" not in outcome.err
    )


def test_file_name_does_not_control_a_terminal(run: Runner, tmp_path: Path) -> None:
    log = write(tmp_path / f"{ACTING}.log", HEADER, RDP, b"2 no record\n")
    explained = run("explain", log)
    assert (explained.code, is_shown_as_text(explained)) == (0, True)
    assert "line 3: field-count" in explained.err
    policy = write(tmp_path / f"{ACTING}.json", b'{"version": 1}')
    checked = run("policy", "check", policy)
    assert (checked.code, is_shown_as_text(checked)) == (0, True)
    for arguments in (
        ("explain", tmp_path / f"{ACTING}-none"),
        (
            "policy",
            "check",
            write(tmp_path / f"{ACTING}2.json", b'{"version": 2, "x\\u001b[2J": 1}'),
        ),
        ("replay", write(tmp_path / f"{ACTING}3.json", b"[]")),
    ):
        failed = run(*arguments)
        assert (failed.code, is_shown_as_text(failed)) == (2, True)
        assert "all is well" in failed.err


@pytest.mark.parametrize("output", ["table", "csv", "markdown", "html", "email", "terraform"])
def test_tags_of_the_rules_do_not_control_a_terminal(
    run: Runner, tmp_path: Path, output: str
) -> None:
    document = json.loads((SCENARIOS / "shop.config.json").read_text())
    for interface in document["NetworkInterfaces"]:
        interface["TagSet"] = [
            {"Key": "Name", "Value": ACTING},
            {"Key": ACTING, "Value": f"<script>{ACTING}"},
        ]
    for group in document["SecurityGroups"]:
        group["GroupName"] = group["Description"] = ACTING
    rules = write(tmp_path / "rules.json", json.dumps(document).encode())
    logs = sorted(SCENARIOS.glob("rules-*.log"))
    outcome = run("explain", "--rules", rules, "--output", output, *logs)
    assert (outcome.code, is_shown_as_text(outcome)) == (0, True)
    assert "<script" not in outcome.out or output in {"table", "csv", "email"}
    assert "\nflowverdict: all" not in outcome.out


def test_object_key_does_not_control_a_terminal(run: Runner, tmp_path: Path) -> None:
    detail = {"bucket": {"name": "flow-logs"}, "object": {"key": ACTING}}
    event = write(
        tmp_path / "event.json",
        json.dumps(
            {"detail-type": "Object Created", "source": "aws.s3", "detail": detail}
        ).encode(),
    )
    replayed = run("replay", event)
    assert (replayed.code, is_shown_as_text(replayed)) == (1, True)
    assert "no such file: " in replayed.err
