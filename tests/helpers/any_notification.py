"""Hypothesis strategies for alerts and notices whose fields hold any text and any number."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from flowverdict.alerts.counts import Remote
from flowverdict.alerts.merging import CONFIDENCES
from flowverdict.alerts.model import (
    Alert,
    Evidence,
    Kind,
    Link,
    Notice,
    RemediationText,
    Section,
    Severity,
    Status,
)
from flowverdict.verdict.values import AclEntry, Miss
from tests.helpers.slack_blocks import HOSTILE

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
    """Build a strategy of tuples."""
    return st.lists(strategy, max_size=most).map(tuple)


def some(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Build a strategy of values that may be missing."""
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
NOTIFICATION = ALERTS | NOTICES
