"""Read account and Region from the names of flow log files, and tell files of other services."""

from __future__ import annotations

import pytest

from flowverdict.flowlog.object_key import Origin, contradiction_in, origin_of, why_foreign

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


@pytest.mark.parametrize(
    "key",
    [
        "AWSLogs/123456789012/CloudTrail/eu-west-1/2026/11/22/trail.json.gz",
        "AWSLogs/o-a1b2c3d4e5/123456789012/renamed.log",
        "AWSLogs/123456789012/vpcflowlogs/nowhere/2026/file.log",
        "AWSLogs/aws-account-id=123456789012/renamed.log",
    ],
)
def test_a_folder_of_an_account_names_the_account_alone(key: str) -> None:
    assert origin_of(key) == Origin(account_id="123456789012")


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        (f"AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/22/{FILE}", None),
        (f"a/cloudwatch-logs/123456789012/eu-west-1/{FILE}", None),
        ("renamed.log", None),
        (
            f"AWSLogs/999999999999/vpcflowlogs/eu-west-1/2026/11/22/{FILE}",
            "account: 123456789012 and 999999999999",
        ),
        (f"AWSLogs/999999999999/{FILE}", "account: 123456789012 and 999999999999"),
        (
            f"AWSLogs/123456789012/vpcflowlogs/us-east-1/2026/11/22/{FILE}",
            "Region: eu-west-1 and us-east-1",
        ),
    ],
)
def test_folders_and_file_name_agree_or_the_key_says_nothing(key: str, reason: str | None) -> None:
    found = contradiction_in(key)
    assert found is None if reason is None else found is not None and found.endswith(reason)


@pytest.mark.parametrize(
    "key",
    [
        "",
        "flow.log",
        "standard input",
        "AWSLogs/12345/vpcflowlogs/eu-west-1/2026/11/22/short-account.log",
        "xAWSLogs/123456789012/vpcflowlogs/eu-west-1/file.log",
        "9123456789012_vpcflowlogs_eu-west-1_fl-0a1b_20261122T1200Z_4f2a.log.gz",
        # still encoded: what S3's event carries, not what the key is
        "AWSLogs/aws-account-id%3D123456789012/aws-service%3Dvpcflowlogs/aws-region%3Deu-west-1/x.log",
    ],
)
def test_other_name_holds_neither_account_nor_region(key: str) -> None:
    assert origin_of(key) == Origin(account_id=None, region=None)


IN_ACCOUNT = "AWSLogs/123456789012/"
FOREIGN = {
    f"{IN_ACCOUNT}CloudTrail/eu-west-1/2026/11/22/trail.json.gz": ("a file of CloudTrail"),
    "AWSLogs/o-a1b2c3d4e5/123456789012/CloudTrail-Digest/eu-west-1/2026/11/22/x.json.gz": (
        "a file of CloudTrail-Digest"
    ),
    f"archive/{IN_ACCOUNT}elasticloadbalancing/eu-west-1/2026/11/22/x.log.gz": (
        "a file of elasticloadbalancing"
    ),
    f"{IN_ACCOUNT}Config/eu-west-1/2026/11/22/ConfigHistory/x.json.gz": "a file of Config",
    f"{IN_ACCOUNT}vpcdnsquerylogs/vpc-0a1b/2026/11/22/x.log.gz": "a file of vpcdnsquerylogs",
    "AWSLogs/aws-account-id=123456789012/aws-service=elasticloadbalancing/x.log.gz": (
        "a file of elasticloadbalancing"
    ),
    f"{IN_ACCOUNT}Config/ConfigWritabilityCheckFile": (
        "a file by which AWS tries whether it may write"
    ),
    f"{IN_ACCOUNT}ELBAccessLogTestFile": "a file by which AWS tries whether it may write",
    "prefix/AWSLogs/aws-logs-write-test": "a file by which AWS tries whether it may write",
    f"{IN_ACCOUNT}vpcflowlogs/eu-west-1/2026/11/22/": "a folder marker",
    "AWSLogs_$folder$": "a folder marker",
}


@pytest.mark.parametrize("key", FOREIGN)
def test_what_is_plainly_not_a_flow_log_is_told_by_its_key(key: str) -> None:
    assert why_foreign(key) == FOREIGN[key]


@pytest.mark.parametrize(
    "key",
    [
        f"{IN_ACCOUNT}vpcflowlogs/eu-west-1/2026/11/22/{FILE}",
        f"AWSLogs/aws-account-id=123456789012/aws-service=vpcflowlogs/aws-region=eu-west-1/{FILE}",
        f"AWSLogs/aws-account-id=123456789012/service=vpcflowlogs/aws-region=eu-west-1/{FILE}",
        f"{IN_ACCOUNT}copied-by-hand/{FILE}",
        f"{IN_ACCOUNT}renamed.log",
        "flow.log",
        "AWSLogs/renamed/flow.log",
    ],
)
def test_what_may_be_a_flow_log_is_read_whatever_its_name(key: str) -> None:
    assert why_foreign(key) is None
