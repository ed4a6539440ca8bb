"""Hypothesis strategies of flow records that meet: few values of each field."""

from __future__ import annotations

from ipaddress import ip_address

from hypothesis import strategies as st

from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import Action, FlowDirection, FlowRecord, LogStatus
from flowverdict.flows.collector import FlowCollector

_ADDRESSES = [
    ip_address(text)
    for text in ("10.0.0.1", "10.0.0.2", "10.0.0.3", "203.0.113.5", "2001:db8::1", "2001:db8::2")
]
_PORTS = [None, 0, 443, 50_122]


def maybe[T](*values: T) -> st.SearchStrategy[T | None]:
    """Draw one of the values, or ``None``."""
    return st.sampled_from((None, *values))


def records(directions: st.SearchStrategy[FlowDirection | None]) -> st.SearchStrategy[FlowRecord]:
    """Draw records whose direction is drawn from the given strategy."""
    return st.builds(
        FlowRecord,
        account_id=maybe("123456789012", "unknown"),
        interface_id=maybe("eni-1", "eni-2"),
        srcaddr=maybe(*_ADDRESSES),
        dstaddr=maybe(*_ADDRESSES),
        pkt_srcaddr=maybe(*_ADDRESSES),
        pkt_dstaddr=maybe(*_ADDRESSES),
        srcport=st.sampled_from(_PORTS),
        dstport=st.sampled_from(_PORTS),
        protocol=maybe(0, 6),
        packets=maybe(0, 7),
        bytes=maybe(0, 300),
        start=maybe(0, 1000, 2000),
        end=maybe(0, 1060, 2060),
        action=maybe(Action.ACCEPT, Action.REJECT),
        log_status=maybe(*LogStatus),
        vpc_id=maybe("vpc-1", "vpc-2"),
        subnet_id=maybe("subnet-1", "subnet-2"),
        resource_id=maybe("nat-1"),
        region=maybe("eu-west-1"),
        tcp_flags=maybe(0, 2, 18),
        flow_direction=directions,
        reject_reason=maybe("-", "BPA", "EC"),
    )


_ORIGINS = st.sampled_from([Origin(), Origin(account_id="210987654321", region="us-east-1")])
SEEN = st.lists(st.tuples(records(maybe(*FlowDirection)), _ORIGINS), max_size=10)
type Activity = list[tuple[FlowRecord, Origin]]


def collector_of(seen: Activity) -> FlowCollector:
    """Collect records one after the other."""
    collector = FlowCollector()
    for record, origin in seen:
        collector.add(record, origin)
    return collector
