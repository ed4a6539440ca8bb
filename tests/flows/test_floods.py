"""More rejected flows than are evaluated individually.

The number of individual flows is limited, every record is counted, and neither order nor split
changes which flows are individual. A flood takes no place from another interface, nor from inside.
"""

from __future__ import annotations

import io
import random
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest

from flowverdict.alerts.grouping import detections
from flowverdict.alerts.model import Alert, Kind, Notice
from flowverdict.core.errors import ObjectError
from flowverdict.flowlog.fields import DEFAULT_FIELDS
from flowverdict.flowlog.flow_key import key_of
from flowverdict.flowlog.records import Action, FlowRecord, LogStatus
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import Evidence, flows_of
from flowverdict.flows.evidence_codec import pack, unpack
from flowverdict.flows.read_source import read_object
from flowverdict.verdict.batch import explain_flows
from tests.helpers.alert_samples import NOW
from tests.helpers.whole_evidence import whole

if TYPE_CHECKING:
    from collections.abc import Sequence

MOST, SEED, WINDOW_NUMBER = 40, 7, NOW // 300


@pytest.fixture(autouse=True)
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("flowverdict.flows.evidence.MAX_FLOWS", MOST)


def reject(
    number: int, *, packets: int = 1, interface_id: str = "eni-1", source: str | None = None
) -> FlowRecord:
    return FlowRecord(
        account_id="123456789012",
        interface_id=interface_id,
        srcaddr=ip_address(0xCB007100 + number % 200 if source is None else source),
        dstaddr=ip_address("10.0.0.5"),
        srcport=20_000 + number,
        dstport=445,
        protocol=6,
        packets=packets,
        bytes=40,
        start=NOW,
        end=NOW,
        action=Action.REJECT,
        log_status=LogStatus.OK,
    )


RECORDS = [reject(number) for number in range(300)] + [
    reject(number, packets=2) for number in range(0, 300, 3)
]


def collected(sources: Sequence[Sequence[FlowRecord]]) -> FlowCollector:
    evidence = []
    for records in sources:
        flows = FlowCollector(SEED, most=MOST)
        for record in records:
            flows.add(record)
        evidence.append(whole(unpack(pack(Evidence(flows=flows)))))
    return flows_of(WINDOW_NUMBER, {WINDOW_NUMBER: evidence}, SEED)


def shown(flows: FlowCollector) -> tuple[object, ...]:
    individual = [(flow.key, flow.traffic) for flow in flows.rejected()]
    return (
        individual,
        {name: (rest.traffic, rest.what) for name, rest in flows.aggregated.items()},
    )


def test_a_flood_keeps_its_bound_and_every_record_is_counted() -> None:
    flows = collected([RECORDS])
    individual = list(flows.rejected())
    assert len(individual) == MOST
    assert sum(flow.traffic.records for flow in individual) + flows.aggregated[
        "eni-1"
    ].traffic.records == len(RECORDS)
    found = detections(explain_flows([*flows.rejected()], None), flows)
    assert sum(detection.notification.records for detection in found) == len(RECORDS)
    notifications = [detection.notification for detection in found]
    (notice,) = [entry for entry in notifications if isinstance(entry, Notice)]
    assert notice.kind is Kind.FLOW_OVERFLOW
    assert "TCP to port 445" in notice.sections[0].lines[0]
    assert all(isinstance(entry, Alert) for entry in notifications if entry is not notice)


BESIDE = [
    # At another interface, and at the same one from inside.
    *(reject(number, interface_id="eni-2") for number in range(5)),
    *(reject(number, source="10.0.3.7") for number in range(5)),
]


@pytest.mark.parametrize("objects", [1, 2, 7])
def test_a_flood_folds_away_neither_another_interface_nor_what_comes_from_inside(
    objects: int,
) -> None:
    records = random.Random(objects).sample(RECORDS + BESIDE, len(RECORDS + BESIDE))  # noqa: S311 - no secret
    flows = collected([records[number::objects] for number in range(objects)])
    individual = {flow.key for flow in flows.rejected()}
    assert len(individual) == MOST
    assert {key_of(record) for record in BESIDE} <= individual


@pytest.mark.parametrize("objects", [2, 5])
def test_flows_that_one_source_aggregates_are_not_replaced_by_those_of_another(
    objects: int,
) -> None:
    # The last source alone has room for all of its flows, in both groups.
    interfaces = [reject(n, interface_id=f"eni-{n % 9}", packets=1) for n in range(400)]
    whole = collected([interfaces])
    size = len(interfaces) - 12
    parts = [interfaces[n:size:objects] for n in range(objects)] + [interfaces[size:]]
    assert shown(collected(parts)) == shown(whole)
    assert len([*whole.rejected()]) == MOST


@pytest.mark.parametrize("objects", [1, 2, 7])
def test_which_flows_are_judged_depends_neither_on_order_nor_on_split(objects: int) -> None:
    shuffled = random.Random(objects).sample(RECORDS, len(RECORDS))  # noqa: S311 - no secret
    assert shown(collected([shuffled[number::objects] for number in range(objects)])) == shown(
        collected([RECORDS])
    )


def test_as_many_as_there_may_be_are_all_judged() -> None:
    flows = collected([RECORDS[:MOST]])
    assert len(list(flows.rejected())) == MOST
    assert flows.aggregated == {}


def test_more_records_than_a_function_has_room_for_are_refused_by_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    line = "2 123456789012 eni-1 203.0.113.9 10.0.0.5 {} 443 6 1 40 1795348800 1795348805 ACCEPT OK"
    lines = [" ".join(DEFAULT_FIELDS), *(line.format(port) for port in range(1_000, 1_101))]
    monkeypatch.setattr("flowverdict.flows.evidence.MAX_RECORDS", 100)
    with pytest.raises(ObjectError, match=r"^a file: more than 100 records"):
        read_object(io.BytesIO("\n".join(lines).encode()), name="a file", seed=SEED)
    assert (
        read_object(
            io.BytesIO("\n".join(lines[:-1]).encode()), name="a file", seed=SEED
        ).reading.counts.accepted
        == 100
    )
