"""The input of a deployed stack, and the parameters of its deployment."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from flowverdict_cli.sample_world import LOG_GROUP
from tests.e2e.emulator import ROOT
from tests.helpers.slack_requests import SIGNING_SECRET

if TYPE_CHECKING:
    from tests.e2e.emulator import Place

# Where the sample events come from.
ACCOUNT_ID: Final = "123456789012"
REGION: Final = "eu-west-1"

SECRET_NAME: Final = "slack-webhook"  # noqa: S105 - a name
TEAMS_PARAMETER: Final = "/teams/webhook"
SIGNING_PARAMETER: Final = "/slack/signing"
POLICY_NAME: Final = "/flowverdict/policy"
SILENT_ON_NOTHING: Final = json.dumps({"version": 1})
EVENTS: Final = ROOT / "events"
_KEY = (
    "AWSLogs/{account_id}/vpcflowlogs/{region}/2026/11/22/"
    "{account_id}_vpcflowlogs_{region}_fl-0a1b_20261122T1200Z_{name}.log.gz"
)
HEADER = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes "
    "start end action log-status vpc-id subnet-id tcp-flags pkt-srcaddr pkt-dstaddr region "
    "flow-direction reject-reason"
)


def prepare(place: Place, webhook_address: str, teams_address: str) -> dict[str, str]:
    """Make the resources that the stack needs, and return the parameters of its deployment.

    With these parameters the stack notifies every destination.
    """
    place.client("logs").create_log_group(logGroupName=LOG_GROUP)
    place.client("ssm").put_parameter(Name=POLICY_NAME, Value=SILENT_ON_NOTHING, Type="String")
    secret = place.client("secretsmanager").create_secret(
        Name=SECRET_NAME, SecretString=webhook_address
    )
    for name, value in ((TEAMS_PARAMETER, teams_address), (SIGNING_PARAMETER, SIGNING_SECRET)):
        place.client("ssm").put_parameter(Name=name, Value=value, Type="SecureString")
    return {
        "FlowLogGroupName": LOG_GROUP,
        "AlertEmail": "alerts@example.com",
        "EmailFromSeverity": "high",
        "SlackWebhookSecretArn": secret["ARN"],
        "SlackFromSeverity": "medium",
        "SlackSigningParameter": SIGNING_PARAMETER,
        "TeamsWebhookParameter": TEAMS_PARAMETER,
        "TeamsFromSeverity": "high",
        "ChatTopic": "yes",
        "OperatorEmail": "operator@example.com",
        "Policy": f"ssm:{POLICY_NAME}",
    }


def notification(bucket: str, object_key: str) -> dict[str, Any]:
    """Return the event that S3 sends for a new object."""
    s3 = {
        "s3SchemaVersion": "1.0",
        "bucket": {"name": bucket},
        "object": {"key": object_key, "size": 1},
    }
    return {
        "Records": [
            {
                "eventVersion": "2.6",
                "eventSource": "aws:s3",
                "eventName": "ObjectCreated:Put",
                "s3": s3,
            }
        ]
    }


# Seconds; longer than RepeatMinutes. No more flow logs come, so alerts end as unknown.
FOUR_HOURS: Final = 241 * 60
A_DAY: Final = 24 * 3600 + FOUR_HOURS


def scheduled(seconds_from_now: float = 0) -> dict[str, Any]:
    """Return the event that starts the sweep, as of some seconds from now."""
    at = datetime.fromtimestamp(datetime.now(UTC).timestamp() + seconds_from_now, UTC)
    event: dict[str, Any] = json.loads((EVENTS / "scheduled-sweep.json").read_text())
    return event | {"time": at.isoformat(timespec="seconds").replace("+00:00", "Z")}


def key(place: Place, name: str) -> str:
    """Return the key under which AWS stores a flow log file."""
    return _KEY.format(account_id=place.account_id, region=place.region, name=name)


def scenario(name: str) -> str:
    """Return the flow log of a scenario."""
    return (ROOT / "tests" / "scenarios" / f"{name}.log").read_text()


def shop_delivery() -> str:
    """Return the shop's sample delivery as one file.

    The emulator would pass two files to two workers, each of which evaluates its own file.
    """
    first, *others = sorted(
        (EVENTS / "objects" / "flow-logs-example" / "AWSLogs").rglob("*_20261122T1200Z_[15]*.log")
    )
    texts = [first.read_text(), *(path.read_text().partition("\n")[2] for path in others)]
    return "".join(texts)


def shop_log_lines() -> list[str]:
    """Return the shop's sample log events."""
    return (EVENTS / "cloudwatch-logs.log").read_text().splitlines()


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A VPC in the EC2 of the emulator, with a rejected flow."""

    place: Place
    vpc_id: str
    subnet_id: str
    interface_id: str
    address: str

    def flow_log(self, port: int = 5432) -> str:
        """Return a file with one rejected request from inside the VPC."""
        return f"{HEADER}\n{self._record(port)}\n"

    def default_record(self, port: int = 5432) -> str:
        """Return the same flow as a record in the default format."""
        return f"2 {' '.join(self._record(port).split()[1:14])}"

    def _record(self, port: int) -> str:
        place, end = self.place, f"10.0.2.9 {self.address}"
        return (
            f"8 {place.account_id} {self.interface_id} {end} 50122 {port} 6 1 60 "
            f"1795348805 1795348835 REJECT OK "
            f"{self.vpc_id} {self.subnet_id} 2 {end} {place.region} ingress -"
        )


def make_network(place: Place) -> Network:
    """Make a network in the emulator for which the functions request every resource they may read.

    Because of the gateway endpoint the functions request a prefix list and its entries: the
    emulator loses the prefix lists of security group rules.
    """
    ec2 = place.client("ec2")
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet_id = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    group_id = ec2.create_security_group(GroupName="web", Description="web", VpcId=vpc_id)[
        "GroupId"
    ]
    peer = {
        "IpProtocol": "tcp",
        "FromPort": 5432,
        "ToPort": 5432,
        "UserIdGroupPairs": [{"GroupId": group_id}],
    }
    ec2.authorize_security_group_ingress(GroupId=group_id, IpPermissions=[peer])
    tables = ec2.describe_route_tables(Filters=[{"Name": "vpc-id", "Values": [vpc_id]}])[
        "RouteTables"
    ]
    ec2.create_vpc_endpoint(
        VpcId=vpc_id,
        ServiceName=f"com.amazonaws.{place.region}.s3",
        VpcEndpointType="Gateway",
        RouteTableIds=[table["RouteTableId"] for table in tables],
    )
    made = ec2.create_network_interface(SubnetId=subnet_id, Groups=[group_id])["NetworkInterface"]
    _make_load_balancer(place, vpc_id, subnet_id, made["PrivateIpAddress"])
    return Network(
        place=place,
        vpc_id=vpc_id,
        subnet_id=subnet_id,
        interface_id=made["NetworkInterfaceId"],
        address=made["PrivateIpAddress"],
    )


def _make_load_balancer(place: Place, vpc_id: str, subnet_id: str, target: str) -> None:
    """Make a network load balancer with a target, so that its lists are requested too."""
    client: Any = place.client("elbv2")
    balancer = client.create_load_balancer(Name="front", Type="network", Subnets=[subnet_id])
    group = client.create_target_group(
        Name="database", Protocol="TCP", Port=5432, VpcId=vpc_id, TargetType="ip"
    )["TargetGroups"][0]["TargetGroupArn"]
    client.create_listener(
        LoadBalancerArn=balancer["LoadBalancers"][0]["LoadBalancerArn"],
        Protocol="TCP",
        Port=5432,
        DefaultActions=[{"Type": "forward", "TargetGroupArn": group}],
    )
    client.register_targets(TargetGroupArn=group, Targets=[{"Id": target, "Port": 5432}])
