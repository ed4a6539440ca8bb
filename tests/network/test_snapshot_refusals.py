"""Files that people take for a snapshot are refused, and the text says what they are."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from flowverdict.core.errors import ConfigError
from flowverdict.network.snapshot import load_snapshot

if TYPE_CHECKING:
    from pathlib import Path

SUBNETS: dict[str, object] = {"Subnets": [{"SubnetId": "subnet-1"}]}
KEYS = (
    "none of the keys NetworkInterfaces, SecurityGroups, NetworkAcls, Subnets, Vpcs, "
    "VpcPeeringConnections, VpcEndpoints, RouteTables, ManagedPrefixLists, PrefixLists, "
    "LoadBalancers, TargetGroups, TargetHealthDescriptions is in the file; "
)
CONFIG_ITEM = {"resourceType": "AWS::EC2::SecurityGroup", "configuration": "{}"}
ONE_REGION = (
    "a snapshot is of one Region; give one Region's part, such as `jq '.[\"eu-west-1\"]'` prints"
)
HOLDS = "a snapshot holds what `aws ec2 describe-...` prints, such as SecurityGroups"


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({}, KEYS + "it is empty"),
        ({"ReadAt": "2026-11-22T12:07:00Z"}, KEYS + "it has 'ReadAt'"),
        ({"NextToken": "x"}, KEYS + "it has 'NextToken'"),
        ({"\x1b[2J": 1, "Zonen": 2}, KEYS + r"it has '\x1b[2J', 'Zonen'"),
        (
            {f"Key{number}": [] for number in range(9)},
            KEYS + "it has 'Key0', 'Key1', 'Key2', 'Key3', 'Key4', ...",
        ),
        (
            {"describe-subnets": SUBNETS, "describe-vpcs": {"Vpcs": []}},
            KEYS + "it has 'describe-subnets', 'describe-vpcs'",
        ),
        ({"Reservations": []}, KEYS + "it has 'Reservations'"),
        (
            {"eu-west-1": SUBNETS},
            f"keyed by Region (eu-west-1): {ONE_REGION}",
        ),
        ({"eu-west-1": SUBNETS, "us-gov-east-1": {}}, "keyed by Region (eu-west-1, us-gov-east-1)"),
        ({"securityGroups": []}, f"'securityGroups' is AWS Config's spelling; {HOLDS}"),
        ({"configurationItems": []}, f"'configurationItems' is AWS Config's spelling; {HOLDS}"),
        (
            {"version": "1.3", "groupId": "sg-1", "ipPermissions": []},
            f"'groupId' is AWS Config's spelling; {HOLDS}",
        ),
        (SUBNETS | {"networkAcls": []}, f"'networkAcls' is AWS Config's spelling; {HOLDS}"),
        (
            {"SecurityGroups": [{"groupId": "sg-1", "ipPermissions": []}]},
            f"'groupId' is AWS Config's spelling; {HOLDS}",
        ),
        ([], 'not a JSON object but a list; a snapshot has each list under its key: {"Sec'),
        (
            [{"VpcId": "vpc-1", "CidrBlock": "10.0.0.0/16"}],
            'not a JSON object but a list; a snapshot has each list under its key: {"Vpcs": [...]}',
        ),
        (
            [{"SubnetId": "subnet-1", "VpcId": "vpc-1"}],
            'not a JSON object but a list; a snapshot has each list under its key: {"Subnets": [.',
        ),
        ([CONFIG_ITEM], f"not a JSON object but a list, in AWS Config's spelling; {HOLDS}"),
        ("Subnets", "not a JSON object"),
    ],
)
def test_a_file_that_is_not_a_snapshot_is_refused_by_name(
    document: object, says: str, tmp_path: Path
) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(document))
    with pytest.raises(ConfigError) as raised:
        load_snapshot(file)
    assert str(raised.value).startswith(f"{file}: {says}")


@pytest.mark.parametrize(
    "text",
    [
        '{"Subnets": [{"SubnetId": "subnet-1"}], "Subnets": []}',
        '{"Vpcs": [], "x": {"Subnets": 1, "Vpcs": 2, "Subnets": 3}}',
    ],
)
def test_a_key_that_occurs_twice_hides_nothing(text: str, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text(text)
    with pytest.raises(ConfigError, match="the key 'Subnets' occurs twice in one object"):
        load_snapshot(file)


@pytest.mark.parametrize(
    "document",
    [
        SUBNETS,
        {"Subnets": None},
        {"PrefixLists": []},
        {"TargetHealthDescriptions": {}},
        SUBNETS | {"eu-west-1": {}, "configuration": 1},
    ],
)
def test_one_known_key_makes_a_snapshot(document: object, tmp_path: Path) -> None:
    file = tmp_path / "rules.json"
    file.write_text(json.dumps(document))
    assert load_snapshot(file).notes == ()
