"""``flowverdict snapshot``: write an account's rules to the file that ``--config`` reads."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import batched
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError

from flowverdict.core.errors import FlowVerdictError, NotReadError
from flowverdict.network.describe import (
    ENDPOINTS,
    INTERFACES,
    MAX_FILTER_VALUES,
    NETWORK_ACLS,
    PEERINGS,
    PREFIX_LISTS,
    ROUTE_TABLES,
    SECURITY_GROUPS,
    SERVICE_PREFIX_LISTS,
    SUBNETS,
    VPCS,
    describe,
    entries_of,
    not_read,
)
from flowverdict_cli.files import replace_whole
from flowverdict_cli.progress import counting

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from botocore.client import BaseClient

    from flowverdict.network.describe import Item, Listing
    from flowverdict_cli.progress import Counter


STDOUT = "-"
# The filters that find the items of a VPC; managed prefix lists do not belong to a VPC.
_FILTERS: tuple[tuple[Listing, tuple[str, ...]], ...] = (
    (VPCS, ("vpc-id",)),
    (INTERFACES, ("vpc-id",)),
    (SECURITY_GROUPS, ("vpc-id",)),
    (NETWORK_ACLS, ("vpc-id",)),
    (SUBNETS, ("vpc-id",)),
    (PEERINGS, ("requester-vpc-info.vpc-id", "accepter-vpc-info.vpc-id")),
    (ENDPOINTS, ("vpc-id",)),
    (ROUTE_TABLES, ("vpc-id",)),
    (PREFIX_LISTS, ()),
)
_VPC_ID = re.compile(r"vpc-[0-9a-z]{1,40}")  # without wildcards, which a filter would apply
_TRIES = 8  # half a minute of backing off at most, since a snapshot needs all lists


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The lists that were read, and the calls that were denied."""

    answers: Mapping[str, object]
    denied: tuple[NotReadError, ...]


def user_client(region: str | None, service: Literal["ec2", "elbv2"] = "ec2") -> BaseClient:
    """Return a client of EC2 or ``elbv2`` with the user's own configuration and credentials.

    Raises
    ------
    NotReadError
        The profile does not exist, or no Region is configured.
    """
    import boto3  # noqa: PLC0415 - half a second, only where a client is made

    config = Config(retries={"mode": "standard", "total_max_attempts": _TRIES})
    try:
        return cast("BaseClient", boto3.Session(region_name=region).client(service, config=config))
    except BotoCoreError as error:
        raise not_read("AWS", error) from error


def read_snapshot(
    client: BaseClient, vpc_ids: Sequence[str] = (), read_at: datetime | None = None
) -> Snapshot:
    """Read the lists of an account and Region, all or only those of some VPCs.

    Raises
    ------
    NotReadError
        A call failed, or all calls were denied.
    FlowVerdictError
        A VPC does not exist, or an id is not valid.
    """
    for vpc_id in vpc_ids:
        if not _VPC_ID.fullmatch(vpc_id):
            raise FlowVerdictError(f"{vpc_id!a} is not a VPC id")
    with counting() as progress:
        answers, denied = _read_lists(client, vpc_ids, progress)
    if len(denied) >= len(_FILTERS):
        raise denied[0]
    return Snapshot(
        answers={"ReadAt": read_at or datetime.now(UTC), **answers},
        denied=tuple({error.action: error for error in denied}.values()),
    )


def _read_lists(
    client: BaseClient, vpc_ids: Sequence[str], progress: Counter
) -> tuple[dict[str, object], list[NotReadError]]:
    """Return the lists by their keys, and the calls that were denied."""
    answers: dict[str, object] = {}
    denied: list[NotReadError] = []
    for listing, names in _FILTERS:
        try:
            items = _read(client, listing, names, vpc_ids, progress)
        except NotReadError as error:
            if not error.denied:
                raise
            denied.append(error)
            continue
        if listing is PREFIX_LISTS:
            items = [_with_entries(client, item, denied, progress) for item in items]
        answers[listing.snapshot_key] = items
        if listing is VPCS:
            missing = sorted(set(vpc_ids) - {str(item.get("VpcId")) for item in items})
            if missing:
                raise FlowVerdictError(
                    f"no such VPC in {client.meta.region_name}: {', '.join(missing)}"
                )
    return answers, denied


def _read(
    client: BaseClient,
    listing: Listing,
    names: tuple[str, ...],
    vpc_ids: Sequence[str],
    progress: Counter,
) -> list[Item]:
    found: dict[str, Item] = {}
    for filters in _filters(names, vpc_ids):
        for page in describe(client, listing, filters):
            found |= {str(item.get(listing.id_key)): item for item in page}
            progress.show(listing.snapshot_key, len(found))
    return [*found.values()]


def _filters(
    names: tuple[str, ...], vpc_ids: Sequence[str]
) -> Iterator[dict[str, tuple[str, ...]]]:
    if not names or not vpc_ids:
        yield {}
        return
    for name in names:
        for some in batched(vpc_ids, MAX_FILTER_VALUES, strict=False):
            yield {name: some}


def _with_entries(
    client: BaseClient, item: Item, denied: list[NotReadError], progress: Counter
) -> Item:
    """Return a prefix list with its entries, or with its ranges where AWS denies the entries.

    Both are left out where AWS gives neither, which happens for a list that another account shares.
    """
    name = str(item.get(PREFIX_LISTS.id_key))
    entries: list[Item] = []
    try:
        for page in entries_of(client, name):
            entries += page
            progress.show(name, len(entries))
    except NotReadError as error:
        if not error.denied:
            raise
        denied.append(error)
        return {**item, **_ranges_of_service(client, name)}
    return {**item, "Entries": entries}


def _ranges_of_service(client: BaseClient, prefix_list_id: str) -> Item:
    """Return the ranges of a list that AWS keeps for a service, as ``Cidrs``; else nothing.

    This call needs ``ec2:DescribePrefixLists`` and not ``ec2:GetManagedPrefixListEntries``:
    https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_DescribePrefixLists.html
    """
    try:
        for page in describe(client, SERVICE_PREFIX_LISTS, {"prefix-list-id": (prefix_list_id,)}):
            for item in page:
                if "Cidrs" in item:
                    return {"Cidrs": item["Cidrs"]}
    except NotReadError as error:
        if not error.denied:
            raise
    return {}


def write_snapshot(snapshot: Snapshot, output: str) -> None:
    """Write a snapshot as JSON, to standard output or to a file that is replaced atomically.

    Raises
    ------
    FlowVerdictError
        The file cannot be written.
    """
    text = json.dumps(snapshot.answers, default=_to_json, indent=1) + "\n"
    if output == STDOUT:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    path = Path(output).resolve()  # of a link, the target is replaced
    try:
        if path.exists() and not path.is_file():
            path.write_text(text)  # a pipe or a device cannot be replaced
        else:
            replace_whole(path, text)  # for its owner only: the rules are confidential
    except OSError as error:
        raise FlowVerdictError(f"{output}: {(error.strerror or str(error)).lower()}") from error


def _to_json(value: Any) -> str:  # noqa: ANN401 - json passes any value
    if isinstance(value, datetime):
        return value.isoformat()
    raise TypeError(f"{type(value).__name__} cannot be written as JSON")


def summary(snapshot: Snapshot) -> str:
    """Return one line with the number of items of each list."""
    counts = [
        f"{len(items):,} {key}"
        for key, items in snapshot.answers.items()
        if isinstance(items, list)
    ]
    return ", ".join(counts)
