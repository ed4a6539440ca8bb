"""The queries that collect the configuration around rejected flows.

A query asks one ``Describe*`` operation for the elements that match any of up to 200 values of one
filter (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html). Each element
that comes back is assigned to the values that it matches, so results are cached value by value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import TYPE_CHECKING

from flowverdict.network.describe import (
    ENDPOINTS,
    INTERFACES,
    MAX_FILTER_VALUES,
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


def texts_at(*path: str) -> Callable[[Item], list[str]]:
    """Return a function that finds the strings at a path of keys, through lists on the way."""

    def find(value: object, keys: tuple[str, ...] = path) -> list[str]:
        if isinstance(value, list):
            return [text for element in value for text in find(element, keys)]
        if not keys:
            return [value] if isinstance(value, str) else []
        return find(value.get(keys[0]), keys[1:]) if isinstance(value, Mapping) else []

    return find


def _addresses_at(*path: str) -> Callable[[Item], list[str]]:
    """Return a function like that of ``texts_at``, for IP addresses in their canonical spelling."""
    texts = texts_at(*path)
    return lambda item: [canonical(text) for text in texts(item)]


def canonical(text: str) -> str:
    """Return an IP address in its canonical spelling, and any other text as it is."""
    try:
        return str(ip_address(text))
    except ValueError:
        return text


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A request for elements by the values of one filter.

    Parameters
    ----------
    values_of
        Returns the values of the filter that a returned element matches.
    also
        The name of a second filter, and its one value: the VPC to search, for example, for values
        that several VPCs may have.
    cache_factor
        How many times longer than usual the results are used again.
    """

    listing: Listing
    filter: str
    values_of: Callable[[Item], list[str]]
    also: tuple[str, str] | None = None
    cache_factor: int = 1

    @property
    def name(self) -> str:
        """The name of the query, unique among all queries."""
        return " ".join((self.listing.operation, self.filter, *(self.also or ())))

    @property
    def max_values(self) -> int:
        """The most values of one call; EC2 counts the values of all its filters together."""
        return MAX_FILTER_VALUES if self.also is None else MAX_FILTER_VALUES - 1

    def pages(
        self, client: BaseClient, values: tuple[str, ...], before_call: Callable[[], None]
    ) -> Iterator[list[Item]]:
        """Return the elements page by page; raise as ``describe`` does."""
        filters = {self.filter: values}
        if self.also is not None:
            name, value = self.also
            filters[name] = (value,)
        return describe(client, self.listing, filters, before_call=before_call)


QUERY_INTERFACES = Query(
    listing=INTERFACES, filter="network-interface-id", values_of=texts_at("NetworkInterfaceId")
)
QUERY_HOLDERS = Query(
    listing=INTERFACES, filter="group-id", values_of=texts_at("Groups", "GroupId")
)
# Where a transit gateway is attached does not change often.
QUERY_ATTACHMENTS = Query(
    listing=INTERFACES,
    filter="subnet-id",
    values_of=texts_at("SubnetId"),
    also=("interface-type", "transit_gateway"),
    cache_factor=5,
)
QUERY_GROUPS = Query(listing=SECURITY_GROUPS, filter="group-id", values_of=texts_at("GroupId"))
QUERY_ACLS = Query(
    listing=NETWORK_ACLS,
    filter="association.subnet-id",
    values_of=texts_at("Associations", "SubnetId"),
)
QUERY_SUBNETS = Query(listing=SUBNETS, filter="subnet-id", values_of=texts_at("SubnetId"))
QUERY_VPCS = Query(listing=VPCS, filter="vpc-id", values_of=texts_at("VpcId"))
QUERY_REQUESTED_PEERINGS = Query(
    listing=PEERINGS,
    filter="requester-vpc-info.vpc-id",
    values_of=texts_at("RequesterVpcInfo", "VpcId"),
)
QUERY_ACCEPTED_PEERINGS = Query(
    listing=PEERINGS,
    filter="accepter-vpc-info.vpc-id",
    values_of=texts_at("AccepterVpcInfo", "VpcId"),
)
QUERY_ENDPOINTS = Query(listing=ENDPOINTS, filter="vpc-id", values_of=texts_at("VpcId"))
QUERY_ROUTE_TABLES = Query(listing=ROUTE_TABLES, filter="vpc-id", values_of=texts_at("VpcId"))
QUERY_PREFIX_LISTS = Query(
    listing=PREFIX_LISTS, filter="prefix-list-id", values_of=texts_at("PrefixListId")
)
QUERY_NAMED_PREFIX_LISTS = Query(
    listing=PREFIX_LISTS, filter="prefix-list-name", values_of=texts_at("PrefixListName")
)


def query_by_address(vpc_id: str, version: int) -> Query:
    """Return the query for interfaces of a VPC by private address of an IP version.

    EC2 has no such filter for delegated prefixes.
    """
    if version == 4:  # noqa: PLR2004 - the IP version
        return Query(
            listing=INTERFACES,
            filter="addresses.private-ip-address",
            values_of=_addresses_at("PrivateIpAddresses", "PrivateIpAddress"),
            also=("vpc-id", vpc_id),
        )
    return Query(
        listing=INTERFACES,
        filter="ipv6-addresses.ipv6-address",
        values_of=_addresses_at("Ipv6Addresses", "Ipv6Address"),
        also=("vpc-id", vpc_id),
    )


# An element that is missing from these lists proves something (no peering connection, no endpoint,
# the main route table), so a part of such a list would mislead and counts as not known. In the
# other lists a missing element is itself not known, and the part that was read serves.
ALL_OR_NOTHING = (PEERINGS, ENDPOINTS, ROUTE_TABLES)

# Stands for the interfaces that could not be read where rules refer to groups: an interface of
# unknown groups and addresses, so that no such rule is certain not to match.
UNREAD_HOLDERS: Item = {"NetworkInterfaceId": "interfaces-not-read"}
