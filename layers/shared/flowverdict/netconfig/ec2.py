"""The configuration that rejected flows need, as EC2 has it now.

Only what can bear on the flows is asked for: their interfaces, what lies at the other end, and the groups, network ACLs,
subnets, VPCs, peering connections, endpoints, route tables and prefix lists around those. Where a rule refers to a group,
*all* interfaces that hold the group are read, since a reference is a list of addresses.

A verdict stands without configuration, so nothing here raises for what AWS answers: a list that is refused, or that comes
too late, is *not known*, and the evaluation of the rest says so.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import batched
from typing import TYPE_CHECKING, Any, Protocol, cast

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.addresses import is_inside
from flowverdict.errors import ConfigError, NotReadError
from flowverdict.netconfig.describe import (
    ENDPOINTS,
    INTERFACES,
    MAX_FILTER_VALUES,
    NETWORK_ACLS,
    PEERINGS,
    PREFIX_LIST_ENTRIES,
    PREFIX_LISTS,
    ROUTE_TABLES,
    SECURITY_GROUPS,
    SUBNETS,
    VPCS,
    describe,
    entries_of,
    not_read,
)
from flowverdict.netconfig.model import GroupReference, PrefixListReference
from flowverdict.netconfig.snapshot import parse_snapshot
from flowverdict.sdk import guarded
from flowverdict.untrusted import is_account_id, is_region, is_resource_id

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from logging import Logger as StandardLogger
    from logging import LoggerAdapter

    from aws_lambda_powertools import Logger
    from botocore.client import BaseClient

    from flowverdict.flows import RejectedFlow
    from flowverdict.netconfig.describe import Item, Listing
    from flowverdict.netconfig.model import Interface, NetConfig, SecurityGroupRule
    from flowverdict.records import Address

    type AnyLogger = Logger | LoggerAdapter[Any] | StandardLogger

BUDGET_SECONDS = 10.0  # a sixth of the functions' time-out; the verdicts and their delivery need the rest
KEPT_SECONDS = 60.0  # rules change by hand: one who fixes a rule and tries again sees it within a minute
MAX_PLACES = 64  # accounts x Regions whose client and credentials are kept
MAX_KEPT_ITEMS = 10_000  # about 5 kB each as boto3 gives them, so 50 MB of the functions' 512 MB

# Four tries wait at most 1 + 2 + 4 s between them (https://docs.aws.amazon.com/boto3/latest/guide/retries.html): a bucket
# that refills at 20 calls a second has long let one through.
_TRIES = 4
_CREDENTIALS_SPARE = timedelta(minutes=5)  # clocks differ, and a reading takes its time
_SESSION_NAME = "flowverdict"

_SHOWN = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """Temporary credentials of a role."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(repr=False)
    expires_at: datetime


class ClientFactory(Protocol):
    """What makes SDK clients; without credentials with those of the process."""

    def __call__(self, service: str, region: str, credentials: Credentials | None) -> BaseClient:
        """Make a client of ``ec2`` or ``sts``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReaderRole:
    """The role that lets this account read the configuration of another one; it has the same name in each."""

    name: str
    external_id: str | None = None
    partition: str = "aws"

    def arn(self, account_id: str) -> str:
        """Give the role's ARN in an account."""
        return f"arn:{self.partition}:iam::{account_id}:role/{self.name}"


def client_factory(config: Config | None = None) -> ClientFactory:
    """Give a maker of boto3 clients that retry throttled calls with backoff and do not wait long for an answer."""
    import boto3  # noqa: PLC0415 - half a second, only where clients are made

    used = config or Config(connect_timeout=2, read_timeout=5, retries={"mode": "standard", "total_max_attempts": _TRIES})

    def make(service: str, region: str, credentials: Credentials | None) -> BaseClient:
        secrets = {}
        if credentials is not None:
            secrets = {
                "aws_access_key_id": credentials.access_key_id,
                "aws_secret_access_key": credentials.secret_access_key,
                "aws_session_token": credentials.session_token,
            }
        untyped = cast("Callable[..., BaseClient]", boto3.client)
        return guarded(untyped(service, region_name=region, config=used, **secrets))

    return make


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
class _Question:
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

    def pages(self, client: BaseClient, values: tuple[str, ...], before_call: Callable[[], None]) -> Iterator[list[Item]]:
        filters = {self.filter: values} if self.vpc_id is None else {self.filter: values, "vpc-id": (self.vpc_id,)}
        return describe(client, self.listing, filters, before_call=before_call)


_INTERFACES = _Question(listing=INTERFACES, filter="network-interface-id", answers=_at("NetworkInterfaceId"))
_HOLDERS = _Question(listing=INTERFACES, filter="group-id", answers=_at("Groups", "GroupId"))
_GROUPS = _Question(listing=SECURITY_GROUPS, filter="group-id", answers=_at("GroupId"))
_ACLS = _Question(listing=NETWORK_ACLS, filter="association.subnet-id", answers=_at("Associations", "SubnetId"))
_SUBNETS = _Question(listing=SUBNETS, filter="subnet-id", answers=_at("SubnetId"))
_VPCS = _Question(listing=VPCS, filter="vpc-id", answers=_at("VpcId"))
_REQUESTED = _Question(listing=PEERINGS, filter="requester-vpc-info.vpc-id", answers=_at("RequesterVpcInfo", "VpcId"))
_ACCEPTED = _Question(listing=PEERINGS, filter="accepter-vpc-info.vpc-id", answers=_at("AccepterVpcInfo", "VpcId"))
_ENDPOINTS = _Question(listing=ENDPOINTS, filter="vpc-id", answers=_at("VpcId"))
_ROUTE_TABLES = _Question(listing=ROUTE_TABLES, filter="vpc-id", answers=_at("VpcId"))
_PREFIX_LISTS = _Question(listing=PREFIX_LISTS, filter="prefix-list-id", answers=_at("PrefixListId"))
_NAMED_PREFIX_LISTS = _Question(listing=PREFIX_LISTS, filter="prefix-list-name", answers=_at("PrefixListName"))


def _at_address(vpc_id: str, version: int) -> _Question:
    """Ask for the interfaces of a VPC by their private addresses. EC2 has no such filter for delegated prefixes."""
    if version == 4:  # noqa: PLR2004 - the IP version
        answers, name = _addresses_at("PrivateIpAddresses", "PrivateIpAddress"), "addresses.private-ip-address"
    else:
        answers, name = _addresses_at("Ipv6Addresses", "Ipv6Address"), "ipv6-addresses.ipv6-address"
    return _Question(listing=INTERFACES, filter=name, answers=answers, vpc_id=vpc_id)


# An element missing from these proves something (no peering, no endpoint, the main route table), so a part is worse than
# nothing. In the other lists what is missing is not known, and the rest serves.
_ALL_OR_NOTHING = (PEERINGS, ENDPOINTS, ROUTE_TABLES)

# Stands for the interfaces that could not be read where rules refer to groups: one whose groups and addresses nobody
# knows, so that no such rule is taken not to match.
_UNREAD_HOLDERS: Item = {"NetworkInterfaceId": "interfaces-not-read"}


# --- what is kept -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Answer:
    items: tuple[Item, ...]
    read_at: datetime
    until: float


class _Answers:
    """What was answered lately, value by value. Bounded: the oldest goes first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: dict[tuple[_PlaceKey, str, str], _Answer] = {}
        self._size = 0

    def get(self, place: _PlaceKey, question: str, value: str) -> _Answer | None:
        answer = self._answers.get((place, question, value))
        return answer if answer is not None and self._clock() < answer.until else None

    def put(self, place: _PlaceKey, question: str, value: str, answer: _Answer) -> None:
        key = (place, question, value)
        self._drop(key)
        self._answers[key] = answer
        self._size += _weight(answer)
        # All are kept equally long, so the first is the oldest.
        while self._size > MAX_KEPT_ITEMS or self._clock() >= self._answers[next(iter(self._answers))].until:
            self._drop(next(iter(self._answers)))
            if not self._answers:
                return

    def _drop(self, key: tuple[_PlaceKey, str, str]) -> None:
        dropped = self._answers.pop(key, None)
        self._size -= 0 if dropped is None else _weight(dropped)


def _weight(answer: _Answer) -> int:
    return 1 + len(answer.items)  # "nothing there" is an answer too


@dataclass(frozen=True, slots=True)
class _PlaceKey:
    account_id: str | None  # None: whichever the process's own credentials belong to
    region: str


@dataclass(slots=True)
class _Place:
    """An account and Region, with the means to read there."""

    key: _PlaceKey
    client: BaseClient
    credentials: Credentials | None
    refusals: dict[str, tuple[float, NotReadError]] = field(default_factory=dict)


# --- one reading ------------------------------------------------------------------------------------------------------


class _Reading:
    """Collects what one set of flows needs; what cannot be had is noted and the rest goes on."""

    def __init__(self, source: Ec2Config, place: _Place, deadline: float) -> None:
        self._source = source
        self._place = place
        self._deadline = deadline
        self._found: defaultdict[str, dict[str, Item]] = defaultdict(dict)
        self._entries: dict[str, list[Item]] = {}
        self._incomplete: set[str] = set()
        self._asked: set[str] = set()
        self._oldest: datetime | None = None
        self._holders_known = True
        self.failure: NotReadError | None = None

    def ask(self, question: _Question, values: Iterable[str]) -> bool:
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
        self._holders_known = self.ask(_HOLDERS, group_ids)

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
            if key in self._incomplete and (not items or key in {one.snapshot_key for one in _ALL_OR_NOTHING}):
                continue
            answers[key] = [self._with_entries(item) for item in items] if key == PREFIX_LISTS.snapshot_key else items
            if key == INTERFACES.snapshot_key and not self._holders_known:
                answers[key] = [*items, _UNREAD_HOLDERS]
        return parse_snapshot(answers)

    def _with_entries(self, prefix_list: Item) -> Item:
        entries = self._entries.get(str(prefix_list.get(PREFIX_LISTS.id_key)))
        return prefix_list if entries is None else {**prefix_list, "Entries": entries}

    def _kept(self, question: str, values: list[str]) -> tuple[list[_Answer], list[str]]:
        kept = {value: self._source.answers.get(self._place.key, question, value) for value in values}
        return [one for one in kept.values() if one is not None], [value for value, one in kept.items() if one is None]

    def _fetch(self, question: _Question, values: tuple[str, ...]) -> list[_Answer]:
        found: dict[str, list[Item]] = {value: [] for value in values}
        read_at = self._source.now()
        for page in self._pages(
            question.listing, question.listing.action, lambda before_call: question.pages(self._place.client, values, before_call)
        ):
            for item in page:
                for value in question.answers(item):
                    if value in found:
                        found[value].append(item)
        return [self._keep(question.name, value, items, read_at) for value, items in found.items()]

    def _fetch_entries(self, prefix_list_id: str) -> _Answer:
        read_at = self._source.now()
        pages = self._pages(
            PREFIX_LIST_ENTRIES, prefix_list_id, lambda before_call: entries_of(self._place.client, prefix_list_id, before_call)
        )
        entries = [entry for page in pages for entry in page]
        return self._keep(PREFIX_LIST_ENTRIES.operation, prefix_list_id, entries, read_at)

    def _keep(self, question: str, value: str, items: list[Item], read_at: datetime) -> _Answer:
        answer = _Answer(tuple(items), read_at, self._source.clock() + self._source.kept_seconds)
        self._source.answers.put(self._place.key, question, value, answer)
        return answer

    def _pages(
        self, listing: Listing, what: str, start: Callable[[Callable[[], None]], Iterator[list[Item]]]
    ) -> Iterator[list[Item]]:
        """Give pages as long as the budget lasts; ``what`` names the call that is not made again for a while if it is hopeless."""
        action, refusals, clock = listing.action, self._place.refusals, self._source.clock
        until, refusal = refusals.get(what, (0.0, None))
        if refusal is not None and clock() < until:
            raise refusal

        def before_call() -> None:
            if clock() >= self._deadline:
                raise NotReadError(action, f"not read, the {self._source.budget_seconds:g} s for reading were spent")

        try:
            yield from start(before_call)
        except NotReadError as error:
            # Permission does not come by asking again. Where EC2 is out of reach (a function in a VPC without a way to it),
            # each call waits for all its time-outs, and there are other flows to judge.
            if error.denied or isinstance(error.__cause__, BotoCoreError):
                refusals[what] = (clock() + self._source.kept_seconds, error)
            self._source.logger.warning(
                "part of the configuration not read",
                extra={"call": action, "reason": error.reason, "region": self._place.key.region},
            )
            raise

    def _use(self, answer: _Answer) -> None:
        if self._oldest is None or answer.read_at < self._oldest:
            self._oldest = answer.read_at

    def _note(self, error: NotReadError) -> None:
        self.failure = self.failure or error


def _chunk(question: _Question) -> int:
    # The values of all filters of a call are counted together.
    return MAX_FILTER_VALUES if question.vpc_id is None else MAX_FILTER_VALUES - 1


# --- the source -------------------------------------------------------------------------------------------------------


class Ec2Config:
    """Reads configuration from EC2, in the function's own account and, through a role, in others.

    Not safe for threads; a Lambda function's environment has one.

    Parameters
    ----------
    clients
        Makes the clients, each when it is first needed.
    logger
        Told of every list that could not be read.
    default_region
        Where to read for records that name no Region, and where STS is asked.
    own_account
        Its configuration is read with the process's own credentials; ``None`` reads that of every account so.
    reader_role
        What to assume in other accounts.
    budget_seconds
        After this long a reading makes no further calls.
    kept_seconds
        How long answers are used again.
    clock, now
        Seconds of which only differences matter, and the time of day.
    """

    def __init__(  # noqa: PLR0913 - all by name, and all but three have a default
        self,
        *,
        clients: ClientFactory,
        logger: AnyLogger,
        default_region: str | None,
        own_account: str | None = None,
        reader_role: ReaderRole | None = None,
        budget_seconds: float = BUDGET_SECONDS,
        kept_seconds: float = KEPT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.logger = logger
        self.budget_seconds = budget_seconds
        self.kept_seconds = kept_seconds
        self.clock = clock
        self.now = now
        self.answers = _Answers(clock)
        self._clients = clients
        self._default_region = default_region
        self._own_account = own_account
        self._reader_role = reader_role
        self._places: dict[_PlaceKey, _Place] = {}
        self._roles: dict[str, Credentials | tuple[float, NotReadError]] = {}

    def read(self, account_id: str | None, region: str | None, flows: Sequence[RejectedFlow]) -> NetConfig | str:
        """Give what the flows, all of one account and Region, need to be judged; or say in one line why it cannot be read."""
        interface_ids = {one for flow in flows if (one := flow.interface_id) is not None and is_resource_id(one, "eni")}
        if not interface_ids:
            return "no network interface is named"
        region = self._default_region if region is None else region
        if account_id is not None and not is_account_id(account_id):
            return f"{ascii(account_id)[:_SHOWN]} is no account id"
        if region is None:
            return "no Region is named"
        if not is_region(region):
            return f"{ascii(region)[:_SHOWN]} is no Region"
        if self._reader_role is None and not self._is_own(account_id):
            return f"the interface belongs to account {account_id}, and no reader role is configured"
        deadline = self.clock() + self.budget_seconds
        try:
            return _gather(_Reading(self, self._place(account_id, region), deadline), flows, interface_ids)
        except NotReadError as error:
            return str(error)
        except ConfigError as error:
            return f"AWS's answer is not of a known shape: {error}"

    def _is_own(self, account_id: str | None) -> bool:
        return self._own_account is None or account_id in {None, self._own_account}

    def _place(self, account_id: str | None, region: str) -> _Place:
        key = _PlaceKey(None if self._is_own(account_id) else account_id, region)
        credentials = None if key.account_id is None else self._credentials(key.account_id)
        place = self._places.pop(key, None)
        if place is None or place.credentials != credentials:
            place = _Place(key, self._client("ec2", region, credentials), credentials)
        self._places[key] = place  # back at the end: the one not used for longest is dropped first
        if len(self._places) > MAX_PLACES:
            del self._places[next(iter(self._places))]
        return place

    def _client(self, service: str, region: str, credentials: Credentials | None) -> BaseClient:
        try:
            return self._clients(service, region, credentials)
        except BotoCoreError as error:
            raise not_read(f"client of {service} in {region}", error) from error

    def _credentials(self, account_id: str) -> Credentials:
        kept = self._roles.get(account_id)
        if isinstance(kept, Credentials) and kept.expires_at - _CREDENTIALS_SPARE > self.now():
            return kept
        if isinstance(kept, tuple) and self.clock() < kept[0]:
            raise kept[1]
        try:
            credentials = self._assume(account_id)
        except NotReadError as error:
            self.logger.warning("reader role not assumed", extra={"account_id": account_id, "reason": error.reason})
            self._remember_role(account_id, (self.clock() + self.kept_seconds, error))
            raise
        self._remember_role(account_id, credentials)
        return credentials

    def _remember_role(self, account_id: str, outcome: Credentials | tuple[float, NotReadError]) -> None:
        self._roles.pop(account_id, None)
        self._roles[account_id] = outcome
        if len(self._roles) > MAX_PLACES:
            del self._roles[next(iter(self._roles))]

    def _assume(self, account_id: str) -> Credentials:
        role, region = self._reader_role, self._default_region
        if role is None or region is None:
            raise NotReadError("sts:AssumeRole", "no reader role is configured, or no Region to ask in")
        client = cast("_StsClient", self._client("sts", region, None))
        external_id = {} if role.external_id is None else {"ExternalId": role.external_id}
        try:
            answer = client.assume_role(RoleArn=role.arn(account_id), RoleSessionName=_SESSION_NAME, **external_id)
        except (ClientError, BotoCoreError) as error:
            raise not_read(f"sts:AssumeRole of {role.arn(account_id)}", error) from error
        given = answer["Credentials"]
        return Credentials(
            access_key_id=given["AccessKeyId"],
            secret_access_key=given["SecretAccessKey"],
            session_token=given["SessionToken"],
            expires_at=given["Expiration"],
        )


class _StsClient(Protocol):
    def assume_role(self, *, RoleArn: str, RoleSessionName: str, **arguments: str) -> Mapping[str, Any]: ...  # noqa: N803 - AWS's names


def _gather(reading: _Reading, flows: Sequence[RejectedFlow], interface_ids: set[str]) -> NetConfig | str:
    """Ask for everything, what decides first."""
    if not reading.ask(_INTERFACES, interface_ids):
        return str(reading.failure)
    own = reading.found(INTERFACES).interfaces or ()
    own_vpcs = {one.vpc_id for one in own if one.vpc_id is not None}
    reading.ask(_VPCS, own_vpcs)
    reading.ask(_REQUESTED, own_vpcs)
    reading.ask(_ACCEPTED, own_vpcs)
    for (vpc_id, version), addresses in _far_ends(flows, own, reading).items():
        reading.ask(_at_address(vpc_id, version), {str(address) for address in addresses})
    both_ends = reading.found(INTERFACES).interfaces or ()
    subnet_ids = {one.subnet_id for one in both_ends if one.subnet_id is not None}
    reading.ask(_GROUPS, (group_id for one in both_ends for group_id in one.group_ids or ()))
    reading.ask(_ACLS, subnet_ids)
    if not reading.knows_rules():
        return str(reading.failure)
    peers = [rule.peer for rule in _rules(reading)]
    reading.ask_holders(peer.group_id for peer in peers if isinstance(peer, GroupReference))
    reading.ask(_SUBNETS, subnet_ids)
    reading.ask(_PREFIX_LISTS, (peer.prefix_list_id for peer in peers if isinstance(peer, PrefixListReference)))
    reading.ask_entries()
    reading.ask(_VPCS, (one.vpc_id for one in both_ends if one.vpc_id is not None))
    reading.ask(_ENDPOINTS, own_vpcs)
    reading.ask(_ROUTE_TABLES, own_vpcs)
    gateways = [one for one in reading.found(ENDPOINTS).endpoints or () if one.endpoint_type == "Gateway"]
    reading.ask(_NAMED_PREFIX_LISTS, (one.service_name for one in gateways if one.service_name is not None))
    reading.ask_entries()
    return reading.config()


def _rules(reading: _Reading) -> Iterator[SecurityGroupRule]:
    for group in reading.found(SECURITY_GROUPS).security_groups or ():
        yield from group.ingress or ()
        yield from group.egress or ()


def _far_ends(
    flows: Sequence[RejectedFlow], interfaces: tuple[Interface, ...], reading: _Reading
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
        named = {key.source, key.destination, key.packet_source, key.packet_destination} - {None, *interface.addresses}
        sides = [
            side
            for one in peerings
            if one.carries_traffic and not one.crosses_regions and (side := one.other_side(interface.vpc_id)) is not None
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
