"""Add the load balancers of an account and Region, with their targets, to a snapshot."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from flowverdict.core.errors import NotReadError
from flowverdict.network.describe import describe
from flowverdict.network.elb import (
    LOAD_BALANCERS,
    TARGET_GROUP_ATTRIBUTES,
    TARGET_GROUPS,
    TARGET_HEALTH,
    may_be_of_network_load_balancer,
    of_target_group,
    with_attributes,
)
from flowverdict_cli.progress import counting

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from botocore.client import BaseClient

    from flowverdict.network.describe import Item, Listing
    from flowverdict_cli.progress import Counter
    from flowverdict_cli.snapshot import Snapshot


def with_load_balancers(
    snapshot: Snapshot, client: BaseClient, vpc_ids: Sequence[str] = ()
) -> Snapshot:
    """Return the snapshot with the load balancers, all or only those of some VPCs.

    Attributes and targets are read of the target groups that a network load balancer may have: only
    network load balancers preserve the addresses of clients.

    Raises
    ------
    NotReadError
        A call failed otherwise than by a denial.
    """
    lists: dict[str, list[Item]] = {}
    with counting() as progress:
        reader = _Reader(progress)
        balancers = reader.read(LOAD_BALANCERS.snapshot_key, describe(client, LOAD_BALANCERS))
        if balancers is not None:
            lists[LOAD_BALANCERS.snapshot_key] = _of_vpcs(balancers, vpc_ids)
        groups = reader.read(TARGET_GROUPS.snapshot_key, describe(client, TARGET_GROUPS))
        if groups is not None:
            lists |= _with_targets(reader, client, _of_vpcs(groups, vpc_ids))
    return replace(
        snapshot,
        answers={**snapshot.answers, **lists},
        denied=(*snapshot.denied, *reader.denied),
    )


class _Reader:
    """Reads lists page by page; a list that AWS denies is left out."""

    def __init__(self, progress: Counter) -> None:
        self.progress = progress
        self.denied: list[NotReadError] = []

    def read(self, name: str, pages: Iterable[list[Item]]) -> list[Item] | None:
        """Return the elements of a list, or ``None`` where AWS denies the list."""
        found: list[Item] = []
        try:
            for page in pages:
                found += page
                self.progress.show(name, len(found))
        except NotReadError as error:
            if not error.denied:
                raise
            self.denied.append(error)
            return None
        return found


def _of_vpcs(items: list[Item], vpc_ids: Sequence[str]) -> list[Item]:
    return [item for item in items if not vpc_ids or item.get("VpcId") in vpc_ids]


def _with_targets(reader: _Reader, client: BaseClient, groups: list[Item]) -> dict[str, list[Item]]:
    """Return target groups with their attributes, and their targets."""
    attributes = reader.read("Attributes", _of_each(client, TARGET_GROUP_ATTRIBUTES, groups))
    lists = {TARGET_GROUPS.snapshot_key: [with_attributes(group, attributes) for group in groups]}
    targets = reader.read(TARGET_HEALTH.snapshot_key, _of_each(client, TARGET_HEALTH, groups))
    return lists if targets is None else {**lists, TARGET_HEALTH.snapshot_key: targets}


def _of_each(client: BaseClient, listing: Listing, groups: list[Item]) -> Iterator[list[Item]]:
    for group in filter(may_be_of_network_load_balancer, groups):
        yield from of_target_group(client, listing, str(group.get(TARGET_GROUPS.id_key)))
