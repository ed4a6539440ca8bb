"""TODO flowverdict.alerts.inhibition."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.alerts.detection import fingerprint
from flowverdict.alerts.model import Alert, Severity
from flowverdict.core.protocols import has_ports
from flowverdict.verdict.model import Leg, VerdictKind

if TYPE_CHECKING:
    from flowverdict.verdict.explanation import Explanation


# --- shadows: what makes another alert needless -----------------------------------------------------------------------


def _place(alert: Alert) -> tuple[str | None, str | None, str | None]:
    return (
        alert.account_id,
        alert.region,
        alert.vpc_id if alert.vpc_id is not None else "/".join(alert.interfaces),
    )


def inhibits(alert: Alert) -> tuple[str, ...]:
    """Give the shadows of what explains others: Block Public Access, and a network ACL that drops replies."""
    if alert.verdict == VerdictKind.BLOCK_PUBLIC_ACCESS:
        return (fingerprint("block-public-access", *_place(alert), alert.flow_direction),)
    if alert.severity is Severity.CRITICAL and alert.leg == Leg.RESPONSE:
        entry = alert.network_acl_entry
        return (
            _reply_inhibition(alert, None),
            _reply_inhibition(alert, "unnamed" if entry is None else entry.network_acl_id),
        )
    return ()


def inhibited_by(alert: Alert, standing: Explanation) -> tuple[str, ...]:
    """Give the shadows that would make this alert needless.

    Block Public Access explains what comes from or goes to the internet where the log does not say why it was rejected and no
    rule is known to block it. A network ACL that drops a service's replies explains the requests that it, or nobody knows
    what, drops: one broken list is one message. What a security group blocks, it does not explain.
    """
    inhibitions: list[str] = []
    reason_unknown = alert.blocker is None and None in standing.flow.reject_reasons
    if (
        not standing.is_inside
        and reason_unknown
        and alert.verdict != VerdictKind.BLOCK_PUBLIC_ACCESS
    ):
        inhibitions.append(fingerprint("block-public-access", *_place(alert), alert.flow_direction))
    if (
        alert.leg != Leg.RESPONSE
        and alert.verdict in _PERHAPS_ACL
        and (alert.service_port is not None or not has_ports(alert.protocol))
    ):
        entry = alert.network_acl_entry
        # A named entry is explained by the same list, or by one that could not be named.
        named = (
            ()
            if entry is None
            else (
                _reply_inhibition(alert, entry.network_acl_id),
                _reply_inhibition(alert, "unnamed"),
            )
        )
        inhibitions += named or (_reply_inhibition(alert, None),)
    return tuple(inhibitions)


_PERHAPS_ACL = {
    VerdictKind.NETWORK_ACL,
    VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP,
    VerdictKind.UNDETERMINED,
}


def _reply_inhibition(alert: Alert, network_acl_id: str | None) -> str:
    return fingerprint(
        "replies-blocked", *_place(alert), alert.protocol, alert.service_port, network_acl_id
    )
