"""A local EC2 for the tests that read configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import pytest

from flowverdict_cli.local_aws import REGION, local_aws
from tests.helpers.ec2_vpc import Aws, Clock, World, build, new_source

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mypy_boto3_ec2 import EC2Client

    from flowverdict.network.ec2 import Ec2Config


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def calls() -> Aws:
    return Aws()


# One AWS for all tests of a module, since its start takes half a second.
@pytest.fixture(scope="module")
def local_ec2() -> Iterator[None]:
    with local_aws():
        yield


@pytest.fixture(scope="module")
def ec2(local_ec2: None) -> EC2Client:  # noqa: ARG001 - has to be there
    return boto3.client("ec2", region_name=REGION)


@pytest.fixture(scope="module")
def world(ec2: EC2Client) -> World:
    return build(ec2)


@pytest.fixture
def changing(ec2: EC2Client) -> World:
    """Return a new world, for a test that changes it."""
    return build(ec2)


@pytest.fixture
def source(calls: Aws, clock: Clock) -> Ec2Config:
    return new_source(calls, clock)
