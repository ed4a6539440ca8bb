"""A log group by way of Firehose and S3: the same alerts as from its log events, counted once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from flowverdict.flowlog.object_key import ObjectRef, origin_of
from flowverdict_cli.local_aws import REGION
from tests.helpers.events import BUCKET, SCENARIOS, failed, notification, queue_event
from tests.helpers.firehose_objects import CONTROL, OWNER, SHAPES, envelope, members
from tests.helpers.one_fast import one_fast

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict_cli.local_aws import Invocation, LocalAws

EVENTS = Path(__file__).parents[2] / "events"
GROUP = "/sample/vpc-flow-logs"  # whose format EC2 describes
LINES = (EVENTS / "cloudwatch-logs.log").read_text().splitlines()
FOLDER = f"cloudwatch-logs/{OWNER}/{REGION}/2026/11/22/12/"
KEY = f"{FOLDER}flowverdict-1-2026-11-22-12-05-00-{{}}"


def deliver(aws: LocalAws, name: str, content: bytes, **environment: str) -> Invocation:
    """Put an object as Firehose names it, and deliver its event."""
    key = KEY.format(name)
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), content)
    return aws.invoke(queue_event(notification(key)), environment)


def by_interface(lines: Sequence[str], log_group: str = GROUP) -> list[dict[str, Any]]:
    """Return an envelope for each interface, as log streams have it."""
    streams: dict[str, list[str]] = {}
    for line in lines:
        interface = next(word for word in line.split() if word.startswith("eni-"))
        streams.setdefault(f"{interface}-all", []).append(line)
    return [
        envelope(messages, log_group=log_group, log_stream=stream)
        for stream, messages in streams.items()
    ]


def told(aws: LocalAws) -> list[tuple[object, ...]]:
    return [
        (alert["fingerprint"], alert["severity"], alert["leg"], alert["verdict"], alert["flows"])
        for alert in aws.alerts()
    ]


@pytest.mark.parametrize("shape", one_fast(SHAPES, "members of gzip"))
def test_an_object_of_every_shape_gives_the_alerts_of_the_log_event(
    aws: LocalAws, shape: str
) -> None:
    aws.make_samples()
    invocation = deliver(aws, "one", SHAPES[shape]([CONTROL, *by_interface(LINES)]))

    assert failed(invocation) == []
    (counts,) = [line["counts"] for line in invocation.log if "counts" in line]
    assert (counts["records"], counts["malformed"]) == (len(LINES), 0)
    (alert,) = aws.alerts()
    assert (alert["leg"], alert["verdict"], alert["service_port"]) == (
        "request",
        "security-group",
        443,
    )
    # The records of this format name neither account nor Region.
    assert (alert["account_id"], alert["region"]) == (OWNER, REGION)


def test_the_place_comes_from_the_envelope_and_the_key() -> None:
    origin = origin_of(KEY.format("x"))
    assert (origin.account_id, origin.region) == (OWNER, REGION)


def test_what_comes_again_in_the_same_or_another_object_counts_once(aws: LocalAws) -> None:
    aws.make_samples()
    documents = by_interface(LINES)
    deliver(aws, "one", members([*documents, *documents]))
    (first,) = told(aws)

    again = deliver(aws, "one", members(documents))
    other = deliver(aws, "two", members(documents))

    assert again.counts["sources_delivered_again"] == 1
    assert (failed(again), failed(other)) == ([], [])
    assert aws.alerts() == []
    aws.later()
    totals = [alert for alert in aws.alerts() if alert.get("status") == "resolved"]
    assert [alert["flows"] for alert in totals] == [first[-1]]


def test_a_reply_meets_its_request_in_another_object_of_the_same_place(aws: LocalAws) -> None:
    header, *lines = (SCENARIOS / "outbound-response.log").read_text().splitlines()
    accepted = [line for line in lines if "ACCEPT" in line]
    rejected = [line for line in lines if "REJECT" in line]
    deliver(aws, "one", members(by_interface(accepted, "/any")), LOG_FORMAT=header)
    deliver(aws, "two", members(by_interface(rejected, "/any")), LOG_FORMAT=header)

    (alert,) = aws.alerts()
    assert (alert["leg"], alert["verdict"]) == ("response", "network-acl")


def test_an_object_of_control_messages_alone_is_read_and_tells_nothing(aws: LocalAws) -> None:
    invocation = deliver(aws, "control", members([CONTROL]))
    assert (failed(invocation), aws.alerts()) == ([], [])


def test_a_broken_object_fails_alone_and_whole(aws: LocalAws) -> None:
    aws.make_samples()
    content = members(by_interface(LINES))
    aws.put_object(ObjectRef(bucket=BUCKET, key=KEY.format("cut")), content[:-9])
    aws.put_object(ObjectRef(bucket=BUCKET, key=KEY.format("good")), content)

    both = aws.invoke(
        queue_event(notification(KEY.format("cut")), notification(KEY.format("good")))
    )

    assert failed(both) == ["message-0"]
    assert "truncated gzip" in both.failures[0]
    assert len(aws.alerts()) == 1


@pytest.mark.slow
def test_a_log_group_of_another_format_is_refused_and_named(aws: LocalAws) -> None:
    aws.make_samples()
    words = [envelope([f"no record {n}" for n in range(9)], log_group=GROUP, log_stream="odd")]
    invocation = deliver(aws, "odd", members(words))
    assert failed(invocation) == ["message-0"]
    assert GROUP in invocation.failures[0]
    assert "none of its 9 lines is a record" in invocation.failures[0]


def test_extracted_messages_without_envelope_are_refused(aws: LocalAws) -> None:
    invocation = deliver(aws, "extracted", "\n".join(LINES).encode())
    assert failed(invocation) == ["message-0"]
    assert "not a VPC flow log" in invocation.failures[0]


def test_what_firehose_could_not_process_is_passed_over(aws: LocalAws) -> None:
    key = "cloudwatch-logs-errors/decompression-failed/2026/11/22/12/x"
    aws.put_object(ObjectRef(bucket=BUCKET, key=key), b'{"rawData": "AAAA"}')
    invocation = aws.invoke(queue_event(notification(key)))
    assert (failed(invocation), invocation.counts["passed_over"]) == ([], 1)
