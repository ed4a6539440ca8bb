"""Backfills on moto: pages of S3, a queue, interruptions, and the function that reads objects."""

from __future__ import annotations

import gzip
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flowverdict.flowlog.object_key import ObjectRef
from flowverdict.flowlog.s3_events import objects_in_message
from flowverdict_cli import backfill, commands, cost_model
from flowverdict_cli.backfill_listing import Location, Selection
from flowverdict_cli.backfill_queue import Pace
from tests.helpers.backfill_stage import BUCKET, FOLDER, SOURCE, key_of, state_file

if TYPE_CHECKING:
    from tests.helpers.backfill_stage import Stage

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_object_of_several_pages_is_sent_once_and_an_interrupted_run_continues(
    stage: Stage,
) -> None:
    keys = [key_of(number) for number in range(1_205)]
    stage.put(*keys)

    def interrupt(_: dict[str, Any], calls: int) -> None:
        if calls == 61:
            raise KeyboardInterrupt  # the queue has the batch, the state does not

    stage.fault = interrupt
    code, out, err = stage.run()
    assert (code, out) == (commands.EXIT_INTERRUPTED, "")
    assert (
        "flowverdict: stopped; 600 objects sent in this run; "
        f"the same command continues ({state_file()})" in err
    )
    noted = json.loads(state_file().read_text())
    assert (noted["last_key"], noted["sent"], noted["bytes"]) == (keys[599], 600, 600)
    assert stage.newly_sent() == keys[:610]

    stage.fault = None
    code, out, _ = stage.run()
    assert code == 0
    assert out.startswith("sent 605 objects, 600 before; ")
    assert stage.newly_sent() == keys[600:]  # the ten of the call that was cut off, a second time

    code, out, _ = stage.run()
    assert (code, out.partition(";")[0]) == (0, "sent 0 objects, 1,205 before")
    stage.put(key_of(1_300))
    assert stage.run()[1].startswith("sent 1 object, 1,205 before")
    assert stage.newly_sent() == [key_of(1_300)]


@pytest.mark.slow
def test_progress_is_printed_in_lines_without_a_terminal(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backfill, "_LINE_EVERY", 20)
    stage.put(*(key_of(number) for number in range(45)))
    code, out, err = stage.run()
    assert code == 0
    assert out == (
        f"sent 45 objects; the progress is in {state_file()}: with this file the next run sends "
        "newer objects only, without it all objects again\n"
    )
    assert re.findall(r"^.* sent$", err, re.MULTILINE) == ["20 of 45 sent", "40 of 45 sent"]
    assert "\x1b" not in err
    assert backfill.ALERTS_NOTE in err


@pytest.mark.slow
def test_skipped_objects_are_counted(stage: Stage) -> None:
    stage.put(
        key_of(0),
        key_of(1),
        f"{FOLDER}a.parquet",
        "AWSLogs/123456789012/CloudTrail/x.json.gz",
        "AWSLogs/notes.txt",
    )
    stage.put("elsewhere/" + key_of(2))
    stage.s3.put_object(Bucket=BUCKET, Key=key_of(3), Body=b"x", StorageClass="GLACIER")
    code, _, err = stage.run()
    assert code == 0
    assert sorted(stage.sent()) == sorted([key_of(0), key_of(1), f"{FOLDER}a.parquet"])
    assert set(re.findall(r"^skipped: (.*)$", err, re.MULTILINE)) == {
        "2 objects: not named as VPC flow log files are (--all-objects sends them too)",
        "1 object: archived, must be restored before it can be read",
    }
    assert stage.run("--all-objects", "--state", "other.json")[0] == 0
    assert len(stage.sent()) == 6


@pytest.mark.slow
def test_hostile_keys_arrive_as_they_are(stage: Stage) -> None:
    keys = sorted(
        f"{FOLDER}{name}"
        for name in ("a+b c%2Bd=e&f.log", "ünïcode 日本.log", "two\nlines.log", "%41.log", "+")
    )
    stage.put(*keys)
    assert stage.run()[0] == 0
    assert sorted(stage.sent()) == keys


def test_a_window_of_time_is_what_is_sent(stage: Stage) -> None:
    stage.put(*(key_of(1_440 * day) for day in range(5)))
    assert stage.run("--since", "2026-10-02", "--until", "2026-10-04")[0] == 0
    assert sorted(stage.sent()) == [key_of(1_440), key_of(2_880)]
    code, _, err = stage.run("--since", "2026-10-02")
    assert code == 2
    assert 'the state of another backfill: until is "2026-10-04T00:00:00+00:00", not null' in err


@pytest.mark.slow
def test_a_state_of_another_queue_is_refused(stage: Stage) -> None:
    stage.put(key_of(0))
    assert stage.run()[0] == 0
    other = stage.sqs.create_queue(QueueName="other")["QueueUrl"]
    code, out, err = stage.run("--queue-url", other)
    assert (code, out) == (2, "")
    assert err == (
        f"flowverdict: {state_file()}: the state of another backfill: "
        f"queue is {json.dumps(stage.queue_url)}, not {json.dumps(other)}; "
        "use another --state, or remove the file\n"
    )


@pytest.mark.slow
def test_the_rate_is_kept(stage: Stage) -> None:
    stage.put(*(key_of(number) for number in range(45)))
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    request = backfill.Request(
        location=Location.from_url(SOURCE),
        selection=Selection(),
        stack_name="flowverdict",
        queue_url=stage.queue_url,
        rate=5,
    )
    run = backfill.Backfill(
        request,
        clients=stage.clients,
        pace=lambda rate: Pace(rate, clock=lambda: now[0], sleep=sleep),
    )
    assert run.run()
    assert now[0] == pytest.approx(45 / 5)
    assert len(stage.sent()) == 45


# --- the dry run


def test_a_dry_run_says_all_and_sends_nothing(stage: Stage) -> None:
    stage.put(key_of(0), key_of(1_445), content=bytes(31_000))
    stage.put("AWSLogs/notes.txt")
    code, out, err = stage.run("--dry-run", "--rate", "0.5")
    assert (code, err) == (0, "")
    workload = cost_model.Workload(
        records=2_000, objects=2, batch=cost_model.BATCH, flow_logs=1, windows=3, minutes=2
    )
    milliseconds = cost_model.duration_ms(workload, cost_model.MEASURED["recommended"])
    assert round(milliseconds / 1_000) == 1
    assert out.splitlines()[:9] == [
        f"from: {SOURCE}",
        f"to: {stage.queue_url}",
        "would be sent: 2 objects, 62.0 kB",
        "skipped: 1 object: not named as VPC flow log files are (--all-objects sends them too)",
        "written: 2026-10-01T00:00:00Z to 2026-10-02T00:05:00Z",
        "at 0.5 a second: 4 s",
        (
            "estimate: 2,000 records if gzipped, 1 s of Lambda (1,024 MB), $0.00 at list prices of "
            "us-east-1"
        ),
        "estimated with figures from another processor than Lambda's: docs/cost.md",
        "",
    ]
    assert backfill.ALERTS_NOTE in out
    assert backfill.COUNTED_NOTE in out
    assert stage.messages() == []
    assert [*Path().iterdir()] == []


def test_a_dry_run_needs_no_stack(stage: Stage) -> None:
    stage.put(key_of(0), content=b"ab")
    stage.stack_error = "ValidationError"
    code, out, err = stage.run("--dry-run")
    assert (code, err) == (0, "")
    assert out.splitlines()[:3] == [
        f"from: {SOURCE}",
        "to: the stack, which is not deployed yet",
        "would be sent: 1 object, 2 bytes",
    ]
    code, _, err = stage.run()
    assert (code, err) == (2, "flowverdict: no stack 'flowverdict' in eu-west-1\n")


@pytest.mark.slow
def test_a_dry_run_after_an_interrupted_one_says_what_is_left(stage: Stage) -> None:
    stage.put(*(key_of(number) for number in range(30)))

    def interrupt(_: dict[str, Any], calls: int) -> None:
        if calls == 3:
            raise KeyboardInterrupt

    stage.fault = interrupt
    assert stage.run()[0] == commands.EXIT_INTERRUPTED
    out = stage.run("--dry-run")[1]
    assert (
        f"sent before: 20 objects, up to {key_of(19)}\nwould be sent: 10 objects, 10 bytes\n" in out
    )


# --- to the alerts


def test_function_reads_the_sent_objects_and_notifies_once(stage: Stage) -> None:
    names = (
        "reply-in-another-file.1",
        "reply-in-another-file.2",
    )  # evaluated together, as in live operation
    keys = [key_of(number) for number in range(len(names))]
    for key, name in zip(keys, names, strict=True):
        stage.put(
            key, content=gzip.compress((ROOT / "tests" / "scenarios" / f"{name}.log").read_bytes())
        )
    broken = key_of(7)
    stage.put(broken, content=b"no flow log")
    assert stage.run()[0] == 0

    def event(bodies: list[str], first: int) -> dict[str, Any]:
        records = [
            {
                "messageId": f"message-{first + number}",
                "body": body,
                "eventSource": "aws:sqs",
                "receiptHandle": "x",
                "attributes": {},
            }
            for number, body in enumerate(bodies)
        ]
        return {"Records": records}

    bodies = sorted(stage.messages())
    invocation = stage.aws.invoke(event(bodies, 0))
    assert isinstance(invocation.answer, dict)
    (failed,) = [
        int(item["itemIdentifier"].removeprefix("message-"))
        for item in invocation.answer["batchItemFailures"]
    ]
    assert objects_in_message(bodies[failed]) == (ObjectRef(bucket=BUCKET, key=broken),)
    (alert,) = stage.aws.alerts()
    assert (alert["flow_direction"], alert["leg"], alert["verdict"], alert["severity"]) == (
        "egress",
        "response",
        "network-acl",
        "critical",
    )
    assert alert["first_seen"] < "2026-11-23"

    # Sent once more, as a run that lost its state would.
    state_file().unlink()
    assert stage.run()[0] == 0
    again = stage.aws.invoke(event([body for body in stage.messages() if broken not in body], 100))
    assert again.counts["sources_delivered_again"] == 2
    assert stage.aws.alerts() == []
