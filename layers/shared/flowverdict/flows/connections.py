"""Count the connections that go where rejected flows go, accepted ones and rejected ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside
from flowverdict.flowlog.flow_hash import KeyHashes, key_hash

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from flowverdict.flowlog.flow_key import FlowKey
    from flowverdict.flows.collector import FlowCollector


def connections_to(
    collected: FlowCollector, groups: Sequence[Mapping[FlowKey, bool]]
) -> Sequence[int] | None:
    """Return for each group of requests how many connections go where one of the group goes.

    That is the same address and port at the same interface, in the same direction where one is
    logged; from inside for a request from inside, else from outside. A connection counts once,
    whether its request was accepted, is in the group, or both. ``None`` if it is not known what the
    accepted flows go to.

    Parameters
    ----------
    groups
        The requests of each group, and whether records of some window near accepted them.
    """
    accepted = collected.all_accepted or collected.accepted_index
    if not accepted.knows_services:
        return None
    seed = collected.seed
    services = [_services_of(requests, seed) for requests in groups]
    by_service = accepted.by_service(set().union(*services))
    counts = []
    for requests, of_group in zip(groups, services, strict=True):
        seen = set[int]().union(*(by_service.get(service, ()) for service in of_group))
        more = sum(
            not (near and any(key_hash(same, seed) in seen for same in request.same()))
            for request, near in requests.items()
        )
        counts.append(len(seen) + more)
    return counts


def _services_of(requests: Iterable[FlowKey], seed: int) -> set[int]:
    alike = {
        (
            key.interface,
            key.destination,
            key.destination_port,
            key.protocol,
            key.direction,
            key.source is not None and is_inside(key.source),
        ): key
        for key in requests
    }
    same = [one for key in alike.values() for one in key.same()]
    return set(KeyHashes.of(same, seed).of_services())
