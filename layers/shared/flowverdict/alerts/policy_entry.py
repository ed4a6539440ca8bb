"""Propose the entry of the policy document that would mute an alert."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.alerts.matching import Key
from flowverdict.alerts.model import Kind

if TYPE_CHECKING:
    from flowverdict.alerts.model import Alert

_MAX_REMOTES = 10


def policy_entry(alert: Alert, reason: str) -> dict[str, object]:
    """Return the entry of ``expected`` in the policy document that would mute an alert."""
    match: dict[str, object] = {}
    if alert.kind is Kind.REJECT:
        match[Key.VERDICT] = alert.verdict
    place = (Key.VPC, alert.vpc_id), (Key.ACCOUNT, alert.account_id)
    match |= {key: value for key, value in place if value is not None}
    if alert.interface_count == 1 and alert.interfaces:
        match[Key.INTERFACE] = alert.interfaces[0]
    if alert.service_port is not None:
        match[Key.PORT] = alert.service_port
    if alert.protocol is not None:
        match[Key.PROTOCOL] = alert.protocol
    remotes = [remote.address for remote in alert.top_remotes]
    if 0 < len(remotes) == alert.remote_count <= _MAX_REMOTES:
        match[Key.CIDR] = remotes
    elif alert.far_network is not None:
        match[Key.CIDR] = alert.far_network
    return {"match": match, "reason": reason}
