"""No split of records over objects, and no order of the objects, changes the final alerts.

Requirement: "Any permutation and any split of the same records over objects and invocations gives
the same final alerts; where a late request can change a verdict, the alert is corrected, not
duplicated."
"""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address
from random import Random  # noqa: TC003 - Hypothesis reads the annotation
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from flowverdict.alerts.grouping import detections
from flowverdict.alerts.model import Alert, Status
from flowverdict.flowlog.columnar import WINDOW
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import Action, FlowRecord, LogStatus
from flowverdict.flows.bundle import Section
from flowverdict.flows.evidence import Evidence, FlowsByWindow
from flowverdict.lifecycle.dirty_window import DirtyWindow
from flowverdict.lifecycle.intervals import Intervals
from flowverdict.lifecycle.manager import AlertManager
from flowverdict.lifecycle.state_machine import Suppressed
from flowverdict.lifecycle.windows import (
    WindowEvaluator,
    WindowFindings,
)
from flowverdict.verdict.batch import explain_flows
from tests.helpers.alert_samples import NOW, Outbox
from tests.helpers.hypothesis_weight import examples
from tests.helpers.memory_stores import MemoryEvidence, MemoryStore

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from flowverdict.alerts.model import Notification

PLACE = "123456789012#eu-west-1"
START = NOW // WINDOW * WINDOW

SERVER, CLIENT, PEER = ip_address("10.0.0.5"), ip_address("203.0.113.7"), ip_address("10.0.9.9")


@st.composite
def a_record(draw: st.DrawFn) -> FlowRecord:
    """Draw a record of one of a few connections, so that requests, replies and repetitions meet."""
    remote = draw(st.sampled_from([CLIENT, PEER]))
    service = draw(st.sampled_from([443, 5432]))
    port = draw(st.sampled_from([40_001, 40_002]))
    reply = draw(st.booleans())
    start = START + draw(st.integers(0, 3 * WINDOW - 1))
    return FlowRecord(
        version=5,
        account_id="123456789012",
        region="eu-west-1",
        vpc_id="vpc-1",
        interface_id=draw(st.sampled_from(["eni-1", "eni-1", "eni-2"])),
        srcaddr=SERVER if reply else remote,
        dstaddr=remote if reply else SERVER,
        srcport=service if reply else port,
        dstport=port if reply else service,
        protocol=6,
        packets=draw(st.integers(1, 3)),
        bytes=100,
        start=start,
        end=start + draw(st.sampled_from([0, 5, 59])),
        action=draw(st.sampled_from(Action)),
        log_status=draw(st.sampled_from([LogStatus.OK] * 9 + [LogStatus.SKIPDATA])),
        tcp_flags=draw(st.sampled_from([None, 0, 2, 18, 19])),
    )


class Deployment:
    """Everything between a source and the outbox, without AWS and without rules."""

    def __init__(self) -> None:
        self.store, self.evidence, self.outbox = MemoryStore(), MemoryEvidence(), Outbox()
        manager = AlertManager(self.store, self.outbox, intervals=Intervals(), hourly_limit=1_000)
        self.evaluator = WindowEvaluator(self.evidence, self.store, manager, Intervals())

    def deliver(self, sources: Iterable[tuple[str, Sequence[FlowRecord]]], now: int) -> None:
        """Handle one invocation's sources."""
        dirty = set()
        for source_id, records in sources:
            flows = FlowsByWindow(self.store.seed(), Origin())
            for record in records:
                flows.record(record)
            for window, its_flows in flows.windows.items():
                section = Section.of(source_id, Evidence(flows=its_flows))
                self.evidence.put(PLACE, window, [section])
                if its_flows.rejects or any(its_flows.lost()):
                    self.store.mark_windows([f"{PLACE}#{window}"], now)
                dirty.add(DirtyWindow(partition=PLACE, window=window, feed=PLACE))
        self.evaluator.evaluate(
            dirty,
            lambda flows, rejected: WindowFindings(
                detections=detections(explain_flows(rejected, None), flows)
            ),
            now,
        )

    def alerts(self) -> dict[str, Notification]:
        """Return the open notifications, without the fields that the lifecycle sets."""
        return {
            name: without_lifecycle(state.notification)
            for name, state in self.store.states.items()
            if state.is_open
        }


def without_lifecycle(notification: Notification) -> Notification:
    notification = notification.with_status(Status.FIRING, None)
    return (
        replace(notification, opened_at=None, explains=())
        if isinstance(notification, Alert)
        else notification
    )


@examples(2)
@given(
    st.lists(a_record(), min_size=1, max_size=14),
    st.randoms(use_true_random=False),
    st.integers(1, 5),
    st.integers(1, 4),
)
def test_no_order_and_no_split_changes_the_alerts(
    records: list[FlowRecord], random: Random, objects: int, invocations: int
) -> None:
    whole = Deployment()
    whole.deliver([("everything", records)], NOW)

    shuffled = random.sample(records, len(records))
    sources = [(f"object-{number}", shuffled[number::objects]) for number in range(objects)]
    deliveries = [*sources, *random.choices(sources, k=2)]  # two come twice
    random.shuffle(deliveries)
    parted = Deployment()
    for number in range(invocations):
        parted.deliver(deliveries[number::invocations], NOW + 10 * number)

    assert parted.alerts() == whole.alerts()
    check_messages(parted)


def check_messages(parted: Deployment) -> None:
    """Check each message against the one before it, and the last message against the store."""
    # Each alert that does not stand was corrected. No alert was sent twice, except with a higher
    # severity.
    last: dict[str, Notification] = {}
    for notification in parted.outbox.sent:
        before = last.get(notification.fingerprint)
        if (
            before is not None
            and before.status is Status.FIRING
            and notification.status is Status.FIRING
        ):
            assert notification.severity.rank < before.severity.rank
        last[notification.fingerprint] = notification
    for name, notification in last.items():
        state = parted.store.states[name]
        # An alert that opened again has no message if another alert explains it, or in the digest.
        is_quiet = state.for_digest or state.suppressed is Suppressed.INHIBITED
        assert state.was_sent or is_quiet or not state.is_open
        assert (notification.status is Status.FIRING) is (state.is_open and state.was_sent)
        if notification.status is Status.RESOLVED:
            assert (notification.status_reason or "").startswith("Corrected: ")


def test_a_corrected_alert_that_opens_again_is_not_sent_while_another_alert_explains_it() -> None:
    request = FlowRecord(
        version=5,
        account_id="123456789012",
        region="eu-west-1",
        vpc_id="vpc-1",
        interface_id="eni-1",
        srcaddr=CLIENT,
        dstaddr=SERVER,
        srcport=40_001,
        dstport=443,
        protocol=6,
        packets=1,
        bytes=100,
        start=START + WINDOW - 10,
        end=START + WINDOW - 5,
        action=Action.ACCEPT,
        log_status=LogStatus.OK,
        tcp_flags=2,
    )
    reply = request._replace(
        srcaddr=SERVER,
        dstaddr=CLIENT,
        srcport=443,
        dstport=40_001,
        start=START + WINDOW,
        end=START + WINDOW + 5,
        action=Action.REJECT,
        tcp_flags=18,
    )
    deployment = Deployment()
    deployment.deliver([("reply", [reply])], NOW)
    deployment.deliver([("request", [request])], NOW + 10)
    (replies_blocked,) = deployment.alerts()
    # Block Public Access may be what drops this reply without its request as well.
    public = reply._replace(dstport=50_000, reject_reason="BPA")
    other = reply._replace(dstport=40_002, end=START + WINDOW + 69, tcp_flags=19)
    deployment.deliver([("public access", [public]), ("another reply", [other])], NOW + 20)
    reopened = deployment.store.states[deployment.outbox.sent[0].fingerprint]
    assert reopened.suppressed is Suppressed.INHIBITED
    assert {replies_blocked, reopened.fingerprint} < set(deployment.alerts())
    assert [
        (sent.status, sent.fingerprint == replies_blocked) for sent in deployment.outbox.sent
    ] == [
        (Status.FIRING, False),
        (Status.FIRING, True),
        (Status.RESOLVED, False),
        (Status.FIRING, False),
    ]
    last = deployment.outbox.sent[-1]
    assert isinstance(last, Alert)
    assert last.verdict == "block-public-access"
    check_messages(deployment)
