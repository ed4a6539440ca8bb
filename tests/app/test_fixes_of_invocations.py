"""Fixes of alerts that two invocations send: no command twice, no rule number for two entries."""

from __future__ import annotations

import io
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from flowverdict.alerts.model import Alert, RemediationText
from flowverdict.app.deadlines import BudgetedConfigSource
from flowverdict.app.sources import SourcePlace
from flowverdict.flows.read_source import read_object
from flowverdict.network.model import NetworkAclEntry
from flowverdict.verdict.batch import FixedConfig
from tests.helpers.alert_samples import Outbox
from tests.helpers.fixes import FIELDS, NETWORK, crowded, rejected, with_acl, with_group
from tests.helpers.memory_functions import memory_functions
from tests.helpers.memory_stores import MemoryEvidence, MemoryStore

if TYPE_CHECKING:
    from flowverdict.flows.read_source import SourceRead
    from flowverdict.network.configuration import NetConfig

NOW = 1_795_349_000
KEY = (
    "AWSLogs/210987654321/vpcflowlogs/eu-central-1/2026/11/22/"
    "210987654321_vpcflowlogs_eu-central-1_fl-0a1_20261122T12{number:02}Z_0a1b2c3d.log"
)
BOTH_LAYERS = rejected("api", "10.60.1.21", "10.60.2.10", (40_130, 9000), "ingress")
GROUP_ONLY = rejected("denied", "10.60.1.21", "10.60.4.10", (40_131, 9000), "ingress")


class Stack:
    """Stores and a topic; each delivery is an invocation of its own."""

    def __init__(self, config: NetConfig = NETWORK) -> None:
        self.config = config
        self.store, self.evidence, self.outbox = MemoryStore(), MemoryEvidence(), Outbox()

    def deliver(self, number: int, *records: str) -> None:
        functions = memory_functions(
            store=self.store,
            evidence=self.evidence,
            publisher=self.outbox,
            configs=lambda: BudgetedConfigSource(FixedConfig(self.config)),
            clock=lambda: NOW,
        )
        key = KEY.format(number=number)
        content = "\n".join([FIELDS, *records]).encode()

        def read(seed: int) -> SourceRead:
            return read_object(io.BytesIO(content), name=key, seed=seed)

        ingestion = functions.reader.begin()
        ingestion.ingest(key, key, SourcePlace.of_object(key), read)
        assert ingestion.finish() == {}
        functions.evaluate_all()

    def fixes(self) -> dict[str, RemediationText]:
        """Return the fix of each open alert, by its verdict."""
        alerts = [state.notification for state in self.store.states.values()]
        return {
            alert.verdict: alert.remediation
            for alert in alerts
            if isinstance(alert, Alert) and alert.remediation is not None
        }


def test_two_alerts_of_two_invocations_offer_a_rule_once() -> None:
    stack = Stack()
    stack.deliver(1, BOTH_LAYERS)
    stack.deliver(2, GROUP_ONLY)
    both = stack.fixes()["network-acl-and-security-group"]
    group_only = stack.fixes()["security-group"]
    assert len(both.commands) == 2
    assert group_only.commands == ()
    assert group_only.shared == both.commands[1:]
    sent = [alert for alert in stack.outbox.sent if isinstance(alert, Alert)]
    assert [alert.remediation for alert in sent] == [both, group_only]


TO_WEB = [
    rejected("web", "10.60.1.20", "10.60.1.10", (40_100, port), "ingress") for port in (8080, 8081)
]


def test_a_group_with_room_for_one_rule_gets_one_of_two_windows() -> None:
    stack = Stack(with_group("sg-0f60web", lambda group: crowded(group, 59)))
    stack.deliver(1, TO_WEB[0])
    stack.deliver(2, TO_WEB[1])
    first, second = (alert for alert in stack.outbox.sent if isinstance(alert, Alert))
    assert first.remediation is not None
    assert second.remediation is None
    assert "what open fixes add counts too" in (second.remediation_reason or "")
    # Evaluated again, the first alert keeps its fix.
    stack.deliver(3, TO_WEB[0])
    assert [*stack.fixes().values()] == [first.remediation]


def test_a_network_acl_with_room_for_one_entry_gets_one_of_two_windows() -> None:
    entries = tuple(
        NetworkAclEntry(
            rule_number=number,
            egress=False,
            action="allow",
            protocol="50",
            network=ip_network("192.0.2.0/24"),
        )
        for number in range(1, 18)
    )
    stack = Stack(
        with_acl(
            "acl-0f60closed", lambda acl: replace(acl, entries=(*(acl.entries or ()), *entries))
        )
    )
    for number, port in enumerate((8443, 9000)):
        record = rejected("api", "10.60.1.20", "10.60.2.10", (40_100, port), "ingress")
        stack.deliver(number, record)
    first, second = (alert for alert in stack.outbox.sent if isinstance(alert, Alert))
    assert first.remediation is not None
    assert second.remediation is None
    assert "open fixes add 1" in (second.remediation_reason or "")


def test_what_is_delivered_again_changes_no_fix() -> None:
    stack = Stack()
    stack.deliver(1, BOTH_LAYERS)
    stack.deliver(2, GROUP_ONLY)
    before = stack.fixes()
    for number, record in ((2, GROUP_ONLY), (1, BOTH_LAYERS), (3, BOTH_LAYERS), (4, GROUP_ONLY)):
        stack.deliver(number, record)
    assert stack.fixes() == before
