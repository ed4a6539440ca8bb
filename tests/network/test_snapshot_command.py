"""``flowverdict snapshot`` writes what EC2 returns, and says what is left out."""

from __future__ import annotations

import json
import stat
import sys
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING

import pytest
from botocore.config import Config

from flowverdict.core.errors import NotReadError
from flowverdict.network.describe import SERVICE_PREFIX_LISTS, describe
from flowverdict.network.ec2_clients import client_factory
from flowverdict.network.snapshot import load_snapshot, parse_snapshot
from flowverdict_cli import commands
from flowverdict_cli import snapshot as snapshot_module
from flowverdict_cli.local_aws import REGION
from flowverdict_cli.snapshot_load_balancers import with_load_balancers
from tests.helpers.ec2_vpc import (
    OWN,
    SERVER,
    Aws,
    World,
    build,
    interface_ids,
)
from tests.helpers.network_load_balancer import add_target_group, load_balancing, make_balancer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from botocore.client import BaseClient
    from mypy_boto3_ec2 import EC2Client

    from flowverdict.network.describe import Item, Listing


pytestmark = pytest.mark.usefixtures("local_ec2")


class Command:
    """Runs ``flowverdict snapshot`` in this process; returns exit code, stdout and stderr."""

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
    direct = with_load_balancers(
        snapshot_module.read_snapshot(ec2, read_at=loaded.read_at), load_balancing()
    )
    assert loaded == parse_snapshot(direct.answers)
    assert {changing.server, peer.server} <= interface_ids(loaded)
    assert all(prefix_list.cidrs is not None for prefix_list in loaded.prefix_lists or ())
    assert list(tmp_path.iterdir()) == [path]
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.slow
def test_snapshot_of_one_vpc_leaves_the_others_out(
    snapshot: Command, world: World, ec2: EC2Client
) -> None:
    other = build(ec2, "10.7")
    code, out, err = snapshot("--vpc", world.vpc)
    assert code == 0, err
    config = parse_snapshot(json.loads(out))
    assert interface_ids(config) == {world.client, world.server, world.database}
    assert [vpc.vpc_id for vpc in config.vpcs or ()] == [world.vpc]
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
        snapshot_module,
        "user_client",
        lambda region, service="ec2": aws(service, region or REGION, None),
    )


def test_snapshot_names_what_it_had_to_leave_out(
    snapshot: Command, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    denying(monkeypatch, "DescribeNetworkAcls", "GetManagedPrefixListEntries")
    code, out, err = snapshot()
    assert code == 0
    config = parse_snapshot(json.loads(out))
    assert config.network_acls is None
    assert world.server in interface_ids(config)
    assert {prefix_list.cidrs for prefix_list in config.prefix_lists or ()} == {None}
    left_out = "flowverdict: left out, not permitted: ec2:"
    assert err.splitlines()[:2] == [
        f"{left_out}DescribeNetworkAcls: UnauthorizedOperation",
        f"{left_out}GetManagedPrefixListEntries: UnauthorizedOperation",
    ]


@pytest.mark.parametrize("also_denied", [False, True])
def test_ranges_of_services_stand_in_for_entries_that_are_denied(
    snapshot: Command, monkeypatch: pytest.MonkeyPatch, *, also_denied: bool
) -> None:
    def with_ranges(
        client: BaseClient, listing: Listing, filters: Mapping[str, Sequence[str]] | None = None
    ) -> Iterator[list[Item]]:
        for page in describe(client, listing, filters):
            if listing is SERVICE_PREFIX_LISTS:  # moto leaves the ranges out
                yield [{**item, "Cidrs": ["52.218.0.0/17"]} for item in page]
            else:
                yield page

    monkeypatch.setattr(snapshot_module, "describe", with_ranges)
    denying(
        monkeypatch,
        "GetManagedPrefixListEntries",
        *(["DescribePrefixLists"] if also_denied else []),
    )
    code, out, _ = snapshot()
    assert code == 0
    config = parse_snapshot(json.loads(out))
    assert config.notes == ()
    ranges = {prefix_list.cidrs for prefix_list in config.prefix_lists or ()}
    assert ranges == ({None} if also_denied else {(ip_network("52.218.0.0/17"),)})


@pytest.mark.slow
def test_snapshot_holds_what_the_elements_say_of_owners_names_and_public_addresses(
    snapshot: Command, changing: World, ec2: EC2Client
) -> None:
    allocated = ec2.allocate_address(Domain="vpc")
    ec2.associate_address(
        AllocationId=allocated["AllocationId"], NetworkInterfaceId=changing.server
    )
    ec2.create_tags(
        Resources=[changing.server, changing.vpc, changing.public, changing.acl],
        Tags=[{"Key": "team", "Value": "shop"}],
    )
    code, out, err = snapshot("--vpc", changing.vpc)
    assert code == 0, err
    config = parse_snapshot(json.loads(out))
    server, client = config.interface(changing.server), config.interface(changing.client)
    group = config.security_group(changing.server_group)
    tagged = (
        server,
        config.vpc(changing.vpc),
        config.subnet(changing.public),
        config.network_acl(changing.acl),
    )
    assert server is not None
    assert client is not None
    assert group is not None
    assert server.public_addresses == (ip_address(allocated["PublicIp"]),)
    assert client.public_addresses == ()
    assert (group.name, group.description, group.owner_id) == ("server", "server", OWN)
    assert [dict(element.tags) for element in tagged if element is not None] == [
        {"team": "shop"}
    ] * 4
    assert {element.owner_id for element in tagged if element is not None} == {OWN}
    assert {route.state for table in config.route_tables or () for route in table.routes or ()} == {
        "active"
    }


def test_snapshot_that_aws_does_not_give_is_one_clear_line(
    snapshot: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("AWS_PROFILE", "missing")
    assert snapshot() == (
        2,
        "",
        "flowverdict: AWS: The config profile (missing) could not be found\n",
    )
    monkeypatch.delenv("AWS_PROFILE")
    names = [listing.action.removeprefix("ec2:") for listing, _ in snapshot_module._FILTERS]  # noqa: SLF001 - all there are
    denying(monkeypatch, *names)
    assert snapshot() == (2, "", "flowverdict: ec2:DescribeVpcs: UnauthorizedOperation\n")
    denying(monkeypatch)
    code, _, err = snapshot("--output", str(tmp_path / "none" / "rules.json"))
    assert (code, err.count("\n")) == (2, 1)
    assert "no such file or directory" in err


def test_errors_other_than_denials_end_the_snapshot() -> None:
    calls = Aws()
    calls._make = client_factory(Config(retries={"total_max_attempts": 1}))
    calls.throttled = {"DescribeSubnets": 1}
    with pytest.raises(NotReadError, match=r"^ec2:DescribeSubnets: RequestLimitExceeded$"):
        snapshot_module.read_snapshot(calls("ec2", REGION, None))


@pytest.mark.slow
def test_snapshot_has_load_balancers_with_the_attributes_and_targets_of_their_groups(
    snapshot: Command, changing: World, ec2: EC2Client
) -> None:
    balancer = make_balancer(ec2, changing.public, "snapshot")
    preserves = {"preserve_client_ip.enabled": "true"}
    group = add_target_group(balancer, "snapshot", SERVER, attributes=preserves)
    elsewhere = make_balancer(ec2, build(ec2, "10.7").public, "elsewhere")
    web = load_balancing().create_target_group(
        Name="web", Protocol="HTTP", Port=80, VpcId=changing.vpc
    )["TargetGroups"][0]["TargetGroupArn"]
    code, out, err = snapshot("--region", REGION, "--vpc", changing.vpc)
    assert code == 0, err
    lists = json.loads(out)
    assert [item["LoadBalancerArn"] for item in lists["LoadBalancers"]] == [balancer.arn]
    attributes = {item["TargetGroupArn"]: item.get("Attributes") for item in lists["TargetGroups"]}
    # Only network load balancers preserve the addresses of clients.
    assert attributes.keys() == {group, web}
    assert attributes[web] is None
    assert {"Key": "preserve_client_ip.enabled", "Value": "true"} in attributes[group]
    assert [
        (item["TargetGroupArn"], item["Target"]) for item in lists["TargetHealthDescriptions"]
    ] == [(group, {"Id": SERVER, "Port": 443})]
    assert elsewhere.arn not in out
    assert "1 LoadBalancers, 2 TargetGroups, 1 TargetHealthDescriptions" in err
    everywhere = json.loads(snapshot("--region", REGION)[1])["LoadBalancers"]
    assert {balancer.arn, elsewhere.arn} <= {item["LoadBalancerArn"] for item in everywhere}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("denied", "left"),
    [
        ("DescribeLoadBalancers", {"TargetGroups", "TargetHealthDescriptions"}),
        pytest.param("DescribeTargetGroups", {"LoadBalancers"}, marks=pytest.mark.slow),
        pytest.param(
            "DescribeTargetHealth", {"LoadBalancers", "TargetGroups"}, marks=pytest.mark.slow
        ),
        pytest.param(
            "DescribeTargetGroupAttributes",
            {"LoadBalancers", "TargetGroups", "TargetHealthDescriptions"},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_snapshot_without_a_permission_for_load_balancers_has_the_rest(  # noqa: PLR0913, PLR0917 - fixtures
    snapshot: Command,
    changing: World,
    ec2: EC2Client,
    monkeypatch: pytest.MonkeyPatch,
    denied: str,
    left: set[str],
) -> None:
    balancer = make_balancer(ec2, changing.public, denied[-12:])
    for port in (443, 444):
        add_target_group(balancer, f"{denied[-12:]}{port}", SERVER, port=port)
    denying(monkeypatch, denied)
    code, out, err = snapshot()
    assert code == 0
    lists = {"LoadBalancers", "TargetGroups", "TargetHealthDescriptions"}
    assert lists & json.loads(out).keys() == left
    assert err.splitlines()[0] == (
        f"flowverdict: left out, not permitted: elasticloadbalancing:{denied}: "
        "UnauthorizedOperation"
    )
    assert err.count("elasticloadbalancing") == 1
