"""Help and usage of all commands, and the failures of ``replay``."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from flowverdict_cli import commands
from flowverdict_cli.options import EXIT_USAGE
from tests.helpers.command import write

if TYPE_CHECKING:
    from tests.helpers.command import Runner

EVENTS = Path(__file__).parents[2] / "events"


# --- usage and help


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["explain"], "Missing argument 'FILE...'"),
        (["replay"], "Missing argument 'EVENT.json...'"),
        (["explain", "--output", "yaml", "x"], "Invalid value for '--output'"),
        (["explain", "--no-such-option", "x"], "No such option"),
        (["no-such-command"], "No such command 'no-such-command'"),
    ],
)
def test_wrong_usage_is_printed_to_standard_error_with_exit_2(
    run: Runner, arguments: list[str], complaint: str
) -> None:
    outcome = run(*arguments)
    assert (outcome.code, outcome.out) == (2, "")
    assert complaint in outcome.err
    assert "Traceback" not in outcome.err


@pytest.mark.parametrize(
    ("command", "mentioned"),
    [
        ([], ["explain", "replay", "demo", "--version", "--help"]),
        (
            ["explain"],
            [
                "FILE...",
                "--output FORM",
                "terraform: the fixes.",
                "default: table",
                "standard input",
                "Exit status",
                "--help",
            ],
        ),
        (
            ["replay"],
            [
                "EVENT.json...",
                "--objects",
                "--log-format",
                "--output",
                "amazon-q",
                "--slack-webhook",
                "--later",
                "--verbose",
                "Exit status",
                "--help",
            ],
        ),
        (["demo"], ["sample events", "--help"]),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_mentions_arguments_and_options(
    run: Runner, command: list[str], mentioned: list[str], option: str
) -> None:
    outcome = run(*command, option)
    assert (outcome.code, outcome.err) == (0, "")
    assert [words for words in mentioned if words not in outcome.out] == []


@pytest.mark.parametrize("command", [[], ["explain"], ["replay"]])
def test_examples_in_help_stand_on_lines_of_their_own(run: Runner, command: list[str]) -> None:
    out = run(*command, "--help").out
    assert "\\b" not in out
    assert len(re.findall(r"^ +flowverdict (?:explain|replay) ", out, re.MULTILINE)) >= 2


# --- replay


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file or directory"),
        (b"", "not an event: not JSON"),
        (b"hello", "not an event: not JSON"),
        (b"\xff\xfe\x00", "not an event: not JSON"),
        (b"[]", "not an event: a JSON list"),
        (b'"text"', "not an event: a JSON str"),
        (b"null", "not an event: a JSON NoneType"),
    ],
)
def test_replay_of_a_file_that_is_not_an_event_is_one_line_and_exit_2(
    run: Runner, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "event.json"
    if content is not None:
        path.write_bytes(content)
    outcome = run("replay", path)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err.startswith(f"flowverdict: {path}: {reason}")
    assert outcome.err.count("\n") == 1


def test_replay_of_a_directory_is_one_line_and_exit_2(run: Runner, tmp_path: Path) -> None:
    outcome = run("replay", tmp_path)
    assert (outcome.code, outcome.out, outcome.err) == (
        2,
        "",
        f"flowverdict: {tmp_path}: is a directory\n",
    )


def test_replay_of_an_event_of_unknown_shape_is_one_line_and_exit_1(
    run: Runner, tmp_path: Path
) -> None:
    path = write(tmp_path / "event.json", b'{"hello": "world"}')
    outcome = run("replay", "--output", "json", path)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"flowverdict: {path}: an event of unknown shape")
    assert outcome.err.count("\n") == 1


def test_replay_of_records_that_are_not_objects_is_one_line_and_exit_1(
    run: Runner, tmp_path: Path
) -> None:
    outcome = run("replay", write(tmp_path / "event.json", b'{"Records": ["x"]}'))
    assert outcome.code == 1


@pytest.mark.slow
def test_replay_says_which_file_an_object_would_have_been(run: Runner) -> None:
    outcome = run("replay", str(EVENTS / "sqs-s3-partial-failure.json"))
    assert outcome.code == commands.EXIT_FAILED
    assert "NoSuchKey" in outcome.err
    assert f"no such file: {EVENTS / 'objects' / 'flow-logs-example'}" in outcome.err
    assert (
        run("replay", "--objects", "nowhere", str(EVENTS / "s3-object-created.json")).code
        == EXIT_USAGE
    )


def test_replay_in_a_format_that_fits_no_line_fails_and_says_so(run: Runner) -> None:
    outcome = run("replay", "--log-format", "default", str(EVENTS / "cloudwatch-logs.json"))
    assert outcome.code == commands.EXIT_FAILED
    assert "none of its 5 lines is a record of its format" in outcome.err


def test_replay_leaves_nothing_that_was_read_unmentioned(run: Runner) -> None:
    out = run("replay", str(EVENTS / "cloudwatch-logs.json")).out
    assert (
        out.splitlines()[0] == "cloudwatch-logs.json -> classify_cloudwatch_logs: "
        "2 accepted, 2 rejected, 1 NODATA records, 1 alert"
    )
    nothing = run("replay", str(EVENTS / "sqs-s3-test-event.json")).out
    assert nothing == "sqs-s3-test-event.json -> classify_s3: no records, 0 alerts\n"
