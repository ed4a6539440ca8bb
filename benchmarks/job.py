"""The job that every design does, and what it finds.

The job: find every rejected record; for each, find the earliest accepted record of the mirrored
5-tuple on the same interface in the file; aggregate by interface, direction, remote address, ports
and protocol; count records without data and malformed lines. All designs must find the same. Where
the format has no direction, the addresses of the VPC decide.
"""

from __future__ import annotations

from dataclasses import dataclass

INSIDE = ("10.", "2a05:")  # prefixes of the generated VPC's addresses


@dataclass(frozen=True, slots=True)
class Found:
    """The results of the job: enough to show that two designs did the same."""

    accepted: int = 0
    rejected: int = 0
    no_data: int = 0
    malformed: int = 0
    groups: int = 0
    mirrored: int = 0
    starts: int = 0  # sum of the mirrors' earliest starts


type Group = tuple[str, str, str, int, int, int]


def group_key(
    interface: str,
    ends: tuple[str, str],
    ports: tuple[int, int],
    protocol: int,
    direction: str | None,
) -> Group:
    """Return the key of a rejected record's group; ``ends`` are source and destination address."""
    source, destination = ends
    if direction is None:
        outgoing = source.startswith(INSIDE) and not destination.startswith(INSIDE)
        direction = "egress" if outgoing else "ingress"
    return (
        interface,
        direction,
        destination if direction == "egress" else source,
        *ports,
        protocol,
    )
