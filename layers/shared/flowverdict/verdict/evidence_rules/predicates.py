"""TODO flowverdict.verdict.evidence_rules.predicates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.protocols import PortLook, Protocol, has_ports, port_look
from flowverdict.flowlog.records import RejectReason
from flowverdict.flows.model import epoch_to_datetime

if TYPE_CHECKING:
    from flowverdict.flows.accepted_index import Activity
    from flowverdict.verdict.model import Facts
    from flowverdict.verdict.rules_check import RulesCheck


_FIN, SYN, _RST, _ACK = 1, 2, 4, 16

# AWS: `start` and `end` may lie up to 60 s after the packet was on the wire.
TIMESTAMP_SLACK_SECONDS = 60

# How long a security group remembers an idle flow at least by default (Nitro v6; other types remember TCP for five days):
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html
_TRACKED_SECONDS: dict[int | None, int] = {Protocol.TCP: 350, Protocol.UDP: 30}
_TRACKED_SECONDS_OTHER = 600


def is_tcp(facts: Facts) -> bool:
    return facts.flow.key.protocol == Protocol.TCP


def flags_of(traffic: Activity | None) -> int | None:
    return None if traffic is None else traffic.tcp_flags


def opens(flags: int | None) -> bool:
    """Whether SYN was seen without ACK: only the side that starts a connection sends that."""
    return flags is not None and bool(flags & SYN) and not flags & _ACK


def answers(flags: int | None) -> bool:
    """Whether SYN was seen with ACK: only the side that was asked sends that."""
    return flags is not None and bool(flags & SYN) and bool(flags & _ACK)


def closes(flags: int | None) -> bool:
    return flags is not None and bool(flags & (_FIN | _RST))


def not_after(first: Activity, second: Activity) -> bool:
    """Whether ``first`` certainly began no later than ``second``, as far as the log's own times go."""
    return (
        first.first_start is not None
        and second.first_start is not None
        and first.first_start <= second.first_start
    )


def starts_within(facts: Facts, mirror: Activity, seconds: int) -> bool:
    """Whether the reject began at most so many seconds after the mirror was last seen."""
    if mirror.last_end is None or facts.flow.traffic.first_start is None:
        return False
    return facts.flow.traffic.first_start <= mirror.last_end + seconds


def clock_time(seconds: int | None) -> str:
    return "an unknown time" if seconds is None else f"{epoch_to_datetime(seconds):%H:%M:%S}"


def reason_unlogged(facts: Facts) -> bool:
    """Whether nothing is said of the reason for some records, and no reason with a name for any."""
    return None in facts.flow.reject_reasons and facts.flow.reject_reasons <= {
        None,
        RejectReason.OTHER,
    }


def reason_named(facts: Facts) -> bool:
    """Whether AWS itself names the reason, which no inference of ours overrules."""
    return facts.flow.reject_reasons in (
        {RejectReason.BLOCK_PUBLIC_ACCESS},
        {RejectReason.ENCRYPTION_CONTROLS},
    )


def public_access_blocked(facts: Facts) -> str | None:
    rules_check = facts.rules_check
    if (
        not reason_unlogged(facts)
        or rules_check is None
        or rules_check.block_public_access is None
        or facts.flow.mirror is not None
    ):
        return None
    return f"the VPC's internet gateways are closed ({rules_check.block_public_access}), and the remote address is public"


def nothing_but_handshakes(facts: Facts) -> bool:
    """Whether every rejected record has SYN and none has FIN or RST, which belong to a connection that was there before."""
    return bool(facts.flow.traffic.common_flags & SYN) and not closes(facts.flow.traffic.tcp_flags)


def accepted_request(facts: Facts) -> Activity | None:
    """Give the mirror if it reads as the request of this flow."""
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


def both_accepted(facts: Facts) -> tuple[Activity, Activity] | None:
    if facts.flow.mirror is None or facts.flow.same is None:
        return None
    if not (
        not_after(facts.flow.mirror, facts.flow.traffic)
        or not_after(facts.flow.same, facts.flow.traffic)
    ):
        return None
    return facts.flow.mirror, facts.flow.same


def quiet_since(facts: Facts, both: tuple[Activity, Activity]) -> bool:
    """Whether nothing of the connection was accepted after the reject began."""
    start = facts.flow.traffic.first_start
    return start is not None and all(
        traffic.last_end is not None and traffic.last_end <= start for traffic in both
    )


def last_seen(both: tuple[Activity, Activity]) -> int | None:
    return max((traffic.last_end for traffic in both if traffic.last_end is not None), default=None)


def lacks_request(facts: Facts) -> bool:
    """Whether a request would have been seen if there had been one; where flags are logged, they say more."""
    if not (facts.flow.accepts_logged or facts.flow.accepts_logged_elsewhere):
        return False
    if facts.flow.mirror is not None or facts.flow.same is not None:
        return False
    return not (is_tcp(facts) and facts.flow.traffic.tcp_flags is not None)


def ports_look(facts: Facts) -> PortLook:
    key = facts.flow.key
    return (
        port_look(key.source_port, key.destination_port)
        if has_ports(key.protocol)
        else PortLook.NEITHER
    )


def when_read(rules_check: RulesCheck) -> str:
    return "" if rules_check.read_at is None else f" (rules read {rules_check.read_at:%H:%M})"
