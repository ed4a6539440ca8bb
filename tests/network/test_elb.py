"""What is read of network load balancers for rejected flows, when, and with how many calls."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pytest
from moto.core.responses import ActionResult

from flowverdict.core.errors import ConfigError
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network import ec2_reading, elb
from flowverdict.network.packet import Outcome
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.network.snapshot import parse_snapshot
from flowverdict_cli.local_aws import REGION
from tests.helpers.ec2_vpc import (
    CALLS_FOR_ONE_FLOW,
    CLIENT,
    DATABASE,
    SERVER,
    Aws,
    CallClock,
    Clock,
    World,
    build,
    flow,
    interface_ids,
    new_source,
    packet,
    read,
)
from tests.helpers.network_load_balancer import add_target_group, load_balancing, make_balancer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_ec2 import EC2Client

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.ec2 import Ec2Config
    from tests.helpers.network_load_balancer import Balancer

pytestmark = pytest.mark.usefixtures("local_ec2")

INTERNET = "203.0.113.9"
PRESERVE = "preserve_client_ip.enabled"
LISTS = {"load_balancers", "target_groups", "targets"}
OPERATIONS = (
    "DescribeLoadBalancers",
    "DescribeTargetGroups",
    "DescribeTargetHealth",
    "DescribeTargetGroupAttributes",
)


class Answers:
    """The lists that were read last, as a snapshot has them."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.last: Mapping[str, Any] = {}
        patch.setattr(elb, "parse_snapshot", self._parse)

    def _parse(self, lists: Mapping[str, Any]) -> object:
        self.last = lists
        return parse_snapshot(lists)

    def load_balancers(self) -> list[str]:
        return [item["LoadBalancerArn"] for item in self.last["LoadBalancers"]]

    def attributes(self) -> dict[str, dict[str, str] | None]:
        """Return the attributes of each target group that has them, by its ARN."""
        return {
            group["TargetGroupArn"]: {item["Key"]: item["Value"] for item in group["Attributes"]}
            if "Attributes" in group
            else None
            for group in self.last["TargetGroups"]
        }

    def targets(self) -> set[tuple[str, str, int]]:
        return {
            (item["TargetGroupArn"], item["Target"]["Id"], item["Target"]["Port"])
            for item in self.last["TargetHealthDescriptions"]
        }


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Answers:
    return Answers(monkeypatch)


@pytest.fixture
def front(changing: World, ec2: EC2Client) -> Balancer:
    """A network load balancer in the VPC of ``changing``."""
    return make_balancer(ec2, changing.public, changing.server[-12:])


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """A VPC with a network load balancer, and a source that has read nothing yet."""

    source: Ec2Config
    calls: Aws
    clock: Clock
    world: World
    front: Balancer
    answers: Answers


@pytest.fixture
def scene(  # noqa: PLR0913, PLR0917 - so that the tests have one fixture
    source: Ec2Config, calls: Aws, clock: Clock, changing: World, front: Balancer, answers: Answers
) -> Scene:
    return Scene(
        source=source, calls=calls, clock=clock, world=changing, front=front, answers=answers
    )


def made_of_load_balancing(calls: Aws) -> Counter[str]:
    return Counter(call for call in calls.made() if call in OPERATIONS)


# --- what is read -----------------------------------------------------------------------------


def test_the_target_groups_of_an_interface_are_read_with_what_they_preserve(scene: Scene) -> None:
    own = add_target_group(
        scene.front, f"own-{scene.world.server[-8:]}", SERVER, attributes={PRESERVE: "true"}
    )
    other = add_target_group(scene.front, f"other-{scene.world.server[-8:]}", DATABASE, port=5432)
    config = read(scene.source, flow(scene.world.server, INTERNET, SERVER))
    assert scene.answers.load_balancers() == [scene.front.arn]
    attributes = scene.answers.attributes()
    assert set(attributes) == {own, other}
    assert (attributes[own] or {})[PRESERVE] == "true"
    assert attributes[other] is None
    assert scene.answers.targets() == {(own, SERVER, 443), (other, DATABASE, 5432)}
    interface = config.interface(scene.front.interface)
    assert interface is not None
    assert interface.group_ids == (scene.front.group,)
    assert config.incomplete == frozenset()
    assert made_of_load_balancing(scene.calls) == {
        "DescribeLoadBalancers": 1,
        "DescribeTargetGroups": 1,
        "DescribeTargetHealth": 2,
        "DescribeTargetGroupAttributes": 1,
    }


@pytest.mark.slow
def test_an_instance_is_found_by_its_id(
    calls: Aws, changing: World, ec2: EC2Client, front: Balancer, answers: Answers
) -> None:
    instance = ec2.run_instances(
        ImageId="ami-12c6146b", MinCount=1, MaxCount=1, SubnetId=changing.private
    )["Instances"][0]
    group = add_target_group(
        front, f"i-{changing.server[-8:]}", instance["InstanceId"], target_type="instance"
    )
    interface = instance["NetworkInterfaces"][0]
    blocked = flow(interface["NetworkInterfaceId"], INTERNET, interface["PrivateIpAddress"])
    read(new_source(calls, Clock()), blocked)
    assert answers.targets() == {(group, instance["InstanceId"], 443)}
    assert answers.attributes()[group] is not None
    # The server's interface has no instance, so its flows do not ask for the targets.
    calls.made()
    read(new_source(calls, Clock()), flow(changing.server, INTERNET, SERVER))
    assert answers.targets() == set()
    assert "DescribeTargetHealth" not in calls.made()


def test_only_what_carries_the_flows_protocol_is_asked_for_targets(scene: Scene) -> None:
    udp = add_target_group(
        scene.front, f"udp-{scene.world.server[-8:]}", SERVER, protocol="UDP", port=53
    )
    both = add_target_group(
        scene.front, f"b-{scene.world.server[-8:]}", SERVER, protocol="TCP_UDP", port=54
    )
    read(scene.source, flow(scene.world.server, INTERNET, SERVER))
    assert scene.answers.targets() == {(both, SERVER, 54)}
    assert set(scene.answers.attributes()) == {udp, both}


@pytest.mark.slow
def test_load_balancers_of_other_vpcs_are_left_out_and_those_of_peered_vpcs_are_not(
    scene: Scene, ec2: EC2Client
) -> None:
    peer, stranger = build(ec2, "10.31"), build(ec2, "10.32")
    beyond = make_balancer(ec2, peer.public, "beyond-the-peering")
    make_balancer(ec2, stranger.public, "stranger")
    peering = ec2.create_vpc_peering_connection(VpcId=scene.world.vpc, PeerVpcId=peer.vpc)
    name = peering["VpcPeeringConnection"]["VpcPeeringConnectionId"]
    ec2.accept_vpc_peering_connection(VpcPeeringConnectionId=name)
    config = read(scene.source, flow(scene.world.server, INTERNET, SERVER))
    assert set(scene.answers.load_balancers()) == {scene.front.arn, beyond.arn}
    assert {scene.front.interface, beyond.interface} <= interface_ids(config)


def test_an_application_load_balancer_is_found_by_the_end_of_its_arn() -> None:
    name = "app/shop/0123456789abcdef"
    snapshot = {
        "NetworkInterfaceId": "eni-1",
        "RequesterManaged": True,
        "Description": f"ELB {name}",
    }
    arn = f"arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/{name}"
    blocked = [flow("eni-1", INTERNET, SERVER)]
    for requester_managed in (True, False):
        interfaces = parse_snapshot(
            {"NetworkInterfaces": [snapshot | {"RequesterManaged": requester_managed}]}
        ).interfaces
        targets = elb.possible_targets(blocked, interfaces or ())
        # Anyone may write such a description on an interface of their own.
        assert targets.are_named_by(arn) is requester_managed


def test_addresses_are_compared_whatever_their_spelling() -> None:
    interface = {
        "NetworkInterfaceId": "eni-1",
        "Ipv6Addresses": [{"Ipv6Address": "2001:db8:0:1::5"}],
    }
    interfaces = parse_snapshot({"NetworkInterfaces": [interface]}).interfaces
    blocked = [flow("eni-1", "2001:db8:9::1", "2001:db8:0:1::5")]
    targets = elb.possible_targets(blocked, interfaces or ())
    assert targets.are_named_by("2001:0DB8:0:1:0::5")
    assert not targets.are_named_by("2001:db8:0:1::6")
    assert not targets.are_named_by("")


# --- when it is read --------------------------------------------------------------------------


def test_without_a_network_load_balancer_one_call_is_made_and_the_lists_are_known_to_be_empty(
    source: Ec2Config, calls: Aws, changing: World
) -> None:
    config = read(source, flow(changing.database, INTERNET, DATABASE))
    assert (config.load_balancers, config.target_groups, config.targets) == ((), (), ())
    assert config.incomplete == frozenset()
    asked = [
        request
        for request in calls.requests
        if {"Name": "interface-type", "Values": ["network_load_balancer"]}
        in request.get("Filters", ())
    ]
    assert len(asked) == 1
    assert not made_of_load_balancing(calls)
    assert calls.clients == [("ec2", REGION)]


def outbound(blocked: RejectedFlow) -> RejectedFlow:
    return replace(blocked, direction=FlowDirection.EGRESS)


def ping(blocked: RejectedFlow) -> RejectedFlow:
    return replace(blocked, key=blocked.key._replace(protocol=1))


@pytest.mark.parametrize("change", [outbound, ping])
def test_flows_that_no_load_balancer_can_send_ask_for_none(
    scene: Scene,
    change: Any,  # noqa: ANN401 - a function of the two above
) -> None:
    add_target_group(scene.front, f"own-{scene.world.server[-8:]}", SERVER)
    config = read(scene.source, change(flow(scene.world.server, INTERNET, SERVER)))
    assert (config.load_balancers, config.target_groups, config.targets) == (None, None, None)
    assert scene.front.interface not in interface_ids(config)
    assert not made_of_load_balancing(scene.calls)


def test_flows_at_the_load_balancer_itself_ask_for_no_targets(
    source: Ec2Config, calls: Aws, front: Balancer
) -> None:
    config = read(source, flow(front.interface, INTERNET, "10.0.1.9"))
    assert config.load_balancers is None
    assert not made_of_load_balancing(calls)


@pytest.mark.slow
def test_what_was_read_is_used_again_for_five_minutes(scene: Scene) -> None:
    add_target_group(scene.front, f"own-{scene.world.server[-8:]}", SERVER)
    blocked = flow(scene.world.server, INTERNET, SERVER)
    first = read(scene.source, blocked)
    assert made_of_load_balancing(scene.calls).total() == 4
    for seconds in (1.0, 61.0, 299.0):
        scene.clock.seconds = seconds
        again = read(scene.source, blocked)
        assert not made_of_load_balancing(scene.calls)
        assert replace(again, read_at=None) == replace(first, read_at=None)
    # The time that a message names is that of the rules.
    assert (again.read_at, scene.clock.seconds) == (scene.clock.now(), 299.0)
    scene.clock.seconds = 300.0
    read(scene.source, blocked)
    assert made_of_load_balancing(scene.calls).total() == 4


# --- what AWS refuses, or returns otherwise ---------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "incomplete", "missing"),
    [
        ("DescribeLoadBalancers", LISTS, LISTS),
        ("DescribeTargetGroups", LISTS, {"target_groups", "targets"}),
        ("DescribeTargetHealth", {"targets"}, {"targets"}),
        ("DescribeTargetGroupAttributes", {"target_groups"}, set()),
    ],
)
def test_without_a_permission_the_rest_stands_and_says_what_is_missing(
    scene: Scene,
    caplog: pytest.LogCaptureFixture,
    operation: str,
    incomplete: set[str],
    missing: set[str],
) -> None:
    add_target_group(scene.front, f"own-{scene.world.server[-8:]}", SERVER)
    blocked = flow(scene.world.server, CLIENT, SERVER)
    scene.calls.denied = {operation}
    config = read(scene.source, blocked)
    assert config.incomplete == incomplete
    keys = {
        "load_balancers": "LoadBalancers",
        "target_groups": "TargetGroups",
        "targets": "TargetHealthDescriptions",
    }
    assert {name for name, key in keys.items() if key not in scene.answers.last} == missing
    assert config.notes == (
        "not all of the network load balancers and their targets could be read",
    )
    (record,) = caplog.records
    assert record.getMessage() == "part of the configuration not read"
    assert record.__dict__["call"] == f"elasticloadbalancing:{operation}"
    server = config.interface(scene.world.server)
    assert server is not None
    judged = evaluate_groups(config, server, packet(CLIENT, SERVER), FlowDirection.INGRESS)
    # The client's group is let in, which counts unless the client came by the load balancer.
    assert judged.outcome in {Outcome.ALLOW, Outcome.UNKNOWN}
    # A denied call is not repeated for a minute, and not logged again.
    scene.calls.made()
    assert read(scene.source, blocked).incomplete == incomplete
    assert not made_of_load_balancing(scene.calls)
    assert len(caplog.records) == 1


def test_without_the_interfaces_of_load_balancers_the_lists_are_not_known(
    changing: World, front: Balancer, clock: Clock
) -> None:
    assert front.interface

    class FrontsDenied(Aws):
        def _call(self, model: Any, params: Any = None, **rest: object) -> Any:  # noqa: ANN401 - botocore's own
            denied = "interface-type" in str(params)
            self.denied = {"DescribeNetworkInterfaces"} if denied else set()
            return super()._call(model, **rest)

    calls = FrontsDenied()
    config = read(new_source(calls, clock), flow(changing.server, CLIENT, SERVER))
    assert config.load_balancers is None
    assert {changing.server, changing.client} <= interface_ids(config)
    assert not made_of_load_balancing(calls)


def test_a_load_balancer_that_is_not_listed_leaves_the_lists_incomplete(scene: Scene) -> None:
    """It belongs to another account, which shares the subnet."""
    load_balancing().delete_load_balancer(LoadBalancerArn=scene.front.arn)
    config = read(scene.source, flow(scene.world.server, INTERNET, SERVER))
    assert scene.answers.load_balancers() == []
    assert config.incomplete == LISTS


def test_a_target_group_that_is_gone_has_no_targets(front: Balancer) -> None:
    gone = add_target_group(front, f"gone-{front.vpc[-8:]}", SERVER)
    client = load_balancing()
    (health,) = elb.of_target_group(client, elb.TARGET_HEALTH, gone)
    assert [(item["TargetGroupArn"], item["HealthCheckPort"]) for item in health] == [
        (gone, "traffic-port")
    ]
    for listener in client.describe_listeners(LoadBalancerArn=front.arn)["Listeners"]:
        client.delete_listener(ListenerArn=listener["ListenerArn"])
    client.delete_target_group(TargetGroupArn=gone)
    assert [*elb.of_target_group(client, elb.TARGET_HEALTH, gone)] == []


def test_an_answer_of_another_shape_is_logged_and_the_rest_stands(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def misread(_: object) -> None:
        raise ConfigError("LoadBalancers[0].SecurityGroups: not a list")

    monkeypatch.setattr(elb, "parse_snapshot", misread)
    config = read(scene.source, flow(scene.world.server, CLIENT, SERVER))
    assert config.security_groups
    assert scene.front.interface in interface_ids(config)
    assert config.load_balancers is None
    assert config.incomplete == LISTS
    (record,) = caplog.records
    assert record.__dict__["reason"].startswith("AWS's answer is not of a known shape: LoadB")


@pytest.mark.parametrize(
    "items",
    [
        [{}],
        [{"VpcId": 5, "Type": "network", "LoadBalancerArns": "x", "Target": 7}],
        [{"Type": ["network"], "LoadBalancerArns": [None], "Target": {"Id": {}}}],
        [{"Type": {}, "VpcId": {}, "Protocol": {}, "TargetType": [], "Port": {}}],
    ],
)
def test_elements_of_another_shape_raise_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, items: list[object]
) -> None:
    add_target_group(scene.front, f"own-{scene.world.server[-8:]}", SERVER)
    monkeypatch.setattr(elb, "describe", lambda *_, **__: iter([items]))
    config = read(scene.source, flow(scene.world.server, CLIENT, SERVER))
    assert config.security_groups
    assert config.incomplete == LISTS  # the load balancer of the interface is not among them


# --- bounds -----------------------------------------------------------------------------------


def test_pages_are_followed(scene: Scene, ec2: EC2Client, monkeypatch: pytest.MonkeyPatch) -> None:
    second = make_balancer(ec2, scene.world.public, f"2-{scene.world.server[-8:]}")
    one_each = replace(elb.LOAD_BALANCERS, page_size=1)
    monkeypatch.setattr(
        elb,
        "_QUERY_LOAD_BALANCERS",
        replace(elb._QUERY_LOAD_BALANCERS, listing=one_each),  # noqa: SLF001 - no other way to a small page
    )
    listed = len(load_balancing().describe_load_balancers()["LoadBalancers"])
    monkeypatch.setattr(ec2_reading, "MAX_CALLS", MappingProxyType({"elbv2": listed + 1}))
    config = read(scene.source, flow(scene.world.server, INTERNET, SERVER))
    assert set(scene.answers.load_balancers()) == {scene.front.arn, second.arn}
    assert config.incomplete == frozenset()
    assert made_of_load_balancing(scene.calls) == {
        "DescribeLoadBalancers": listed,
        "DescribeTargetGroups": 1,
    }
    assert {request["PageSize"] for request in scene.calls.requests if "PageSize" in request} == {
        1,
        400,
    }


def test_too_many_pages_are_not_followed(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        "moto.elbv2.responses.ELBV2Response.describe_load_balancers",
        lambda _: ActionResult({"LoadBalancers": [], "NextMarker": str(len(scene.calls.calls))}),
    )
    config = read(scene.source, flow(scene.world.server, INTERNET, SERVER))
    assert config.load_balancers is None
    assert config.incomplete == LISTS
    assert made_of_load_balancing(scene.calls) == {"DescribeLoadBalancers": 20}
    (record,) = caplog.records
    assert record.__dict__["reason"] == "not read, 20 calls were made already"


def test_a_reading_goes_on_where_the_one_before_had_to_stop(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    suffix = scene.world.server[-8:]
    groups = [
        add_target_group(scene.front, f"g{port}-{suffix}", SERVER, port=port)
        for port in range(440, 446)
    ]
    monkeypatch.setattr(ec2_reading, "MAX_CALLS", MappingProxyType({"elbv2": 5}))
    blocked = flow(scene.world.server, INTERNET, SERVER, port=443)
    config = read(scene.source, blocked)
    assert config.incomplete == {"targets", "target_groups"}
    # The group with the port of the flow is asked first.
    assert {group for group, _, _ in scene.answers.targets()} == {groups[3], groups[0], groups[1]}
    config = read(scene.source, blocked)
    assert config.incomplete == {"target_groups"}
    assert {group for group, _, _ in scene.answers.targets()} == set(groups)
    read(scene.source, blocked)
    config = read(scene.source, blocked)
    assert config.incomplete == frozenset()
    assert all(scene.answers.attributes().values())
    assert made_of_load_balancing(scene.calls).total() == 2 + 6 + 6


def test_no_call_is_made_after_the_time_for_reading(
    changing: World, front: Balancer, answers: Answers
) -> None:
    add_target_group(front, f"own-{changing.server[-8:]}", SERVER)
    calls = Aws()
    # The holders of the group that the server's rule refers to are one call more.
    budget = float(CALLS_FOR_ONE_FLOW + 1 + 2)
    source = new_source(calls, CallClock(calls), budget_seconds=budget)
    config = read(source, flow(changing.server, CLIENT, SERVER))
    assert answers.load_balancers() == [front.arn]
    assert config.incomplete == {"targets"}
    assert made_of_load_balancing(calls) == {
        "DescribeLoadBalancers": 1,
        "DescribeTargetGroups": 1,
    }
