"""Predicates that several evidence rules share: TCP flags, times, accepted traffic, reject reasons.

``mirror`` is the accepted traffic of the opposite direction, ``same`` that of the same direction.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.formatting import day_and_minute
from flowverdict.core.protocols import (
    EPHEMERAL_PORTS_START,
    PortLook,
    Protocol,
    has_ports,
    is_service_port,
    port_look,
)
from flowverdict.flowlog.losses import Loss
from flowverdict.flowlog.records import FlowDirection, RejectReason
from flowverdict.flows.model import epoch_to_datetime
from flowverdict.flows.observed import NOT_LOGGED
from flowverdict.network.packet import Outcome

if TYPE_CHECKING:
    from flowverdict.flows.accepted_index import Activity
    from flowverdict.network.model import SecurityGroupRule
    from flowverdict.verdict.model import Facts
    from flowverdict.verdict.rules_check import RulesCheck


_FIN, SYN, _RST, _ACK = 1, 2, 4, 16

# AWS: `start` and `end` may lie up to 60 s after the packet was on the wire.
TIMESTAMP_SLACK_SECONDS = 60

# The least time for which a security group tracks an idle flow by default (Nitro v6; other instance
# types track TCP for five days):
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html
_TRACKED_SECONDS: dict[int | None, int] = {Protocol.TCP: 350, Protocol.UDP: 30}
_TRACKED_SECONDS_OTHER = 600


_FTP_DATA = 20

_NAMED = ({RejectReason.BLOCK_PUBLIC_ACCESS}, {RejectReason.ENCRYPTION_CONTROLS})


# --- TCP flags ------------------------------------------------------------------------------------


def is_tcp(facts: Facts) -> bool:
    """Whether the flow is TCP."""
    return facts.flow.key.protocol == Protocol.TCP


def flags_of(activity: Activity | None) -> int | None:
    """Return the OR of the activity's ``tcp-flags``; ``None`` if there are none."""
    return None if activity is None else activity.tcp_flags


def opens(flags: int | None) -> bool:
    """Whether SYN was seen without ACK: only the side that opens a connection sends that."""
    return flags is not None and bool(flags & SYN) and not flags & _ACK


def answers(flags: int | None) -> bool:
    """Whether SYN was seen with ACK: only the side that answers a SYN sends that."""
    return flags is not None and bool(flags & SYN) and bool(flags & _ACK)


def closes(flags: int | None) -> bool:
    """Whether FIN or RST was seen, either of which ends a connection."""
    return flags is not None and bool(flags & (_FIN | _RST))


def resets(flags: int | None) -> bool:
    """Whether RST was seen, which ends both directions of a connection at once."""
    return flags is not None and bool(flags & _RST)


def only_handshakes(facts: Facts) -> bool:
    """Whether every rejected record has SYN and none has FIN or RST of an earlier connection."""
    return bool(facts.flow.traffic.common_flags & SYN) and not closes(facts.flow.traffic.tcp_flags)


# --- times ----------------------------------------------------------------------------------------


def not_after(first: Activity, second: Activity) -> bool:
    """Whether ``first`` certainly began no later than ``second``, by the times in the log."""
    return (
        first.first_start is not None
        and second.first_start is not None
        and first.first_start <= second.first_start
    )


def starts_within(facts: Facts, mirror: Activity, seconds: int) -> bool:
    """Whether the reject began at most ``seconds`` after the mirror was last seen."""
    if mirror.last_end is None or facts.flow.traffic.first_start is None:
        return False
    return facts.flow.traffic.first_start <= mirror.last_end + seconds


def clock_time(seconds: int | None) -> str:
    """Write Unix seconds as the time of day in UTC: ``12:00:05Z``."""
    return "an unknown time" if seconds is None else f"{epoch_to_datetime(seconds):%H:%M:%SZ}"


def when_read(rules_check: RulesCheck) -> str:
    """Write when the rules were read, in parentheses; empty where that is not known."""
    read_at = rules_check.read_at
    return "" if read_at is None else f" (rules read {day_and_minute(read_at)})"


# --- what is missing ------------------------------------------------------------------------------

_MISSING = {
    Loss.SKIPPED: "AWS lost records of this interface (SKIPDATA)",
    Loss.MALFORMED: "malformed lines are of this interface",
    Loss.NOT_READ: "records of this interface were not read",
}
_PERHAPS_MISSING = {
    Loss.SKIPPED: "AWS lost records that may be of this interface (SKIPDATA)",
    Loss.MALFORMED: "malformed lines may be of this interface",
    Loss.NOT_READ: "a source that may have records of this interface was not read",
}


def records_missing(facts: Facts) -> str | None:
    """Return why records of the interface are or may be missing, in words; ``None`` if none."""
    losses = facts.flow.losses
    if not losses:
        return None
    why = [
        *(text for loss, text in _MISSING.items() if loss in losses.surely),
        *(text for loss, text in _PERHAPS_MISSING.items() if loss in losses.perhaps),
    ]
    return " and ".join(why) if why else None


# --- accepted traffic of the connection -----------------------------------------------------------


def accepted_request(facts: Facts) -> Activity | None:
    """Return the mirror if it can be the request that this flow answers.

    A security group tracks the request for a limited time without a reply. The times in the log may
    lie a minute after the packets, so this is the reading that the records suggest, not proof.
    """
    mirror = facts.flow.mirror
    if mirror is None or facts.flow.same is not None or not not_after(mirror, facts.flow.traffic):
        return None
    seconds = _TRACKED_SECONDS.get(facts.flow.key.protocol, _TRACKED_SECONDS_OTHER)
    if not starts_within(facts, mirror, seconds):
        return None
    if is_tcp(facts):
        flags = facts.flow.traffic.tcp_flags
        if flags is not None and (flags & SYN or not opens(mirror.tcp_flags)):
            return None
    return mirror


def answered_late(facts: Facts) -> bool:
    """Whether a UDP reply began so long after the first request that its tracking may be gone.

    A security group tracks one-way UDP for 30 seconds.
    """
    mirror, start = facts.flow.mirror, facts.flow.traffic.first_start
    if facts.flow.key.protocol != Protocol.UDP or mirror is None or facts.flow.same is not None:
        return False
    if mirror.first_start is None or start is None:
        return True
    return start - mirror.first_start > _TRACKED_SECONDS[Protocol.UDP]


def forwards(facts: Facts) -> bool:
    """Whether the interface forwards packets of others, and may see only one direction."""
    by_rules = facts.rules_check is not None and facts.rules_check.interface.forwards
    return by_rules or facts.flow.forwards


def reply_may_be_new(facts: Facts) -> bool:
    """Whether a security group may take a reply for a new connection.

    A group lets a reply pass only while it tracks the connection. It does not if it never saw the
    request (asymmetric routes through appliances or a host's second interface), if the connection
    was idle for too long, or if the connection was accepted by rules that leave it untracked and
    one of them was removed:
    https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html
    """
    flow = facts.flow
    if is_tcp(facts) and answers(flow.traffic.tcp_flags):
        # A SYN-ACK follows its SYN at once, so the group still tracks a SYN that it saw.
        return flow.mirror is None and (forwards(facts) or _sends_for_another(facts))
    if flow.mirror is not None and flow.same is not None:
        return True
    if facts.rules_check is None:
        return False  # what ports or times suggest is too little without the rules
    if flow.mirror is None:
        return reply_like(facts)
    seconds = _TRACKED_SECONDS.get(flow.key.protocol, _TRACKED_SECONDS_OTHER)
    late = answered_late(facts) or not starts_within(facts, flow.mirror, seconds)
    return late or only_groups_deny(facts)


def _sends_for_another(facts: Facts) -> bool:
    """Whether the interface sends from an address that another interface has, by the rules.

    The host got the request on that interface, and its own route sends the reply by this one.
    """
    check = facts.rules_check
    return (
        check is not None and check.direction is FlowDirection.EGRESS and check.source_is_elsewhere
    )


def only_groups_deny(facts: Facts) -> bool:
    """Whether the network ACL, as read, allows the packet, and the groups deny it as a request.

    Then a rule of the network ACL has changed, or the groups do not track the connection.
    """
    rules_check = facts.rules_check
    return (
        rules_check is not None and facts.groups_deny() and rules_check.acl_outcome is Outcome.ALLOW
    )


def lacks_request(facts: Facts) -> bool:
    """Whether a request would have been logged, and was not.

    Where TCP flags are logged the answer is no: the flags say more than a missing record.
    """
    if not (facts.flow.accepts_logged or facts.flow.accepts_logged_elsewhere):
        return False
    if facts.flow.mirror is not None or facts.flow.same is not None:
        return False
    return not (is_tcp(facts) and facts.flow.traffic.tcp_flags is not None)


def both_accepted(facts: Facts) -> tuple[Activity, Activity] | None:
    """Return mirror and same if both were accepted, one of them no later than the reject."""
    mirror, same = facts.flow.mirror, facts.flow.same
    if mirror is None or same is None:
        return None
    if not (not_after(mirror, facts.flow.traffic) or not_after(same, facts.flow.traffic)):
        return None
    return mirror, same


def quiet_since(facts: Facts, both: tuple[Activity, Activity]) -> bool:
    """Whether nothing of the connection was accepted after the reject began."""
    start = facts.flow.traffic.first_start
    return start is not None and all(
        activity.last_end is not None and activity.last_end <= start for activity in both
    )


def last_seen(both: tuple[Activity, Activity]) -> int | None:
    """Return when either direction was last accepted, in Unix seconds."""
    return max(
        (activity.last_end for activity in both if activity.last_end is not None), default=None
    )


# --- ports and reject reasons ---------------------------------------------------------------------


def reply_like(facts: Facts) -> bool:
    """Whether ports or rules suggest that a service sends the packets to a client's port.

    A port is a service's if the list of services or a rule says so. Without either, the lower port
    may be; clients use ports from 1024 on (NAT gateways, load balancers), most of them from 32768.
    """
    key = facts.flow.key
    source, destination = key.source_port, key.destination_port
    if not has_ports(key.protocol) or source is None or destination is None:
        return False
    if source == destination or is_service_port(destination):
        return False
    if is_service_port(source) or served_by(facts) is not None:
        return True
    return source < destination or destination >= EPHEMERAL_PORTS_START


def sent_by_service(facts: Facts) -> bool:
    """Whether a known service, not only the lower port, sends the packets to a client's port.

    Services listen on high ports too: RPC, passive FTP, the containers behind a load balancer
    (https://docs.aws.amazon.com/AmazonECS/latest/APIReference/API_PortMapping.html), whose clients
    send from any port. FTP's server opens connections from port 20, which is then no reply
    (https://www.rfc-editor.org/rfc/rfc959#section-3.2).
    """
    source = facts.flow.key.source_port
    if not reply_like(facts) or source is None:
        return False
    return served_by(facts) is not None or (is_service_port(source) and source != _FTP_DATA)


def served_by(facts: Facts) -> SecurityGroupRule | None:
    """Return a rule that shows the source port to be a service's; ``None`` if there is none."""
    return None if facts.rules_check is None else facts.rules_check.served_by


def ports_look(facts: Facts) -> PortLook:
    """Return whether the ports look like a request's or a reply's."""
    key = facts.flow.key
    return (
        port_look(key.source_port, key.destination_port)
        if has_ports(key.protocol)
        else PortLook.NEITHER
    )


def reason_unlogged(facts: Facts) -> bool:
    """Whether some records log no reject reason, and no record logs a named reason."""
    reasons = facts.flow.reject_reasons
    return reasons == NOT_LOGGED or (None in reasons and reasons <= {None, RejectReason.OTHER})


def reason_named(facts: Facts) -> bool:
    """Whether AWS itself names the reason, which no inference overrules."""
    return facts.flow.reject_reasons in _NAMED


def public_access_blocked(facts: Facts) -> str | None:
    """Return an observation if Block Public Access concerns the packet and no reason is logged.

    If a layer denies an outbound packet too, either may have rejected it.
    """
    if _public_access_concerns(facts) is None or _denied_going_out(facts):
        return None
    return _public_access_concerns(facts)


def public_access_or_rules(facts: Facts) -> str | None:
    """Return an observation if Block Public Access and a layer would reject an outbound packet."""
    blocked = _public_access_concerns(facts)
    if blocked is None or not _denied_going_out(facts):
        return None
    return f"{blocked}; the rules deny the packet too, and reject-reason is not logged"


def _denied_going_out(facts: Facts) -> bool:
    denied = facts.acl_denies() or facts.groups_deny()
    return facts.flow.direction is FlowDirection.EGRESS and denied


def _public_access_concerns(facts: Facts) -> str | None:
    rules_check = facts.rules_check
    if (
        not reason_unlogged(facts)
        or rules_check is None
        or rules_check.block_public_access is None
        or facts.flow.mirror is not None
    ):
        return None
    mode = rules_check.block_public_access
    return f"VPC Block Public Access is on ({mode}), and the traffic passes an internet gateway"
