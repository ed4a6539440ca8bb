"""Say what a rejected flow has for each key that a policy entry may ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.alerts.composition import owners_shown
from flowverdict.alerts.grouping import fingerprint_of
from flowverdict.alerts.matching import UNKNOWN, Clauses, Key, known, owner_values
from flowverdict.alerts.severity import service_port, severity_of

if TYPE_CHECKING:
    from flowverdict.verdict.explanation import Explanation


def clauses_of_flow(explanation: Explanation, key: Key) -> Clauses:
    """Return what a rejected flow has for a key."""
    flow = explanation.flow
    match key:
        case Key.VERDICT:
            return known(explanation.verdict.kind)
        case Key.ACCOUNT:
            return known(flow.context.account_id)
        case Key.REGION:
            return known(flow.context.region)
        case Key.VPC:
            return known(flow.context.vpc_id)
        case Key.SUBNET:
            return known(flow.context.subnet_id)
        case Key.INTERFACE:
            return known(flow.interface_id)
        case Key.PROTOCOL:
            return known(flow.key.protocol)
        case Key.PORT:
            port = service_port(explanation)
            ports = (flow.key.source_port, flow.key.destination_port) if port is None else (port,)
            return known(*ports)
        case Key.CIDR:
            ends = (flow.key.packet_source, flow.key.packet_destination)
            return known(*(ends if flow.direction is None else (flow.remote,)))
        case _:
            return _of_explanation(explanation, key)


def _of_explanation(explanation: Explanation, key: Key) -> Clauses:
    match key:
        case Key.SECURITY_GROUP:
            return (explanation.blocking_groups,)
        case Key.NETWORK_ACL:
            entry = explanation.acl_entry
            return UNKNOWN if entry is None else known(entry.network_acl_id)
        case Key.OWNER:
            return (owner_values(owners_shown(explanation)),)
        case Key.SEVERITY:
            return known(severity_of(explanation)[0])
        case _:
            return known(fingerprint_of(explanation))
