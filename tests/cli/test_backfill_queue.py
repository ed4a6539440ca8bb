"""The parts of a backfill: the selection of objects, the message, the rate and the progress."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.errors import FlowVerdictError
from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.flowlog.s3_events import objects_in_message
from flowverdict.lifecycle.dynamodb_source_items import KEPT
from flowverdict_cli import backfill, commands
from flowverdict_cli.backfill_listing import HistoryObject, Location, Selection, Skipped, Tally
from flowverdict_cli.backfill_queue import (
    BATCH,
    CONFIGURATION_ID,
    Pace,
    Refusal,
    State,
    StateFile,
    Task,
    default_state_path,
    message,
)
from flowverdict_cli.inputs import moment

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/22/"
KEY = f"{FOLDER}123456789012_vpcflowlogs_eu-west-1_fl-0a1b_20261122T1200Z_4f2a.log.gz"
MODIFIED = datetime(2026, 11, 23, 8, 30, tzinfo=UTC)
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOSTILE = (
    "a+b c%2Bd=e&f;g?h#i",
    "year=2026/month=11/%41+%2541",
    "schlüssel/日本/🦊",
    "two\nlines\r\tand\x01control\x7f",
    "'quoted' \"twice\" \\back\\ ~*()!$,:@",
    " leading and trailing ",
    "//double//slashes/",
    "%",
    "+",
)


def one(key: str = KEY, size: int = 10, storage_class: str = "STANDARD") -> HistoryObject:
    return HistoryObject(key=key, size=size, modified=MODIFIED, storage_class=storage_class)


# --- which objects


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (one(), None),
        (one(f"{FOLDER}renamed.log"), None),
        (
            one("AWSLogs/123456789012/CloudTrail/eu-west-1/2026/11/22/trail.json.gz"),
            Skipped.NOT_A_FLOW_LOG,
        ),
        (one(FOLDER, size=0), Skipped.EMPTY),
        (one(KEY.replace(".log.gz", ".log.parquet")), None),
        (one(storage_class="GLACIER"), Skipped.ARCHIVED),
        (one(storage_class="DEEP_ARCHIVE"), Skipped.ARCHIVED),
        (one(storage_class="GLACIER_IR"), None),  # is read at once
    ],
)
def test_object_that_is_not_a_flow_log_is_skipped_with_a_reason(
    found: HistoryObject, reason: Skipped | None
) -> None:
    assert Selection().skips(found) == reason
    assert Selection(all_objects=True).skips(found) is None


@pytest.mark.parametrize(
    ("key", "at"),
    [
        (KEY, NOON),
        (f"{FOLDER}renamed.log", MODIFIED),
        (KEY.replace("20261122T1200Z", "20261399T9900Z"), MODIFIED),  # digits that are no time
        (
            f"copy_20200101T0000Z_/{FOLDER}renamed.log",
            MODIFIED,
        ),  # a folder's name is not the object's
    ],
)
def test_time_of_an_object_is_in_its_name_or_else_its_last_change(key: str, at: datetime) -> None:
    assert one(key).written_at == at


@pytest.mark.parametrize(
    ("since", "until", "wanted"),
    [
        (None, None, True),
        ("2026-11-22T12:00:00Z", None, True),
        ("2026-11-22T12:01:00Z", None, False),
        (None, "2026-11-22T12:01:00Z", True),
        (None, "2026-11-22T12:00:00Z", False),
        ("2026-11-22", "2026-11-23", True),
        ("2026-11-22T13:00:00+01:00", "2026-11-22T12:00:01", True),
    ],
)
def test_since_is_inclusive_and_until_is_exclusive(
    since: str | None, until: str | None, *, wanted: bool
) -> None:
    for all_objects in (False, True):
        selection = Selection(since=moment(since), until=moment(until), all_objects=all_objects)
        assert (selection.skips(one()) is None) == wanted


def test_all_objects_are_counted() -> None:
    tally = Tally()
    later = KEY.replace("T1200Z", "T1205Z")
    wanted = [*tally.select([one(), one("x"), one("y"), one(later, size=5)], Selection())]
    assert [found.key for found in wanted] == [KEY, later]
    assert (tally.objects, tally.size, tally.first, tally.last) == (
        2,
        15,
        NOON,
        NOON.replace(minute=5),
    )
    assert dict(tally.skipped) == {Skipped.NOT_A_FLOW_LOG: 2}


def test_flow_logs_are_counted_by_account_and_region() -> None:
    assert Tally().flow_logs_of_a_partition == 1
    tally = Tally()
    name = "AWSLogs/{0}_vpcflowlogs_eu-west-1_fl-{1}_20261122T12{2}Z_0a1b.log.gz"
    objects = [
        one(name.format(*told))
        for told in (("1" * 12, "a", "00"), ("1" * 12, "a", "05"), ("1" * 12, "b", "00"))
    ]
    assert len([*tally.select(objects, Selection())]) == 3
    assert tally.flow_logs_of_a_partition == 2
    assert len([*tally.select([one(name.format("2" * 12, "c", "00"))], Selection())]) == 1
    assert tally.flow_logs_of_a_partition == 1.5


@pytest.mark.parametrize(
    "url",
    [
        "",
        "bucket/prefix",
        "s3://",
        "s3://A",
        "s3:///prefix",
        "https://bucket.s3.amazonaws.com/x",
        "s3://b",
    ],
)
def test_text_that_is_not_a_location_is_an_error(url: str) -> None:
    with pytest.raises(FlowVerdictError, match="is not of the form s3://bucket/prefix"):
        Location.from_url(url)


@pytest.mark.parametrize(
    ("url", "bucket", "prefix"),
    [
        ("s3://my-logs", "my-logs", ""),
        ("s3://my-logs/", "my-logs", ""),
        ("s3://my.logs/a/b c\n=", "my.logs", "a/b c\n="),
    ],
)
def test_location_is_a_bucket_and_a_prefix(url: str, bucket: str, prefix: str) -> None:
    assert Location.from_url(url) == Location(bucket=bucket, prefix=prefix)


@pytest.mark.parametrize("text", ["yesterday", "", "2026-13-01", "22.11.2026"])
def test_text_that_is_not_a_time_is_an_error(text: str) -> None:
    with pytest.raises(
        FlowVerdictError, match="is not a time such as 2026-11-01 or 2026-11-01T12:00:00Z"
    ):
        moment(text)


# --- the message


@pytest.mark.parametrize("key", [KEY, *HOSTILE])
def test_the_function_reads_the_key_that_was_sent(key: str) -> None:
    text = message("flow-logs", one(key), "eu-west-1")
    assert objects_in_message(text) == (ObjectRef(bucket="flow-logs", key=key),)
    assert text.isascii()  # SQS takes no control characters
    assert text.isprintable()


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200))
def test_the_function_reads_any_key(key: str) -> None:
    assert objects_in_message(message("flow-logs", one(key), "eu-west-1")) == (
        ObjectRef(bucket="flow-logs", key=key),
    )


def test_the_message_is_what_s3_sends() -> None:
    (record,) = json.loads(message("flow-logs", one("year=2026/a b+c.log"), "eu-west-1"))["Records"]
    assert record == {
        "eventVersion": "2.1",
        "eventSource": "aws:s3",
        "awsRegion": "eu-west-1",
        "eventTime": "2026-11-23T08:30:00.000Z",
        "eventName": "ObjectCreated:Put",
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": CONFIGURATION_ID,
            "bucket": {"name": "flow-logs"},
            "object": {"key": "year%3D2026/a+b%2Bc.log", "size": 10},
        },
    }


# --- the rate


class Time:
    """Time that passes by sleeping, and by ``work``."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.slept = 0.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds
        self.slept += seconds


@given(
    st.floats(min_value=0.1, max_value=500),
    st.lists(
        st.tuples(st.integers(min_value=1, max_value=BATCH), st.floats(min_value=0, max_value=5)),
        min_size=1,
        max_size=30,
    ),
)
def test_no_period_exceeds_the_rate_by_more_than_one_batch(
    rate: float, calls: list[tuple[int, float]]
) -> None:
    time = Time()
    pace = Pace(rate, clock=time.clock, sleep=time.sleep)
    passed: list[tuple[float, int]] = [(time.now, 0)]
    for wanted, work in calls:
        count = min(wanted, pace.batch)
        pace.take(count)
        passed.append((time.now, count))
        time.now += work
    for first in range(len(passed)):
        for last in range(first, len(passed)):
            elapsed = passed[last][0] - passed[first][0]
            through = sum(count for _, count in passed[first + 1 : last + 1])
            assert through <= pace.batch + rate * elapsed + 1e-6
    assert (
        sum(count for _, count in passed) <= rate * (passed[-1][0] - passed[0][0]) + 1e-6
    )  # the pace starts without a saved batch


def test_rate_costs_only_waiting() -> None:
    time = Time()
    pace = Pace(50, clock=time.clock, sleep=time.sleep)
    for _ in range(100):
        pace.take(10)
    assert time.slept == pytest.approx(20)
    time.now += 60
    pace.take(10)
    assert time.slept == pytest.approx(20)  # the idle minute saved one batch
    pace.take(10)
    assert time.slept == pytest.approx(20.2)  # and not a second batch


@pytest.mark.parametrize(("rate", "batch"), [(0.2, 1), (1, 1), (3.9, 3), (10, 10), (5_000, 10)])
def test_a_slow_pace_takes_small_batches(rate: float, batch: int) -> None:
    assert Pace(rate).batch == batch


# --- the progress

TASK = Task(
    location=Location(bucket="flow-logs", prefix="AWSLogs/"),
    queue_url="https://sqs.eu-west-1.amazonaws.com/123456789012/flow-logs",
    selection=Selection(since=NOON),
)


def test_saved_state_is_loaded(tmp_path: Path) -> None:
    file = StateFile(tmp_path / "state.json", TASK)
    state = file.load()
    assert state == State()
    refused, sent = one(HOSTILE[2], size=3), one(HOSTILE[3], size=4)
    state.record([refused, sent], [Refusal(refused=refused, reason="busy")])
    file.save(state)
    assert file.load() == state == State(last_key=sent.key, sent=1, size=4, refused=[refused])

    state.record([refused], [], again=True)
    assert state == State(last_key=sent.key, sent=2, size=7, refused=[])
    file.save(state)
    assert StateFile(tmp_path / "state.json", TASK).load() == state
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


@pytest.mark.parametrize(
    ("other", "named"),
    [
        (
            Task(
                location=Location(bucket="others", prefix="AWSLogs/"),
                queue_url=TASK.queue_url,
                selection=TASK.selection,
            ),
            "source",
        ),
        (
            Task(
                location=Location(bucket="flow-logs", prefix=""),
                queue_url=TASK.queue_url,
                selection=TASK.selection,
            ),
            "source",
        ),
        (
            Task(location=TASK.location, queue_url="https://elsewhere", selection=TASK.selection),
            "queue",
        ),
        (Task(location=TASK.location, queue_url=TASK.queue_url, selection=Selection()), "since"),
        (
            Task(
                location=TASK.location,
                queue_url=TASK.queue_url,
                selection=Selection(since=NOON, until=MODIFIED),
            ),
            "until",
        ),
        (
            Task(
                location=TASK.location,
                queue_url=TASK.queue_url,
                selection=Selection(since=NOON, all_objects=True),
            ),
            "all_objects",
        ),
    ],
)
def test_the_state_of_another_task_is_refused_by_name(
    tmp_path: Path, other: Task, named: str
) -> None:
    path = tmp_path / "state.json"
    StateFile(path, TASK).save(State(last_key="x", sent=1))
    with pytest.raises(
        FlowVerdictError, match=f"the state of another backfill: {named} is "
    ) as raised:
        StateFile(path, other).load()
    assert str(path) in str(raised.value)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"version": 2}', "\x00"])
def test_file_that_is_not_a_state_is_refused_and_unchanged(tmp_path: Path, content: str) -> None:
    path = tmp_path / "state.json"
    path.write_text(content)
    with pytest.raises(FlowVerdictError, match="not the state of a backfill"):
        StateFile(path, TASK).load()
    assert path.read_text() == content


@pytest.mark.parametrize("missing", ["last_key", "sent", "bytes", "refused"])
def test_state_that_lacks_a_field_is_refused(tmp_path: Path, missing: str) -> None:
    path = tmp_path / "state.json"
    StateFile(path, TASK).save(State())
    written = json.loads(path.read_text())
    del written[missing]
    path.write_text(json.dumps(written))
    with pytest.raises(FlowVerdictError, match=f"not the state of a backfill: .*{missing}"):
        StateFile(path, TASK).load()


def test_state_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FlowVerdictError, match="no such file or directory"):
        StateFile(tmp_path / "no" / "state.json", TASK).save(State())


def test_each_source_has_a_state_file_of_its_own() -> None:
    names = [
        default_state_path(Location(bucket=bucket, prefix=prefix))
        for bucket in ("one", "two")
        for prefix in ("", "a", "a/b\n")
    ]
    assert len(set(names)) == len(names)
    assert all(
        "/" not in name and name.startswith("flowverdict-backfill-") and name.endswith(".json")
        for name in names
    )


# --- the texts


def test_the_help_and_the_notes_say_how_long_the_stack_remembers() -> None:
    days = f"{KEPT // 86_400} days"
    assert days in backfill.COUNTED_NOTE
    assert days in " ".join((commands.backfill.help or "").split())


def test_rate_of_the_help_is_the_default() -> None:
    (rate,) = [option for option in commands.backfill.params if option.name == "rate"]
    assert rate.default == backfill.DEFAULT_RATE
