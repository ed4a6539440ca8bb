"""Call ``Describe*`` operations page by page, and turn SDK errors into the project's own.

Pages are requested with an explicit size: EC2 throttles unpaged calls sooner, and fails those of
large accounts (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html). Elements
are selected by filters and never by ids: a single id that does not exist (any more) would fail the
whole batch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import error_code
from flowverdict.core.errors import NotReadError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import Any

    from botocore.client import BaseClient


# One element of an answer, as AWS returns it; ``snapshot`` checks its shape.
type Item = Mapping[str, object]

# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/Using_Filtering.html: "up to 200 values"
MAX_FILTER_VALUES = 200

_IAM_PREFIXES = MappingProxyType({"ec2": "ec2", "elbv2": "elasticloadbalancing"})
_DENIED = frozenset({"UnauthorizedOperation", "AccessDenied", "AccessDeniedException"})
# Of the SDK's own text. Messages of AWS are left out: an encoded refusal has kilobytes.
_MAX_REASON = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """An operation that returns a list.

    Parameters
    ----------
    service
        The name of the service in boto3.
    operation
        The name of the operation in boto3.
    id_key
        The key of an element's id.
    answer_key, snapshot_key
        The key of the list in an answer, and in a snapshot.
    page_size
        The most elements of a page, where the list has pages.
    options
        Arguments of every call, each left out where the installed SDK does not know it yet.
    """

    operation: str
    id_key: str
    answer_key: str
    snapshot_key: str
    service: str = "ec2"
    page_size: int = 1000
    options: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}), hash=False)

    @property
    def api_name(self) -> str:
        """The name of the operation in the API of its service."""
        return "".join(part.title() for part in self.operation.split("_"))

    @property
    def action(self) -> str:
        """The IAM action that allows it."""
        return f"{_IAM_PREFIXES[self.service]}:{self.api_name}"


INTERFACES = Listing(
    operation="describe_network_interfaces",
    id_key="NetworkInterfaceId",
    answer_key="NetworkInterfaces",
    snapshot_key="NetworkInterfaces",
    # An account may hide the interfaces that AWS services manage; they hold groups and addresses
    # like all others.
    options=MappingProxyType({"IncludeManagedResources": True}),
)
SECURITY_GROUPS = Listing(
    operation="describe_security_groups",
    id_key="GroupId",
    answer_key="SecurityGroups",
    snapshot_key="SecurityGroups",
)
NETWORK_ACLS = Listing(
    operation="describe_network_acls",
    id_key="NetworkAclId",
    answer_key="NetworkAcls",
    snapshot_key="NetworkAcls",
)
SUBNETS = Listing(
    operation="describe_subnets", id_key="SubnetId", answer_key="Subnets", snapshot_key="Subnets"
)
VPCS = Listing(operation="describe_vpcs", id_key="VpcId", answer_key="Vpcs", snapshot_key="Vpcs")
PEERINGS = Listing(
    operation="describe_vpc_peering_connections",
    id_key="VpcPeeringConnectionId",
    answer_key="VpcPeeringConnections",
    snapshot_key="VpcPeeringConnections",
)
ENDPOINTS = Listing(
    operation="describe_vpc_endpoints",
    id_key="VpcEndpointId",
    answer_key="VpcEndpoints",
    snapshot_key="VpcEndpoints",
)
ROUTE_TABLES = Listing(
    operation="describe_route_tables",
    id_key="RouteTableId",
    answer_key="RouteTables",
    snapshot_key="RouteTables",
    page_size=100,
)
PREFIX_LISTS = Listing(
    operation="describe_managed_prefix_lists",
    id_key="PrefixListId",
    answer_key="PrefixLists",
    snapshot_key="ManagedPrefixLists",
    page_size=100,
)
# Of AWS's services alone, with their ranges.
SERVICE_PREFIX_LISTS = Listing(
    operation="describe_prefix_lists",
    id_key="PrefixListId",
    answer_key="PrefixLists",
    snapshot_key="PrefixLists",
    page_size=100,
)
PREFIX_LIST_ENTRIES = Listing(
    operation="get_managed_prefix_list_entries",
    id_key="Cidr",
    answer_key="Entries",
    snapshot_key="ManagedPrefixLists",
    page_size=100,
)


def describe(
    client: BaseClient,
    listing: Listing,
    filters: Mapping[str, Sequence[str]] | None = None,
    arguments: Mapping[str, object] | None = None,
    before_call: Callable[[], None] | None = None,
) -> Iterator[list[Item]]:
    """Return a list page by page.

    ``before_call`` runs before each call to AWS and may raise to prevent the call.

    Raises
    ------
    NotReadError
        AWS refused, throttled longer than the client retries, or could not be reached.
    """
    request: dict[str, object] = {**(arguments or {})}
    if filters:
        request["Filters"] = [
            {"Name": name, "Values": list(values)} for name, values in filters.items()
        ]
    shape = client.meta.service_model.operation_model(listing.api_name).input_shape
    known = shape.members if shape is not None else {}
    request |= {name: value for name, value in listing.options.items() if name in known}
    pages = _answers(client, listing, request)
    while True:
        if before_call is not None:
            before_call()
        try:
            page = next(pages, None)
        except (ClientError, BotoCoreError) as error:
            raise not_read(listing.action, error) from error
        if page is None:
            return
        yield page.get(listing.answer_key, [])
        if not page.get("NextToken") and not page.get("NextMarker"):
            return


def _answers(
    client: BaseClient, listing: Listing, request: Mapping[str, object]
) -> Iterator[Mapping[str, Any]]:
    if client.can_paginate(listing.operation):
        size = {"PageSize": listing.page_size}
        yield from client.get_paginator(listing.operation).paginate(
            PaginationConfig=size, **request
        )
    else:
        yield getattr(client, listing.operation)(**request)


def not_read(action: str, error: ClientError | BotoCoreError) -> NotReadError:
    """Return the project's error for an error of the SDK."""
    if isinstance(error, ClientError):
        code = error_code(error)
        return NotReadError(action, code, denied=code in _DENIED)
    return NotReadError(action, " ".join(str(error).split())[:_MAX_REASON])


def entries_of(
    client: BaseClient, prefix_list_id: str, before_call: Callable[[], None] | None = None
) -> Iterator[list[Item]]:
    """Return the entries of a prefix list page by page; raise as ``describe`` does."""
    return describe(
        client,
        PREFIX_LIST_ENTRIES,
        arguments={"PrefixListId": prefix_list_id},
        before_call=before_call,
    )
