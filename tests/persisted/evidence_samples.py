"""Evidence of every kind, as the files ``evidence-*.bin`` hold it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.flowlog.flow_hash import AFTER_FIELD, MASK, KeyHashes, columns_of_tokens
from flowverdict.flowlog.flow_key import FlowKey, key_of
from flowverdict.flowlog.losses import Loss, Span
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT, Action, RecordFormat
from flowverdict.flowlog.transit_gateway import as_flow_record
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import Evidence, FlowLog

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

_SEED = 7
_START = 1_795_348_500  # 2026-11-22T11:55:00Z
_FORMAT = RecordFormat.from_header(
    "account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start end "
    "action log-status vpc-id subnet-id instance-id tcp-flags pkt-srcaddr pkt-dstaddr region "
    "pkt-src-aws-service flow-direction traffic-path reject-reason resource-id interface-type"
)
_ORIGIN = Origin(account_id="123456789012", region="eu-west-1")
_REJECTS = [
    # Three records of one flow, each with another reject-reason; the third without flags and
    # without the packet's own addresses.
    (
        "eni-1 203.0.113.7 10.0.0.5 40001 22 6 1 40",
        "REJECT OK",
        "2 203.0.113.7 10.0.0.5 - ingress - BPA",
    ),
    (
        "eni-1 203.0.113.7 10.0.0.5 40001 22 6 2 80",
        "REJECT OK",
        "16 203.0.113.7 10.0.0.5 - ingress - EC",
    ),
    ("eni-1 203.0.113.7 10.0.0.5 40001 22 6 2 80", "REJECT OK", "- - - - ingress - -"),
    # IPv6, ICMP without ports, a service's address, outbound through an internet gateway.
    (
        "eni-1 2001:db8::1 2001:db8::2 - - 58 3 312",
        "REJECT OK",
        "- 2001:db8::1 2001:db8::3 S3 egress 8 -",
    ),
    # A regional NAT gateway has no interface; protocol 0 and port 0 are values.
    ("- 10.0.0.9 198.51.100.1 0 0 0 - -", "REJECT OK", "0 10.0.0.9 198.51.100.1 - - - -"),
]
_ACCEPTS = [
    (
        f"eni-{port % 3} 10.0.0.5 203.0.113.{port} 22 {port} 6 4 400",
        "ACCEPT OK",
        "18 - - - egress 8 -",
    )
    for port in range(1, 40)
]
_LOST = [
    ("eni-1 - - - - - - -", "- SKIPDATA", "- - - - - - -"),
    ("eni-2 - - - - - - -", "- SKIPDATA", "- - - - - - -"),
    ("eni-1 - - - - - - -", "- SKIPDATA", "- - - - - - -"),
]


def _line(number: int, row: tuple[str, str, str]) -> str:
    traffic, status, rest = row
    flags, source, destination, service, direction, path, reason = rest.split()
    resource = "nat-0a1b" if traffic.startswith("- ") else "-"
    start = _START + number
    return (
        f"123456789012 {traffic} {start} {start + 30} {status} vpc-1 subnet-1 i-1 "
        f"{flags} {source} {destination} eu-west-1 {service} {direction} {path} {reason} "
        f"{resource} -"
    )


def _collected(
    rows: Sequence[tuple[str, str, str]], *, distinct: bool = False, most: int | None = None
) -> FlowCollector:
    flows = FlowCollector(_SEED, distinct=distinct, most=most)
    for number, row in enumerate(rows):
        flows.add(_FORMAT.parse(_line(number, row)), _ORIGIN)
    return flows


def accepted_services() -> set[int]:
    """Return what the accepted flows of the samples go to."""
    records = (_FORMAT.parse(_line(number, row)) for number, row in enumerate(_ACCEPTS))
    return set(KeyHashes.of([*map(key_of, records)], _SEED).of_services())


def _collected_by_hash(rows: Sequence[tuple[str, str, str]], most: int) -> FlowCollector:
    """Collect as versions before 0.3.0: the flows with the lowest hashes stay individual."""
    flows = _collected(rows)
    highest = sorted({_former_hash(key) for key, _ in flows.rejects})[most - 1]
    stay, go = _collected(()), _collected((), most=0)
    for number, row in enumerate(rows):
        record = _FORMAT.parse(_line(number, row))
        beyond = record.action is Action.REJECT and _former_hash(key_of(record)) > highest
        (go if beyond else stay).add(record, _ORIGIN)
    stay.aggregated.update(go.aggregated)
    stay.interfaces = flows.interfaces
    return stay


def _former_hash(key: FlowKey) -> int:
    """Return the first version of ``flow_hash.key_hash``."""
    state = _SEED
    tokens = (token for (token,) in columns_of_tokens([key]))
    direction = b"-" if key.direction is None else key.direction.encode()
    for token, after in zip((*tokens, direction), AFTER_FIELD, strict=True):
        for at in range(0, len(token), 8):
            state = _mixed(state ^ int.from_bytes(token[at : at + 8], "little"))
        state = _mixed(state + after)
    return _mixed(_mixed(state))


def _mixed(value: int) -> int:
    value = value * 0x9E3779B97F4A7C15 & MASK
    return value ^ value >> 32


def _default_format() -> FlowCollector:
    flows = FlowCollector(_SEED)
    line = f"2 123456789012 eni-1 203.0.113.7 10.0.0.5 40001 22 6 1 40 {_START} {_START} REJECT OK"
    flows.add(DEFAULT_FORMAT.parse(line), _ORIGIN)
    return flows


def _transit_gateway() -> FlowCollector:
    flows = FlowCollector(_SEED)
    for lost, direction in (("5 0 0 1", "ingress"), ("0 2 0 0", "ingress"), ("0 0 3 0", "egress")):
        text = (
            "6 TransitGateway 123456789012 tgw-1 tgw-attach-1 - - vpc-1 vpc-2 subnet-1 subnet-2 "
            f"- - - - - 10.0.0.5 10.9.0.7 40001 22 6 9 540 {_START} {_START + 30} OK IPv4 {lost} 2 "
            f"eu-west-1 {direction} - -"
        )
        record = as_flow_record(TRANSIT_GATEWAY_FORMAT.parse(text))
        if record is not None:
            flows.add(record, _ORIGIN)
    return flows


def _missing() -> FlowCollector:
    flows = _collected(_REJECTS)
    flows.losses.add(Loss.MALFORMED, "eni-1", _ORIGIN, Span(_START, _START + 60))
    flows.losses.add(Loss.NOT_READ)
    return flows


def _reported_by() -> FlowCollector:
    flows = FlowCollector(_SEED)
    for number, row in enumerate((*_REJECTS, *_LOST)):
        flows.add(_FORMAT.parse(_line(number, row)), Origin(account_id="222222222222"))
    return flows


# The first version that stored evidence of the kind, if not 0.1.0.
SINCE = dict.fromkeys(
    ("transit-gateway", "aggregated-by-interface", "missing", "reported-by", "services"), "0.3.0"
)


def evidence_samples() -> dict[str, Callable[[], Evidence]]:
    """Return what makes the evidence of a file, by the file's name."""
    flood = [
        (
            f"eni-{port % 2} 203.0.113.7 10.0.0.5 {port} 22 {6 + port % 2} 1 40",
            "REJECT OK",
            "2 - - - ingress - -",
        )
        for port in range(200)
    ]
    flow_log = FlowLog("fl-0123456789abcdef0", 26)
    return {
        "empty": lambda: Evidence(flows=FlowCollector()),
        "rejects": lambda: Evidence(flows=_collected(_REJECTS), flow_log=flow_log),
        "rejects-default-format": lambda: Evidence(flows=_default_format()),
        "rejects-distinct": lambda: Evidence(
            flows=_collected([*_REJECTS, _REJECTS[0]], distinct=True)
        ),
        "accepts": lambda: Evidence(flows=_collected(_ACCEPTS), flow_log=flow_log),
        "services": lambda: Evidence(flows=_collected(_ACCEPTS), flow_log=flow_log),
        "lost": lambda: Evidence(flows=_collected(_LOST), flow_log=flow_log),
        "aggregated": lambda: Evidence(flows=_collected_by_hash(flood, 20)),
        "aggregated-by-interface": lambda: Evidence(flows=_collected(flood, most=20)),
        "missing": lambda: Evidence(flows=_missing()),
        "reported-by": lambda: Evidence(flows=_reported_by(), flow_log=flow_log),
        "transit-gateway": lambda: Evidence(flows=_transit_gateway(), flow_log=flow_log),
        "all": lambda: Evidence(
            flows=_collected_by_hash([*_REJECTS, *_ACCEPTS, *_LOST, *flood], 100),
            flow_log=flow_log,
        ),
    }
