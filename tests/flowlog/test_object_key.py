"""Read account and Region from the names of flow log files."""

from __future__ import annotations

import pytest

from flowverdict.flowlog.object_key import Origin, origin_of

KNOWN = Origin(account_id="123456789012", region="eu-west-1")
FILE = "123456789012_vpcflowlogs_eu-west-1_fl-0fedcba9876543210_20261122T1200Z_9c0d1e2f.log.gz"


@pytest.mark.parametrize(
    "key",
    [
        f"AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/22/{FILE}",
        f"my/own/prefix/AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/22/12/{FILE}",
        f"AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=eu-west-1/year=2026/month=11/day=22/{FILE}",
        FILE,
        f"./downloaded/{FILE.removesuffix('.gz')}",
        # renamed files in the folders AWS made
        "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/22/renamed.log",
        "AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=eu-west-1/year=2026/renamed.log",
        # the transit gateway's Hive form
        "AWSLogs/aws-account-id=123456789012/service=vpcflowlogs/aws-region=eu-west-1/year=2026/renamed.log",
    ],
)
def test_name_of_a_delivered_object_holds_account_and_region(key: str) -> None:
    assert origin_of(key) == KNOWN


@pytest.mark.parametrize(
    "region", ["us-gov-west-1", "ap-southeast-2", "cn-northwest-1", "us-iso-east-1", "mx-central-1"]
)
def test_regions_of_all_partitions_are_read(region: str) -> None:
    assert (
        origin_of(f"123456789012_vpcflowlogs_{region}_fl-0a1b_20261122T1200Z_4f2a.log.gz").region
        == region
    )


def test_file_name_takes_precedence_over_the_folders() -> None:
    copied = f"AWSLogs/999999999999/vpcflowlogs/us-east-1/2026/11/22/{FILE}"
    assert origin_of(copied) == KNOWN


@pytest.mark.parametrize(
    "key",
    [
        "",
        "flow.log",
        "standard input",
        "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/11/22/trail.json.gz",
        "AWSLogs/12345/vpcflowlogs/eu-west-1/2026/11/22/short-account.log",
        "AWSLogs/123456789012/vpcflowlogs/nowhere/2026/file.log",
        "xAWSLogs/123456789012/vpcflowlogs/eu-west-1/file.log",
        "9123456789012_vpcflowlogs_eu-west-1_fl-0a1b_20261122T1200Z_4f2a.log.gz",
        # still encoded: what S3's event carries, not what the key is
        "AWSLogs/aws-account-id%3D123456789012/aws-service%3Dvpcflowlogs/aws-region%3Deu-west-1/x.log",
    ],
)
def test_other_name_holds_neither_account_nor_region(key: str) -> None:
    assert origin_of(key) == Origin(account_id=None, region=None)
