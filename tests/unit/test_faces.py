"""What people and machines are shown: golden files for each face, limits and hostile text for any document."""

from __future__ import annotations

import io
import json
import os
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flowverdict.alerts import group
from flowverdict.delivery import amazon_q, email, ocsf, pagerduty, slack
from flowverdict.delivery.phrases import chat_line, shortened
from flowverdict.document import (
    CONFIDENCES,
    AclEntry,
    Alert,
    Evidence,
    Fix,
    Kind,
    Link,
    Miss,
    Notice,
    Remote,
    Section,
    Severity,
    Status,
    document_from_json,
)
from flowverdict.netconfig.snapshot import load_snapshot
from flowverdict.pipeline import Batch, FixedConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from slack_sdk.models.blocks import Block

    from flowverdict.document import Document

ROOT = Path(__file__).parents[2]
SCENARIOS = ROOT / "tests" / "scenarios"
GOLDEN = ROOT / "tests" / "golden"
FOUND_AT = int(datetime(2026, 11, 22, 12, 8, tzinfo=UTC).timestamp())
ROUTING_KEY = "0123456789abcdef0123456789abcdef"


# --- documents --------------------------------------------------------------------------------------------------------


def alert_of(text: str, name: str) -> Alert:
    batch = Batch()
    batch.add_file(io.BytesIO(text.encode()), name=f"{name}.log")
    document = group(batch.explanations(FixedConfig(load_snapshot(SCENARIOS / "shop.config.json"))))[0].document
    assert isinstance(document, Alert)
    return document


def scenario(name: str) -> Alert:
    return alert_of((SCENARIOS / f"{name}.log").read_text(), name)


def scan() -> Alert:
    header, line = (SCENARIOS / "rules-inbound-request.log").read_text().splitlines()
    tried = [line.replace(" 5432 ", f" {port} ") for port in (21, 22, 23, 25, 80, 110, 139, 443, 445, 1433, 3306, 3389, 5432)]
    return alert_of("\n".join([header, *tried]), "scan")


def digest() -> Notice:
    return Notice(
        kind=Kind.DIGEST,
        fingerprint="d" * 32,
        severity=Severity.INFO,
        severity_reason="for your information",
        title="flowverdict digest: 2 open alerts, 14 resolved",
        summary="What was seen from 2026-11-21T08:00:00Z to 2026-11-22T08:00:00Z and did not need a message of its own.",
        records=18_204,
        first_seen=FOUND_AT - 86_400,
        last_seen=FOUND_AT,
        sections=(
            Section(heading="Still open", lines=("critical: Replies blocked by acl-0aaa0000000000001 rule *, since 12:00",)),
            Section(heading="Scans", lines=tuple(f"192.0.2.{host}: 120 ports on 4 addresses" for host in range(1, 21))),
        ),
    )


def records_lost() -> Notice:
    return Notice(
        kind=Kind.RECORDS_LOST,
        fingerprint="e" * 32,
        severity=Severity.MEDIUM,
        severity_reason="what was rejected there in that time cannot be known",
        title="Flow log records lost at eni-0aaaaaaaaaaaaaaa1",
        summary="AWS could not log all traffic of eni-0aaaaaaaaaaaaaaa1 (SKIPDATA). Rejects are missing from that time.",
        account_id="123456789012",
        region="eu-west-1",
        vpc_id="vpc-0123456789abcdef0",
        interfaces=("eni-0aaaaaaaaaaaaaaa1",),
        interface_count=1,
        records=3,
        first_seen=FOUND_AT - 600,
        last_seen=FOUND_AT,
        sections=(Section(heading="What to do", lines=("No rule has to change: AWS skips records on an error of its own.",)),),
    )


DOCUMENTS: dict[str, Callable[[], Document]] = {
    "critical": lambda: scenario("rules-outbound-response"),
    "high": lambda: scenario("rules-inbound-request"),
    "reminder": lambda: scenario("rules-outbound-response").with_status(
        Status.REMINDER, "still happening: 3 more flows since 12:05"
    ),
    "resolved": lambda: scenario("rules-outbound-response").with_status(
        Status.RESOLVED, "The packet that stood for it passes under the rules as read at 12:40."
    ),
    "scan": scan,
    "digest": digest,
    "records-lost": records_lost,
}


def slack_face(document: Document) -> dict[str, Any]:
    text, blocks = slack.message(document)
    return {"text": text, "blocks": [block.to_dict() for block in blocks]}


FACES: dict[str, Callable[[Document], dict[str, Any]]] = {
    "slack": slack_face,
    "amazon-q": lambda document: json.loads(amazon_q.message(document)),
    "pagerduty": lambda document: pagerduty.event(document, ROUTING_KEY),
    "ocsf": lambda document: ocsf.finding(document, time=FOUND_AT),
}


@pytest.mark.parametrize("document", DOCUMENTS)
@pytest.mark.parametrize("face", FACES)
def test_the_face_is_as_agreed(face: str, document: str) -> None:
    """``UPDATE_GOLDEN=1 make test`` writes the files anew; read the difference before committing it."""
    text = json.dumps(FACES[face](DOCUMENTS[document]()), indent=2, ensure_ascii=False) + "\n"
    path = GOLDEN / f"{face}-{document}.json"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


# --- what a person does with the Slack message ------------------------------------------------------------------------


def texts(blocks: list[Block]) -> list[str]:
    """Give every ``mrkdwn`` text."""

    def found(value: object) -> Iterator[str]:
        if isinstance(value, dict):
            if value.get("type") == "mrkdwn":
                yield value["text"]
            for one in value.values():
                yield from found(one)
        elif isinstance(value, list):
            for one in value:
                yield from found(one)

    return list(found([block.to_dict() for block in blocks]))


def preformatted(blocks: list[Block]) -> list[str]:
    told = [block.to_dict() for block in blocks]
    return [block["elements"][0]["elements"][0]["text"] for block in told if block["type"] == "rich_text"]


def test_the_fix_is_copied_exactly_and_whole() -> None:
    alert = scenario("rules-outbound-response")
    assert alert.remedy is not None
    assert "\n".join(alert.remedy.commands) in preformatted(slack.blocks(alert))
    # Rich text is not escaped: what a shell is to see is what stands there.
    odd = "aws ec2 x --query 'a[?b<`1`] && \"c\"'"
    assert odd in preformatted(slack.blocks(replace(alert, remedy=Fix(commands=(odd,), opens="nothing"))))


@pytest.mark.parametrize("command", ["aws " + "x" * 3_000, "aws a\nrm -rf /", "aws \u202egnihton"], ids=["long", "line", "bidi"])
def test_a_command_that_cannot_be_shown_as_it_is_is_not_shown(command: str) -> None:
    alert = replace(scenario("rules-outbound-response"), remedy=Fix(commands=(command,), opens="nothing"))
    shown = json.dumps([block.to_dict() for block in slack.blocks(alert)], ensure_ascii=False)
    assert "cannot be shown in Slack; the email has them" in shown
    assert command[:20] not in shown
    for other in (amazon_q.message(alert), json.dumps(pagerduty.event(alert, ROUTING_KEY), ensure_ascii=False)):
        assert "cannot be shown here; the email has them" in other
        assert command[:20] not in other


def test_a_resolved_message_is_short_and_offers_nothing_to_do() -> None:
    blocks = slack.blocks(DOCUMENTS["resolved"]())
    assert len(blocks) <= 4
    assert preformatted(blocks) == []
    assert blocks[0].to_dict()["text"]["text"].startswith("\N{WHITE HEAVY CHECK MARK} RESOLVED: Replies blocked by ")


def test_a_reminder_says_still() -> None:
    text, blocks = slack.message(DOCUMENTS["reminder"]())
    assert text.startswith("STILL CRITICAL: ")
    assert " STILL CRITICAL: " in blocks[0].to_dict()["text"]["text"]


# --- hostile text -----------------------------------------------------------------------------------------------------

HOSTILE = (
    "<!channel> <@U012AB3CD> <https://evil.example|click> & ```\n*Fix*\n```rm -rf /``` :rotating_light: "
    "\u202egnp.exe\u2066 \u05e9\u05dc\u05d5\u05dd \N{FIRE}\x1b[31m\u2028line"
)


def hostile() -> Alert:
    return replace(
        scenario("rules-outbound-response"),
        summary=HOSTILE,
        headline=HOSTILE,
        severity_reason=HOSTILE,
        status_reason=HOSTILE,
        service=HOSTILE,
        local_end=HOSTILE,
        notes=(HOSTILE,),
        owners=(("team", HOSTILE), (HOSTILE, "x")),
        evidence=(Evidence(kind="x", detail=HOSTILE),),
        explains=(HOSTILE,),
        next_steps=(f"{HOSTILE}? aws {HOSTILE}",),
        links=(Link(title=f"{HOSTILE}|x", url=f"https://aws.example/#{HOSTILE}"), Link(title="x", url="javascript:alert(1)")),
        logs_query=HOSTILE,
        top_remotes=(Remote(address=HOSTILE, flows=1, packets=1),),
    )


def test_hostile_text_mentions_no_one_opens_no_code_block_and_fakes_no_line() -> None:
    text, blocks = slack.message(hostile())
    for one in [text, *texts(blocks)]:
        # All that is left of brackets are our own links, to https and without a bar too many.
        outside = re.sub(r"<https://aws\.example/#[!-;=?-{}~]*\|[^<>|]*>", "", one)
        assert "<" not in outside
        assert ">" not in outside
        assert "```" not in one
        assert not re.search(r"&(?!amp;|lt;|gt;)", one)
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\u2029\x1b]", one)
        # Only the first line of a text may be a heading, and we write it.
        assert not any(line.startswith("*") for line in one.splitlines()[1:])
        assert re.search(r"(?<!`):rotating_light:(?!`)", outside) is None
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\x1b]", json.dumps([b.to_dict() for b in blocks], ensure_ascii=False))
    assert all(one["verbatim"] for one in fields_and_sections(blocks))


def fields_and_sections(blocks: list[Block]) -> list[dict[str, Any]]:
    told = [block.to_dict() for block in blocks]
    sections = [block for block in told if block["type"] == "section"]
    return [one for section in sections for one in [section.get("text"), *section.get("fields", [])] if one is not None]


def test_hostile_text_harms_no_other_face() -> None:
    content = json.loads(amazon_q.message(hostile()))["content"]
    for text in (content["title"], content["description"], *content["nextSteps"], *content["keywords"]):
        assert "<" not in text
        assert "](" not in text
        # The one code block is the fix's.
        assert text.count("```") in {0, 2}
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\x1b]", text)
    event = json.dumps(pagerduty.event(hostile(), ROUTING_KEY)["payload"], ensure_ascii=False)
    assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028\x1b]", event)


@pytest.mark.parametrize(
    ("text", "limit", "shown"),
    [
        ("a & b", 100, "a &amp; b"),
        ("", 100, "-"),
        ("from 2001:db8:100::1 to [2001:db8:1234::1]:443", 100, "from `2001:db8:100::1` to `[2001:db8:1234::1]:443`"),
        ("12:00:05, 2026-11-22T12:00:05Z", 100, "12:00:05, 2026-11-22T12:00:05Z"),
        ("&" * 40, 32, "&amp;" * 4 + "..."),
        ("x" * 40, 32, "x" * 29 + "..."),
    ],
)
def test_text_shows_in_a_chat_as_it_is(text: str, limit: int, shown: str) -> None:
    assert chat_line(text, limit) == shown


def test_ids_are_shortened_before_anything_is_cut() -> None:
    assert shortened("Replies blocked by acl-0aaa0000000000001", 33) == "Replies blocked by acl-0aaa..0001"


# --- too much ---------------------------------------------------------------------------------------------------------


def test_what_matters_least_is_left_out_first_and_is_named() -> None:
    alert = scenario("rules-outbound-response")
    crowded = replace(
        alert,
        evidence=tuple(Evidence(kind="x", detail=f"{number} " + "evidence " * 50) for number in range(40)),
        explains=tuple(f"{number} " + "explained " * 40 for number in range(40)),
        top_remotes=tuple(Remote(address=f"2001:db8::{number:x}", flows=1, packets=1) for number in range(10)),
        remote_count=5_000,
        next_steps=tuple(f"{'look ' * 50}? aws {'x' * 1_500}{number}" for number in range(9)),
        links=tuple(Link(title=f"link {number}", url=f"https://aws.example/{'x' * 300}{number}") for number in range(9)),
    )
    blocks = slack.blocks(crowded)
    shown = "\n".join(texts(blocks))
    assert slack.characters(blocks) <= slack.MAX_CHARACTERS
    assert "Too long for Slack, see the email: logs query" in shown
    assert alert.remedy is not None
    assert alert.remedy.commands[0] in preformatted(blocks)
    assert re.search(r"\.\.\. \d+ more", shown)


def test_more_remotes_than_are_shown_are_counted() -> None:
    alert = replace(scenario("rules-outbound-response"), remote_count=5_001)
    assert any("and 5,000 more" in text for text in preformatted(slack.blocks(alert)))


@pytest.mark.parametrize("character", ['"', "\\", "&", "x", ":", "\N{FIRE}"])
def test_what_always_stays_fits_by_itself(character: str) -> None:
    long = character * 2_000
    alert = replace(
        scenario("rules-outbound-response").with_status(Status.REMINDER, long),
        headline=long,
        summary=long,
        severity_reason=long,
        service=long,
        verdict_caption=long,
        account_id=long,
        local_end=long,
        path=long,
        connection=long,
        owners=((long, long),),
        flows=2,
        remedy=Fix(commands=(long,), opens=long),
    )
    blocks = slack.blocks(alert)
    assert slack.characters(blocks) <= slack.MAX_CHARACTERS
    assert len(blocks[1].to_dict()["text"]["text"]) <= 400
    assert any("*Severity*" in text for text in texts(blocks))


# --- any document -----------------------------------------------------------------------------------------------------

TEXT = st.one_of(
    st.sampled_from(["", HOSTILE, '"' * 2_000, "\\" * 2_000, "&" * 2_000, ":a:" * 600, "x" * 2_000, "<!here>"]),
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
    confidences=st.dictionaries(st.sampled_from(CONFIDENCES), COUNT, min_size=1).map(lambda counts: tuple(counts.items())),
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
    remedy=some(st.builds(Fix, commands=several(TEXT), opens=TEXT)),
    remedy_reason=some(TEXT),
    evidence=several(st.builds(Evidence, kind=WORD, detail=TEXT)),
    next_steps=several(st.builds("{}? aws {}".format, TEXT, TEXT)),
    top_remotes=several(st.builds(Remote, address=st.one_of(WORD, TEXT), flows=COUNT, packets=COUNT), 10),
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
    kind=st.sampled_from([Kind.RECORDS_LOST, Kind.DIGEST, Kind.FLOOD]),
    title=TEXT,
    sections=several(st.builds(Section, heading=TEXT, lines=several(TEXT)), 60),
)
DOCUMENT = ALERTS | NOTICES
any_document = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@any_document
@given(document=DOCUMENT)
def test_slack_takes_any_document(document: Document) -> None:
    text, blocks = slack.message(document)
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
@given(document=DOCUMENT)
def test_the_other_faces_take_any_document(document: Document) -> None:
    notification = json.loads(amazon_q.message(document))
    content, metadata = notification["content"], notification["metadata"]
    assert metadata["threadId"] == document.fingerprint
    assert 1 <= len(content["title"]) <= 250
    assert 1 <= len(content["description"]) <= 8_000
    assert all(len(step) <= 350 for step in content["nextSteps"])
    assert all(len(word) <= 75 for word in content["keywords"])
    assert all(isinstance(value, str) for value in metadata["additionalContext"].values())

    event = pagerduty.event(document, ROUTING_KEY)
    assert (event["routing_key"], event["dedup_key"]) == (ROUTING_KEY, document.fingerprint)
    assert event["event_action"] == ("resolve" if document.status is Status.RESOLVED else "trigger")
    assert len(json.dumps(event).encode()) < 512 * 1024
    if document.status is not Status.RESOLVED:
        assert 1 <= len(event["payload"]["summary"]) <= 1_024
        assert event["payload"]["source"]
        assert event["payload"]["severity"] in {"critical", "error", "warning", "info"}

    finding = ocsf.finding(document, time=FOUND_AT)
    assert (finding["class_uid"], finding["category_uid"]) == (2004, 2)
    assert finding["type_uid"] == 200_400 + finding["activity_id"]
    assert finding["time"] == FOUND_AT * 1_000
    assert finding["finding_info"]["uid"] == document.fingerprint
    assert finding["metadata"]["version"]
    for observable in finding["observables"]:
        # The name points at the attribute that has the value.
        assert str(attribute(finding, observable["name"])) == observable["value"]


def attribute(told: Any, name: str) -> Any:  # noqa: ANN401 - JSON
    for part in re.findall(r"[a-z_]+|\d+", name):
        told = told[int(part)] if part.isdigit() else told[part]
    return told


@any_document
@given(document=DOCUMENT)
def test_a_document_survives_json(document: Document) -> None:
    assert document_from_json(document.to_json()) == document


@any_document
@given(document=DOCUMENT)
def test_email_subjects_fit_sns(document: Document) -> None:
    subject = email.subject(document)
    assert 1 <= len(subject) < 100
    assert subject.isascii()
    assert subject.isprintable()
