"""Describe one packet, and match it with a single criterion of a rule.

A match is certain, impossible or *possible*. A match is possible wherever the data leaves it open:
the ICMP type and code (flow logs have none,
https://docs.aws.amazon.com/vpc/latest/userguide/flow-log-records.html), a protocol that this
program does not know, a list that was not read. A possible match carries its reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING

from flowverdict.core.protocols import Protocol
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.model import ALL_PROTOCOLS, protocol_number

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address
    from flowverdict.network.model import PrefixList, PrefixListReference


PROTOCOLS_WITH_PORTS = frozenset({Protocol.TCP, Protocol.UDP})
PROTOCOLS_WITH_TYPES = frozenset({Protocol.ICMP, Protocol.ICMPV6})
ALL = -1
MAX_PORT = 65_535


class Outcome(StrEnum):
    """What a layer, network ACL or security groups, does with a packet, as far as is known."""

    ALLOW = "allow"
    DENY = "deny"
    UNKNOWN = "unknown"


class Criterion(StrEnum):
    """What a security group rule compares. For ICMP, the port is the type and code."""

    PROTOCOL = "protocol"
    PORT = "port"
    PEER = "peer"


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One packet.

    ``None`` is what is not known of the packet. Of a packet in a flow log, the ICMP type and code
    are never known.
    """

    source: Address
    destination: Address
    protocol: int | None
    source_port: int | None = None
    destination_port: int | None = None
    icmp_type: int | None = None
    icmp_code: int | None = None

    def reply(self) -> Packet:
        """Return the packet that answers this one.

        Its destination port is this packet's source port, usually an ephemeral port.
        """
        return Packet(
            source=self.destination,
            destination=self.source,
            protocol=self.protocol,
            source_port=self.destination_port,
            destination_port=self.source_port,
        )

    def peer(self, direction: FlowDirection) -> Address:
        """Return the remote address, seen from the interface that the packet passes."""
        return self.source if direction is FlowDirection.INGRESS else self.destination


# --- matching one criterion -------------------------------------------------------------------


class Match(IntEnum):
    """Whether a criterion matches; ordered, so that the least of several is their conjunction."""

    NO = 0
    POSSIBLE = 1
    YES = 2


@dataclass(frozen=True, slots=True)
class Finding:
    """The match of one criterion; only a possible match has a reason."""

    match: Match
    reason: str = ""


NO, YES = Finding(Match.NO), Finding(Match.YES)


def possible(reason: str) -> Finding:
    """Return a match that depends on what is not known."""
    return Finding(Match.POSSIBLE, reason)


def sure(*, matches: bool) -> Finding:
    """Return a certain match, or a certain mismatch."""
    return YES if matches else NO


def match_protocol(text: str | None, packet: Packet) -> Finding:
    """Match a rule's protocol, as AWS writes it, with the packet's."""
    if text == ALL_PROTOCOLS:
        return YES
    number = protocol_number(text)
    if number is None:
        return possible(f"protocol {text!r} is not one this program knows")
    if packet.protocol is None:
        return possible("the packet's protocol is not known")
    return sure(matches=number == packet.protocol)


def match_port(first: int, last: int, packet: Packet) -> Finding:
    """Match a rule's port range, both ends included, with the packet's destination port."""
    if first <= 0 and last >= MAX_PORT:
        return YES
    if packet.destination_port is None:
        return possible("the packet's destination port is not known")
    return sure(matches=first <= packet.destination_port <= last)


def match_icmp(kind: int, code: int, packet: Packet) -> Finding:
    """Match a rule's ICMP type and code, ``-1`` for all, with the packet's."""
    if kind == ALL:
        return YES
    if packet.icmp_type is None:
        return possible("flow logs do not tell the ICMP type and code")
    if kind != packet.icmp_type:
        return NO
    if code == ALL:
        return YES
    if packet.icmp_code is None:
        return possible("flow logs do not tell the ICMP type and code")
    return sure(matches=code == packet.icmp_code)


def match_prefix_list(
    reference: PrefixListReference, listed: PrefixList | None, address: Address
) -> Finding:
    """Match a reference to a prefix list, as far as its entries are known, with an address."""
    if listed is None or listed.cidrs is None:
        return possible(f"the entries of {reference} are not known")
    if any(address in network for network in listed.cidrs):
        return YES
    return possible(f"only some entries of {reference} are known") if listed.is_cut else NO
