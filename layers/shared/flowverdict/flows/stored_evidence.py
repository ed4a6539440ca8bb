"""Evidence as it is read back, and what of it the judging of some windows needs.

Nearly all of it says nothing of a rejected flow: 99 % of the bytes are accepted flows, and most
interfaces have no rejects. Rejects are parsed at once. Interfaces stay rows, and accepted flows
compressed columns, until the rejects of all windows to be judged are known. Then each column goes
through a filter and is dropped.
"""

from __future__ import annotations

import sys
from array import array
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.addresses import address_of
from flowverdict.flowlog.columnar import RELATED_BYTES
from flowverdict.flowlog.flow_hash import related_bytes
from flowverdict.flows.accepted_index import AcceptedFlowIndex, HashSearch
from flowverdict.flows.evidence import Evidence, FlowLog
from flowverdict.flows.model import Interface

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from flowverdict.flowlog.flow_key import FlowKey
    from flowverdict.flows.collector import FlowCollector
    from flowverdict.flows.model import Context, RejectedTotals, TrafficTotals

_MANY = 2_000  # keys that numpy hashes faster, even if it has to be loaded for them


class InterfaceRow(NamedTuple):
    """What a source shows of an interface, addresses as text (``flows.model.Interface``)."""

    own: Sequence[str]
    shared: Sequence[str] | None
    subnets: Sequence[str]
    vpc_id: str | None
    accepts_logged: bool
    lost: TrafficTotals
    context: Context

    def interface(self) -> Interface:
        """Return the interface."""
        return Interface(
            own=set(map(address_of, self.own)),
            shared=None if self.shared is None else set(map(address_of, self.shared)),
            subnets=set(self.subnets),
            vpc_id=self.vpc_id,
            accepts_logged=self.accepts_logged,
            lost=self.lost.copied(),
            context=self.context,
        )

    def has_one_of(self, addresses: AbstractSet[str]) -> bool:
        """Whether the interface may have one of the addresses."""
        return not addresses.isdisjoint(self.own) or (
            self.shared is not None and not addresses.isdisjoint(self.shared)
        )


def check_rows(rows: Collection[InterfaceRow]) -> None:
    """Raise ``ValueError`` or ``TypeError`` if an interface cannot be made of one of the rows."""
    texts = set[str]().union(
        *(row.own for row in rows), *(row.shared for row in rows if row.shared is not None)
    )
    for text in texts:
        address_of(text)
    set[str]().union(*(row.subnets for row in rows))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredEvidence:
    """What a source shows of one window, as it was read back.

    Parameters
    ----------
    flows
        Its rejects, aggregated rejects and losses, without interfaces and accepted flows.
    flow_log, is_readable, object_name
        As in ``Evidence``.
    """

    flows: FlowCollector
    interfaces: Mapping[str | None, InterfaceRow] = field(default_factory=dict)
    accepted: AcceptedFlowIndex = field(default_factory=AcceptedFlowIndex)
    flow_log: FlowLog | None = None
    is_readable: bool = True
    object_name: str | None = None

    @classmethod
    def unreadable(cls) -> StoredEvidence:
        """Return the placeholder for stored evidence that cannot be read; it has no flows."""
        return cls(flows=Evidence.unreadable().flows, is_readable=False)

    def part(self, names: AbstractSet[str | None], search: HashSearch) -> Evidence:
        """Return the evidence with these interfaces and accepted flows, and with all rejects."""
        flows = self.flows.without_facts()
        flows.interfaces = {
            name: row.interface() for name, row in self.interfaces.items() if name in names
        }
        flows.accepts_elsewhere = any(row.accepts_logged for row in self.interfaces.values())
        flows.accepted_index = self.accepted.among(search)
        return Evidence(
            flows=flows,
            flow_log=self.flow_log,
            is_readable=self.is_readable,
            all_accepted=self.accepted,
            object_name=self.object_name,
        )


def evidence_for(
    judged: Collection[int], stored: Mapping[int, Sequence[StoredEvidence]], seed: int
) -> dict[int, list[Evidence]]:
    """Return what the judging of windows needs: ``flows_of`` finds the same flows in it.

    Parameters
    ----------
    judged
        The windows that are judged from the result; their rejects say what is needed.
    stored
        The evidence of these windows and of those around them.
    seed
        The seed of the hashes of flows.
    """
    keys: list[FlowKey] = []
    totals: list[RejectedTotals] = []
    for number in judged:
        for piece in stored.get(number, ()):
            keys += (key for key, _ in piece.flows.rejects)
            totals += piece.flows.rejects.values()
    search = HashSearch(_related(keys, totals, seed))
    addresses = {
        str(address)
        for key in keys
        for address in (key.packet_source, key.packet_destination)
        if address is not None
    }
    names = {key.interface for key in keys}
    for pieces in stored.values():
        for piece in pieces:
            # Another interface matters by its losses, and if a rejected flow may end there.
            names.update(
                name
                for name, row in piece.interfaces.items()
                if row.lost.records > 0 or row.has_one_of(addresses)
            )
    return {
        number: [piece.part(names, search) for piece in pieces] for number, pieces in stored.items()
    }


def _related(
    keys: Sequence[FlowKey], totals: Sequence[RejectedTotals], seed: int
) -> AbstractSet[int]:
    """Return the hashes of all flows of the connections of these keys, which keep their own."""
    if len(keys) < _MANY or ("numpy" not in sys.modules and find_spec("numpy") is None):
        found = related_bytes(
            [key for key, known in zip(keys, totals, strict=True) if known.related is None], seed
        )
        hashes = array("Q")
        for rejects in totals:
            if rejects.related is None:
                rejects.related = next(found)
            hashes.frombytes(rejects.related)
        return set(hashes)
    from flowverdict.flowlog import flow_hash_numpy  # noqa: PLC0415 - numpy takes 65 ms to load

    table = flow_hash_numpy.related_table([each.related for each in totals], keys, seed)
    of_all = table.tobytes()
    for number, rejects in enumerate(totals):
        rejects.related = of_all[number * RELATED_BYTES : (number + 1) * RELATED_BYTES]
    return set(table.ravel().tolist())
