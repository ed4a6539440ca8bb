"""Write an explanation as the JSON object that ``explain`` prints.

Its schema is ``docs/schemas/explanation.schema.json``. Keys may be added; no key is changed or
removed.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from flowverdict.core.formatting import isoformat
from flowverdict.verdict.wording import sentence

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.verdict.explanation import Explanation


def to_json(explanation: Explanation) -> str:
    """Return the contract's object on one line, ASCII only."""
    flow, verdict = explanation.flow, explanation.verdict
    key, context = flow.key, flow.context
    return json.dumps(
        {
            "interface_id": flow.interface_id,
            "srcaddr": _text(key.source),
            "dstaddr": _text(key.destination),
            "srcport": key.source_port,
            "dstport": key.destination_port,
            "protocol": key.protocol,
            "account_id": context.account_id,
            "region": context.region,
            "vpc_id": context.vpc_id,
            "subnet_id": context.subnet_id,
            "instance_id": context.instance_id,
            "pkt_srcaddr": _text(key.packet_source) if flow.packet_addresses_logged else None,
            "pkt_dstaddr": _text(key.packet_destination) if flow.packet_addresses_logged else None,
            "flow_direction": flow.direction,
            "leg": verdict.leg,
            "verdict": verdict.kind,
            "confidence": verdict.confidence,
            "evidence": [{"kind": item.kind, "detail": item.detail} for item in verdict.evidence],
            **explanation.rule_details(),
            "summary": sentence(explanation),
            "first_seen": isoformat(flow.traffic.first_start),
            "last_seen": isoformat(flow.traffic.last_end),
            "records": flow.traffic.records,
            "packets": flow.traffic.packets,
            "bytes": flow.traffic.bytes,
            **_of_transit_gateway(flow),
            **({} if context.reported_by is None else {"reported_by": context.reported_by}),
        }
    )


def _of_transit_gateway(flow: RejectedFlow) -> dict[str, str | None]:
    """Return the keys that only the flows of a transit gateway have."""
    return {} if flow.packets_lost is None else {"attachment_id": flow.attachment_id}


def _text(address: Address | None) -> str | None:
    return None if address is None else str(address)
