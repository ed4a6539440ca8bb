"""The order of records and their split over files change no rejected flow.

No record is lost or counted twice. Requirement: "Pairing by mirrored 5-tuple on the same interface,
in time order, across all objects of one batch."
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import Action, FlowDirection, FlowRecord, LogStatus
from flowverdict.flows.collector import FlowCollector
from tests.helpers.flow_records import SEEN, Activity, collector_of, maybe, records

if TYPE_CHECKING:
    from flowverdict.flows.model import RejectedFlow


def rejected(seen: Activity) -> list[RejectedFlow]:
    """Return the rejected flows of records collected one after the other."""
    return list(collector_of(seen).rejected())


def rejected_in_parts(seen: Activity, parts: list[int]) -> list[RejectedFlow]:
    """Return the rejected flows of records spread over the collectors that their numbers name."""
    merged = FlowCollector()
    for part in sorted(set(parts)):
        merged.merge(
            collector_of([one for one, number in zip(seen, parts, strict=True) if number == part])
        )
    return list(merged.rejected())


@given(seen=SEEN, data=st.data())
def test_order_of_records_does_not_matter(seen: Activity, data: st.DataObject) -> None:
    assert rejected(data.draw(st.permutations(seen))) == rejected(seen)


@given(seen=SEEN, data=st.data())
def test_split_over_files_does_not_matter(seen: Activity, data: st.DataObject) -> None:
    parts = data.draw(st.lists(st.integers(0, 3), min_size=len(seen), max_size=len(seen)))
    assert rejected_in_parts(seen, parts) == rejected(seen)


def _between(action: Action, source: str, destination: str) -> tuple[FlowRecord, Origin]:
    return (
        FlowRecord(
            interface_id="eni-1",
            srcaddr=ip_address(source),
            dstaddr=ip_address(destination),
            action=action,
        ),
        Origin(),
    )


_FORWARDER: Activity = [
    _between(Action.ACCEPT, "10.0.0.1", "10.0.0.2"),
    _between(Action.REJECT, "10.0.0.2", "10.0.0.4"),
    _between(Action.ACCEPT, "10.0.0.1", "10.0.0.3"),
]


def test_order_does_not_matter_to_an_interface_that_forwards_for_others() -> None:
    assert rejected(_FORWARDER[::-1]) == rejected(_FORWARDER)


def test_split_does_not_matter_to_an_interface_that_forwards_for_others() -> None:
    assert rejected_in_parts(_FORWARDER, [0, 0, 1]) == rejected(_FORWARDER)


@given(seen=SEEN)
def test_every_rejected_record_is_in_exactly_one_rejected_flow(seen: Activity) -> None:
    without_traffic = {LogStatus.NODATA, LogStatus.SKIPDATA}
    rejects = [
        record
        for record, _ in seen
        if record.action is Action.REJECT and record.log_status not in without_traffic
    ]
    flows = rejected(seen)
    assert sum(flow.traffic.records for flow in flows) == len(rejects)
    assert sum(flow.traffic.packets for flow in flows) == sum(
        record.packets or 0 for record in rejects
    )
    assert sum(flow.traffic.bytes for flow in flows) == sum(record.bytes or 0 for record in rejects)
    assert len({flow.key for flow in flows}) == len(flows)


@given(seen=SEEN)
def test_what_paired_was_accepted_on_the_same_interface(seen: Activity) -> None:
    accepted = {
        record.interface_id or record.resource_id
        for record, _ in seen
        if record.action is Action.ACCEPT
    }
    for flow in rejected(seen):
        assert (flow.mirror is None and flow.same is None) or flow.key.interface in accepted
        assert flow.accepts_logged or (flow.mirror is None and flow.same is None)


@given(record=records(maybe(*FlowDirection)))
def test_mirror_of_a_mirror_is_the_flow_itself(record: FlowRecord) -> None:
    (flow,) = rejected([(record._replace(action=Action.REJECT, log_status=LogStatus.OK), Origin())])
    for mirror in flow.key.mirrors():
        assert flow.key in mirror.mirrors()
        assert (mirror.source, mirror.source_port) == (
            flow.key.destination,
            flow.key.destination_port,
        )
