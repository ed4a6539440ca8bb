"""Inhibition: which alerts make other alerts redundant, as in Alertmanager.

VPC Block Public Access rejects traffic from and to the internet, whatever the rules say
(https://docs.aws.amazon.com/vpc/latest/userguide/security-vpc-bpa-basics.html). A network ACL that
drops a service's replies breaks the connections of that service, so that its dropped requests are
not a problem of their own. An inhibition key is a fingerprint of the place and of what is explained
there.
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


_PERHAPS_NETWORK_ACL = {
    VerdictKind.NETWORK_ACL,
    VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP,
    VerdictKind.UNDETERMINED,
}
_UNNAMED = "unnamed"  # in place of the id of a network ACL that could not be named


def inhibits(alert: Alert) -> tuple[str, ...]:
    """Return the inhibition keys of an alert that explains others; empty for most alerts.

    Block Public Access, and a network ACL that drops replies, explain others.
    """
    if alert.verdict == VerdictKind.BLOCK_PUBLIC_ACCESS:
        return (_public_access_key(alert),)
    if alert.severity is Severity.CRITICAL and alert.leg == Leg.RESPONSE:
        entry = alert.network_acl_entry
        return (
            _replies_key(alert, None),
            _replies_key(alert, _UNNAMED if entry is None else entry.network_acl_id),
        )
    return ()


def inhibited_by(alert: Alert, standing: Explanation) -> tuple[str, ...]:
    """Return the inhibition keys that would make this alert redundant.

    Block Public Access explains traffic from and to the internet where the log does not say why it
    was rejected and no rule is known to block it. A network ACL that drops a service's replies
    explains the requests that the same network ACL, or an unknown blocker, drops: one broken
    network ACL is one message. It does not explain what a security group blocks.
    """
    if alert.verdict in TRANSIT_GATEWAY_KINDS:
        return ()  # AWS names the reason
    keys: list[str] = []
    reason_unknown = alert.blocker is None and None in standing.flow.reject_reasons
    if (
        not standing.is_inside
        and reason_unknown
        and alert.verdict != VerdictKind.BLOCK_PUBLIC_ACCESS
    ):
        keys.append(_public_access_key(alert))
    if (
        alert.leg != Leg.RESPONSE
        and alert.verdict in _PERHAPS_NETWORK_ACL
        and (alert.service_port is not None or not has_ports(alert.protocol))
    ):
        entry = alert.network_acl_entry
        # A named entry is explained by the same network ACL, or by one that could not be named.
        network_acl_ids = (None,) if entry is None else (entry.network_acl_id, _UNNAMED)
        keys += [_replies_key(alert, network_acl_id) for network_acl_id in network_acl_ids]
    return tuple(keys)


def _public_access_key(alert: Alert) -> str:
    return fingerprint("block-public-access", *_place(alert), alert.flow_direction)


def _replies_key(alert: Alert, network_acl_id: str | None) -> str:
    return fingerprint(
        "replies-blocked", *_place(alert), alert.protocol, alert.service_port, network_acl_id
    )


def _place(alert: Alert) -> tuple[str | None, ...]:
    return (
        alert.account_id,
        alert.region,
        alert.vpc_id if alert.vpc_id is not None else "/".join(alert.interfaces),
        *reporters(alert.reported_by),
    )
