"""Stored evidence with everything that it holds, as it was before it was stored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.flows.accepted_index import AcceptedFlowIndex
from flowverdict.flows.evidence import Evidence

if TYPE_CHECKING:
    from flowverdict.flows.stored_evidence import StoredEvidence


def whole(stored: StoredEvidence) -> Evidence:
    """Return the evidence with all interfaces and all accepted flows."""
    flows = stored.flows.without_facts()
    flows.interfaces = {name: row.interface() for name, row in stored.interfaces.items()}
    flows.accepted_index = AcceptedFlowIndex()
    flows.accepted_index.merge(stored.accepted)
    return Evidence(flows=flows, flow_log=stored.flow_log, is_readable=stored.is_readable)
