"""Whatever a document holds, every face keeps its limits, and JSON gives it back."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowverdict.alerts.codec import notification_from_json
from flowverdict.alerts.model import (
    CONFIDENCES,
    Alert,
    Evidence,
    Kind,
    Link,
    Notice,
    RemediationText,
    Remote,
    Section,
    Severity,
    Status,
)
from flowverdict.delivery.renderers import amazon_q, email, ocsf, pagerduty, slack
from flowverdict.verdict.values import AclEntry, Miss
from tests.helpers.slack_blocks import HOSTILE, texts

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification

ROUTING_KEY = "0123456789abcdef0123456789abcdef"
FOUND_AT = int(datetime(2026, 11, 22, 12, 8, tzinfo=UTC).timestamp())


TEXT = st.one_of(
    st.sampled_from(
        ["", HOSTILE, '"' * 2_000, "\\" * 2_000, "&" * 2_000, ":a:" * 600, "x" * 2_000, "<!here>"]
    ),
    st.text(max_size=60),
)
WORD = st.text("abcdef-0123456789:.", min_size=1, max_size=30)
COUNT = st.integers(0, 10**12)
SECONDS = st.none() | st.integers(0, 4_000_000_000)


def several(strategy: st.SearchStrategy[Any], most: int = 15) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(strategy, max_size=most).map(tuple)


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


COMMON: dict[str, st.SearchStrategy[Any]] = {
    "status": st.sampled_from(Status),
    "status_reason": some(TEXT),
    "fingerprint": st.text("0123456789abcdef", min_size=32, max_size=32),
    "severity": st.sampled_from(Severity),
    "severity_reason": TEXT,
    "summary": TEXT,
    "account_id": some(TEXT),
    "region": some(TEXT),
    "vpc_id": some(TEXT),
    "interfaces": several(TEXT),
    "interface_count": COUNT,
    "records": COUNT,
    "first_seen": SECONDS,
    "last_seen": SECONDS,
}
NUMBER = some(st.integers(0, 65_535))
ALERTS = st.builds(
    Alert,
    **COMMON,
    kind=st.sampled_from([Kind.REJECT, Kind.SCAN]),
    headline=TEXT,
    near=WORD,
    near_others=COUNT,
    far_port=NUMBER,
    outbound=some(st.booleans()),
    far=some(WORD),
    connection=TEXT,
    leg=st.sampled_from(["request", "response", "unknown"]),
    verdict=WORD,
    verdict_caption=TEXT,
    confidence=st.sampled_from(CONFIDENCES),
    confidences=st.dictionaries(st.sampled_from(CONFIDENCES), COUNT, min_size=1).map(
        lambda counts: tuple(counts.items())
    ),
    protocol=some(st.integers(0, 255)),
    service_port=NUMBER,
    service=TEXT,
    blocker=some(TEXT),
    network_acl_entry=some(
        st.builds(
            AclEntry,
            network_acl_id=WORD,
            rule_number=COUNT,
            egress=st.booleans(),
            action=WORD,
            protocol=some(WORD),
            cidr_block=some(WORD),
            from_port=NUMBER,
            to_port=NUMBER,
            icmp_type=NUMBER,
            icmp_code=NUMBER,
        )
    ),
    security_groups=several(WORD),
    nearest_miss=some(
        st.builds(
            Miss,
            security_group_id=WORD,
            egress=st.booleans(),
            protocol=some(WORD),
            from_port=NUMBER,
            to_port=NUMBER,
            peer=some(WORD),
            differs=WORD,
        )
    ),
    local_end=some(TEXT),
    remote_end=some(TEXT),
    path=some(WORD),
    path_id=some(WORD),
    notes=several(TEXT),
    remediation=some(st.builds(RemediationText, commands=several(TEXT), opens=TEXT)),
    remediation_reason=some(TEXT),
    evidence=several(st.builds(Evidence, kind=WORD, detail=TEXT)),
    next_steps=several(st.builds("{}? aws {}".format, TEXT, TEXT)),
    top_remotes=several(
        st.builds(Remote, address=st.one_of(WORD, TEXT), flows=COUNT, packets=COUNT), 10
    ),
    remote_count=COUNT,
    targets=some(st.tuples(COUNT, COUNT)),
    flows=COUNT,
    packets=COUNT,
    bytes=COUNT,
    owners=st.dictionaries(TEXT, TEXT, max_size=5).map(lambda tags: tuple(tags.items())),
    links=several(st.builds(Link, title=TEXT, url=TEXT.map("https://{}".format) | TEXT)),
    logs_query=some(TEXT),
    explains=several(TEXT),
    opened_at=SECONDS,
)
NOTICES = st.builds(
    Notice,
    **COMMON,
    kind=st.sampled_from([Kind.RECORDS_LOST, Kind.DIGEST, Kind.FLOW_OVERFLOW, Kind.RATE_LIMITED]),
    title=TEXT,
    sections=several(st.builds(Section, heading=TEXT, lines=several(TEXT)), 60),
)
DOCUMENT = ALERTS | NOTICES
any_document = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


@any_document
@given(notification=DOCUMENT)
def test_slack_takes_any_document(notification: Notification) -> None:
    text, blocks = slack.message(notification)
    told = [block.to_dict() for block in blocks]  # runs Slack's own validators
    assert 1 <= len(text) <= slack.MAX_FALLBACK
    assert 2 <= len(told) <= slack.MAX_BLOCKS
    assert len(json.dumps(told, ensure_ascii=False)) <= slack.MAX_CHARACTERS
    assert 1 <= len(told[0]["text"]["text"]) <= slack.MAX_HEADER
    for block in told:
        if block["type"] == "section":
            assert 1 <= len(block.get("text", {"text": "x"})["text"]) <= slack.MAX_SECTION
            assert len(block.get("fields", [])) <= 10
            assert all(1 <= len(field["text"]) <= 2_000 for field in block.get("fields", []))
    # The URLs aside, nothing in brackets is left to be a mention.
    assert not any(re.search(r"<(?!https://)", one) for one in [text, *texts(blocks)])
    json.dumps(told).encode("utf-8")


@any_document
@given(notification=DOCUMENT)
def test_the_other_faces_take_any_document(notification: Notification) -> None:
    custom = json.loads(amazon_q.message(notification))
    content, metadata = custom["content"], custom["metadata"]
    assert metadata["threadId"] == notification.fingerprint
    assert 1 <= len(content["title"]) <= 250
    assert 1 <= len(content["description"]) <= 8_000
    assert all(len(step) <= 350 for step in content["nextSteps"])
    assert all(len(word) <= 75 for word in content["keywords"])
    assert all(isinstance(value, str) for value in metadata["additionalContext"].values())

    event = pagerduty.event(notification, ROUTING_KEY)
    assert (event["routing_key"], event["dedup_key"]) == (ROUTING_KEY, notification.fingerprint)
    assert event["event_action"] == (
        "resolve" if notification.status is Status.RESOLVED else "trigger"
    )
    assert len(json.dumps(event).encode()) < 512 * 1024
    if notification.status is not Status.RESOLVED:
        assert 1 <= len(event["payload"]["summary"]) <= 1_024
        assert event["payload"]["source"]
        assert event["payload"]["severity"] in {"critical", "error", "warning", "info"}

    finding = ocsf.finding(notification, time=FOUND_AT)
    assert (finding["class_uid"], finding["category_uid"]) == (2004, 2)
    assert finding["type_uid"] == 200_400 + finding["activity_id"]
    assert finding["time"] == FOUND_AT * 1_000
    assert finding["finding_info"]["uid"] == notification.fingerprint
    assert finding["metadata"]["version"]
    for observable in finding["observables"]:
        # The name points at the attribute that has the value.
        assert str(attribute(finding, observable["name"])) == observable["value"]


def attribute(told: Any, name: str) -> Any:  # noqa: ANN401 - JSON
    for part in re.findall(r"[a-z_]+|\d+", name):
        told = told[int(part)] if part.isdigit() else told[part]
    return told


@any_document
@given(notification=DOCUMENT)
def test_a_document_survives_json(notification: Notification) -> None:
    assert notification_from_json(notification.to_json()) == notification


@any_document
@given(notification=DOCUMENT)
def test_email_subjects_fit_sns(notification: Notification) -> None:
    subject = email.subject(notification)
    assert 1 <= len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()
