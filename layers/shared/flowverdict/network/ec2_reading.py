"""Read the configuration that one set of rejected flows needs, with few calls.

What decides most is read first: the flows' interfaces, the interfaces at the remote ends, and the
security groups and network ACLs of both. The time for calls is limited; a list that could not be
read stays *not known*, and the evaluation of the rest says so. Only without the interfaces, or
without any rules, nothing can be evaluated.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from itertools import batched
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError

from flowverdict.core.addresses import is_inside
from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import NotReadError
from flowverdict.network.describe import (
    ENDPOINTS,
    INTERFACES,
    NETWORK_ACLS,
    PEERINGS,
    PREFIX_LIST_ENTRIES,
    PREFIX_LISTS,
    ROUTE_TABLES,
    SECURITY_GROUPS,
    VPCS,
    entries_of,
)
from flowverdict.network.ec2_cache import QueryResult, Refusal
from flowverdict.network.ec2_queries import (
    ALL_OR_NOTHING,
    QUERY_ACCEPTED_PEERINGS,
    QUERY_ACLS,
    QUERY_ATTACHMENTS,
    QUERY_ENDPOINTS,
    QUERY_GROUPS,
    QUERY_HOLDERS,
    QUERY_INTERFACES,
    QUERY_NAMED_PREFIX_LISTS,
    QUERY_PREFIX_LISTS,
    QUERY_REQUESTED_PEERINGS,
    QUERY_ROUTE_TABLES,
    QUERY_SUBNETS,
    QUERY_VPCS,
    UNREAD_HOLDERS,
    Query,
    query_by_address,
)
from flowverdict.network.elb import MAX_CALLS, possible_targets, with_load_balancers
from flowverdict.network.model import GroupReference, PrefixListReference
from flowverdict.network.routes import Target, target_of
from flowverdict.network.snapshot import parse_snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime
    from logging import Logger as StandardLogger
    from logging import LoggerAdapter
    from typing import Any

    from aws_lambda_powertools import Logger

    from flowverdict.core.addresses import Address
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.describe import Item, Listing
    from flowverdict.network.ec2_cache import Ec2Access, QueryCache
    from flowverdict.network.elb import PossibleTargets
    from flowverdict.network.model import Interface, Peer, Peering, PeeringSide, Vpc


type AnyLogger = Logger | LoggerAdapter[Any] | StandardLogger


# --- one reading ------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingContext:
    """What all readings of a source share.

    Parameters
    ----------
    budget_seconds
        How long one reading may make calls.
    cache_seconds
        How long a result is used again.
    clock, now
        Seconds of which only differences matter, and the time of day.
    """

    cache: QueryCache
    logger: AnyLogger
    budget_seconds: float
    cache_seconds: float
    clock: Callable[[], float]
    now: Callable[[], datetime]


class Reading:
    """Collects the elements that one set of flows needs, out of the cache or from EC2.

    A call that fails is recorded and the reading continues.

    Parameters
    ----------
    deadline
        The time of the context's clock after which no call is made.
    """

    def __init__(self, context: ReadingContext, access: Ec2Access, deadline: float) -> None:
        self._context = context
        self._access = access
        self._deadline = deadline
        self._found: defaultdict[str, dict[str, Item]] = defaultdict(dict)
        self._entries: dict[str, list[Item]] = {}
        self._incomplete: set[str] = set()
        self._requested: set[str] = set()
        self._calls: Counter[str] = Counter()
        self._oldest: datetime | None = None
        self._holders_known = True
        self.failures: list[NotReadError] = []

    def request(self, query: Query, values: Iterable[str]) -> bool:
        """Read the values that are not cached; return whether all values are known now."""
        listing, required = query.listing, sorted(set(values))
        if not required:
            return True
        self._requested.add(listing.snapshot_key)
        results, complete = self._read(query, required)
        if not complete:
            self._incomplete.add(listing.snapshot_key)
        for result in results:
            self._record_age(result)
            for item in result.items:
                self._found[listing.snapshot_key][str(item.get(listing.id_key))] = item
        return complete

    def look_up(self, query: Query, values: Iterable[str]) -> tuple[list[Item], bool]:
        """Return the elements of the values, in their order, and whether all values are known now.

        The elements do not become part of ``config``, and their age does not count as its age.
        """
        results, complete = self._read(query, [*dict.fromkeys(values)])
        return [item for result in results for item in result.items], complete

    def request_holders(self, group_ids: Iterable[str]) -> None:
        """Read every interface that holds one of the groups."""
        self._holders_known = self.request(QUERY_HOLDERS, group_ids)

    def request_prefix_lists(self, query: Query, values: Iterable[str]) -> None:
        """Read prefix lists, and the entries of each that was found so far."""
        self.request(query, values)
        for prefix_list_id in self._found[PREFIX_LISTS.snapshot_key]:
            if prefix_list_id in self._entries:
                continue
            results, missing = self._cached(PREFIX_LIST_ENTRIES.operation, [prefix_list_id])
            try:
                if missing:
                    results = [self._fetch_entries(prefix_list_id)]
            except NotReadError as error:
                self._record_failure(error)
            for result in results:
                self._record_age(result)
                self._entries[prefix_list_id] = [*result.items]

    def found(self, listing: Listing) -> NetConfig:
        """Return a configuration of one list alone, as far as it was found."""
        return parse_snapshot({listing.snapshot_key: [*self._found[listing.snapshot_key].values()]})

    def knows_rules(self) -> bool:
        """Whether security groups or network ACLs were read, or none exist to be read."""
        keys = {SECURITY_GROUPS.snapshot_key, NETWORK_ACLS.snapshot_key}
        return any(self._found[key] for key in keys) or not keys & self._incomplete

    def config(self) -> NetConfig:
        """Return the configuration of all that was found."""
        all_or_nothing = {listing.snapshot_key for listing in ALL_OR_NOTHING}
        snapshot: dict[str, object] = {"ReadAt": self._oldest}
        for key in self._requested:
            items = [*self._found[key].values()]
            if key in self._incomplete and (not items or key in all_or_nothing):
                continue
            if key == PREFIX_LISTS.snapshot_key:
                snapshot[key] = [self._with_entries(item) for item in items]
            elif key == INTERFACES.snapshot_key and not self._holders_known:
                snapshot[key] = [*items, UNREAD_HOLDERS]
            else:
                snapshot[key] = items
        config = parse_snapshot(snapshot)
        if config.notes:
            self._context.logger.warning(
                "part of the configuration not read",
                extra={
                    "reason": "; ".join(config.notes),
                    "region": self._access.account_region.region,
                },
            )
        return config

    def _with_entries(self, prefix_list: Item) -> Item:
        entries = self._entries.get(str(prefix_list.get(PREFIX_LISTS.id_key)))
        return prefix_list if entries is None else {**prefix_list, "Entries": entries}

    def _read(self, query: Query, values: list[str]) -> tuple[list[QueryResult], bool]:
        results, missing = self._cached(query.name, values)
        try:
            for chunk in batched(missing, query.max_values, strict=False):
                results += self._fetch(query, chunk)
        except NotReadError as error:
            self._record_failure(error)
            return results, False
        return results, True

    def _cached(self, query: str, values: list[str]) -> tuple[list[QueryResult], list[str]]:
        """Return the results that are cached, and the values whose result is not."""
        cache, account_region = self._context.cache, self._access.account_region
        results = {value: cache.get(account_region, query, value) for value in values}
        return [result for result in results.values() if result is not None], [
            value for value, result in results.items() if result is None
        ]

    def _fetch(self, query: Query, values: tuple[str, ...]) -> list[QueryResult]:
        found: dict[str, list[Item]] = {value: [] for value in values}
        read_at = self._context.now()
        pages = self._pages(
            query.listing,
            query.listing.action,
            lambda before_call: query.pages(
                self._access.client(query.listing.service), values, before_call
            ),
        )
        for item in (item for page in pages for item in page):
            for value in query.values_of(item):
                if value in found:
                    found[value].append(item)
        return [
            self._store(query.name, value, items, read_at, query.cache_factor)
            for value, items in found.items()
        ]

    def _fetch_entries(self, prefix_list_id: str) -> QueryResult:
        read_at = self._context.now()
        pages = self._pages(
            PREFIX_LIST_ENTRIES,
            prefix_list_id,
            lambda before_call: entries_of(
                self._access.client(PREFIX_LIST_ENTRIES.service), prefix_list_id, before_call
            ),
        )
        entries = [entry for page in pages for entry in page]
        return self._store(PREFIX_LIST_ENTRIES.operation, prefix_list_id, entries, read_at)

    def _store(
        self, query: str, value: str, items: list[Item], read_at: datetime, cache_factor: int = 1
    ) -> QueryResult:
        result = QueryResult(
            items=tuple(items),
            read_at=read_at,
            until=self._context.clock() + self._context.cache_seconds * cache_factor,
        )
        self._context.cache.put(self._access.account_region, query, value, result)
        return result

    def _pages(
        self,
        listing: Listing,
        refused_as: str,
        start: Callable[[Callable[[], None]], Iterator[list[Item]]],
    ) -> Iterator[list[Item]]:
        """Return pages until the budget is spent.

        A call that cannot succeed soon is not repeated for ``cache_seconds``; ``refused_as`` names
        it until then.

        Raises
        ------
        NotReadError
            The budget of time or calls is spent, or AWS did not return a page.
        """
        action, refusals, clock = listing.action, self._access.refusals, self._context.clock
        refusal = refusals.get(refused_as)
        if refusal is not None and clock() < refusal.until:
            raise refusal.error

        def before_call() -> None:
            if clock() >= self._deadline:
                raise NotReadError(
                    action,
                    f"not read, the {self._context.budget_seconds:g} s for reading were spent",
                )
            most = MAX_CALLS.get(listing.service)
            if most is not None and self._calls[listing.service] >= most:
                raise NotReadError(action, f"not read, {most} calls were made already")
            self._calls[listing.service] += 1

        try:
            yield from start(before_call)
        except NotReadError as error:
            # A repeated call does not bring the permission. Where EC2 is out of reach (a function
            # in a VPC without a route to it), each call waits for all its time-outs, and other
            # flows need that time.
            if error.denied or isinstance(error.__cause__, BotoCoreError):
                refusals[refused_as] = Refusal(
                    error=error, until=clock() + self._context.cache_seconds
                )
            self.warn(action, error.reason)
            raise

    def warn(self, call: str, reason: str) -> None:
        """Log that a part of the configuration is not known."""
        self._context.logger.warning(
            "part of the configuration not read",
            extra={
                "call": call,
                "reason": reason,
                "region": self._access.account_region.region,
            },
        )

    def _record_age(self, result: QueryResult) -> None:
        if self._oldest is None or result.read_at < self._oldest:
            self._oldest = result.read_at

    def _record_failure(self, error: NotReadError) -> None:
        self.failures.append(error)


# --- what is read, in order -------------------------------------------------------------------


def gather(
    reading: Reading, flows: Sequence[RejectedFlow], interface_ids: set[str]
) -> NetConfig | NotAvailable:
    """Read all that the flows of these interfaces need, what decides most first."""
    flow_interfaces = _read_flow_interfaces(reading, interface_ids)
    if isinstance(flow_interfaces, NotAvailable):
        return flow_interfaces
    flow_vpcs = _vpc_ids(flow_interfaces)
    _read_remote_ends(reading, flows, flow_interfaces)
    both_ends = reading.found(INTERFACES).interfaces or ()
    subnet_ids = {end.subnet_id for end in both_ends if end.subnet_id is not None}
    reading.request(QUERY_GROUPS, (group for end in both_ends for group in end.group_ids or ()))
    reading.request(QUERY_ACLS, subnet_ids)
    if not reading.knows_rules():
        return NotAvailable(str(reading.failures[0]))
    peers = [*_rule_peers(reading)]
    reading.request_holders(peer.group_id for peer in peers if isinstance(peer, GroupReference))
    reading.request(QUERY_SUBNETS, subnet_ids)
    reading.request_prefix_lists(
        QUERY_PREFIX_LISTS,
        (peer.prefix_list_id for peer in peers if isinstance(peer, PrefixListReference)),
    )
    reading.request(QUERY_VPCS, _vpc_ids(both_ends))
    _read_paths(reading, flow_vpcs)
    attachments_known = _read_attachments(reading, flow_interfaces)
    targets = possible_targets(flows, flow_interfaces)
    config = with_load_balancers(reading, targets, _front_vpcs(reading, targets))
    if attachments_known:
        return config
    return replace(config, incomplete=config.incomplete | {"interfaces"})


def _read_flow_interfaces(
    reading: Reading, interface_ids: set[str]
) -> tuple[Interface, ...] | NotAvailable:
    if not reading.request(QUERY_INTERFACES, interface_ids):
        return NotAvailable(str(reading.failures[0]))
    read = reading.found(INTERFACES)
    if read.notes and not read.interfaces:
        return NotAvailable(f"AWS's answer is not of a known shape: {read.notes[0]}")
    return read.interfaces or ()


def _vpc_ids(interfaces: Iterable[Interface]) -> set[str]:
    return {interface.vpc_id for interface in interfaces if interface.vpc_id is not None}


def _read_remote_ends(
    reading: Reading, flows: Sequence[RejectedFlow], interfaces: tuple[Interface, ...]
) -> None:
    """Read the VPCs of the interfaces, their peering connections, and the remote interfaces."""
    vpc_ids = _vpc_ids(interfaces)
    reading.request(QUERY_VPCS, vpc_ids)
    reading.request(QUERY_REQUESTED_PEERINGS, vpc_ids)
    reading.request(QUERY_ACCEPTED_PEERINGS, vpc_ids)
    for (vpc_id, version), addresses in _remote_addresses(flows, interfaces, reading).items():
        reading.request(query_by_address(vpc_id, version), {str(address) for address in addresses})


def _front_vpcs(reading: Reading, targets: PossibleTargets) -> set[str]:
    """Return the VPCs whose load balancers may have the targets behind them.

    https://docs.aws.amazon.com/elasticloadbalancing/latest/network/target-group-register-targets.html:
    a target is in the VPC of its load balancer, or in one that is peered with that VPC.
    """
    peerings = reading.found(PEERINGS).peerings or ()
    peers = (
        side.vpc_id
        for interface in targets.interfaces
        for side in _readable_peer_vpcs(interface, peerings)
    )
    return _vpc_ids(targets.interfaces) | {vpc_id for vpc_id in peers if vpc_id is not None}


def _rule_peers(reading: Reading) -> Iterator[Peer | None]:
    """Return the peer of each rule of the security groups found so far."""
    for group in reading.found(SECURITY_GROUPS).security_groups or ():
        for rule in (*(group.ingress or ()), *(group.egress or ())):
            yield rule.peer


def _read_paths(reading: Reading, vpc_ids: set[str]) -> None:
    """Read endpoints and route tables, and the prefix lists of the gateway endpoints' services."""
    reading.request(QUERY_ENDPOINTS, vpc_ids)
    reading.request(QUERY_ROUTE_TABLES, vpc_ids)
    reading.request_prefix_lists(
        QUERY_NAMED_PREFIX_LISTS,
        (
            endpoint.service_name
            for endpoint in reading.found(ENDPOINTS).endpoints or ()
            if endpoint.endpoint_type == "Gateway" and endpoint.service_name is not None
        ),
    )


def _read_attachments(reading: Reading, flow_interfaces: tuple[Interface, ...]) -> bool:
    """Read the attachments of transit gateways in the flows' subnets; return whether all are known.

    Network ACLs treat traffic of an attachment in the same subnet differently. Without a route to a
    transit gateway nothing is read.
    """
    tables = reading.found(ROUTE_TABLES).route_tables or ()
    routes = (route for table in tables for route in table.routes or ())
    if not any(target_of(route.target) is Target.TRANSIT_GATEWAY for route in routes):
        return True
    subnet_ids = {each.subnet_id for each in flow_interfaces if each.subnet_id is not None}
    return reading.request(QUERY_ATTACHMENTS, subnet_ids)


def _remote_addresses(
    flows: Sequence[RejectedFlow], interfaces: tuple[Interface, ...], reading: Reading
) -> Mapping[tuple[str, int], set[Address]]:
    """Return the addresses that interfaces of the flows' VPCs or of peer VPCs may have.

    The key is the VPC and the IP version. Other addresses are not looked up: a scan from the
    internet comes from thousands of addresses, and none of them is in a VPC.
    """
    by_id = {interface.interface_id: interface for interface in interfaces}
    vpcs = {vpc.vpc_id: vpc for vpc in reading.found(VPCS).vpcs or ()}
    peerings = reading.found(PEERINGS).peerings or ()
    required: defaultdict[tuple[str, int], set[Address]] = defaultdict(set)
    for flow in flows:
        interface = by_id.get(flow.interface_id or "")
        if interface is None or interface.vpc_id is None:
            continue
        vpc = vpcs.get(interface.vpc_id)
        peer_vpcs = _readable_peer_vpcs(interface, peerings)
        for address in _addresses_beside(interface, flow):
            if _may_hold(vpc, address):
                required[interface.vpc_id, address.version].add(address)
            for peer in peer_vpcs:
                if peer.vpc_id is not None and any(address in cidr for cidr in peer.cidrs):
                    required[peer.vpc_id, address.version].add(address)
    return required


def _may_hold(vpc: Vpc | None, address: Address) -> bool:
    """Return whether an address may lie in a VPC; if the VPC is not known, any private address."""
    return is_inside(address) if vpc is None else any(address in cidr for cidr in vpc.cidrs)


def _addresses_beside(interface: Interface, flow: RejectedFlow) -> Iterator[Address]:
    """Return the addresses of a flow that are not the interface's own."""
    key = flow.key
    named = {key.source, key.destination, key.packet_source, key.packet_destination}
    own = interface.addresses
    return (address for address in named if address is not None and address not in own)


def _readable_peer_vpcs(
    interface: Interface, peerings: Iterable[Peering]
) -> tuple[PeeringSide, ...]:
    """Return the peer VPCs whose interfaces this account and Region can read."""
    sides = (
        peering.other_side(interface.vpc_id)
        for peering in peerings
        if peering.carries_traffic and not peering.crosses_regions
    )
    return tuple(
        side
        for side in sides
        # AWS does not show the interfaces of another account.
        if side is not None and side.owner_id in {None, interface.owner_id}
    )
