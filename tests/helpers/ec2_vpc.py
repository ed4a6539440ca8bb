"""A VPC in a local EC2, clients that record and refuse calls, and sources that read with them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ConnectTimeoutError

from flowverdict.core.availability import NotAvailable
from flowverdict.flowlog.records import DEFAULT_FORMAT
from flowverdict.flows.collector import FlowCollector
from flowverdict.network.configuration import NetConfig
from flowverdict.network.ec2 import Ec2Config
from flowverdict.network.ec2_clients import client_factory
from flowverdict.network.packet import Packet
from flowverdict_cli.local_aws import REGION

if TYPE_CHECKING:
    from collections.abc import Callable

    from botocore.client import BaseClient
    from mypy_boto3_ec2 import EC2Client

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.ec2_clients import Credentials

OWN, OTHER = "123456789012", "210987654321"
NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
CLIENT, SERVER, DATABASE = "10.0.1.10", "10.0.2.20", "10.0.2.30"
# Groups, network ACLs, subnets, VPCs, endpoints, route tables; peerings from both sides; the flow's
# interface, the remote interface, and those of network load balancers. One more where a rule refers
# to a group, two or more where a rule names a prefix list.
CALLS_FOR_ONE_FLOW = 11
THROTTLED = (
    b"<Response><Errors><Error><Code>RequestLimitExceeded</Code>"
    b"<Message>slow</Message></Error></Errors></Response>"
)


class Clock:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds

    def now(self) -> datetime:
        return NOON + timedelta(seconds=self.seconds)


class Aws:
    """Makes real clients that record every call, and that deny or throttle some of them."""

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
        return AWSResponse("https://ec2.invalid", 503, HTTPHeaders(), cast("Any", Body(THROTTLED)))

    def made(self) -> list[str]:
        """Return the calls since the last time."""
        calls, self.calls = self.calls, []
        return calls


class CallClock(Clock):
    """A clock that moves a second with every call."""

    def __init__(self, calls: Aws) -> None:
        super().__init__()
        self._calls = calls

    def __call__(self) -> float:
        return float(len(self._calls.calls))


@dataclass(frozen=True)
class Body:
    """The body of an HTTP answer."""

    content: bytes

    def stream(self) -> list[bytes]:
        return [self.content]


@dataclass(frozen=True)
class World:
    """A VPC with a client in one subnet, and a server and a database in another.

    The other subnet has a network ACL of its own.
    """

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
    """Create the VPC in the account of the client."""
    vpc = ec2.create_vpc(CidrBlock=f"{cidr}.0.0/16")["Vpc"]["VpcId"]
    public, private = (
        ec2.create_subnet(VpcId=vpc, CidrBlock=f"{cidr}.{number}.0/24")["Subnet"]["SubnetId"]
        for number in (1, 2)
    )
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    association = next(
        listed_association["NetworkAclAssociationId"]
        for listed in ec2.describe_network_acls(
            Filters=[{"Name": "association.subnet-id", "Values": [private]}]
        )["NetworkAcls"]
        for listed_association in listed["Associations"]
        if listed_association["SubnetId"] == private
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
    """Create an interface; return its id."""
    made = ec2.create_network_interface(SubnetId=subnet, PrivateIpAddress=address, Groups=[*groups])
    return made["NetworkInterface"]["NetworkInterfaceId"]


def refer(ec2: EC2Client, group: str, to: str, port: int) -> None:
    """Allow a group's interfaces to reach another group on a TCP port."""
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
    """Return one rejected TCP flow."""
    collector = FlowCollector()
    addresses = f"{source} {destination} 50000 {port}"
    line = f"2 {account} {interface_id} {addresses} 6 1 40 1795348860 1795348900 REJECT OK"
    collector.add(DEFAULT_FORMAT.parse(line))
    return next(collector.rejected())


def packet(source: str, destination: str, port: int = 443) -> Packet:
    """Return the TCP packet of a flow."""
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


def new_source(calls: Callable[..., BaseClient], clock: Clock, **changes: Any) -> Ec2Config:  # noqa: ANN401 - any parameter
    """Return a source that reads with these clients by this clock."""
    parameters: dict[str, Any] = {
        "default_region": REGION,
        "own_account": OWN,
        "clock": clock,
        "now": clock.now,
    } | changes
    return Ec2Config(clients=calls, logger=logging.getLogger("test"), **parameters)


def read(source: Ec2Config, *flows: RejectedFlow, account: str | None = OWN) -> NetConfig:
    """Return the configuration that a source reads."""
    config = source.read(account, REGION, flows)
    assert isinstance(config, NetConfig), config
    return config


def refused(
    source: Ec2Config, *flows: RejectedFlow, account: str | None = OWN, region: str | None = REGION
) -> str:
    """Return the one line that says why a source cannot read."""
    outcome = source.read(account, region, flows)
    assert isinstance(outcome, NotAvailable)
    assert "\n" not in outcome.reason
    return outcome.reason


def interface_ids(config: NetConfig) -> set[str]:
    """Return the ids of all interfaces."""
    return {interface.interface_id for interface in config.interfaces or ()}
