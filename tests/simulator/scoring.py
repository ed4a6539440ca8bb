"""Compare one object of ``flowverdict explain --output json`` with the truth of its flow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.simulator.network import Cause
from tests.simulator.records import FlowKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulator.truth import Truth

_NAMES_AN_ENTRY = (Cause.NETWORK_ACL, Cause.BOTH)


def key_of_answer(answer: Mapping[str, Any]) -> FlowKey:
    """Return the flow of an answer."""
    return FlowKey(
        interface_id=answer["interface_id"],
        srcaddr=answer["srcaddr"],
        dstaddr=answer["dstaddr"],
        srcport=answer["srcport"],
        dstport=answer["dstport"],
        protocol=answer["protocol"],
    )


def mistakes(truth: Truth, answer: Mapping[str, Any], *, with_config: bool) -> list[str]:
    """Return what is wrong with an answer, in words; empty where the flow is not decidable."""
    if not (truth.decidable_with_config if with_config else truth.decidable_without_config):
        return []
    wrong = []
    right = truth.right_with_config if with_config else truth.right_without_config
    if answer["verdict"] not in right:
        wrong.append(f"verdict {answer['verdict']}, not {' or '.join(sorted(right))}")
    if answer["leg"] not in truth.right_legs:
        wrong.append(f"leg {answer['leg']}, not {truth.leg}")
    if with_config and not wrong and answer["verdict"] in _NAMES_AN_ENTRY:
        entry, shown = truth.network_acl_entry, answer["network_acl_entry"] or {}
        named = (shown.get("network_acl_id"), shown.get("rule_number"), shown.get("egress"))
        if entry is None or named != (entry.network_acl_id, entry.rule_number, entry.egress):
            wrong.append(f"entry {named}, not {entry}")
    return wrong


def falsely_certain(truth: Truth, answer: Mapping[str, Any]) -> bool:
    """Return whether an answer is certain and false, decidable or not."""
    if answer["confidence"] != "certain":
        return False
    return answer["verdict"] not in truth.not_false or (
        not truth.mixed and answer["leg"] not in (truth.leg, "unknown")
    )
