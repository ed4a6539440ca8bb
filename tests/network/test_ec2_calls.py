"""How many calls of EC2 functions at once make, each with a cache of its own.

The figures are those of docs/decisions/0019-one-evaluator-for-a-place.md.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.helpers.ec2_vpc import Aws, Clock, World, flow, interface, new_source, read

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client

pytestmark = pytest.mark.usefixtures("local_ec2")

READINGS = 20
# In a minute, of one API, an account and a Region:
# https://docs.aws.amazon.com/ec2/latest/devguide/ec2-api-throttling.html
REFILLED = 20 * 60


@pytest.fixture(scope="module")
def servers(ec2: EC2Client, world: World) -> list[str]:
    """Return interfaces of one group, each with a log stream of its own."""
    return [
        interface(ec2, world.private, f"10.0.2.{100 + number}", world.server_group)
        for number in range(READINGS)
    ]


@pytest.mark.parametrize(
    ("functions", "calls_of_interfaces", "others"),
    [(1, 23, 8), pytest.param(10, 50, 80, marks=pytest.mark.slow)],
)
def test_functions_at_once_ask_for_what_they_share_once_each_in_a_minute(
    functions: int, calls_of_interfaces: int, others: int, servers: list[str]
) -> None:
    calls, clock = Aws(), Clock()
    sources = [new_source(calls, clock) for _ in range(functions)]
    for number, server in enumerate(servers):
        clock.seconds = 2.9 * number
        address = f"10.0.2.{100 + number}"
        read(sources[number % functions], flow(server, "10.0.1.10", address))
    made = Counter(calls.made())
    assert max(made.values()) == made.pop("DescribeNetworkInterfaces") == calls_of_interfaces
    assert made.total() == others
    assert calls_of_interfaces < REFILLED / 20
