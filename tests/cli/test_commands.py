"""The command as a person or a script meets it: what it prints where, and how it ends."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from flowverdict_cli import commands

if TYPE_CHECKING:
    from collections.abc import Iterable

HEADER = b"version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end action log-status\n"
SSH = b"2 123456789010 eni-1235b8ca123456789 172.31.16.139 172.31.16.21 20641 22 6 20 4249 1418530010 1418530070 ACCEPT OK\n"
RDP = b"2 123456789010 eni-1235b8ca123456789 172.31.9.69 172.31.9.12 49761 3389 6 20 4249 1418530010 1418530070 REJECT OK\n"
PING = b"2 123456789010 eni-1235b8ca123456789 203.0.113.12 172.31.16.139 0 0 1 4 336 1432917027 1432917142 ACCEPT OK\n"
PONG = b"2 123456789010 eni-1235b8ca123456789 172.31.16.139 203.0.113.12 0 0 1 4 336 1432917094 1432917142 REJECT OK\n"
SUMMARY = "2 records: 1 accepted, 1 rejected in 1 flow\n"
# What `flowverdict` runs, by this very interpreter.
COMMAND = [sys.executable, "-c", "from flowverdict_cli.commands import run; run()"]
TIMEOUT = 60


class Outcome(Protocol):
    """What a run of the command came to."""

    code: int
    out: str
    err: str


class Runner:
    """Runs the command in this process, as its entry point does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys
        self.code = 0
        self.out = self.err = ""

    def __call__(self, *arguments: str | Path, stdin: bytes = b"") -> Outcome:
        self._monkeypatch.setattr(sys, "argv", ["flowverdict", *map(str, arguments)])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        try:
            commands.run()
            self.code = 0
        except SystemExit as ended:
            self.code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        self.out, self.err = self._capsys.readouterr()
        return self


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Runner:
    """Give the command."""
    return Runner(monkeypatch, capsys)


def write(path: Path, *lines: bytes) -> Path:
    """Write a file of these lines."""
    path.write_bytes(b"".join(lines))
    return path


def verdicts(out: str) -> list[tuple[str, str]]:
    """Give leg and verdict of each line of JSON."""
    return [(line["leg"], line["verdict"]) for line in map(json.loads, out.splitlines())]


# --- explain ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [HEADER + PING + PONG, gzip.compress(HEADER + PING + PONG), PING + PONG],
    ids=["text", "gzip", "pasted"],
)
@pytest.mark.parametrize("source", ["file", "stdin"])
def test_explain_reads_text_gzip_and_pasted_lines_from_a_file_or_standard_input(
    run: Runner, tmp_path: Path, content: bytes, source: str
) -> None:
    path = write(tmp_path / "some.name", content)
    outcome = (
        run("explain", "--output", "json", path)
        if source == "file"
        else run("explain", "--output", "json", "-", stdin=content)
    )
    assert outcome.code == 0
    assert verdicts(outcome.out) == [("response", "network-acl")]
    assert outcome.err == SUMMARY


def test_explain_shows_a_table_unless_told_otherwise(run: Runner, tmp_path: Path) -> None:
    outcome = run("explain", write(tmp_path / "flow.log", HEADER, SSH, RDP))
    assert outcome.code == 0
    assert "TCP 172.31.9.69:49761 -> 172.31.9.12:3389" in outcome.out
    assert "2014-12-14 04:06:50" in outcome.out
    assert outcome.err == SUMMARY


def test_explain_gives_one_object_a_line_for_each_rejected_flow(
    run: Runner, tmp_path: Path
) -> None:
    other = RDP.replace(b"3389", b"3390")
    outcome = run(
        "explain", "--output", "json", write(tmp_path / "flow.log", HEADER, RDP, RDP, SSH, other)
    )
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert [(line["dstport"], line["records"]) for line in lines] == [(3389, 2), (3390, 1)]


def test_of_a_flood_explain_tells_some_flows_and_what_the_others_are_together(
    run: Runner, tmp_path: Path
) -> None:
    lines = [
        RDP.replace(b"49761", b"%d" % port) for port in range(40_000, 42_000)
    ]  # enough to be read by column
    small, large = (write(tmp_path / f"{many}.log", HEADER, *lines[:many]) for many in (30, 2_000))
    for path, many in ((small, 30), (large, 2_000)):
        outcome = run("explain", "--output", "json", "--most", "20", path)
        told = [json.loads(line) for line in outcome.out.splitlines()]
        assert len(told) == 20
        assert outcome.err == (
            f"eni-1235b8ca123456789: {many - 20:,} further rejected records, counted together: "
            f"TCP to port 3389: {many - 20:,} records\n"
            f"{many:,} records: 0 accepted, {many:,} rejected in 20 flows and more, counted together\n"
        )
        assert len(run("explain", "--output", "json", "--most", "0", path).out.splitlines()) == many


def test_of_a_flood_at_many_interfaces_the_ten_with_most_are_named(
    run: Runner, tmp_path: Path
) -> None:
    names = [b"eni-%d" % number for number in range(13) for _ in range(number + 2)]
    lines = [
        RDP.replace(b"eni-1235b8ca123456789", name).replace(b"49761", b"%d" % place)
        for place, name in enumerate(names)
    ]
    told = run(
        "explain", "--output", "json", "--most", "1", write(tmp_path / "flow.log", HEADER, *lines)
    ).err.splitlines()
    assert len(told) == 12
    assert (
        told[11]
        == f"{len(names)} records: 0 accepted, {len(names)} rejected in 1 flow and more, counted together"
    )
    assert re.fullmatch(r"3 further interfaces: \d+ such records", told[10])
    named = [int(re.fullmatch(r"eni-\d+: (\d+) further .*", line)[1]) for line in told[:10]]  # type: ignore[index]
    assert named == sorted(named, reverse=True)


def test_explain_judges_all_files_together(run: Runner, tmp_path: Path) -> None:
    request, reply = (
        write(tmp_path / "1.log", HEADER, PING),
        write(tmp_path / "2.log", HEADER, PONG),
    )
    assert verdicts(run("explain", "--output", "json", reply, request).out) == [
        ("response", "network-acl")
    ]
    assert verdicts(run("explain", "--output", "json", reply).out) != [("response", "network-acl")]


@pytest.mark.parametrize("output", ["json", "table"])
def test_explain_prints_nothing_to_standard_output_where_nothing_was_rejected(
    run: Runner, tmp_path: Path, output: str
) -> None:
    outcome = run("explain", "--output", output, write(tmp_path / "flow.log", HEADER, SSH))
    assert (outcome.code, outcome.out, outcome.err) == (
        0,
        "",
        "1 record: 1 accepted, 0 rejected in 0 flows\n",
    )


def test_explain_tells_malformed_lines_and_unknown_fields_on_standard_error(
    run: Runner, tmp_path: Path
) -> None:
    path = write(
        tmp_path / "flow.log",
        HEADER.replace(b"log-status", b"log-status tomorrows-field"),
        b"nonsense\n",
    )
    outcome = run("explain", "--output", "json", path)
    assert (outcome.code, outcome.out) == (0, "")
    sample, unknown, summary = outcome.err.splitlines()
    assert re.fullmatch(
        rf"{re.escape(str(path))}: line \d: field-count: 1 fields, the format has 15", sample
    )
    assert unknown == f"{path}: unknown fields, passed over: tomorrows-field"
    assert summary == "1 record: 0 accepted, 0 rejected in 0 flows, 1 malformed"


NEITHER = "not a VPC flow log: its first line is neither a header nor a record"
NOT_READABLE: Iterable[tuple[str, bytes | None, str]] = [
    ("missing.log", None, "no such file or directory"),
    ("", None, "is a directory"),
    ("picture.png", b"\x89PNG\r\n\x1a\n", NEITHER),
    ("empty.log", b"", "empty, so not a VPC flow log"),
    (
        "table.parquet",
        b"PAR1....PAR1",
        "broken Parquet, or too large: Footer length error in the file",
    ),
    (
        "cut.log.gz",
        gzip.compress(HEADER + RDP)[:-9],
        "truncated gzip: it ends before its end-of-stream marker",
    ),
    (
        "misspelt.log",
        HEADER.replace(b"action", b"acton") + RDP,
        "not a VPC flow log: its header is wrong: it lacks action and has words that name no field",
    ),
]


@pytest.mark.parametrize(("name", "content", "reason"), NOT_READABLE)
def test_explain_of_what_is_no_flow_log_is_one_line_and_exit_2(
    run: Runner, tmp_path: Path, name: str, content: bytes | None, reason: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    good = write(tmp_path / "good.log", HEADER, RDP)
    outcome = run("explain", good, path)
    assert (outcome.code, outcome.out, outcome.err) == (2, "", f"flowverdict: {path}: {reason}\n")


def test_explain_names_standard_input_where_that_is_no_flow_log(run: Runner) -> None:
    outcome = run("explain", "-", stdin=b"hello\n")
    assert outcome.code == 2
    assert outcome.err.startswith("flowverdict: standard input: not a VPC flow log")


# --- usage ------------------------------------------------------------------------------------------------------------


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
def test_wrong_usage_is_told_on_standard_error_with_exit_2(
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
                "--output [table|json]",
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


# --- replay -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "no such file or directory"),
        (b"", "not JSON, so no event"),
        (b"hello", "not JSON, so no event"),
        (b"\xff\xfe\x00", "not JSON, so no event"),
        (b"[]", "a JSON list, so no event"),
        (b'"text"', "a JSON str, so no event"),
        (b"null", "a JSON NoneType, so no event"),
    ],
)
def test_replay_of_what_is_no_event_is_one_line_and_exit_2(
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


def test_replay_of_records_that_are_no_objects_is_one_line_and_exit_1(
    run: Runner, tmp_path: Path
) -> None:
    outcome = run("replay", write(tmp_path / "event.json", b'{"Records": ["x"]}'))
    assert outcome.code == 1


# --- terminals, pipes, signals ----------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """Give the caller's environment with a terminal that can show a bar."""
    return os.environ | {"TERM": "xterm-256color", "COLUMNS": "120"}


def explained_on_terminal(path: Path) -> str:
    """Run ``explain`` with standard error on a terminal; give what was shown there."""
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
    """Give a file of a little more than 1 MB."""
    return write(
        tmp_path_factory.mktemp("long") / "long.log", HEADER, *[RDP] * (1_000_000 // len(RDP) + 1)
    )


def test_progress_is_shown_on_a_terminal_for_a_long_file(long_file: Path) -> None:
    shown = explained_on_terminal(long_file)
    assert "long.log" in shown
    assert "MB" in shown
    assert "rejected in 1 flow" in shown


def test_no_progress_is_shown_on_a_terminal_for_a_short_file(tmp_path: Path) -> None:
    assert explained_on_terminal(
        write(tmp_path / "short.log", HEADER, SSH, RDP)
    ) == SUMMARY.replace("\n", "\r\n")


def test_no_progress_is_shown_where_standard_error_is_no_terminal(
    run: Runner, long_file: Path
) -> None:
    outcome = run("explain", long_file)
    assert outcome.code == 0
    assert re.fullmatch(r"[\d,]+ records: 0 accepted, [\d,]+ rejected in 1 flow\n", outcome.err)


def explained_into_closed_pipe(path: Path, output: str) -> subprocess.CompletedProcess[bytes]:
    """Run ``explain`` with a standard output that no one reads any more."""
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
    """Give the outcome for each output."""
    return explained_into_closed_pipe(
        write(tmp_path_factory.mktemp("pipe") / "flow.log", HEADER, RDP), request.param
    )


def test_closed_pipe_is_quiet(closed_pipe: subprocess.CompletedProcess[bytes]) -> None:
    assert closed_pipe.stderr == b""
    assert closed_pipe.returncode != 0


def test_interrupt_is_quiet_and_ends_with_130() -> None:
    with subprocess.Popen(  # noqa: S603 - ours
        [*COMMAND, "explain", "-"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # Tests that run in a shell's background are given a SIGINT that is ignored, and hand that on.
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no threads here
    ) as process:
        assert process.stdin is not None
        # More than a pipe and the command's buffer hold: once this is written the command is reading records.
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


FULL = Path("/dev/full")


@pytest.mark.skipif(not FULL.exists(), reason="Linux has a device that is always full")
def test_full_disk_is_told_in_one_line(tmp_path: Path) -> None:
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


# --- explain with the rules -------------------------------------------------------------------------------------------

SCENARIOS = Path(__file__).parents[1] / "scenarios"
EVENTS = Path(__file__).parents[2] / "events"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, "No such file or directory"),
        (b"hello", "not JSON"),
        (b"[]", "not a JSON object"),
        (b'{"NetworkAcls": {}}', "NetworkAcls"),
        (
            b'{"Subnets": [{"SubnetId": "subnet-1", "CidrBlock": "10.0.0/8"}]}',
            "CidrBlock",
        ),
    ],
)
def test_rules_of_the_wrong_shape_are_one_line_and_exit_2(
    run: Runner, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    config = tmp_path / "rules.json"
    if content is not None:
        config.write_bytes(content)
    outcome = run("explain", "--config", str(config), str(SCENARIOS / "inbound-request.log"))
    assert outcome.code == commands.EXIT_USAGE
    assert (outcome.err.count("\n"), outcome.out) == (1, "")
    assert str(config) in outcome.err
    assert reason in outcome.err


def test_an_empty_configuration_knows_nothing_and_the_verdict_stands(
    run: Runner, tmp_path: Path
) -> None:
    config = tmp_path / "rules.json"
    config.write_text("{}")
    outcome = run(
        "explain",
        "--output",
        "json",
        "--config",
        str(config),
        str(SCENARIOS / "inbound-request.log"),
    )
    verdict = json.loads(outcome.out)
    assert (outcome.code, verdict["verdict"], verdict["remedy"]) == (
        0,
        "network-acl-or-security-group",
        None,
    )
    assert verdict["evidence"][-1]["kind"] == "rules-not-read"


def test_lines_without_a_header_are_read_in_the_format_that_is_given(
    run: Runner, tmp_path: Path
) -> None:
    lines = tmp_path / "lines.log"
    lines.write_text("REJECT 443 50122 6 10.0.0.2 10.0.0.1 eni-1\n")
    for fields in (
        "action dstport srcport protocol dstaddr srcaddr interface-id",
        "${action} ${dstport} ${srcport} ${protocol} ${dstaddr} ${srcaddr} ${interface-id}",
    ):
        outcome = run("explain", "--output", "json", "--log-format", fields, str(lines))
        assert (outcome.code, json.loads(outcome.out)["dstport"]) == (0, 443)
    assert run("explain", "--log-format", "default", str(lines)).code == commands.EXIT_USAGE
    wrong = run("explain", "--log-format", "made-up", str(lines))
    assert (wrong.code, wrong.err) == (
        commands.EXIT_USAGE,
        "flowverdict: the format names no flow log field\n",
    )


def test_the_table_names_the_rule_and_the_fix_stands_below_it_in_one_line(run: Runner) -> None:
    out = run(
        "explain",
        "--config",
        str(SCENARIOS / "shop.config.json"),
        str(SCENARIOS / "rules-inbound-request.log"),
    ).out
    row, command = (
        next(line for line in out.splitlines() if text in line)
        for text in ("inbound request", "aws ec2")
    )
    assert "no inbound rule of sg-0ccc0000000000003 lets it in" in row
    assert command.startswith(
        "  aws ec2 authorize-security-group-ingress --region eu-west-1 --group-id sg-0ccc0000000000003 "
    )


def test_replay_says_which_file_an_object_would_have_been(run: Runner) -> None:
    outcome = run("replay", str(EVENTS / "sqs-s3-partial-failure.json"))
    assert outcome.code == commands.EXIT_FAILED
    assert "NoSuchKey" in outcome.err
    assert f"no such file: {EVENTS / 'objects' / 'flow-logs-example'}" in outcome.err
    assert (
        run("replay", "--objects", "nowhere", str(EVENTS / "s3-object-created.json")).code
        == commands.EXIT_USAGE
    )


def test_replay_in_a_format_that_fits_no_line_fails_and_says_so(run: Runner) -> None:
    outcome = run("replay", "--log-format", "default", str(EVENTS / "cloudwatch-logs.json"))
    assert outcome.code == commands.EXIT_FAILED
    assert "none of its 5 lines is a record of its format" in outcome.err


def test_replay_leaves_nothing_that_was_read_unmentioned(run: Runner) -> None:
    out = run("replay", str(EVENTS / "cloudwatch-logs.json")).out
    assert (
        out.splitlines()[0]
        == "cloudwatch-logs.json -> classify_cloudwatch_logs: 2 accepted, 2 rejected, 1 NODATA records, 1 alert"
    )
    nothing = run("replay", str(EVENTS / "sqs-s3-test-event.json")).out
    assert nothing == "sqs-s3-test-event.json -> classify_s3: no records, 0 alerts\n"


# --- names that would act on a terminal ---------------------------------------------------------------------------------

ACTING = "a\x1b[2J\x9b2J\u202eb\nflowverdict: all is well"


def is_shown_as_text(outcome: Outcome) -> bool:
    return (
        all(line.isprintable() for line in f"{outcome.out}{outcome.err}".split("\n"))
        and "\nflowverdict: all" not in outcome.err
    )


def test_a_files_name_does_nothing_to_a_terminal(run: Runner, tmp_path: Path) -> None:
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


def test_an_objects_key_does_nothing_to_a_terminal(run: Runner, tmp_path: Path) -> None:
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
