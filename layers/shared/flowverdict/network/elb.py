"""Read the network load balancers that may have the interfaces of rejected flows behind them.

A network load balancer may preserve the addresses of clients. Its targets then see the clients as
sources, and a security group of a target has to let the clients in by address.

Load balancing has no filter by target: to know the groups of one target, the load balancers and
target groups of the account and Region are listed, and the targets of each target group that may
fit. That is done only for inbound TCP and UDP flows in a VPC that has an interface of a network
load balancer, or is peered with such a VPC. The calls:

- without such an interface, one EC2 call, for all flows of one reading;
- with one, that call, a call for each 400 load balancers, for each 400 target groups and for each
  target group that may fit, and one more for each that does fit.

One reading makes at most ``MAX_CALLS`` of them to load balancing. What was read is used again for
five minutes, so later readings go on where an earlier one had to stop.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Protocol

from botocore.exceptions import ClientError

from flowverdict.core.aws_client import error_code
from flowverdict.core.errors import ConfigError, NotReadError
from flowverdict.core.protocols import Protocol as IpProtocol
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.describe import INTERFACES, Listing, describe
from flowverdict.network.ec2_queries import Query, canonical, texts_at
from flowverdict.network.snapshot import parse_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from botocore.client import BaseClient

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.describe import Item
    from flowverdict.network.model import Interface

_SERVICE = "elbv2"
# The account has 40 tokens for ``Describe`` calls in a Region, and gets 10 more each second
# (https://docs.aws.amazon.com/elasticloadbalancing/latest/userguide/elb-api-throttling.html). Half
# of them stay for those who run the load balancers.
MAX_CALLS = MappingProxyType({_SERVICE: 20})
# Load balancers and their targets change less often than a person tries a rule again.
_CACHE_FACTOR = 5
_PAGE_SIZE = 400  # the most that load balancing returns

_NETWORK_INTERFACE_TYPE = "network_load_balancer"
# Protocols of the target groups of other load balancers; a group of Lambda functions has none
# (https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_CreateTargetGroup.html).
_NOT_NETWORK = frozenset({None, "HTTP", "HTTPS", "GENEVE"})
_TCP, _UDP = frozenset({IpProtocol.TCP}), frozenset({IpProtocol.UDP})
_CARRIED: Mapping[str | None, frozenset[IpProtocol]] = MappingProxyType(
    {"TCP": _TCP, "TLS": _TCP, "UDP": _UDP, "QUIC": _UDP}
)
# What ``PossibleTargets.ids`` begin with, by target type.
_ID_PREFIXES: Mapping[str | None, str] = MappingProxyType({"instance": "i-", "alb": "app/"})

# --- what load balancing returns --------------------------------------------------------------

LOAD_BALANCERS = Listing(
    service=_SERVICE,
    operation="describe_load_balancers",
    id_key="LoadBalancerArn",
    answer_key="LoadBalancers",
    snapshot_key="LoadBalancers",
    page_size=_PAGE_SIZE,
)
TARGET_GROUPS = Listing(
    service=_SERVICE,
    operation="describe_target_groups",
    id_key="TargetGroupArn",
    answer_key="TargetGroups",
    snapshot_key="TargetGroups",
    page_size=_PAGE_SIZE,
)
TARGET_GROUP_ATTRIBUTES = Listing(
    service=_SERVICE,
    operation="describe_target_group_attributes",
    id_key="Key",
    answer_key="Attributes",
    snapshot_key="TargetGroups",
)
TARGET_HEALTH = Listing(
    service=_SERVICE,
    operation="describe_target_health",
    id_key="Target",
    answer_key="TargetHealthDescriptions",
    snapshot_key="TargetHealthDescriptions",
)
_LISTS = frozenset({"load_balancers", "target_groups", "targets"})


def of_target_group(
    client: BaseClient,
    listing: Listing,
    target_group_arn: str,
    before_call: Callable[[], None] | None = None,
) -> Iterator[list[Item]]:
    """Return a list of a target group, with the ``TargetGroupArn`` that AWS leaves out.

    A target group that was deleted since it was listed has no elements. Raise as ``describe`` does.
    """
    name = {TARGET_GROUPS.id_key: target_group_arn}
    try:
        for page in describe(client, listing, arguments=name, before_call=before_call):
            yield [{**item, **name} for item in page]
    except NotReadError as error:
        cause = error.__cause__
        if not isinstance(cause, ClientError) or error_code(cause) != "TargetGroupNotFound":
            raise


def with_attributes(target_group: Item, attributes: Iterable[Item] | None) -> Item:
    """Return a target group with those of the attributes that are its own, if any are."""
    arn = target_group.get(TARGET_GROUPS.id_key)
    own = [
        {key: item.get(key) for key in ("Key", "Value")}
        for item in attributes or ()
        if item.get(TARGET_GROUPS.id_key) == arn
    ]
    return {**target_group, "Attributes": own} if own else target_group


def may_be_of_network_load_balancer(target_group: Item) -> bool:
    """Return whether the protocol of a target group is one of a network load balancer."""
    return _text(target_group, "Protocol") not in _NOT_NETWORK


def _text(item: Item, key: str) -> str | None:
    value = item.get(key)
    return value if isinstance(value, str) else None


# --- queries ----------------------------------------------------------------------------------

_ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class _WholeList(Query):
    """A list of the account and Region; its one value is ``_ALL``."""

    def pages(
        self,
        client: BaseClient,
        values: tuple[str, ...],  # noqa: ARG002 - there is one value
        before_call: Callable[[], None],
    ) -> Iterator[list[Item]]:
        return describe(client, self.listing, before_call=before_call)


@dataclass(frozen=True, slots=True, kw_only=True)
class _OfTargetGroup(Query):
    """A list of each target group, which takes a call for each."""

    @property
    def max_values(self) -> int:
        return 1

    def pages(
        self, client: BaseClient, values: tuple[str, ...], before_call: Callable[[], None]
    ) -> Iterator[list[Item]]:
        (target_group_arn,) = values
        return of_target_group(client, self.listing, target_group_arn, before_call)


_QUERY_INTERFACES = Query(
    listing=INTERFACES,
    filter="vpc-id",
    values_of=texts_at("VpcId"),
    also=("interface-type", _NETWORK_INTERFACE_TYPE),
)
_QUERY_LOAD_BALANCERS = _WholeList(
    listing=LOAD_BALANCERS,
    filter="",
    values_of=lambda item: [_ALL] if item.get("Type") == "network" else [],
    cache_factor=_CACHE_FACTOR,
)
_QUERY_TARGET_GROUPS = _WholeList(
    listing=TARGET_GROUPS,
    filter="",
    values_of=lambda item: [_ALL] if may_be_of_network_load_balancer(item) else [],
    cache_factor=_CACHE_FACTOR,
)
_QUERY_TARGET_HEALTH = _OfTargetGroup(
    listing=TARGET_HEALTH,
    filter=TARGET_GROUPS.id_key,
    values_of=texts_at(TARGET_GROUPS.id_key),
    cache_factor=_CACHE_FACTOR,
)
_QUERY_ATTRIBUTES = _OfTargetGroup(
    listing=TARGET_GROUP_ATTRIBUTES,
    filter=TARGET_GROUPS.id_key,
    values_of=texts_at(TARGET_GROUPS.id_key),
    cache_factor=_CACHE_FACTOR,
)


class Reader(Protocol):
    """The part of one reading of the configuration that is used here."""

    def request(self, query: Query, values: Iterable[str]) -> bool:
        """Add the elements of the values to the configuration; return whether all are known."""

    def look_up(self, query: Query, values: Iterable[str]) -> tuple[list[Item], bool]:
        """Return the elements of the values, in their order, and whether all are known."""

    def config(self) -> NetConfig:
        """Return the configuration of all that was requested."""

    def warn(self, call: str, reason: str) -> None:
        """Log that a part of the configuration is not known."""


# --- what is read -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class PossibleTargets:
    """The interfaces of rejected inbound TCP and UDP flows, as target groups may name them.

    Parameters
    ----------
    ids
        Ids of the instances, addresses in their canonical spelling, and ``app/NAME/ID`` of
        application load balancers, which a network load balancer may have as targets.
    protocols, ports
        Those of the flows.
    """

    interfaces: tuple[Interface, ...]
    ids: frozenset[str]
    protocols: frozenset[int | None]
    ports: frozenset[int | None]

    def are_named_by(self, target_id: str) -> bool:
        """Return whether a target's id is one of ``ids``, or ends with one of them as an ARN."""
        return (
            canonical(target_id) in self.ids or target_id.partition(":loadbalancer/")[2] in self.ids
        )

    def may_be_in(self, target_group: Item) -> bool:
        """Return whether protocol and target type of a target group fit the flows."""
        carried = _CARRIED.get(_text(target_group, "Protocol"), _TCP | _UDP)
        prefix = _ID_PREFIXES.get(_text(target_group, "TargetType"), "")
        named = any(target_id.startswith(prefix) for target_id in self.ids)
        return named and not carried.isdisjoint(self.protocols)


def possible_targets(
    flows: Sequence[RejectedFlow], interfaces: Iterable[Interface]
) -> PossibleTargets:
    """Return those of the interfaces that a network load balancer may send to."""
    behind = {
        interface.interface_id: interface
        for interface in interfaces
        if interface.interface_type != _NETWORK_INTERFACE_TYPE
    }
    inbound = [
        (flow, behind[flow.interface_id])
        for flow in flows
        if flow.direction is not FlowDirection.EGRESS
        and flow.key.protocol in _TCP | _UDP
        and flow.interface_id in behind
    ]
    targets = {interface.interface_id: interface for _, interface in inbound}
    # A delegated prefix has addresses that no list names.
    addresses = {str(flow.local) for flow, _ in inbound if flow.local is not None}
    return PossibleTargets(
        interfaces=tuple(targets.values()),
        ids=frozenset(addresses.union(*map(_ids_of, targets.values()))),
        protocols=frozenset(flow.key.protocol for flow, _ in inbound),
        ports=frozenset(flow.key.destination_port for flow, _ in inbound),
    )


def _ids_of(interface: Interface) -> set[str]:
    found = {str(address) for address in interface.addresses}
    if interface.instance_id is not None:
        found.add(interface.instance_id)
    # Anyone may write a description; that of a service's interface is AWS's own.
    name = _load_balancer_name(interface)
    if name is not None and interface.requester_managed is True:
        found.add(name)
    return found


def _load_balancer_name(interface: Interface) -> str | None:
    """Return ``net/NAME/ID``, the end of the ARN, for an interface of a load balancer."""
    prefix, _, name = (interface.description or "").partition(" ")
    return name if prefix == "ELB" else None


def with_load_balancers(reader: Reader, targets: PossibleTargets, vpc_ids: set[str]) -> NetConfig:
    """Return the configuration with the network load balancers that may have the targets.

    ``vpc_ids`` are the VPCs where these load balancers may be. Without an interface of a network
    load balancer there, the three lists are empty. A list that could not be read, or not whole, is
    named by ``incomplete``.
    """
    if not targets.interfaces:
        return reader.config()
    known = reader.request(_QUERY_INTERFACES, vpc_ids)
    config = reader.config()
    fronts = [
        interface
        for interface in config.interfaces or ()
        if interface.vpc_id in vpc_ids and interface.interface_type == _NETWORK_INTERFACE_TYPE
    ]
    if not fronts:
        # No network load balancer of this account and Region has the targets.
        return replace(config, load_balancers=(), target_groups=(), targets=()) if known else config
    lists, incomplete = _read_lists(reader, targets, fronts)
    try:
        found = parse_snapshot(lists)
    except ConfigError as error:
        reader.warn("elasticloadbalancing", f"AWS's answer is not of a known shape: {error}")
        return _with_doubt(config, _LISTS)
    if found.notes:
        reader.warn("elasticloadbalancing", "; ".join(found.notes))
    return _with_doubt(
        replace(
            config,
            load_balancers=found.load_balancers,
            target_groups=found.target_groups,
            targets=found.targets,
            notes=(*config.notes, *found.notes),
        ),
        incomplete | found.incomplete,
    )


def _with_doubt(config: NetConfig, incomplete: frozenset[str]) -> NetConfig:
    if not incomplete:
        return config
    note = "not all of the network load balancers and their targets could be read"
    return replace(config, incomplete=config.incomplete | incomplete, notes=(*config.notes, note))


def _read_lists(
    reader: Reader, targets: PossibleTargets, fronts: Sequence[Interface]
) -> tuple[dict[str, list[Item]], frozenset[str]]:
    """Return the lists as a snapshot has them, and the attributes of those that lack elements."""
    vpc_ids = {interface.vpc_id for interface in fronts}
    balancers, known = reader.look_up(_QUERY_LOAD_BALANCERS, [_ALL])
    if not known:
        return {}, _LISTS
    balancers = [item for item in balancers if _text(item, "VpcId") in vpc_ids]
    arns = {str(item.get(LOAD_BALANCERS.id_key)) for item in balancers}
    lists = {LOAD_BALANCERS.snapshot_key: balancers}
    groups, known = reader.look_up(_QUERY_TARGET_GROUPS, [_ALL])
    if not known:
        return lists, _LISTS
    groups = [item for item in groups if arns.intersection(_LOAD_BALANCER_ARNS(item))]
    incomplete = _read_targets(reader, targets, groups, lists)
    # Subnets may be shared between accounts, and load balancing lists those of one account only
    # (https://docs.aws.amazon.com/vpc/latest/userguide/vpc-sharing.html).
    names = {arn.partition(":loadbalancer/")[2] for arn in arns}
    return lists, incomplete if names.issuperset(map(_load_balancer_name, fronts)) else _LISTS


def _read_targets(
    reader: Reader,
    targets: PossibleTargets,
    groups: Sequence[Item],
    lists: dict[str, list[Item]],
) -> frozenset[str]:
    """Add target groups and targets to the lists; return which of both lack something."""
    # Those with the port of a flow come first, for the case that the calls end before the groups.
    required = sorted(
        filter(targets.may_be_in, groups),
        key=lambda item: all(item.get("Port") != port for port in targets.ports),
    )
    health, targets_known = reader.look_up(
        _QUERY_TARGET_HEALTH, (str(item.get(TARGET_GROUPS.id_key)) for item in required)
    )
    attributes, attributes_known = reader.look_up(
        _QUERY_ATTRIBUTES,
        (
            str(item.get(TARGET_GROUPS.id_key))
            for item in health
            if any(map(targets.are_named_by, _TARGET_ID(item)))
        ),
    )
    lists[TARGET_GROUPS.snapshot_key] = [with_attributes(item, attributes) for item in groups]
    if targets_known or health:
        lists[TARGET_HEALTH.snapshot_key] = health
    return frozenset(
        name
        for name, known in (("targets", targets_known), ("target_groups", attributes_known))
        if not known
    )


_LOAD_BALANCER_ARNS, _TARGET_ID = texts_at("LoadBalancerArns"), texts_at("Target", "Id")
