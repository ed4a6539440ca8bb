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


type _Seen = tuple[Place, bool]  # and whether hosts outside may have caused it


@dataclass(frozen=True, slots=True, kw_only=True)
class Scan:
    """Everything that scanning sources tried at one place.

    ``sources`` counts the scanning addresses, ``ports`` and ``addresses`` the different targets.
    ``is_from_outside``: hosts outside may have caused it; from inside, by what is replied to them.
    """

    place: Place
    is_from_outside: bool
    members: tuple[Explanation, ...]
    sources: int
    ports: int
    addresses: int


def split_scans(explanations: Iterable[Explanation]) -> tuple[list[Scan], list[Explanation]]:
    """Return the scans, one a place, and the explanations that belong to none, in their order."""
    everything = list(explanations)
    attempts: defaultdict[tuple[_Seen, str], list[Explanation]] = defaultdict(list)
    for explanation in everything:
        if is_attempt(explanation.flow, explanation.verdict):
            source = str(explanation.flow.key.packet_source)
            place = place_of(explanation.flow, inside=explanation.source_is_inside)
            attempts[(place, explanation.is_from_outside), source].append(explanation)
    members: defaultdict[_Seen, list[Explanation]] = defaultdict(list)
    sources: defaultdict[_Seen, int] = defaultdict(int)
    for (seen, _), tried in attempts.items():
        if is_scan([member.flow.key for member in tried], inside=seen[0].inside):
            members[seen] += tried
            sources[seen] += 1
    scans = [_scan(seen, members[seen], sources[seen]) for seen in members]
    of_scans = {id(member) for scan in scans for member in scan.members}
    return scans, [explanation for explanation in everything if id(explanation) not in of_scans]


def _scan(seen: _Seen, members: list[Explanation], sources: int) -> Scan:
    place, is_from_outside = seen
    keys = [member.flow.key for member in members]
    return Scan(
        place=place,
        is_from_outside=is_from_outside,
        members=tuple(members),
        sources=sources,
        ports=len({(key.protocol, key.destination_port) for key in keys}),
        addresses=len({key.packet_destination for key in keys}),
    )
