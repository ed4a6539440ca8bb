"""What is read from EC2 for rejected flows, on moto; where moto falls short, on answers of the recorded shape."""

from __future__ import annotations

import json
import logging
import stat
import sys
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from botocore.exceptions import ConnectTimeoutError
from botocore.stub import Stubber

from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import NotReadError
from flowverdict.flowlog.records import DEFAULT_FORMAT, FlowDirection
from flowverdict.flows.collector import FlowCollector
from flowverdict.network import ec2 as ec2_module
from flowverdict.network import ec2_cache, ec2_questions
from flowverdict.network.configuration import NetConfig
from flowverdict.network.ec2 import Ec2Config
from flowverdict.network.ec2_clients import ReaderRole, client_factory
from flowverdict.network.packet import Outcome, Packet
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.network.snapshot import load_snapshot, parse_snapshot
from flowverdict.verdict.rules_check import RulesCheck, check_rules, with_interface_facts
from flowverdict_cli import commands
from flowverdict_cli import snapshot as snapshot_module
from flowverdict_cli.local_aws import REGION, local_aws

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from botocore.client import BaseClient
    from mypy_boto3_ec2 import EC2Client

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.ec2_clients import Credentials

OWN, OTHER = "123456789012", "210987654321"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CLIENT, SERVER, DATABASE = "10.0.1.10", "10.0.2.20", "10.0.2.30"
INTERNET = "203.0.113.9"
# Groups, ACLs, subnets, VPCs, endpoints, route tables; peerings from both sides; the flow's interface, and the far end's.
# One more where a rule refers to a group, two or more where one names a prefix list.
CALLS_FOR_ONE_FLOW = 10


# --- doubles ----------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that goes when it is told to."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


class Aws:
    """Makes real clients, records every call they make, and denies or throttles those it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.requests: list[dict[str, Any]] = []
        self.clients: list[tuple[str, str]] = []
        self.denied: set[str] = set()
        self.throttled: dict[str, int] = {}
        self.attempts: list[str] = []
        self.unreachable = False
        self._make = client_factory()

    def __call__(self, service: str, region: str, credentials: Credentials | None) -> BaseClient:
        client = self._make(service, region, credentials)
        self.clients.append((service, region))
        events: Any = client.meta.events  # the stubs know no handler that answers
        events.register("provide-client-params.*", self._request)
        events.register("before-call.*", self._call)
        events.register_first("before-send.*", self._send)
        return client

    def _request(self, params: dict[str, Any], **_: object) -> None:
        self.requests.append(params)

    def _call(self, model: Any, **_: object) -> tuple[object, object] | None:  # noqa: ANN401 - botocore's own
        self.calls.append(model.name)
        if model.name not in self.denied:
            return None
        error = {
            "Error": {"Code": "UnauthorizedOperation", "Message": "no, and kilobytes of reasons"},
            "ResponseMetadata": {},
        }
        return SimpleNamespace(status_code=403, headers={}), error

    def _send(self, event_name: str, **_: object) -> AWSResponse | None:
        operation = event_name.rsplit(".", 1)[1]
        self.attempts.append(operation)
        if self.unreachable:
            raise ConnectTimeoutError(endpoint_url="https://ec2.invalid")
        if self.throttled.get(operation, 0) <= 0:
            return None
        self.throttled[operation] -= 1
        body = b"<Response><Errors><Error><Code>RequestLimitExceeded</Code><Message>slow</Message></Error></Errors></Response>"
        return AWSResponse("https://ec2.invalid", 503, HTTPHeaders(), cast("Any", Body(body)))

    def made(self) -> list[str]:
        calls, self.calls = self.calls, []
        return calls


class CallClock(Clock):
    """A clock by which every call takes a second."""

    def __init__(self, calls: Aws) -> None:
        super().__init__()
        self._calls = calls

    def __call__(self) -> float:
        return float(len(self._calls.calls))


@dataclass(frozen=True)
class Body:
    content: bytes

    def stream(self) -> list[bytes]:
        return [self.content]


@dataclass(frozen=True)
class World:
    """A VPC with a client in one subnet, a server and a database in another that has an ACL of its own."""

    vpc: str
    client: str
    server: str
    database: str
    public: str
    private: str
    acl: str
    client_group: str
    server_group: str
    database_group: str


def build(ec2: EC2Client, cidr: str = "10.0") -> World:
    vpc = ec2.create_vpc(CidrBlock=f"{cidr}.0.0/16")["Vpc"]["VpcId"]
    public, private = (
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"{cidr}.{number}.0/24")["Subnet"]["SubnetId"]
        for number in (1, 2)
    )
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    association = next(
        one["NetworkAclAssociationId"]
        for listed in ec2.describe_network_acls(
            Filters=[{"Name": "association.subnet-id", "Values": [private]}]
        )["NetworkAcls"]
        for one in listed["Associations"]
        if one["SubnetId"] == private
    )
    ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=acl)
    for egress in (False, True):
        ec2.create_network_acl_entry(
            NetworkAclId=acl,
            RuleNumber=100,
            Protocol="-1",
            RuleAction="allow",
            Egress=egress,
            CidrBlock="0.0.0.0/0",
        )
    client_group, server_group, database_group = (
        ec2.create_security_group(GroupName=name, Description=name, VpcId=vpc)["GroupId"]
        for name in ("client", "server", "db")
    )
    refer(ec2, server_group, client_group, 443)
    return World(
        vpc=vpc,
        client=interface(ec2, public, f"{cidr}.1.10", client_group),
        server=interface(ec2, private, f"{cidr}.2.20", server_group),
        database=interface(ec2, private, f"{cidr}.2.30", database_group),
        public=public,
        private=private,
        acl=acl,
        client_group=client_group,
        server_group=server_group,
        database_group=database_group,
    )


def interface(ec2: EC2Client, subnet: str, address: str, *groups: str) -> str:
    made = ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress=address, Groups=[*groups])
    return made["NetworkInterface"]["NetworkInterfaceId"]


def refer(ec2: EC2Client, group: str, to: str, port: int) -> None:
    permission = {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "UserIdGroupPairs": [{"GroupId": to}],
    }
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=cast("Any", [permission]))


def flow(
    interface_id: str, source: str, destination: str, port: int = 443, account: str = OWN
) -> RejectedFlow:
    collector = FlowCollector()
    line = f"2 {account} {interface_id} {source} {destination} 50000 {port} 6 1 40 1795348860 1795348900 REJECT OK"
    collector.add(DEFAULT_FORMAT.parse(line))
    return next(collector.rejected())


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def calls() -> Aws:
    return Aws()


# One AWS for all tests, since it takes half a second to make; each builds a VPC of its own in it.
@pytest.fixture(scope="module", autouse=True)
def _aws() -> Iterator[None]:
    with local_aws():
        yield


@pytest.fixture(scope="module")
def ec2(_aws: None) -> EC2Client:
    return boto3.client("ec2", region_name=REGION)


@pytest.fixture(scope="module")
def world(ec2: EC2Client) -> World:
    return build(ec2)


@pytest.fixture
def changing(ec2: EC2Client) -> World:
    """Give a world of its own to a test that changes it."""
    return build(ec2)


@pytest.fixture
def source(calls: Aws, clock: Clock) -> Ec2Config:
    return new_source(calls, clock)


def new_source(calls: Callable[..., BaseClient], clock: Clock, **changes: Any) -> Ec2Config:  # noqa: ANN401 - any parameter
    parameters: dict[str, Any] = {
        "default_region": REGION,
        "own_account": OWN,
        "clock": clock,
        "now": clock.now,
    } | changes
    return Ec2Config(clients=calls, logger=logging.getLogger("test"), **parameters)


def read(source: Ec2Config, *flows: RejectedFlow, account: str | None = OWN) -> NetConfig:
    config = source.read(account, REGION, flows)
    assert isinstance(config, NetConfig), config
    return config


def refused(
    source: Ec2Config, *flows: RejectedFlow, account: str | None = OWN, region: str | None = REGION
) -> str:
    outcome = source.read(account, region, flows)
    assert isinstance(outcome, NotAvailable)
    assert "\n" not in outcome.reason
    return outcome.reason


def interface_ids(config: NetConfig) -> set[str]:
    return {one.interface_id for one in config.interfaces or ()}


# --- what is read -----------------------------------------------------------------------------------------------------


def test_what_bears_on_a_flow_is_read_and_nothing_else(
    source: Ec2Config, world: World, ec2: EC2Client
) -> None:
    elsewhere = build(ec2, "10.9")
    config = read(source, flow(world.server, CLIENT, SERVER))
    assert interface_ids(config) == {world.server, world.client}
    assert {one.group_id for one in config.security_groups or ()} == {
        world.server_group,
        world.client_group,
    }
    assert {one.subnet_id for one in config.subnets or ()} == {world.public, world.private}
    acl = config.network_acl_of_subnet(world.private)
    assert acl is not None
    assert acl.network_acl_id == world.acl
    assert config.network_acl_of_subnet(world.public) is not None
    assert [one.vpc_id for one in config.vpcs or ()] == [world.vpc]
    assert config.route_table_of_subnet(world.public, world.vpc) is not None
    assert config.peerings == ()
    assert config.endpoints == ()
    assert config.prefix_lists is None
    assert config.read_at == NOON
    assert elsewhere.server not in interface_ids(config)


def test_one_flow_takes_ten_calls_and_so_do_a_hundred_of_its_vpc(
    calls: Aws, clock: Clock, world: World
) -> None:
    read(new_source(calls, clock), flow(world.server, CLIENT, SERVER))
    assert (
        len(calls.made()) == CALLS_FOR_ONE_FLOW + 1
    )  # and the holders of the group its rule refers to
    many = [flow(world.server, f"10.0.1.{host}", SERVER) for host in range(10, 110)]
    read(new_source(calls, clock), *many, flow(world.database, CLIENT, DATABASE, 5432))
    assert Counter(calls.made()) == {
        "DescribeNetworkInterfaces": 3,  # the flows' own, those at the far ends, the holders
        "DescribeSecurityGroups": 1,
        "DescribeNetworkAcls": 1,
        "DescribeSubnets": 1,
        "DescribeVpcs": 1,
        "DescribeVpcPeeringConnections": 2,
        "DescribeVpcEndpoints": 1,
        "DescribeRouteTables": 1,
    }


def test_scan_from_the_internet_asks_for_none_of_its_addresses(
    source: Ec2Config, calls: Aws, world: World
) -> None:
    scan = [flow(world.database, f"203.0.113.{host}", DATABASE, 22) for host in range(1, 250)]
    config = read(source, *scan)
    assert interface_ids(config) == {world.database}
    assert calls.made().count("DescribeNetworkInterfaces") == 1
    assert all(
        len(one["Values"]) == 1 for request in calls.requests for one in request.get("Filters", ())
    )


def test_filters_hold_at_most_200_values(source: Ec2Config, calls: Aws, world: World) -> None:
    many = [
        flow(world.server, f"10.0.{host // 250}.{host % 250}", SERVER) for host in range(1, 451)
    ]
    read(source, *many)
    sizes = [
        sum(len(one["Values"]) for one in request.get("Filters", ())) for request in calls.requests
    ]
    assert max(sizes) == 200
    assert all("MaxResults" in request for request in calls.requests)
    assert not any(key.endswith("Ids") for request in calls.requests for key in request)


def test_rule_that_refers_to_a_group_is_judged_by_all_who_hold_it(
    source: Ec2Config, changing: World, ec2: EC2Client
) -> None:
    others = {
        interface(ec2, changing.public, f"10.0.1.{host}", changing.client_group)
        for host in (11, 12)
    }
    config = read(source, flow(changing.server, DATABASE, SERVER))
    assert interface_ids(config) == {changing.server, changing.database, changing.client, *others}
    server = config.interface(changing.server)
    assert server is not None
    assert (
        evaluate_groups(config, server, packet(CLIENT, SERVER), FlowDirection.INGRESS).outcome
        is Outcome.ALLOW
    )
    assert (
        evaluate_groups(config, server, packet(DATABASE, SERVER), FlowDirection.INGRESS).outcome
        is Outcome.DENY
    )


def packet(source: str, destination: str, port: int = 443) -> Packet:
    key = flow("eni-1", source, destination, port).key
    assert key.source is not None
    assert key.destination is not None
    return Packet(
        source=key.source,
        destination=key.destination,
        protocol=6,
        source_port=50000,
        destination_port=port,
    )


def test_prefix_lists_of_rules_and_of_gateway_endpoints_are_read_with_their_entries(
    source: Ec2Config, changing: World, ec2: EC2Client
) -> None:
    entries: Any = [{"Cidr": "198.51.100.0/24"}, {"Cidr": "203.0.113.0/24"}]
    made = ec2.create_managed_prefix_list(
        PrefixListName="partners", MaxEntries=5, AddressFamily="IPv4", Entries=entries
    )
    partners = made["PrefixList"]["PrefixListId"]
    permission: Any = {
        "IpProtocol": "tcp",
        "FromPort": 5432,
        "ToPort": 5432,
        "PrefixListIds": [{"PrefixListId": partners}],
    }
    ec2.authorize_security_group_ingress(
        GroupId=changing.database_group, IpPermissions=[permission]
    )
    table = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [changing.vpc]}])[
        "RouteTables"
    ][0]["RouteTableId"]
    service = f"com.amazonaws.{REGION}.s3"
    ec2.create_vpc_endpoint(
        VpcId=changing.vpc, ServiceName=service, VpcEndpointType="Gateway", RouteTableIds=[table]
    )
    config = read(source, flow(changing.database, INTERNET, DATABASE, 5432))
    lists = {one.name: one.cidrs for one in config.prefix_lists or ()}
    assert set(lists) == {"partners", service}
    assert [str(cidr) for cidr in lists["partners"] or ()] == ["198.51.100.0/24", "203.0.113.0/24"]
    assert lists[service]
    assert [one.service_name for one in config.endpoints or ()] == [service]


def test_interface_in_a_peered_vpc_is_found_behind_the_connection(
    source: Ec2Config, changing: World, ec2: EC2Client
) -> None:
    peer = build(ec2, "10.7")
    peering = ec2.create_vpc_peering_connection(VpcId=changing.vpc, PeerVpcId=peer.vpc)[
        "VpcPeeringConnection"
    ]
    waiting = read(source, flow(changing.server, "10.7.1.10", SERVER))
    assert peer.client not in interface_ids(waiting)
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=peering["VpcPeeringConnectionId"])
    again = new_source(Aws(), Clock())
    config = read(again, flow(changing.server, "10.7.1.10", SERVER))
    assert [one.status for one in config.peerings or ()] == ["active"]
    assert peer.client in interface_ids(config)
    assert {one.vpc_id for one in config.vpcs or ()} == {changing.vpc, peer.vpc}
    found = config.interface(peer.client)
    assert found is not None
    assert config.network_acl_of_subnet(found.subnet_id or "") is not None


def test_interface_that_has_vanished_leaves_the_verdict_standing_and_is_named(
    source: Ec2Config, world: World
) -> None:
    gone = flow("eni-0123456789abcdef0", CLIENT, SERVER)
    there = flow(world.server, CLIENT, SERVER)
    config = read(source, gone, there)
    assert check_rules(gone, config) == NotAvailable(
        "eni-0123456789abcdef0 is not in the configuration that was read (deleted since, perhaps)"
    )
    assert world.server in interface_ids(config)
    assert check_rules(gone, read(source, gone)) == check_rules(gone, config)


@pytest.mark.parametrize(
    "name", ["-", "eni-*", "eni-?23", "eni-1,eni-2", "eni-" + "0" * 99, "nat-0123456789abcdef0"]
)
def test_interface_names_that_are_none_make_no_call(
    source: Ec2Config, calls: Aws, name: str
) -> None:
    assert refused(source, flow(name, CLIENT, SERVER)) == "no network interface is named"
    assert refused(source) == "no network interface is named"
    assert (calls.calls, calls.clients) == ([], [])


# --- what goes wrong --------------------------------------------------------------------------------------------------


def test_lists_that_are_denied_are_not_known_and_the_rest_stands(
    source: Ec2Config, calls: Aws, world: World, caplog: pytest.LogCaptureFixture
) -> None:
    calls.denied = {"DescribeNetworkAcls", "DescribeVpcPeeringConnections"}
    config = read(source, flow(world.server, CLIENT, SERVER))
    assert config.network_acls is None
    assert config.peerings is None
    assert world.client in interface_ids(config)
    assert config.security_groups
    assert len(caplog.records) == 2
    assert {record.__dict__["reason"] for record in caplog.records} == {"UnauthorizedOperation"}
    calls.made()
    read(source, flow(world.server, CLIENT, SERVER))
    assert calls.made() == []  # neither what is known nor what is denied is asked again


@pytest.mark.parametrize(
    "denied",
    [{"DescribeNetworkInterfaces"}, {"DescribeSecurityGroups", "DescribeNetworkAcls"}],
    ids=["interfaces", "rules"],
)
def test_without_interfaces_or_without_any_rules_the_reason_is_told(
    source: Ec2Config, calls: Aws, world: World, denied: set[str]
) -> None:
    calls.denied = denied
    assert refused(source, flow(world.server, CLIENT, SERVER)) in {
        f"ec2:{call}: UnauthorizedOperation" for call in denied
    }


class HoldersDenied(Aws):
    def _call(self, model: Any, params: Any = None, **rest: object) -> tuple[object, object] | None:  # noqa: ANN401 - botocore's own
        self.denied = {"DescribeNetworkInterfaces"} if "group-id" in str(params) else set()
        return super()._call(model, **rest)


def test_reference_to_a_group_whose_holders_could_not_be_read_is_never_a_sure_no(
    world: World, clock: Clock
) -> None:
    config = read(new_source(HoldersDenied(), clock), flow(world.server, DATABASE, SERVER))
    server = config.interface(world.server)
    assert server is not None
    answer = evaluate_groups(config, server, packet("10.0.1.99", SERVER), FlowDirection.INGRESS)
    assert answer.outcome is Outcome.UNKNOWN
    assert f"not all interfaces that hold {world.client_group} are known" in " ".join(
        answer.reasons
    )


def test_throttled_calls_are_tried_again_and_then_given_up(
    calls: Aws, clock: Clock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    waits: list[float] = []
    monkeypatch.setattr("botocore.endpoint.time.sleep", waits.append)
    calls.throttled = {"DescribeSecurityGroups": 3}
    config = read(new_source(calls, clock), flow(world.server, CLIENT, SERVER))
    assert config.security_groups
    assert calls.attempts.count("DescribeSecurityGroups") == 4
    assert len(waits) == 3
    calls.throttled = {"DescribeSecurityGroups": 99}
    source = new_source(calls, clock)
    assert read(source, flow(world.server, CLIENT, SERVER)).security_groups is None
    assert calls.attempts.count("DescribeSecurityGroups") == 8
    calls.throttled = {}
    assert read(
        source, flow(world.server, CLIENT, SERVER)
    ).security_groups  # not remembered, unlike a denial


def test_ec2_out_of_reach_is_waited_for_once(
    calls: Aws, clock: Clock, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)
    calls.unreachable = True
    source = new_source(calls, clock)
    for _ in range(3):
        reason = refused(source, flow(world.server, CLIENT, SERVER))
        assert reason.startswith("ec2:DescribeNetworkInterfaces: Connect timeout on endpoint URL")
    assert len(calls.attempts) == 4
    calls.unreachable = False
    clock.seconds = 61.0
    read(source, flow(world.server, CLIENT, SERVER))


def test_how_often_to_try_is_the_clients_matter(world: World, clock: Clock) -> None:
    calls = Aws()
    calls._make = client_factory(Config(retries={"mode": "standard", "total_max_attempts": 1}))
    calls.throttled = {"DescribeNetworkInterfaces": 1}
    assert refused(new_source(calls, clock), flow(world.server, CLIENT, SERVER)) == (
        "ec2:DescribeNetworkInterfaces: RequestLimitExceeded"
    )


def test_spent_budget_stops_the_calls_and_what_was_read_stands(world: World) -> None:
    outcomes = [read_within(seconds, world) for seconds in range(CALLS_FOR_ONE_FLOW + 3)]
    # Interfaces, VPC, peerings twice, the far end: until then there is nothing to judge by.
    assert outcomes[0] == NotAvailable(
        "ec2:DescribeNetworkInterfaces: not read, the 0 s for reading were spent"
    )
    assert [isinstance(one, NetConfig) for one in outcomes] == [False] * 6 + [True] * (
        len(outcomes) - 6
    )
    groups_alone, with_acls = outcomes[6:8]
    assert isinstance(groups_alone, NetConfig)
    assert isinstance(with_acls, NetConfig)
    assert (bool(groups_alone.security_groups), groups_alone.network_acls) == (True, None)
    assert with_acls.network_acls
    assert outcomes[-1] == outcomes[-2]


def read_within(seconds: int, world: World) -> NetConfig | NotAvailable:
    """Read with a budget where each call takes a second."""
    calls = Aws()
    source = new_source(calls, CallClock(calls), budget_seconds=float(seconds), now=lambda: NOON)
    outcome = source.read(OWN, REGION, [flow(world.server, CLIENT, SERVER)])
    assert len(calls.calls) == min(seconds, CALLS_FOR_ONE_FLOW + 1)
    return outcome


def test_answer_of_an_unknown_shape_is_told_and_not_raised(
    source: Ec2Config, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> list[list[object]]:
        return [[{"NetworkInterfaceId": world.server, "PrivateIpAddress": "nonsense"}]]

    monkeypatch.setattr(ec2_questions, "describe", broken)
    assert "is no IPv4 address" in refused(source, flow(world.server, CLIENT, SERVER))


# --- kept answers -----------------------------------------------------------------------------------------------------


def test_what_was_read_is_used_again_and_only_the_missing_is_asked(
    source: Ec2Config, calls: Aws, clock: Clock, world: World
) -> None:
    first = read(source, flow(world.server, CLIENT, SERVER))
    calls.made()
    clock.seconds = 30.0
    assert read(source, flow(world.server, CLIENT, SERVER)) == first
    assert calls.made() == []
    both = read(
        source, flow(world.server, CLIENT, SERVER), flow(world.database, CLIENT, DATABASE, 5432)
    )
    assert calls.made() == [
        "DescribeNetworkInterfaces",
        "DescribeSecurityGroups",
    ]  # the database and its group
    assert interface_ids(both) == {world.server, world.client, world.database}
    assert both.read_at == NOON  # the oldest of what it rests on


def test_answers_are_read_anew_after_a_minute(
    source: Ec2Config, calls: Aws, clock: Clock, changing: World, ec2: EC2Client
) -> None:
    read(source, flow(changing.server, CLIENT, SERVER))
    refer(ec2, changing.server_group, changing.client_group, 8443)
    clock.seconds = 59.0
    assert rules_of(read(source, flow(changing.server, CLIENT, SERVER)), changing.server_group) == 1
    calls.made()
    clock.seconds = 60.0
    config = read(source, flow(changing.server, CLIENT, SERVER))
    assert rules_of(config, changing.server_group) == 2
    assert len(calls.made()) == CALLS_FOR_ONE_FLOW + 1
    assert config.read_at == NOON + timedelta(seconds=60)


def rules_of(config: NetConfig, group_id: str) -> int:
    group = config.security_group(group_id)
    assert group is not None
    return len(group.ingress or ())


def test_kept_answers_and_clients_are_bounded(
    clock: Clock, calls: Aws, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ec2_cache, "MAX_KEPT_ITEMS", 5)
    monkeypatch.setattr(ec2_module, "MAX_PLACES", 1)
    source = new_source(calls, clock)
    config = read(source, flow(world.server, CLIENT, SERVER))
    assert interface_ids(config) == {
        world.server,
        world.client,
    }  # a reading larger than what is kept is still whole
    assert source._context.answers._size <= 5  # noqa: SLF001 - no other way to see it
    source.read(OWN, "eu-central-1", [flow(world.server, CLIENT, SERVER)])
    read(source, flow(world.server, CLIENT, SERVER))
    assert [region for _, region in calls.clients] == [REGION, "eu-central-1", REGION]


# --- other accounts ---------------------------------------------------------------------------------------------------

ROLE = ReaderRole(name="flowverdict-reader", external_id="a secret of both")


def test_other_account_is_read_through_its_role(calls: Aws, clock: Clock, world: World) -> None:
    sts = boto3.client("sts", region_name=REGION)
    keys = sts.assume_role(RoleArn=ROLE.arn(OTHER), RoleSessionName="test")["Credentials"]
    theirs = build(
        boto3.client(
            "ec2",
            region_name=REGION,
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )
    )
    source = new_source(calls, clock, reader_role=ROLE, now=lambda: datetime.now(UTC))
    config = read(source, flow(theirs.server, CLIENT, SERVER, account=OTHER), account=OTHER)
    assert theirs.server in interface_ids(config)
    assert {one.owner_id for one in config.interfaces or ()} == {OTHER}
    assert calls.requests[0] == {
        "RoleArn": f"arn:aws:iam::{OTHER}:role/flowverdict-reader",
        "RoleSessionName": "flowverdict",
        "ExternalId": "a secret of both",
    }
    # The same ids in the own account are other interfaces, and its answers are not mixed with theirs.
    assert interface_ids(read(source, flow(theirs.server, CLIENT, SERVER))) == set()
    assert world.server in interface_ids(read(source, flow(world.server, CLIENT, SERVER)))


@pytest.mark.slow
def test_ten_thousand_interfaces_in_fifty_accounts_take_a_dozen_calls_each(
    calls: Aws, clock: Clock, world: World
) -> None:
    del world  # of the own account; these are all others'
    sts = boto3.client("sts", region_name=REGION)
    source = new_source(calls, clock, reader_role=ROLE, now=lambda: datetime.now(UTC))
    for number in range(50):
        account = f"{210_000_000_000 + number}"
        keys = sts.assume_role(RoleArn=ROLE.arn(account), RoleSessionName="test")["Credentials"]
        theirs = build(
            boto3.client(
                "ec2",
                region_name=REGION,
                aws_access_key_id=keys["AccessKeyId"],
                aws_secret_access_key=keys["SecretAccessKey"],
                aws_session_token=keys["SessionToken"],
            )
        )
        others = [
            flow(f"eni-{other:017x}", CLIENT, f"10.0.2.{other}", account=account)
            for other in range(1, 200)
        ]
        config = read(
            source, flow(theirs.server, CLIENT, SERVER, account=account), *others, account=account
        )
        assert theirs.server in interface_ids(config)
    made = Counter(calls.made())
    print(f"\n10,000 interfaces in 50 accounts: {made.total()} calls, {made}")  # noqa: T201 - figures to read
    # EC2 gives each account and Region a bucket of its own: 100 of these calls at once, and 20 a second after that
    # (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html).
    assert made.total() / 50 <= 15


def test_roles_credentials_are_kept_until_five_minutes_before_they_expire(
    calls: Aws, clock: Clock, world: World
) -> None:
    base = datetime.now(UTC)
    source = new_source(
        calls, clock, reader_role=ROLE, now=lambda: base + timedelta(seconds=clock.seconds)
    )
    for minutes in (0, 2, 54):
        clock.seconds = minutes * 60.0
        source.read(OTHER, REGION, [flow(world.server, CLIENT, SERVER)])
    assert calls.calls.count("AssumeRole") == 1
    clock.seconds = 56 * 60.0  # moto, like AWS, gives an hour
    source.read(OTHER, REGION, [flow(world.server, CLIENT, SERVER)])
    assert calls.calls.count("AssumeRole") == 2
    assert repr(source._roles[OTHER]).count("secret") == 0  # noqa: SLF001 - what a log might show


def test_without_a_role_other_accounts_are_not_read(source: Ec2Config, calls: Aws) -> None:
    reason = refused(source, flow("eni-1", CLIENT, SERVER), account=OTHER)
    assert reason == f"the interface belongs to account {OTHER}, and no reader role is configured"
    assert (calls.calls, calls.clients) == ([], [])


def test_role_that_may_not_be_assumed_is_asked_once(calls: Aws, clock: Clock) -> None:
    calls.denied = {"AssumeRole"}
    source = new_source(calls, clock, reader_role=ROLE)
    for _ in range(3):
        reason = refused(source, flow("eni-1", CLIENT, SERVER), account=OTHER)
        assert (
            reason
            == f"sts:AssumeRole of arn:aws:iam::{OTHER}:role/flowverdict-reader: UnauthorizedOperation"
        )
    assert calls.calls == ["AssumeRole"]
    clock.seconds = 61.0
    refused(source, flow("eni-1", CLIENT, SERVER), account=OTHER)
    assert calls.calls == ["AssumeRole"] * 2


@pytest.mark.parametrize(
    "account",
    [
        "",
        "1",
        "12345678901",
        "1234567890123",
        "1" * 12 + "\n",
        "12345678901x",
        "\N{ARABIC-INDIC DIGIT ONE}" * 12,
        "1:role/x:::" + "1",
        "-",
    ],
)
def test_account_that_is_none_steers_no_call(calls: Aws, clock: Clock, account: str) -> None:
    for own in (OWN, None):
        source = new_source(calls, clock, reader_role=ROLE, own_account=own)
        assert refused(source, flow("eni-1", CLIENT, SERVER), account=account).endswith(
            "is no account id"
        )
    assert (calls.calls, calls.clients) == ([], [])


@pytest.mark.parametrize(
    "region",
    [
        "",
        "eu-west-1\n",
        "eu-west-1.evil.example",
        "evil.example/#",
        "@evil",
        "EU-WEST-1",
        "eu-west-²",
        "eu--1",
        "eu-" + "a" * 99 + "-1",
    ],
)
def test_region_that_is_none_steers_no_call(calls: Aws, clock: Clock, region: str) -> None:
    source = new_source(calls, clock, reader_role=ROLE)
    for account in (OWN, OTHER):
        assert refused(
            source, flow("eni-1", CLIENT, SERVER), account=account, region=region
        ).endswith("is no Region")
    assert (calls.calls, calls.clients) == ([], [])


def test_records_without_account_and_region_are_read_where_the_function_runs(
    source: Ec2Config, calls: Aws, world: World
) -> None:
    config = source.read(None, None, [flow(world.server, CLIENT, SERVER)])
    assert isinstance(config, NetConfig)
    assert world.server in interface_ids(config)
    assert calls.clients == [("ec2", REGION)]
    assert refused(
        new_source(calls, Clock(), default_region=None), flow("eni-1", CLIENT, SERVER), region=None
    ) == ("no Region is named")


# --- answers of the recorded shape, where moto has no paging, no IPv6 filter and no second page -----------------------


def filters(**values: list[str]) -> list[dict[str, object]]:
    return [
        {"Name": name.replace("__", ".").replace("_", "-"), "Values": value}
        for name, value in values.items()
    ]


def test_pages_are_followed_and_requests_are_as_ec2_wants_them(clock: Clock) -> None:
    client = boto3.client("ec2", region_name=REGION)
    stub = Stubber(client)
    here, there = "2001:db8:0:1::5", "2001:db8:0:2::6"
    server = {
        "NetworkInterfaceId": "eni-1",
        "VpcId": "vpc-1",
        "SubnetId": "subnet-1",
        "OwnerId": OWN,
        "Groups": [{"GroupId": "sg-1"}],
        "PrivateIpAddresses": [{"PrivateIpAddress": "10.0.0.5"}],
        "Ipv6Addresses": [{"Ipv6Address": here}],
    }
    client_side = {
        **server,
        "NetworkInterfaceId": "eni-2",
        "Ipv6Addresses": [{"Ipv6Address": "2001:DB8:0:2:0::6"}],
    }
    group = {
        "GroupId": "sg-1",
        "VpcId": "vpc-1",
        "IpPermissions": [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": "sg-1"}]}],
    }
    vpc = {"VpcId": "vpc-1", "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": "2001:db8::/56"}]}
    managed = {"MaxResults": 1000, "IncludeManagedResources": True}

    def expect(operation: str, answer: dict[str, Any], **request: Any) -> None:  # noqa: ANN401 - as AWS has it
        stub.add_response(operation, answer, {"MaxResults": 1000, **request})

    expect(
        "describe_network_interfaces",
        {"NetworkInterfaces": [server]},
        **managed,
        Filters=filters(network_interface_id=["eni-1"]),
    )
    expect("describe_vpcs", {"Vpcs": [vpc]}, Filters=filters(vpc_id=["vpc-1"]))
    peerings = "describe_vpc_peering_connections"
    expect(
        peerings,
        {"VpcPeeringConnections": []},
        Filters=filters(requester_vpc_info__vpc_id=["vpc-1"]),
    )
    expect(
        peerings,
        {"VpcPeeringConnections": []},
        Filters=filters(accepter_vpc_info__vpc_id=["vpc-1"]),
    )
    at_address = filters(ipv6_addresses__ipv6_address=[there], vpc_id=["vpc-1"])
    expect(
        "describe_network_interfaces",
        {"NetworkInterfaces": [client_side]},
        **managed,
        Filters=at_address,
    )
    expect(
        "describe_security_groups", {"SecurityGroups": [group]}, Filters=filters(group_id=["sg-1"])
    )
    expect(
        "describe_network_acls",
        {"NetworkAcls": []},
        Filters=filters(association__subnet_id=["subnet-1"]),
    )
    holders = {**managed, "Filters": filters(group_id=["sg-1"])}
    third = {**server, "NetworkInterfaceId": "eni-3", "Ipv6Addresses": []}
    expect(
        "describe_network_interfaces",
        {"NetworkInterfaces": [server, client_side], "NextToken": "more"},
        **holders,
    )
    expect(
        "describe_network_interfaces", {"NetworkInterfaces": [third]}, **holders, NextToken="more"
    )
    expect("describe_subnets", {"Subnets": []}, Filters=filters(subnet_id=["subnet-1"]))
    expect("describe_vpc_endpoints", {"VpcEndpoints": []}, Filters=filters(vpc_id=["vpc-1"]))
    expect(
        "describe_route_tables",
        {"RouteTables": []},
        MaxResults=100,
        Filters=filters(vpc_id=["vpc-1"]),
    )

    with stub:
        config = read(new_source(lambda *_: client, clock), flow("eni-1", there, here))
    stub.assert_no_pending_responses()
    assert interface_ids(config) == {"eni-1", "eni-2", "eni-3"}
    far_end = config.interface_at("vpc-1", ip_address(there))
    assert far_end is not None
    assert far_end.interface_id == "eni-2"


def test_half_a_list_of_peerings_proves_nothing_and_counts_as_unknown(clock: Clock) -> None:
    client = boto3.client("ec2", region_name=REGION)
    stub = Stubber(client)
    server = {"NetworkInterfaceId": "eni-1", "VpcId": "vpc-1", "SubnetId": "subnet-1", "Groups": []}
    peering = {"VpcPeeringConnectionId": "pcx-1", "RequesterVpcInfo": {"VpcId": "vpc-1"}}
    stub.add_response("describe_network_interfaces", {"NetworkInterfaces": [server]})
    stub.add_response("describe_vpcs", {"Vpcs": []})
    stub.add_response("describe_vpc_peering_connections", {"VpcPeeringConnections": [peering]})
    stub.add_client_error("describe_vpc_peering_connections", "RequestLimitExceeded")
    stub.add_response("describe_network_interfaces", {"NetworkInterfaces": []})
    stub.add_response("describe_network_acls", {"NetworkAcls": []})
    stub.add_response("describe_subnets", {"Subnets": []})
    stub.add_response("describe_vpc_endpoints", {"VpcEndpoints": [], "NextToken": "more"})
    stub.add_client_error("describe_vpc_endpoints", "InternalError")
    stub.add_response("describe_route_tables", {"RouteTables": []})
    with stub:
        config = read(new_source(lambda *_: client, clock), flow("eni-1", CLIENT, SERVER))
    stub.assert_no_pending_responses()
    assert (config.peerings, config.endpoints, config.route_tables) == (None, None, ())


def test_verdict_names_the_rule_that_was_read(
    source: Ec2Config, changing: World, ec2: EC2Client
) -> None:
    ec2.create_network_acl_entry(
        NetworkAclId=changing.acl,
        RuleNumber=90,
        Protocol="6",
        RuleAction="deny",
        Egress=False,
        CidrBlock="10.0.1.0/24",
    )
    blocked = flow(changing.server, CLIENT, SERVER)
    config = read(source, blocked)
    rules_check = check_rules(with_interface_facts(blocked, config), config)
    assert isinstance(rules_check, RulesCheck)
    assert rules_check.acl is not None
    assert rules_check.acl.entry is not None
    assert str(rules_check.acl.entry) == "rule 90: deny TCP from 10.0.1.0/24"
    assert rules_check.groups.outcome is Outcome.ALLOW
    assert rules_check.read_at == NOON


# --- snapshot ---------------------------------------------------------------------------------------------------------


class Command:
    """Runs ``flowverdict snapshot`` in this process."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self._monkeypatch.setattr(sys, "argv", ["flowverdict", "snapshot", *arguments])
        code: object = 0
        try:
            commands.run()
        except SystemExit as ended:
            code = ended.code
        out, err = self._capsys.readouterr()
        assert isinstance(code, int)
        return code, out, err


@pytest.fixture
def snapshot(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def test_snapshot_file_holds_what_reading_directly_gives(
    snapshot: Command, changing: World, ec2: EC2Client, tmp_path: Path
) -> None:
    peer = build(ec2, "10.7")
    ec2.create_vpc_peering_connection(VpcId=changing.vpc, PeerVpcId=peer.vpc)
    path = tmp_path / "rules.json"
    path.write_text("old")
    code, out, err = snapshot("--region", REGION, "--output", str(path))
    assert (code, out) == (0, "")
    assert "NetworkInterfaces" in err
    loaded = load_snapshot(path)
    assert loaded.read_at is not None
    direct = snapshot_module.read_snapshot(ec2, read_at=loaded.read_at)
    assert loaded == parse_snapshot(direct.answers)
    assert {changing.server, peer.server} <= interface_ids(loaded)
    assert all(one.cidrs is not None for one in loaded.prefix_lists or ())
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_snapshot_of_one_vpc_leaves_the_others_out(
    snapshot: Command, world: World, ec2: EC2Client
) -> None:
    other = build(ec2, "10.7")
    code, out, err = snapshot("--vpc", world.vpc)
    assert code == 0, err
    config = parse_snapshot(json.loads(out))
    assert interface_ids(config) == {world.client, world.server, world.database}
    assert [one.vpc_id for one in config.vpcs or ()] == [world.vpc]
    assert other.vpc not in out


@pytest.mark.parametrize("vpc", ["vpc-0123456789abcdef0", "vpc-*", "eni-1"])
def test_snapshot_of_a_vpc_that_does_not_exist_is_one_clear_line(
    snapshot: Command, vpc: str, tmp_path: Path
) -> None:
    code, out, err = snapshot("--vpc", vpc, "--output", str(tmp_path / "rules.json"))
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert vpc in err
    assert list(tmp_path.iterdir()) == []


def denying(monkeypatch: pytest.MonkeyPatch, *operations: str) -> None:
    aws = Aws()
    aws.denied = set(operations)
    monkeypatch.setattr(
        snapshot_module, "user_client", lambda region: aws("ec2", region or REGION, None)
    )


def test_snapshot_says_what_it_had_to_leave_out(
    snapshot: Command, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    denying(monkeypatch, "DescribeNetworkAcls", "GetManagedPrefixListEntries")
    code, out, err = snapshot()
    assert code == 0
    config = parse_snapshot(json.loads(out))
    assert config.network_acls is None
    assert world.server in interface_ids(config)
    assert {one.cidrs for one in config.prefix_lists or ()} == {None}
    assert err.splitlines()[:2] == [
        "flowverdict: left out, not permitted: ec2:DescribeNetworkAcls: UnauthorizedOperation",
        "flowverdict: left out, not permitted: ec2:GetManagedPrefixListEntries: UnauthorizedOperation",
    ]


def test_snapshot_that_aws_does_not_give_is_one_clear_line(
    snapshot: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    assert snapshot() == (
        2,
        "",
        "flowverdict: AWS: The config profile (nobody) could not be found\n",
    )
    monkeypatch.delenv("AWS_PROFILE")
    names = [one.action.removeprefix("ec2:") for one, _ in snapshot_module._FILTERS]  # noqa: SLF001 - all there are
    denying(monkeypatch, *names)
    assert snapshot() == (2, "", "flowverdict: ec2:DescribeVpcs: UnauthorizedOperation\n")
    denying(monkeypatch)
    code, _, err = snapshot("--output", str(tmp_path / "none" / "rules.json"))
    assert (code, err.count("\n")) == (2, 1)
    assert "no such file or directory" in err


def test_errors_that_are_no_denial_end_the_snapshot() -> None:
    calls = Aws()
    calls._make = client_factory(Config(retries={"total_max_attempts": 1}))
    calls.throttled = {"DescribeSubnets": 1}
    with pytest.raises(NotReadError, match=r"^ec2:DescribeSubnets: RequestLimitExceeded$"):
        snapshot_module.read_snapshot(calls("ec2", REGION, None))
