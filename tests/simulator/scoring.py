"""Compare one object of ``flowverdict explain --output json`` with the truth of its flow."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Any

from tests.simulator.network import Cause
from tests.simulator.records import FlowKey

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.simulator.truth import Truth

_NAMES_AN_ENTRY = (Cause.NETWORK_ACL, Cause.BOTH)


class Outcome(StrEnum):
    """How good an answer is, whether its flow is decidable or not."""

    RIGHT = "right"
    UNSURE = "unsure"
    WRONG = "wrong"


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


def outcome(truth: Truth, answer: Mapping[str, Any], *, with_config: bool) -> Outcome:
    """Return whether an answer is right, unsure or wrong.

    Right: the verdict, the leg, the entry of the network ACL and the way over the internet are
    true, and the verdict is as narrow as the input allows. Unsure: the answer says that it does not
    know (``undetermined``, either layer where one of them is the cause, a network ACL without its
    entry), or is no more than *possible*. Wrong: all else.
    """
    wrong = _differences(truth, answer, with_config=with_config)
    if not wrong:
        return Outcome.RIGHT
    nameless = with_config and answer["network_acl_entry"] is None
    if nameless and not _differences(truth, answer, with_config=False):
        return Outcome.UNSURE
    if answer["confidence"] == "possible" or answer["verdict"] in truth.vague:
        return Outcome.WRONG if _misleads(truth, answer) else Outcome.UNSURE
    if truth.cause is Cause.NOT_CARRIED and answer["verdict"] in truth.not_false:
        return Outcome.WRONG if _misleads(truth, answer) else Outcome.UNSURE
    return Outcome.WRONG


def mistakes(truth: Truth, answer: Mapping[str, Any], *, with_config: bool) -> list[str]:
    """Return what is wrong with an answer, in words; empty where the flow is not decidable.

    In the kinds of real networks a vague answer is no mistake.
    """
    if not (truth.decidable_with_config if with_config else truth.decidable_without_config):
        return []
    if truth.in_real_network and outcome(truth, answer, with_config=with_config) in (
        Outcome.RIGHT,
        Outcome.UNSURE,
    ):
        return []
    return _differences(truth, answer, with_config=with_config)


def _differences(truth: Truth, answer: Mapping[str, Any], *, with_config: bool) -> list[str]:
    wrong = []
    right = truth.right_with_config if with_config else truth.right_without_config
    if truth.mixed:
        right |= truth.causes
    if answer["verdict"] not in right:
        wrong.append(f"verdict {answer['verdict']}, not {' or '.join(sorted(right))}")
    if answer["leg"] not in truth.right_legs:
        wrong.append(f"leg {answer['leg']}, not {truth.leg}")
    if with_config and not wrong and answer["verdict"] in _NAMES_AN_ENTRY:
        entry, shown = truth.network_acl_entry, answer["network_acl_entry"] or {}
        named = (shown.get("network_acl_id"), shown.get("rule_number"), shown.get("egress"))
        if entry is None or named != (entry.network_acl_id, entry.rule_number, entry.egress):
            wrong.append(f"entry {named}, not {entry}")
    avoids = truth.avoids_internet if with_config else truth.shows_no_internet
    if avoids and answer.get("path") == "internet":
        wrong.append("path internet, but the other end is a network of the company's own")
    if _misleads(truth, answer):
        wrong.append(f"a fix where no rule helps: {answer['remedy']['commands']}")
    return wrong


def _misleads(truth: Truth, answer: Mapping[str, Any]) -> bool:
    """Return whether a fix is offered, not as a guess, for what no rule should let pass."""
    offers = answer.get("remedy") is not None and answer["confidence"] != "possible"
    return truth.has_no_fix and offers


def falsely_certain(truth: Truth, answer: Mapping[str, Any]) -> bool:
    """Return whether an answer is certain and false, decidable or not."""
    if answer["confidence"] != "certain":
        return False
    return answer["verdict"] not in truth.not_false or answer["leg"] not in truth.legs_not_false
