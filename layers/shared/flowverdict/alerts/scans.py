"""Find scans: sources that try many ports or hosts.

Scans are separated from faults before anything is grouped, since each port would be an alert of its
own. From the internet, ``SCAN_TARGETS`` different ports or addresses make a scan. From inside, only
different *ports* count: a client that cannot reach one service on many hosts is one fault of one
rule, and is grouped by that rule. High ports count as a single port there, because RPC and passive
FTP use another with every connection. A packet whose ports look like a reply's is not an attempt.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.protocols import PortLook, port_look, without_ephemeral
from flowverdict.verdict.model import Leg, VerdictKind

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.flowlog.records import FlowDirection
    from flowverdict.verdict.explanation import Explanation


# A client with a wrong address tries one or two ports, a browser or an agent a handful; scanners
# try hundreds.
SCAN_TARGETS = 10

_BLOCKED = {
    VerdictKind.SECURITY_GROUP,
    VerdictKind.NETWORK_ACL,
    VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP,
    VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP,
    VerdictKind.UNDETERMINED,
}


class Place(NamedTuple):
    """Where a scan was seen, and whether it came from inside."""

    account_id: str | None
    region: str | None
    vpc_id: str | None
    interface_id: str | None
    direction: FlowDirection | None
    inside: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Everything that scanning sources tried at one place.

    ``sources`` counts the scanning addresses, ``ports`` and ``addresses`` the different targets.
    """

    place: Place
    members: tuple[Explanation, ...]
    sources: int
    ports: int
    addresses: int


def split_scans(explanations: Iterable[Explanation]) -> tuple[list[Scan], list[Explanation]]:
    """Return the scans, one a place, and the explanations that belong to none, in their order."""
    everything = list(explanations)
    attempts: defaultdict[tuple[Place, str], list[Explanation]] = defaultdict(list)
    for explanation in everything:
        if _is_attempt(explanation):
            source = str(explanation.flow.key.packet_source)
            attempts[_place(explanation), source].append(explanation)
    members: defaultdict[Place, list[Explanation]] = defaultdict(list)
    sources: defaultdict[Place, int] = defaultdict(int)
    for (place, _), tried in attempts.items():
        if _count_targets(tried, inside=place.inside) >= SCAN_TARGETS:
            members[place] += tried
            sources[place] += 1
    scans = [_scan(place, members[place], sources[place]) for place in members]
    of_scans = {id(member) for scan in scans for member in scan.members}
    return scans, [explanation for explanation in everything if id(explanation) not in of_scans]


def _scan(place: Place, members: list[Explanation], sources: int) -> Scan:
    keys = [member.flow.key for member in members]
    return Scan(
        place=place,
        members=tuple(members),
        sources=sources,
        ports=len({(key.protocol, key.destination_port) for key in keys}),
        addresses=len({key.packet_destination for key in keys}),
    )


def _is_attempt(explanation: Explanation) -> bool:
    key, verdict = explanation.flow.key, explanation.verdict
    return (
        verdict.kind in _BLOCKED
        and verdict.leg is not Leg.RESPONSE
        and explanation.flow.direction is not None
        and key.packet_source is not None
        and port_look(key.source_port, key.destination_port) is not PortLook.REPLY
    )


def _place(explanation: Explanation) -> Place:
    flow = explanation.flow
    context = flow.context
    return Place(
        account_id=context.account_id,
        region=context.region,
        vpc_id=context.vpc_id,
        interface_id=flow.key.interface if context.vpc_id is None else None,
        direction=flow.direction,
        inside=explanation.source_is_inside,
    )


def _count_targets(members: list[Explanation], *, inside: bool) -> int:
    keys = [member.flow.key for member in members]
    if inside:
        return len({(key.protocol, without_ephemeral(key.destination_port)) for key in keys})
    return len({(key.packet_destination, key.protocol, key.destination_port) for key in keys})
