"""What AWS refuses or returns too late is not known; the rest of the configuration stands."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.stub import Stubber

from flowverdict.core.availability import NotAvailable
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network import ec2_queries
from flowverdict.network.configuration import NetConfig
from flowverdict.network.describe import describe
from flowverdict.network.ec2_clients import client_factory
from flowverdict.network.packet import Outcome
from flowverdict.network.security_groups import evaluate_groups
from flowverdict_cli.local_aws import REGION
from tests.helpers.ec2_vpc import (
    CALLS_FOR_ONE_FLOW,
    CLIENT,
    DATABASE,
    NOON,
    OWN,
    SERVER,
    Aws,
    CallClock,
    Clock,
    World,
    flow,
    interface_ids,
    new_source,
    packet,
    read,
    refused,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from botocore.client import BaseClient

    from flowverdict.network.describe import Item, Listing
    from flowverdict.network.ec2 import Ec2Config

pytestmark = pytest.mark.usefixtures("local_ec2")


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
def test_without_interfaces_or_without_any_rules_the_reason_is_returned(
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


def test_reference_to_a_group_whose_holders_could_not_be_read_is_never_a_certain_no(
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


def test_ec2_that_cannot_be_reached_is_waited_for_once(
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


def test_clients_determine_the_number_of_tries(world: World, clock: Clock) -> None:
    calls = Aws()
    calls._make = client_factory(Config(retries={"mode": "standard", "total_max_attempts": 1}))
    calls.throttled = {"DescribeNetworkInterfaces": 1}
    assert refused(new_source(calls, clock), flow(world.server, CLIENT, SERVER)) == (
        "ec2:DescribeNetworkInterfaces: RequestLimitExceeded"
    )


@pytest.mark.slow
def test_spent_budget_stops_the_calls_and_what_was_read_stands(world: World) -> None:
    outcomes = [read_within(seconds, world) for seconds in range(CALLS_FOR_ONE_FLOW + 3)]
    # Interfaces, VPC, peerings twice, the remote interface: without them nothing can be evaluated.
    assert outcomes[0] == NotAvailable(
        "ec2:DescribeNetworkInterfaces: not read, the 0 s for reading were spent"
    )
    assert [isinstance(outcome, NetConfig) for outcome in outcomes] == [False] * 6 + [True] * (
        len(outcomes) - 6
    )
    groups_alone, with_acls = outcomes[6:8]
    assert isinstance(groups_alone, NetConfig)
    assert isinstance(with_acls, NetConfig)
    assert (bool(groups_alone.security_groups), groups_alone.network_acls) == (True, None)
    assert with_acls.network_acls
    assert outcomes[-1] == outcomes[-2]


def read_within(seconds: int, world: World) -> NetConfig | NotAvailable:
    """Read with a budget, where each call takes a second."""
    calls = Aws()
    source = new_source(calls, CallClock(calls), budget_seconds=float(seconds), now=lambda: NOON)
    outcome = source.read(OWN, REGION, [flow(world.server, CLIENT, SERVER)])
    assert len(calls.calls) == min(seconds, CALLS_FOR_ONE_FLOW + 1)
    return outcome


def test_answer_of_an_unknown_shape_is_a_reason_and_not_an_exception(
    source: Ec2Config, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> list[list[object]]:
        return [[{"NetworkInterfaceId": world.server, "PrivateIpAddress": "nonsense"}]]

    monkeypatch.setattr(ec2_queries, "describe", broken)
    assert "is not an IPv4 address" in refused(source, flow(world.server, CLIENT, SERVER))


def test_an_element_of_an_unknown_shape_is_logged_and_the_rest_stands(
    source: Ec2Config,
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def partly_broken(
        client: BaseClient,
        listing: Listing,
        filters: Mapping[str, Sequence[str]],
        before_call: Callable[[], None],
    ) -> Iterator[list[Item]]:
        for page in describe(client, listing, filters, before_call=before_call):
            yield [
                {**item, "IpPermissions": [{"FromPort": "443"}]}
                if "IpPermissions" in item
                else item
                for item in page
            ]

    monkeypatch.setattr(ec2_queries, "describe", partly_broken)
    config = read(source, flow(world.server, CLIENT, SERVER))
    assert world.server in interface_ids(config)
    assert config.security_groups == ()
    assert config.incomplete == {"security_groups"}
    (record,) = caplog.records
    assert record.getMessage() == "part of the configuration not read"
    assert "FromPort: '443' is not a whole number" in record.__dict__["reason"]
    assert record.__dict__["region"] == REGION
    server = config.interface(world.server)
    assert server is not None
    answer = evaluate_groups(config, server, packet(CLIENT, SERVER), FlowDirection.INGRESS)
    assert answer.outcome is Outcome.UNKNOWN


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
    stub.add_response("describe_network_interfaces", {"NetworkInterfaces": []})
    with stub:
        config = read(new_source(lambda *_: client, clock), flow("eni-1", CLIENT, SERVER))
    stub.assert_no_pending_responses()
    assert (config.peerings, config.endpoints, config.route_tables) == (None, None, ())
