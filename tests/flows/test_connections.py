"""Accepted traffic of a rejected flow's connection: its mirror, and the flow itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from flowverdict.flows.accepted_index import Activity
from tests.helpers.collected_records import (
    EGRESS,
    HOME,
    INGRESS,
    SERVER,
    accept,
    only,
    reject,
    rejected,
    reply,
)

if TYPE_CHECKING:
    from flowverdict.flowlog.records import FlowDirection

# --- accepted traffic of the connection -----------------------------------------------------------


def test_aws_ping_example_pairs_the_rejected_reply_with_its_accepted_request() -> None:
    ping = {
        "srcport": 0,
        "dstport": 0,
        "protocol": 1,
        "packets": 4,
        "bytes": 336,
        "end": 1_432_917_142,
    }
    flow = only(
        accept(HOME, SERVER, start=1_432_917_027, **ping),
        reject(SERVER, HOME, start=1_432_917_094, **ping),
    )
    assert flow.mirror == Activity(first_start=1_432_917_027, last_end=1_432_917_142)
    assert flow.same is None
    assert flow.direction is EGRESS


def test_accepted_mirror_on_the_interface_is_found() -> None:
    flow = only(accept(), accept(start=900, end=950, tcp_flags=2), reply())
    assert flow.mirror == Activity(first_start=900, last_end=1060, tcp_flags=2)
    assert flow.accepts_logged


@pytest.mark.parametrize(
    "other",
    [
        {"interface_id": "eni-2"},
        {"interface_id": None},
        {"srcport": 50_123},
        {"dstport": 80},
        {"protocol": 17},
        {"source": "203.0.113.13"},
        {"destination": "172.31.16.140"},
        {"pkt_srcaddr": "203.0.113.99"},
    ],
    ids=str,
)
def test_accepted_record_of_another_connection_is_no_mirror(other: dict[str, Any]) -> None:
    flow = only(accept(**other), reply())
    assert flow.mirror is None
    assert flow.same is None


def test_rejected_mirror_is_no_mirror() -> None:
    assert [flow.mirror for flow in rejected(reject(), reply())] == [None, None]


def test_accepted_record_of_the_same_flow_is_the_same_and_no_mirror() -> None:
    flow = only(accept(start=500, end=560), reject())
    assert flow.same == Activity(first_start=500, last_end=560)
    assert flow.mirror is None


def test_accepts_of_another_interface_are_not_logged_here() -> None:
    first, second = rejected(
        accept(), reject(dstport=80), reject(dstport=80, interface_id="eni-2", start=2000)
    )
    assert (first.accepts_logged, second.accepts_logged) == (True, False)


@pytest.mark.parametrize(
    ("logged", "rejected_direction", "paired"),
    [
        (INGRESS, EGRESS, True),
        (EGRESS, INGRESS, True),
        # an appliance's interface sees one 5-tuple come in and go out
        (INGRESS, INGRESS, False),
        (EGRESS, EGRESS, False),
        # formats with and without the field, mixed
        (None, EGRESS, True),
        (None, INGRESS, True),
        (INGRESS, None, True),
        (EGRESS, None, True),
        (None, None, True),
    ],
)
def test_mirror_goes_the_other_way_where_directions_are_logged(
    logged: FlowDirection | None, rejected_direction: FlowDirection | None, *, paired: bool
) -> None:
    flow = only(accept(flow_direction=logged), reply(flow_direction=rejected_direction))
    assert (flow.mirror is not None) is paired


@pytest.mark.parametrize(
    ("logged", "rejected_direction", "paired"),
    [
        (INGRESS, INGRESS, True),
        (EGRESS, EGRESS, True),
        (INGRESS, EGRESS, False),
        (EGRESS, INGRESS, False),
        (None, EGRESS, True),
        (INGRESS, None, True),
        (None, None, True),
    ],
)
def test_same_goes_the_same_way_where_directions_are_logged(
    logged: FlowDirection | None, rejected_direction: FlowDirection | None, *, paired: bool
) -> None:
    flow = only(accept(flow_direction=logged), reject(flow_direction=rejected_direction))
    assert (flow.same is not None) is paired


def test_mirrors_of_logged_and_unlogged_direction_are_added() -> None:
    flow = only(accept(flow_direction=INGRESS), accept(start=500), reply(flow_direction=EGRESS))
    assert flow.mirror is not None
    assert (flow.mirror.first_start, flow.mirror.last_end) == (500, 1060)


def test_packet_addresses_keep_pods_behind_one_interface_address_apart() -> None:
    node, pod, other_pod, client = "10.0.1.10", "10.0.9.1", "10.0.9.2", "10.0.2.20"
    flows = rejected(
        accept(client, node, pkt_srcaddr=client, pkt_dstaddr=pod),
        reply(node, client, pkt_srcaddr=pod, pkt_dstaddr=client),
        reply(node, client, pkt_srcaddr=other_pod, pkt_dstaddr=client),
    )
    assert {str(flow.key.packet_source): flow.mirror is not None for flow in flows} == {
        pod: True,
        other_pod: False,
    }
