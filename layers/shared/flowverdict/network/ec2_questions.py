"""TODO flowverdict.network.ec2_questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from flowverdict.network.describe import (
    ENDPOINTS,
    INTERFACES,
    NETWORK_ACLS,
    PEERINGS,
    PREFIX_LISTS,
    ROUTE_TABLES,
    SECURITY_GROUPS,
    SUBNETS,
    VPCS,
    describe,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from botocore.client import BaseClient

    from flowverdict.network.describe import Item, Listing


# --- what is asked ----------------------------------------------------------------------------------------------------


def _at(*path: str) -> Callable[[Item], list[str]]:
    """Give a function that finds the texts at a path of keys, through lists on the way."""

    def find(value: object, keys: tuple[str, ...] = path) -> list[str]:
        if isinstance(value, list):
            return [text for one in value for text in find(one, keys)]
        if not keys:
            return [value] if isinstance(value, str) else []
        return find(value.get(keys[0]), keys[1:]) if isinstance(value, Mapping) else []

    return find


def _addresses_at(*path: str) -> Callable[[Item], list[str]]:
    """Give a function as ``_at`` does, for addresses in the one spelling that this program uses."""
    texts = _at(*path)
    return lambda item: [_same_spelling(text) for text in texts(item)]


def _same_spelling(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """Elements asked for by the values of one filter.

    Parameters
    ----------
    answers
        Says which values an element of the answer was asked for by: what one call gave is kept value by value.
    vpc_id
        Where to look, for values that several VPCs may have.
    """

    listing: Listing
    filter: str
    answers: Callable[[Item], list[str]]
    vpc_id: str | None = None

    @property
    def name(self) -> str:
        return f"{self.listing.operation} {self.filter} {self.vpc_id or ''}"

    def pages(
        self, client: BaseClient, values: tuple[str, ...], before_call: Callable[[], None]
    ) -> Iterator[list[Item]]:
        filters = (
            {self.filter: values}
            if self.vpc_id is None
            else {self.filter: values, "vpc-id": (self.vpc_id,)}
        )
        return describe(client, self.listing, filters, before_call=before_call)


QUERY_INTERFACES = Query(
    listing=INTERFACES, filter="network-interface-id", answers=_at("NetworkInterfaceId")
)
QUERY_HOLDERS = Query(listing=INTERFACES, filter="group-id", answers=_at("Groups", "GroupId"))
QUERY_GROUPS = Query(listing=SECURITY_GROUPS, filter="group-id", answers=_at("GroupId"))
QUERY_ACLS = Query(
    listing=NETWORK_ACLS, filter="association.subnet-id", answers=_at("Associations", "SubnetId")
)
QUERY_SUBNETS = Query(listing=SUBNETS, filter="subnet-id", answers=_at("SubnetId"))
QUERY_VPCS = Query(listing=VPCS, filter="vpc-id", answers=_at("VpcId"))
QUERY_REQUESTED = Query(
    listing=PEERINGS, filter="requester-vpc-info.vpc-id", answers=_at("RequesterVpcInfo", "VpcId")
)
QUERY_ACCEPTED = Query(
    listing=PEERINGS, filter="accepter-vpc-info.vpc-id", answers=_at("AccepterVpcInfo", "VpcId")
)
QUERY_ENDPOINTS = Query(listing=ENDPOINTS, filter="vpc-id", answers=_at("VpcId"))
QUERY_ROUTE_TABLES = Query(listing=ROUTE_TABLES, filter="vpc-id", answers=_at("VpcId"))
QUERY_PREFIX_LISTS = Query(
    listing=PREFIX_LISTS, filter="prefix-list-id", answers=_at("PrefixListId")
)
QUERY_NAMED_PREFIX_LISTS = Query(
    listing=PREFIX_LISTS, filter="prefix-list-name", answers=_at("PrefixListName")
)


def at_address(vpc_id: str, version: int) -> Query:
    """Ask for the interfaces of a VPC by their private addresses. EC2 has no such filter for delegated prefixes."""
    if version == 4:  # noqa: PLR2004 - the IP version
        answers, name = (
            _addresses_at("PrivateIpAddresses", "PrivateIpAddress"),
            "addresses.private-ip-address",
        )
    else:
        answers, name = _addresses_at("Ipv6Addresses", "Ipv6Address"), "ipv6-addresses.ipv6-address"
    return Query(listing=INTERFACES, filter=name, answers=answers, vpc_id=vpc_id)


# An element missing from these proves something (no peering, no endpoint, the main route table), so a part is worse than
# nothing. In the other lists what is missing is not known, and the rest serves.
ALL_OR_NOTHING = (PEERINGS, ENDPOINTS, ROUTE_TABLES)

# Stands for the interfaces that could not be read where rules refer to groups: one whose groups and addresses nobody
# knows, so that no such rule is taken not to match.
UNREAD_HOLDERS: Item = {"NetworkInterfaceId": "interfaces-not-read"}
