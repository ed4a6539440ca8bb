"""Find scans: sources that try many ports or hosts.

Scans are separated from faults before anything is grouped, since each port would be an alert of its
own. What counts as a scan is in ``verdict/attempts.py``.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.verdict.attempts import Place, is_attempt, is_scan, place_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.verdict.explanation import Explanation


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
        if is_attempt(explanation.flow, explanation.verdict):
            source = str(explanation.flow.key.packet_source)
            place = place_of(explanation.flow, inside=explanation.source_is_inside)
            attempts[place, source].append(explanation)
    members: defaultdict[Place, list[Explanation]] = defaultdict(list)
    sources: defaultdict[Place, int] = defaultdict(int)
    for (place, _), tried in attempts.items():
        if is_scan([member.flow.key for member in tried], inside=place.inside):
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
