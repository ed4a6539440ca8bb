"""Configuration of other accounts is read through their role, and no text steers a call."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import boto3
import pytest

from flowverdict.core.availability import NotSetUp
from flowverdict.network.configuration import NetConfig
from flowverdict.network.ec2 import MAX_ACCOUNT_REGIONS
from flowverdict.network.ec2_clients import ReaderRole
from flowverdict_cli.local_aws import REGION
from tests.helpers.ec2_vpc import (
    CLIENT,
    OTHER,
    OWN,
    SERVER,
    Aws,
    Clock,
    World,
    build,
    flow,
    interface_ids,
    new_source,
    read,
    refused,
)

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

    from flowverdict.network.ec2 import Ec2Config

pytestmark = pytest.mark.usefixtures("local_ec2")

ROLE = ReaderRole(
    name="flowverdict-reader", external_id="a shared secret", organization="o-a1b2c3d4e5"
)


def client_of(account: str) -> EC2Client:
    """Return a client with the credentials of the role in an account."""
    sts = boto3.client("sts", region_name=REGION)
    keys = sts.assume_role(RoleArn=ROLE.arn(account), RoleSessionName="test")["Credentials"]
    return boto3.client(
        "ec2",
        region_name=REGION,
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def test_other_account_is_read_through_its_role(calls: Aws, clock: Clock, world: World) -> None:
    theirs = build(client_of(OTHER))
    source = new_source(calls, clock, reader_role=ROLE, now=lambda: datetime.now(UTC))
    config = read(source, flow(theirs.server, CLIENT, SERVER, account=OTHER), account=OTHER)
    assert theirs.server in interface_ids(config)
    assert {interface.owner_id for interface in config.interfaces or ()} == {OTHER}
    assert calls.requests[0] == {
        "RoleArn": f"arn:aws:iam::{OTHER}:role/flowverdict-reader",
        "RoleSessionName": "flowverdict",
        "ExternalId": "a shared secret",
    }
    # The same ids in the function's own account are other interfaces, with results of their own.
    assert interface_ids(read(source, flow(theirs.server, CLIENT, SERVER))) == set()
    assert world.server in interface_ids(read(source, flow(world.server, CLIENT, SERVER)))


@pytest.mark.parametrize(
    ("accounts", "organization", "given"),
    [
        ({OTHER}, None, "a shared secret"),
        (set(), "o-a1b2c3d4e5", "a shared secret"),
        (set(), None, None),
    ],
)
def test_the_external_id_goes_only_to_listed_accounts_or_within_the_organization(
    calls: Aws, clock: Clock, accounts: set[str], organization: str | None, given: str | None
) -> None:
    """A role of the same name in a stranger's account, whose id stands in a record, learns none."""
    role = replace(ROLE, accounts=frozenset(accounts), organization=organization)
    source = new_source(calls, clock, reader_role=role, now=lambda: datetime.now(UTC))
    source.read(OTHER, REGION, [flow("eni-0aaaaaaaaaaaaaaa1", CLIENT, SERVER)])
    assert calls.requests[0].get("ExternalId") == given


def test_accounts_that_refuse_push_no_known_one_out(calls: Aws, clock: Clock) -> None:
    """A record may name any number of accounts; one whose role was assumed stays known."""
    source = new_source(calls, clock, reader_role=ROLE, now=lambda: datetime.now(UTC))
    source.read(OTHER, REGION, [flow("eni-0aaaaaaaaaaaaaaa1", CLIENT, SERVER)])
    assert source.has_seen(OTHER)
    calls.denied = {"AssumeRole"}
    for number in range(2 * MAX_ACCOUNT_REGIONS):
        account = f"{500_000_000_000 + number}"
        source.read(account, REGION, [flow("eni-0aaaaaaaaaaaaaaa1", CLIENT, SERVER)])
        assert not source.has_seen(account)
    assert source.has_seen(OTHER)


@pytest.mark.slow
def test_ten_thousand_interfaces_in_fifty_accounts_take_a_dozen_calls_each(
    calls: Aws, clock: Clock
) -> None:
    source = new_source(calls, clock, reader_role=ROLE, now=lambda: datetime.now(UTC))
    for number in range(50):
        account = f"{210_000_000_000 + number}"
        theirs = build(client_of(account))
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
    # EC2 has a bucket for each account and Region: 100 of these calls at once, then 20 a second
    # (https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html).
    assert made.total() / 50 <= 15


def test_credentials_of_a_role_are_used_until_five_minutes_before_they_expire(
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


def test_role_that_cannot_be_assumed_is_not_tried_again_for_a_minute(
    calls: Aws, clock: Clock
) -> None:
    calls.denied = {"AssumeRole"}
    source = new_source(calls, clock, reader_role=ROLE)
    for _ in range(3):
        reason = refused(source, flow("eni-1", CLIENT, SERVER), account=OTHER)
        role = f"arn:aws:iam::{OTHER}:role/flowverdict-reader"
        assert reason == f"sts:AssumeRole of {role}: UnauthorizedOperation"
    assert calls.calls == ["AssumeRole"]
    clock.seconds = 61.0
    refused(source, flow("eni-1", CLIENT, SERVER), account=OTHER)
    assert calls.calls == ["AssumeRole"] * 2


def test_an_account_that_is_not_named_is_not_asked_and_is_no_failure(
    calls: Aws, clock: Clock
) -> None:
    named = replace(ROLE, accounts=frozenset({"555555555555"}))
    for role, reason in (
        (named, f"account {OTHER} is not one whose rules are to be read"),
        (None, f"the interface belongs to account {OTHER}, and no reader role is configured"),
    ):
        source = new_source(calls, clock, reader_role=role)
        answer = source.read(OTHER, REGION, [flow("eni-1", CLIENT, SERVER)])
        assert answer == NotSetUp(reason)
    assert (calls.calls, calls.clients) == ([], [])
    # Named, and without the role: that is a failure, which the alarm counts.
    named = replace(ROLE, accounts=frozenset({OTHER}))
    answer = new_source(calls, clock, reader_role=named).read(
        OTHER, REGION, [flow("eni-1", CLIENT, SERVER)]
    )
    assert not isinstance(answer, NotSetUp)


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
def test_text_that_is_not_an_account_id_makes_no_call(
    calls: Aws, clock: Clock, account: str
) -> None:
    for own in (OWN, None):
        source = new_source(calls, clock, reader_role=ROLE, own_account=own)
        assert refused(source, flow("eni-1", CLIENT, SERVER), account=account).endswith(
            "is not an account id"
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
def test_text_that_is_not_a_region_makes_no_call(calls: Aws, clock: Clock, region: str) -> None:
    source = new_source(calls, clock, reader_role=ROLE)
    for account in (OWN, OTHER):
        assert refused(
            source, flow("eni-1", CLIENT, SERVER), account=account, region=region
        ).endswith("is not a Region")
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
