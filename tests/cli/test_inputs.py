"""Where ``explain`` reads from: files and their copies, folders, patterns, S3, log groups."""

from __future__ import annotations

import gzip
import io
import json
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

import boto3
import pytest

from flowverdict.core.errors import FlowVerdictError
from flowverdict_cli import cloud_inputs
from flowverdict_cli.backfill_listing import Location
from flowverdict_cli.input_search import find
from flowverdict_cli.inputs import Contents, Input, Period, moment
from flowverdict_cli.local_aws import REGION
from tests.helpers.command import HEADER, PING, PONG, RDP, SSH, SUMMARY, write

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path
    from typing import BinaryIO

    from flowverdict_cli.local_aws import LocalAws
    from tests.helpers.command import Runner

BUCKET = "flow-logs"
ROOT = f"AWSLogs/123456789012/vpcflowlogs/{REGION}"


def file_name(day: int, hour: int) -> str:
    """Return the name that AWS gives a file of an hour in November 2026."""
    return f"123456789012_vpcflowlogs_{REGION}_fl-0a1b_202611{day:02}T{hour:02}00Z_4f2a.log.gz"


def at(line: bytes, time: datetime) -> bytes:
    """Return a record that begins at a time."""
    start = int(time.timestamp())
    return line.replace(b" 1418530010 1418530070 ", b" %d %d " % (start, start + 60))


# --- files


def test_a_folder_is_read_with_its_folders_but_for_hidden_and_foreign_files(
    run: Runner, tmp_path: Path
) -> None:
    trail = tmp_path / "AWSLogs" / "123456789012" / "CloudTrail" / REGION
    for folder in (tmp_path / "a" / "b", tmp_path / ".git", trail):
        folder.mkdir(parents=True)
    write(tmp_path / "1.log", HEADER, SSH)
    write(tmp_path / "a" / "b" / "2.log", HEADER, RDP)
    write(tmp_path / ".git" / "config", b"no flow log")
    write(trail / "x.json.gz", b"no flow log")
    outcome = run("explain", tmp_path)
    assert outcome.code == 0
    assert outcome.err == f"{tmp_path}: 1 file of other kinds passed over\n{SUMMARY}"


def test_a_pattern_is_expanded_and_one_that_fits_nothing_is_an_error(
    run: Runner, tmp_path: Path
) -> None:
    for name, line in (("1.log", SSH), ("2.log", RDP)):
        write(tmp_path / name, HEADER, line)
    assert run("explain", tmp_path / "*.log").err == SUMMARY
    outcome = run("explain", tmp_path / "*.gz")
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == f"flowverdict: {tmp_path}/*.gz: no file has a name of this pattern\n"


def test_an_empty_folder_is_no_error(run: Runner, tmp_path: Path) -> None:
    outcome = run("explain", tmp_path)
    assert (outcome.code, outcome.out) == (0, "")
    assert outcome.err.splitlines()[0] == f"{tmp_path}: no flow log file there"


def test_a_file_and_its_packed_copy_are_read_once(run: Runner, tmp_path: Path) -> None:
    content = HEADER + SSH + RDP
    plain = write(tmp_path / "flow.log", content)
    packed = write(tmp_path / "flow.log.gz", gzip.compress(content))
    other = write(tmp_path / "other.log", HEADER, PING, PONG)
    outcome = run("explain", plain, packed, other)
    note, summary = outcome.err.splitlines()
    assert outcome.code == 0
    assert note == f"{packed}: the same content as {plain}, read once"
    assert summary.startswith("4 records: 2 accepted, 2 rejected")


def test_files_that_only_begin_alike_are_both_read(run: Runner, tmp_path: Path) -> None:
    begin = HEADER + SSH * 2_000
    files = [write(tmp_path / f"{n}.log", begin, line) for n, line in enumerate((RDP, PONG, RDP))]
    outcome = run("explain", *files)
    note, summary = outcome.err.splitlines()
    assert note == f"{files[2]}: the same content as {files[0]}, read once"
    assert summary.startswith("4,002 records: 4,000 accepted, 2 rejected")


def test_files_of_quiet_hours_which_have_a_header_alone_are_no_copies(
    run: Runner, tmp_path: Path
) -> None:
    for name in ("1.log", "2.log"):
        write(tmp_path / name, HEADER)
    outcome = run("explain", tmp_path)
    assert (outcome.code, outcome.err) == (0, "0 records: 0 accepted, 0 rejected in 0 flows\n")


def test_contents_that_differ_are_not_opened_again() -> None:
    opened: list[str] = []

    def opener(name: str, content: bytes) -> AbstractContextManager[BinaryIO]:
        opened.append(name)
        return io.BytesIO(content)

    contents = Contents()
    for name in ("one", "two"):
        content = f"{name}\nand more\n".encode()
        found = Input(name=name, open=partial(opener, name, content))
        earlier, stream = contents.seen(found, io.BytesIO(content))
        assert (earlier, stream.read(100)) == (None, content)
    assert opened == []


def test_since_and_until_select_files_by_the_time_in_their_names(
    run: Runner, tmp_path: Path
) -> None:
    for hour, line in ((10, SSH), (11, RDP), (12, PING)):
        write(tmp_path / file_name(22, hour), gzip.compress(HEADER + line))
    write(tmp_path / "pasted.log", PONG)
    outcome = run("explain", "--since", "2026-11-22T11:00", "--until", "2026-11-22T12:00", tmp_path)
    note, summary = outcome.err.splitlines()
    assert note == f"{tmp_path}: 2 files outside --since and --until"
    assert summary.startswith("2 records: 0 accepted, 2 rejected")


@pytest.mark.parametrize("text", ["yesterday", "2026-13-01"])
def test_a_time_that_is_none_is_refused(run: Runner, tmp_path: Path, text: str) -> None:
    outcome = run("explain", "--since", text, tmp_path)
    assert (outcome.code, outcome.err) == (
        2,
        f"flowverdict: '{text}' is not a time such as 2026-11-01 or 2026-11-01T12:00:00Z\n",
    )


def test_log_format_refuses_a_misspelt_field_and_knows_auto(run: Runner, tmp_path: Path) -> None:
    line = write(tmp_path / "x.log", b"10.0.0.1 10.0.0.2 REJECT\n")
    outcome = run("explain", "--log-format", "srcaddr dstadr action", line)
    assert (outcome.code, outcome.err) == (
        2,
        "flowverdict: 'dstadr' is not a field name; dstaddr is the nearest\n",
    )
    assert run("explain", "--log-format", "srcaddr dstaddr action", line).code == 0
    assert run("explain", "--log-format", "auto", write(tmp_path / "d.log", SSH, RDP)).code == 0


# --- S3


@pytest.fixture
def bucket(aws: LocalAws) -> None:  # noqa: ARG001 - AWS on moto
    """Two days of flow logs, beside a trail's folder."""
    s3 = boto3.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": REGION})
    for day, hour, line in ((21, 10, SSH), (22, 10, SSH), (22, 11, RDP)):
        s3.put_object(
            Bucket=BUCKET,
            Key=f"{ROOT}/2026/11/{day}/{file_name(day, hour)}",
            Body=gzip.compress(HEADER + at(line, datetime(2026, 11, day, hour, tzinfo=UTC))),
        )
    s3.put_object(
        Bucket=BUCKET, Key=f"AWSLogs/123456789012/CloudTrail/{REGION}/2026/11/22/x.gz", Body=b"x"
    )


def listed_prefixes(period: Period, prefix: str = "AWSLogs/") -> tuple[list[str], list[Input]]:
    """Return the prefixes that are listed, and the inputs."""
    client = boto3.client("s3")
    prefixes: list[str] = []
    client.meta.events.register(
        "provide-client-params.s3.ListObjectsV2",
        lambda params, **_: prefixes.append(params["Prefix"]),
    )
    inputs, _ = cloud_inputs.objects_in(client, Location(bucket=BUCKET, prefix=prefix), period)
    return prefixes, inputs


@pytest.mark.usefixtures("bucket")
def test_a_prefix_is_read_and_only_the_folders_of_the_period_are_listed(run: Runner) -> None:
    outcome = run("explain", "--since", "2026-11-22T02:00", f"s3://{BUCKET}/AWSLogs/")
    assert (outcome.code, outcome.err) == (0, SUMMARY)
    prefixes, inputs = listed_prefixes(Period(since=moment("2026-11-22T11:00")))
    assert [found.name.rpartition("/")[2] for found in inputs] == [file_name(22, 11)]
    assert f"{ROOT}/2026/11/22/" in prefixes
    assert f"{ROOT}/2026/11/21/" not in prefixes
    assert not any("CloudTrail/" in prefix for prefix in prefixes)


@pytest.mark.usefixtures("bucket")
def test_a_prefix_without_objects_is_no_error_and_a_missing_bucket_is(run: Runner) -> None:
    empty = run("explain", f"s3://{BUCKET}/AWSLogs/", "--until", "2026-01-01")
    assert (empty.code, empty.out) == (0, "")
    assert "no flow log file there" in empty.err
    missing = run("explain", "s3://another-bucket/AWSLogs/")
    assert (missing.code, missing.out) == (2, "")
    assert missing.err == "flowverdict: s3://another-bucket/AWSLogs/: no such bucket\n"


@pytest.mark.usefixtures("bucket")
def test_more_objects_or_keys_than_are_read_end_the_listing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(cloud_inputs, "MAX_OBJECTS", 2)
    with pytest.raises(FlowVerdictError, match="more than 2 flow log files: give a longer prefix"):
        listed_prefixes(Period())
    monkeypatch.setattr(cloud_inputs, "MAX_KEYS", 3)
    with pytest.raises(FlowVerdictError, match="more than 3 keys: give a longer prefix"):
        listed_prefixes(Period())


class _EndlessPrefix:
    """An S3 whose prefix has a million keys of another service, and more."""

    def __init__(self, *, interrupted_at: int | None = None) -> None:
        self.pages = 0
        self._interrupted_at = interrupted_at

    def get_paginator(self, _: str) -> _EndlessPrefix:
        return self

    def paginate(self, **_: str) -> Iterator[dict[str, object]]:
        while True:
            if self.pages == self._interrupted_at:
                raise KeyboardInterrupt
            self.pages += 1
            yield {"Contents": [{"Key": f"x{self.pages}.parquet.crc", "Size": 1}] * 1_000}


@pytest.mark.slow
def test_a_prefix_of_a_million_keys_is_listed_to_the_bound(
    run: Runner, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = _EndlessPrefix()
    monkeypatch.setattr(boto3, "client", lambda *_, **__: endless)
    monkeypatch.setattr(cloud_inputs, "S3Objects", lambda client: client)
    monkeypatch.setattr(cloud_inputs, "why_foreign", lambda _: "another service's")
    outcome = run("explain", "s3://flow-logs/")
    assert (outcome.code, endless.pages) == (2, 1_001)
    assert outcome.err == (
        "flowverdict: s3://flow-logs/: more than 1,000,000 keys: give a longer prefix, or --since "
        "and --until\n"
    )


def test_a_long_listing_can_be_interrupted(run: Runner, monkeypatch: pytest.MonkeyPatch) -> None:
    endless = _EndlessPrefix(interrupted_at=3)
    monkeypatch.setattr(boto3, "client", lambda *_, **__: endless)
    monkeypatch.setattr(cloud_inputs, "S3Objects", lambda client: client)
    monkeypatch.setattr(cloud_inputs, "why_foreign", lambda _: "another service's")
    outcome = run("explain", "s3://flow-logs/")
    assert (outcome.code, outcome.out, outcome.err.strip()) == (130, "", "")


@pytest.mark.usefixtures("bucket")
def test_one_broken_object_is_named_and_the_others_are_answered(run: Runner) -> None:
    key = f"{ROOT}/2026/11/22/{file_name(22, 12)}"
    boto3.client("s3").put_object(Bucket=BUCKET, Key=key, Body=gzip.compress(HEADER + RDP)[:-9])
    outcome = run("explain", f"s3://{BUCKET}/{ROOT}/2026/11/22/")
    error, summary = outcome.err.splitlines()
    assert outcome.code == 3
    assert error.startswith(f"flowverdict: s3://{BUCKET}/{key}: truncated gzip")
    assert summary + "\n" == SUMMARY


@pytest.mark.parametrize(
    ("folder", "may"),
    [
        ("x/2026/11/", True),
        ("x/2026/10/", False),
        ("x/2025/", False),
        ("x/2026/", True),
        ("x/year=2026/month=11/day=22/", True),
        ("x/year=2026/month=11/day=20/", False),
        ("x/2026/11/22/11/", True),
        ("x/2026/11/22/04/", False),
        ("x/2026/99/", True),
        ("x/fl-0a1b/", True),
    ],
)
def test_folders_of_a_time_outside_the_period_cannot_hold_its_files(folder: str, may: bool) -> None:  # noqa: FBT001 - a parameter
    period = Period(
        since=datetime(2026, 11, 22, 10, tzinfo=UTC), until=datetime(2026, 11, 22, 12, tzinfo=UTC)
    )
    assert cloud_inputs._may_hold(folder, period) is may  # noqa: SLF001 - seen in no output


# --- CloudWatch Logs


@pytest.fixture
def log_group(aws: LocalAws) -> str:  # noqa: ARG001 - AWS on moto
    """A log group with two records, an hour apart."""
    logs = boto3.client("logs")
    logs.create_log_group(logGroupName="vpc-flow-logs")
    logs.create_log_stream(logGroupName="vpc-flow-logs", logStreamName="eni-1-all")
    now = datetime.now(UTC)
    logs.put_log_events(
        logGroupName="vpc-flow-logs",
        logStreamName="eni-1-all",
        logEvents=[
            {
                "timestamp": int(time.timestamp() * 1_000),
                "message": at(line, time).decode().strip(),
            }
            for line, time in (
                (SSH, now - timedelta(hours=2)),
                (RDP, now - timedelta(minutes=1)),
            )
        ],
    )
    return "cloudwatch:vpc-flow-logs"


def test_the_last_hour_of_a_log_group_is_read(run: Runner, log_group: str) -> None:
    outcome = run("explain", "--output", "json", log_group)
    assert outcome.code == 0
    assert [json.loads(line)["dstport"] for line in outcome.out.splitlines()] == [3389]
    assert outcome.err.splitlines()[-1].startswith("1 record: 0 accepted, 1 rejected")
    outcome = run("explain", "--since", "2026-01-01", log_group)
    assert outcome.err.splitlines()[-1] == SUMMARY.strip()


def test_a_log_group_without_events_of_the_time_is_no_error(run: Runner, log_group: str) -> None:
    outcome = run("explain", "--since", "2026-01-01", "--until", "2026-01-02", log_group)
    assert (outcome.code, outcome.out) == (0, "")
    assert f"{log_group}: no records of that time" in outcome.err


@pytest.mark.usefixtures("aws")
def test_a_missing_log_group_is_named(run: Runner) -> None:
    outcome = run("explain", "cloudwatch:nothing")
    assert outcome.code == 2
    assert outcome.err.splitlines()[-1] == "flowverdict: cloudwatch:nothing: no such log group"


@pytest.mark.usefixtures("aws")
def test_a_log_group_without_a_name_is_refused() -> None:
    with pytest.raises(FlowVerdictError, match="a log group's name is needed"):
        find(["cloudwatch:"])
