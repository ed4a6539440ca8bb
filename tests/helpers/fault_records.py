"""Records, files, events and deliveries of the tests of crashes and AWS errors."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from moto.core.models import DEFAULT_ACCOUNT_ID

from flowverdict.core.formatting import isoformat
from flowverdict.flowlog.records import RecordFormat
from flowverdict_cli.local_aws import REGION
from flowverdict_cli.sample_world import LOG_FORMAT, LOG_GROUP
from scripts.pack_cloudwatch_event import pack
from tests.helpers.alert_samples import NOW
from tests.helpers.firehose_objects import envelope, members

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MEMBER = "210987654321"


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """An event delivered to a function at a time (Unix seconds); ``received`` counts deliveries.

    The function that evaluates gets what the queue of signals hands out then. ``seconds`` is the
    time that the function has, ``variables`` those that it has beside the world's.
    """

    function: str
    event: dict[str, Any] = field(default_factory=dict)
    at: int
    received: int = 1
    seconds: int = 900
    variables: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A delivery and the sweeps after it; the last sweep leaves no message unsent.

    ``before`` is what has to happen first; what it signals is evaluated before the first delivery,
    or by it.
    """

    name: str
    first: Delivery
    sweeps: tuple[int, ...] = ()
    before: tuple[Delivery, ...] = ()


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The messages sent, and what the table holds.

    Parameters
    ----------
    messages
        How often each message came: topic or channel, fingerprint or subject, and status or ending.
    counts
        Records, packets and flows of each alert, as the table has them.
    about
        The connection (or title) and the status or ending of each alert, whatever its verdict.
    summaries
        The first summary of each alert, by fingerprint.
    lost
        Deliveries that AWS gave up.
    """

    messages: Counter[tuple[str, ...]] = field(default_factory=Counter)
    counts: dict[str, tuple[int, ...]] = field(default_factory=dict)
    about: set[tuple[str, str]] = field(default_factory=set)
    summaries: dict[str, str] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)


def vanished_request(port: int, place: int = 99, at: int = NOW) -> dict[str, object]:
    """Build a request to an interface that no longer exists; each place has its own VPC."""
    ends = {"srcaddr": "10.0.2.20", "dstaddr": f"10.0.3.{place}", "srcport": port, "dstport": 6379}
    request = rejected(
        DEFAULT_ACCOUNT_ID, f"eni-0a1b2c3d4e5f60{place:03}", f"vpc-0a1b2c3d4e5f60{place:03}", ends
    )
    return request | {"start": at - 600, "end": at - 580}


def member_request(port: int = 41_002) -> dict[str, object]:
    """Build a request in a member account, whose rules are read with the account's role."""
    ends = {"srcaddr": "10.7.0.1", "dstaddr": "10.7.0.2", "srcport": port, "dstport": 443}
    return rejected(MEMBER, "eni-0a1b2c3d4e5f60077", "vpc-0a1b2c3d4e5f60077", ends)


def rejected(account: str, interface: str, vpc: str, ends: dict[str, object]) -> dict[str, object]:
    """Build a rejected TCP record."""
    record = {
        "version": 8, "account-id": account, "interface-id": interface, "vpc-id": vpc,
        "subnet-id": "subnet-0a1b2c3d", "protocol": 6, "packets": 3, "bytes": 180,
        "start": NOW - 600, "end": NOW - 580, "action": "REJECT", "log-status": "OK",
        "tcp-flags": 2, "type": "IPv4", "region": REGION, "flow-direction": "ingress",
    }  # fmt: skip
    return record | ends | {"pkt-srcaddr": ends["srcaddr"], "pkt-dstaddr": ends["dstaddr"]}


def subscription_event(*records: dict[str, object]) -> dict[str, Any]:
    """Build the event of a log stream with these records."""
    event: dict[str, Any] = json.loads(
        pack(_lines(records), log_group=LOG_GROUP, log_stream="eni-all")
    )
    return event


def firehose_object(*records: dict[str, object]) -> bytes:
    """Build an object in which Firehose has gathered these records."""
    document = envelope(
        _lines(records), log_group=LOG_GROUP, log_stream="eni-all", owner=DEFAULT_ACCOUNT_ID
    )
    return members([document])


def _lines(records: Sequence[dict[str, object]]) -> list[str]:
    names = RecordFormat.from_log_format(LOG_FORMAT).names
    return [" ".join(str(record.get(name, "-")) for name in names) for record in records]


def key_of(name: str) -> str:
    """Return the key of a flow log file."""
    return f"AWSLogs/{DEFAULT_ACCOUNT_ID}/vpcflowlogs/{REGION}/2026/11/22/{name}.log"


def scheduled(at: int) -> dict[str, Any]:
    """Build the event of the schedule."""
    return {
        "detail-type": "Scheduled Event",
        "source": "aws.events",
        "time": isoformat(at),
        "detail": {},
    }
