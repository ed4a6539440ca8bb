"""Find the policy entries that match a flow with a few look-ups, however many entries there are.

Each value that an entry asks for is indexed, with the entries that ask for it as the bits of a
number. A flow's values are looked up, and the bits combined.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from flowverdict.alerts.severity import service_port

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ipaddress import IPv4Address, IPv6Address

    from flowverdict.core.addresses import Network
    from flowverdict.policy.entries import Match
    from flowverdict.verdict.explanation import Explanation
    from flowverdict.verdict.model import VerdictKind


def first_matching(matching: int) -> int:
    """Return the position of the lowest bit that is set; -1 for 0."""
    return (matching & -matching).bit_length() - 1


@dataclass(frozen=True, slots=True)
class _Values[T]:
    """One matcher of all entries: bits of entries without it, and of entries by required value."""

    indifferent: int
    asking: dict[T, int]

    @classmethod
    def of(cls, given: list[tuple[T, ...]]) -> _Values[T]:
        asking: dict[T, int] = {}
        indifferent = 0
        for position, values in enumerate(given):
            indifferent |= 0 if values else 1 << position
            for value in values:
                asking[value] = asking.get(value, 0) | 1 << position
        return cls(indifferent, asking)

    def matching(self, values: Iterable[T]) -> int:
        found = self.indifferent
        for value in values:
            found |= self.asking.get(value, 0)
        return found


@dataclass(frozen=True, slots=True)
class _Networks:
    """The same for CIDR blocks, looked up by leading bits, once for each prefix length."""

    indifferent: int
    asking: dict[int, dict[int, _Values[int]]] = field(default_factory=dict)

    @classmethod
    def of(cls, given: list[tuple[Network, ...]]) -> _Networks:
        networks = cls(_Values.of(given).indifferent)
        for position, blocks in enumerate(given):
            for block in blocks:
                beyond = block.max_prefixlen - block.prefixlen
                lengths = networks.asking.setdefault(block.version, {})
                asking = lengths.setdefault(beyond, _Values(0, {})).asking
                leading = int(block.network_address) >> beyond
                asking[leading] = asking.get(leading, 0) | 1 << position
        return networks

    def matching(self, addresses: Iterable[IPv4Address | IPv6Address]) -> int:
        found = self.indifferent
        for address in addresses:
            number = int(address)
            for beyond, values in self.asking.get(address.version, {}).items():
                found |= values.matching((number >> beyond,))
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryIndex:
    """All matchers of all entries."""

    cidr: _Networks
    port: _Values[int]
    interface_id: _Values[str]
    vpc_id: _Values[str]
    verdict: _Values[VerdictKind]

    @classmethod
    def of(cls, matches: list[Match]) -> EntryIndex:
        """Build the index; an entry's bit is its position in the list."""
        return cls(
            cidr=_Networks.of([match.cidr for match in matches]),
            port=_Values.of([match.port for match in matches]),
            interface_id=_Values.of([match.interface_id for match in matches]),
            vpc_id=_Values.of([match.vpc_id for match in matches]),
            verdict=_Values.of([match.verdict for match in matches]),
        )

    def matching(self, explanation: Explanation, asked: int) -> int:
        """Return the bits of the asked entries that match; the cheap matchers are checked first."""
        flow = explanation.flow
        found = asked & self.verdict.matching((explanation.verdict.kind,))
        if found and self.vpc_id.asking:
            found &= self.vpc_id.matching(_known(flow.context.vpc_id))
        if found and self.interface_id.asking:
            found &= self.interface_id.matching(_known(flow.interface_id))
        if found and self.port.asking:
            found &= self.port.matching(_ports(explanation))
        if found and self.cidr.asking:
            found &= self.cidr.matching(_remotes(explanation))
        return found


def _known[T](*values: T | None) -> tuple[T, ...]:
    return tuple(value for value in values if value is not None)


def _ports(explanation: Explanation) -> tuple[int, ...]:
    port, key = service_port(explanation), explanation.flow.key
    return (port,) if port is not None else _known(key.source_port, key.destination_port)


def _remotes(explanation: Explanation) -> tuple[IPv4Address | IPv6Address, ...]:
    flow = explanation.flow
    return (
        _known(flow.remote)
        if flow.direction is not None
        else _known(flow.key.packet_source, flow.key.packet_destination)
    )
