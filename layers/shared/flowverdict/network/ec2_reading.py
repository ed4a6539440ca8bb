"""TODO flowverdict.network.ec2_reading."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from itertools import batched
from typing import TYPE_CHECKING

from botocore.exceptions import BotoCoreError

from flowverdict.core.addresses import is_inside
from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import NotReadError
from flowverdict.network.describe import (
    ENDPOINTS,
    INTERFACES,
    MAX_FILTER_VALUES,
    NETWORK_ACLS,
    PEERINGS,
    PREFIX_LIST_ENTRIES,
    PREFIX_LISTS,
    SECURITY_GROUPS,
    VPCS,
    entries_of,
)
from flowverdict.network.ec2_cache import Answer, Place
from flowverdict.network.ec2_questions import (
    ALL_OR_NOTHING,
    QUERY_ACCEPTED,
    QUERY_ACLS,
    QUERY_ENDPOINTS,
    QUERY_GROUPS,
    QUERY_HOLDERS,
    QUERY_INTERFACES,
    QUERY_NAMED_PREFIX_LISTS,
    QUERY_PREFIX_LISTS,
    QUERY_REQUESTED,
    QUERY_ROUTE_TABLES,
    QUERY_SUBNETS,
    QUERY_VPCS,
    UNREAD_HOLDERS,
    Query,
    at_address,
)
from flowverdict.network.model import GroupReference, PrefixListReference
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
    from flowverdict.network.ec2_cache import Answers
    from flowverdict.network.model import Interface, SecurityGroupRule


type AnyLogger = Logger | LoggerAdapter[Any] | StandardLogger

KEPT_SECONDS = (
    60.0  # rules change by hand: one who fixes a rule and tries again sees it within a minute
)

SHOWN = 40


# --- one reading ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadingContext:
    """What all readings of a source share.

    ``budget_seconds`` is how long one reading may make calls, ``cached_seconds`` how long an answer is used again.
    ``clock`` gives seconds of which only differences matter, ``now`` the time of day.
    """

    answers: Answers
    logger: AnyLogger
    budget_seconds: float
    kept_seconds: float
    clock: Callable[[], float]
    now: Callable[[], datetime]


class Reading:
    """Collects what one set of flows needs; what cannot be had is noted and the rest goes on."""

    def __init__(self, context: ReadingContext, place: Place, deadline: float) -> None:
        self._context = context
        self._place = place
        self._deadline = deadline
        self._found: defaultdict[str, dict[str, Item]] = defaultdict(dict)
        self._entries: dict[str, list[Item]] = {}
        self._incomplete: set[str] = set()
        self._asked: set[str] = set()
        self._oldest: datetime | None = None
        self._holders_known = True
        self.failure: NotReadError | None = None

    def ask(self, question: Query, values: Iterable[str]) -> bool:
        """Ask for what is not kept, and say whether all is known now."""
        listing, wanted = question.listing, sorted(set(values))
        if not wanted:
            return True
        self._asked.add(listing.snapshot_key)
        answers, missing = self._kept(question.name, wanted)
        whole = True
        try:
            for some in batched(missing, _chunk(question), strict=False):
                answers += self._fetch(question, some)
        except NotReadError as error:
            whole = False
            self._note(error)
            self._incomplete.add(listing.snapshot_key)
        for answer in answers:
            self._use(answer)
            for item in answer.items:
                self._found[listing.snapshot_key][str(item.get(listing.id_key))] = item
        return whole

    def ask_holders(self, group_ids: Iterable[str]) -> None:
        """Ask for every interface that holds one of the groups."""
        self._holders_known = self.ask(QUERY_HOLDERS, group_ids)

    def ask_entries(self) -> None:
        """Ask for the entries of each prefix list found so far."""
        for prefix_list_id in self._found[PREFIX_LISTS.snapshot_key]:
            if prefix_list_id in self._entries:
                continue
            answers, missing = self._kept(PREFIX_LIST_ENTRIES.operation, [prefix_list_id])
            try:
                if missing:
                    answers = [self._fetch_entries(prefix_list_id)]
            except NotReadError as error:
                self._note(error)
            for answer in answers:
                self._use(answer)
                self._entries[prefix_list_id] = [*answer.items]

    def found(self, listing: Listing) -> NetConfig:
        """Give what was found of one list so far."""
        return parse_snapshot({listing.snapshot_key: [*self._found[listing.snapshot_key].values()]})

    def knows_rules(self) -> bool:
        """Whether groups or ACLs were read, or there were none to read."""
        keys = {SECURITY_GROUPS.snapshot_key, NETWORK_ACLS.snapshot_key}
        return any(self._found[key] for key in keys) or not keys & self._incomplete

    def config(self) -> NetConfig:
        """Give all that was found."""
        answers: dict[str, object] = {"ReadAt": self._oldest}
        for key in self._asked:
            items = [*self._found[key].values()]
            if key in self._incomplete and (
                not items or key in {one.snapshot_key for one in ALL_OR_NOTHING}
            ):
                continue
            answers[key] = (
                [self._with_entries(item) for item in items]
                if key == PREFIX_LISTS.snapshot_key
                else items
            )
            if key == INTERFACES.snapshot_key and not self._holders_known:
                answers[key] = [*items, UNREAD_HOLDERS]
        return parse_snapshot(answers)

    def _with_entries(self, prefix_list: Item) -> Item:
        entries = self._entries.get(str(prefix_list.get(PREFIX_LISTS.id_key)))
        return prefix_list if entries is None else {**prefix_list, "Entries": entries}

    def _kept(self, question: str, values: list[str]) -> tuple[list[Answer], list[str]]:
        kept = {
            value: self._context.answers.get(self._place.key, question, value) for value in values
        }
        return [one for one in kept.values() if one is not None], [
            value for value, one in kept.items() if one is None
        ]

    def _fetch(self, question: Query, values: tuple[str, ...]) -> list[Answer]:
        found: dict[str, list[Item]] = {value: [] for value in values}
        read_at = self._context.now()
        for page in self._pages(
            question.listing,
            question.listing.action,
            lambda before_call: question.pages(self._place.client, values, before_call),
        ):
            for item in page:
                for value in question.answers(item):
                    if value in found:
                        found[value].append(item)
        return [self._keep(question.name, value, items, read_at) for value, items in found.items()]

    def _fetch_entries(self, prefix_list_id: str) -> Answer:
        read_at = self._context.now()
        pages = self._pages(
            PREFIX_LIST_ENTRIES,
            prefix_list_id,
            lambda before_call: entries_of(self._place.client, prefix_list_id, before_call),
        )
        entries = [entry for page in pages for entry in page]
        return self._keep(PREFIX_LIST_ENTRIES.operation, prefix_list_id, entries, read_at)

    def _keep(self, question: str, value: str, items: list[Item], read_at: datetime) -> Answer:
        answer = Answer(tuple(items), read_at, self._context.clock() + self._context.kept_seconds)
        self._context.answers.put(self._place.key, question, value, answer)
        return answer

    def _pages(
        self,
        listing: Listing,
        what: str,
        start: Callable[[Callable[[], None]], Iterator[list[Item]]],
    ) -> Iterator[list[Item]]:
        """Give pages as long as the budget lasts; ``what`` names the call that is not made again for a while if it is hopeless."""
        action, refusals, clock = listing.action, self._place.refusals, self._context.clock
        until, refusal = refusals.get(what, (0.0, None))
        if refusal is not None and clock() < until:
            raise refusal

        def before_call() -> None:
            if clock() >= self._deadline:
                raise NotReadError(
                    action,
                    f"not read, the {self._context.budget_seconds:g} s for reading were spent",
                )

        try:
            yield from start(before_call)
        except NotReadError as error:
            # Permission does not come by asking again. Where EC2 is out of reach (a function in a VPC without a way to it),
            # each call waits for all its time-outs, and there are other flows to judge.
            if error.denied or isinstance(error.__cause__, BotoCoreError):
                refusals[what] = (clock() + self._context.kept_seconds, error)
            self._context.logger.warning(
                "part of the configuration not read",
                extra={"call": action, "reason": error.reason, "region": self._place.key.region},
            )
            raise

    def _use(self, answer: Answer) -> None:
        if self._oldest is None or answer.read_at < self._oldest:
            self._oldest = answer.read_at

    def _note(self, error: NotReadError) -> None:
        self.failure = self.failure or error


def _chunk(question: Query) -> int:
    # The values of all filters of a call are counted together.
    return MAX_FILTER_VALUES if question.vpc_id is None else MAX_FILTER_VALUES - 1


def gather(
    reading: Reading, flows: Sequence[RejectedFlow], interface_ids: set[str]
) -> NetConfig | NotAvailable:
    """Ask for everything, what decides first."""
    if not reading.ask(QUERY_INTERFACES, interface_ids):
        return NotAvailable(str(reading.failure))
    own = reading.found(INTERFACES).interfaces or ()
    own_vpcs = {one.vpc_id for one in own if one.vpc_id is not None}
    reading.ask(QUERY_VPCS, own_vpcs)
    reading.ask(QUERY_REQUESTED, own_vpcs)
    reading.ask(QUERY_ACCEPTED, own_vpcs)
    for (vpc_id, version), addresses in _far_ends(flows, own, reading).items():
        reading.ask(at_address(vpc_id, version), {str(address) for address in addresses})
    both_ends = reading.found(INTERFACES).interfaces or ()
    subnet_ids = {one.subnet_id for one in both_ends if one.subnet_id is not None}
    reading.ask(QUERY_GROUPS, (group_id for one in both_ends for group_id in one.group_ids or ()))
    reading.ask(QUERY_ACLS, subnet_ids)
    if not reading.knows_rules():
        return NotAvailable(str(reading.failure))
    peers = [rule.peer for rule in _rules(reading)]
    reading.ask_holders(peer.group_id for peer in peers if isinstance(peer, GroupReference))
    reading.ask(QUERY_SUBNETS, subnet_ids)
    reading.ask(
        QUERY_PREFIX_LISTS,
        (peer.prefix_list_id for peer in peers if isinstance(peer, PrefixListReference)),
    )
    reading.ask_entries()
    reading.ask(QUERY_VPCS, (one.vpc_id for one in both_ends if one.vpc_id is not None))
    reading.ask(QUERY_ENDPOINTS, own_vpcs)
    reading.ask(QUERY_ROUTE_TABLES, own_vpcs)
    gateways = [
        one for one in reading.found(ENDPOINTS).endpoints or () if one.endpoint_type == "Gateway"
    ]
    reading.ask(
        QUERY_NAMED_PREFIX_LISTS,
        (one.service_name for one in gateways if one.service_name is not None),
    )
    reading.ask_entries()
    return reading.config()


def _rules(reading: Reading) -> Iterator[SecurityGroupRule]:
    for group in reading.found(SECURITY_GROUPS).security_groups or ():
        yield from group.ingress or ()
        yield from group.egress or ()


def _far_ends(
    flows: Sequence[RejectedFlow], interfaces: tuple[Interface, ...], reading: Reading
) -> Mapping[tuple[str, int], set[Address]]:
    """Give the addresses that interfaces of the flows' own VPCs or of peered ones may have, by VPC and IP version.

    Others are not asked for: a scan from the internet comes from thousands of addresses, and none is in a VPC.
    """
    by_id = {one.interface_id: one for one in interfaces}
    vpcs = {one.vpc_id: one for one in reading.found(VPCS).vpcs or ()}
    peerings = reading.found(PEERINGS).peerings or ()
    wanted: defaultdict[tuple[str, int], set[Address]] = defaultdict(set)
    for flow in flows:
        interface = by_id.get(flow.interface_id or "")
        if interface is None or interface.vpc_id is None:
            continue
        key, vpc = flow.key, vpcs.get(interface.vpc_id)
        named = {key.source, key.destination, key.packet_source, key.packet_destination} - {
            None,
            *interface.addresses,
        }
        sides = [
            side
            for one in peerings
            if one.carries_traffic
            and not one.crosses_regions
            and (side := one.other_side(interface.vpc_id)) is not None
            # Another account's interfaces are not shown to this one.
            if side.owner_id in {None, interface.owner_id}
        ]
        for address in named:
            if address is None:
                continue
            if is_inside(address) if vpc is None else any(address in cidr for cidr in vpc.cidrs):
                wanted[interface.vpc_id, address.version].add(address)
            for side in sides:
                if side.vpc_id is not None and any(address in cidr for cidr in side.cidrs):
                    wanted[side.vpc_id, address.version].add(address)
    return wanted
