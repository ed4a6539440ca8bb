"""Sources that try many doors: told apart from faults before anything is grouped, since each door would be an alert of its own.

From the internet, ``SCAN_TARGETS`` different ports or addresses make a scan. From inside they must be different *ports*: a client
that may not reach one service on many hosts is one fault of one rule, and is grouped by that rule. High ports count as one there,
because RPC and passive FTP take another with every connection. A packet whose ports look like a reply's is no try.
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


# A client with a wrong address tries one or two ports, a browser or an agent a handful; scanners try hundreds.
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

    ``ports`` and ``addresses`` count the different ones that were tried, ``sources`` who tried.
    """

    place: Place
    members: tuple[Explanation, ...]
    sources: int
    ports: int
    addresses: int


def without_scans(explanations: Iterable[Explanation]) -> tuple[list[Scan], list[Explanation]]:
    """Give the scans, one a place, and the explanations that belong to none, in their order."""
    everything = list(explanations)
    tries: defaultdict[tuple[Place, str], list[Explanation]] = defaultdict(list)
    for explanation in everything:
        if _is_try(explanation):
            tries[_place(explanation), str(explanation.flow.key.packet_source)].append(explanation)
    scanning: defaultdict[Place, list[Explanation]] = defaultdict(list)
    sources: defaultdict[Place, int] = defaultdict(int)
    for (place, _), members in tries.items():
        if _doors(members, inside=place.inside) >= SCAN_TARGETS:
            scanning[place] += members
            sources[place] += 1
    taken = {id(member) for members in scanning.values() for member in members}
    scans = [
        Scan(
            place=place,
            members=tuple(members),
            sources=sources[place],
            ports=len({(one.flow.key.protocol, one.flow.key.destination_port) for one in members}),
            addresses=len({one.flow.key.packet_destination for one in members}),
        )
        for place, members in scanning.items()
    ]
    return scans, [explanation for explanation in everything if id(explanation) not in taken]


def _is_try(explanation: Explanation) -> bool:
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


def _doors(members: list[Explanation], *, inside: bool) -> int:
    keys = [member.flow.key for member in members]
    if inside:
        return len({(key.protocol, without_ephemeral(key.destination_port)) for key in keys})
    return len({(key.packet_destination, key.protocol, key.destination_port) for key in keys})
