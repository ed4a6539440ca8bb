"""What accepted traffic would show that the packets of an alert pass by now.

A network ACL and a security group look at the protocol, the addresses and the destination port
(https://docs.aws.amazon.com/vpc/latest/userguide/vpc-network-acls.html), never at the source port.
An accepted *request* to the same port between the same addresses at the same interface therefore
passed the same rules, whatever its source port, if it opened a connection: later packets of a
tracked connection pass without the group's rules
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/security-group-connection-tracking.html).
Only TCP flags show that, so nothing is concluded of other protocols. The destination port of a
*reply* is the client's: only a reply to the same port passed the same rules.

An alert is shown to be fixed only if each of its packets is. An alert of more than ``MAX_PROBES``
different packets, of a scan, or of a packet whose leg or direction is not certain has no probes.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from flowverdict.core.protocols import Protocol
from flowverdict.flowlog.flow_key import FlowKey
from flowverdict.flowlog.records import FlowDirection
from flowverdict.verdict.model import Leg

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.verdict.explanation import Explanation


MAX_PROBES = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A rejected packet of TCP, as the keys of accepted flows have it.

    Addresses are text, because a probe is stored as JSON.

    Parameters
    ----------
    source_port
        ``None`` for any: of a request.
    direction
        As logged; ``None`` where the format has no direction.
    """

    interface: str
    source: str
    destination: str
    packet_source: str
    packet_destination: str
    source_port: int | None
    destination_port: int
    direction: str | None

    def key(self) -> FlowKey:
        """Return the key of the accepted flow, with source port 0 where any port counts."""
        return FlowKey(
            self.interface,
            ip_address(self.source),
            ip_address(self.destination),
            ip_address(self.packet_source),
            ip_address(self.packet_destination),
            0 if self.source_port is None else self.source_port,
            self.destination_port,
            Protocol.TCP,
            None if self.direction is None else FlowDirection(self.direction),
        )


def probes_of(members: Iterable[Explanation]) -> tuple[Probe, ...]:
    """Return a probe for each different packet; nothing if one packet has none, or of too many."""
    found: set[Probe] = set()
    for member in members:
        probe = _probe(member.flow, member.verdict.leg)
        if probe is None:
            return ()
        found.add(probe)
        if len(found) > MAX_PROBES:
            return ()
    return tuple(sorted(found, key=repr))


def _probe(flow: RejectedFlow, leg: Leg) -> Probe | None:
    key = flow.key
    if (
        flow.interface_id is None
        or key.protocol != Protocol.TCP
        or flow.direction is None
        or leg not in {Leg.REQUEST, Leg.RESPONSE}
        or key.source is None
        or key.destination is None
        or key.packet_source is None
        or key.packet_destination is None
        or key.source_port is None
        or key.destination_port is None
    ):
        return None
    return Probe(
        interface=flow.interface_id,
        source=str(key.source),
        destination=str(key.destination),
        packet_source=str(key.packet_source),
        packet_destination=str(key.packet_destination),
        source_port=key.source_port if leg is Leg.RESPONSE else None,
        destination_port=key.destination_port,
        direction=None if key.direction is None else key.direction.value,
    )


def probes_of_both(first: tuple[Probe, ...], second: tuple[Probe, ...]) -> tuple[Probe, ...]:
    """Return the probes of two detections of one alert; nothing if one has none, or of too many."""
    both = {*first, *second}
    if not first or not second or len(both) > MAX_PROBES:
        return ()
    return tuple(sorted(both, key=repr))
