"""Inhibition: which alerts make other alerts redundant, as in Alertmanager.

VPC Block Public Access rejects traffic from and to the internet, whatever the rules say
(https://docs.aws.amazon.com/vpc/latest/userguide/security-vpc-bpa-basics.html). An entry of a
network ACL that drops a service's replies explains what the same entry drops of the same service in
the same direction. What hosts outside may have caused explains nothing that only the organisation's
own hosts cause. An inhibition key is a fingerprint of the place and of what is explained there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.alerts.detection import fingerprint, reporters
from flowverdict.alerts.model import Alert, Severity
from flowverdict.core.protocols import has_ports
from flowverdict.verdict.model import Leg, VerdictKind
from flowverdict.verdict.transit_gateway import TRANSIT_GATEWAY_KINDS

if TYPE_CHECKING:
    from flowverdict.verdict.explanation import Explanation


def inhibits(alert: Alert) -> tuple[str, ...]:
    """Return the inhibition keys of an alert that explains others; empty for most alerts.

    Block Public Access, and a network ACL that drops replies, explain others.
    """
    if alert.verdict == VerdictKind.BLOCK_PUBLIC_ACCESS:
        return (_public_access_key(alert, from_outside=alert.from_outside),)
    if alert.severity is Severity.CRITICAL and alert.leg == Leg.RESPONSE:
        return _entry_keys(alert, from_outside=alert.from_outside)
    return ()


def inhibited_by(alert: Alert, standing: Explanation) -> tuple[str, ...]:
    """Return the inhibition keys that would make this alert redundant.

    Block Public Access explains traffic from and to the internet where the log does not say why it
    was rejected and no rule is known to block it. An entry that drops the replies of a service
    explains its other packets that this entry drops; and replies to clients inside explain those to
    clients outside: one broken entry is one message. It explains nothing that a security group
    blocks, and nothing where the entry is not known.
    """
    if alert.verdict in TRANSIT_GATEWAY_KINDS:
        return ()  # AWS names the reason
    explained_by = (False, True) if alert.from_outside else (False,)
    keys: list[str] = []
    reason_unknown = alert.blocker is None and None in standing.flow.reject_reasons
    if (
        not standing.is_inside
        and reason_unknown
        and alert.verdict != VerdictKind.BLOCK_PUBLIC_ACCESS
    ):
        keys += [_public_access_key(alert, from_outside=each) for each in explained_by]
    if alert.verdict == VerdictKind.NETWORK_ACL and alert.leg != Leg.RESPONSE:
        keys += [key for each in explained_by for key in _entry_keys(alert, from_outside=each)]
    elif alert.verdict == VerdictKind.NETWORK_ACL and alert.from_outside:
        keys += _entry_keys(alert, from_outside=False)
    return tuple(keys)


def _public_access_key(alert: Alert, *, from_outside: bool) -> str:
    return fingerprint("block-public-access", *_place(alert), alert.flow_direction, from_outside)


def _entry_keys(alert: Alert, *, from_outside: bool) -> tuple[str, ...]:
    """Return the key of the deciding entry and the service; nothing where one is not known."""
    entry = alert.network_acl_entry
    if entry is None or (alert.service_port is None and has_ports(alert.protocol)):
        return ()
    return (
        fingerprint(
            "replies-blocked",
            *_place(alert),
            alert.protocol,
            alert.service_port,
            entry.network_acl_id,
            entry.rule_number,
            entry.egress,
            from_outside,
        ),
    )


def _place(alert: Alert) -> tuple[str | None, ...]:
    return (
        alert.account_id,
        alert.region,
        alert.vpc_id if alert.vpc_id is not None else "/".join(alert.interfaces),
        *reporters(alert.reported_by),
    )
