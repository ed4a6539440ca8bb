"""TODO flowverdict.verdict.evidence_rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.verdict.evidence_rules.connection import CONNECTION
from flowverdict.verdict.evidence_rules.handshake import HANDSHAKE
from flowverdict.verdict.evidence_rules.hints import HINTS
from flowverdict.verdict.evidence_rules.network_rules import NETWORK_RULES
from flowverdict.verdict.evidence_rules.placement import PLACEMENT
from flowverdict.verdict.evidence_rules.reject_reasons import REASONS_NAMED, REASONS_NOT_NAMED
from flowverdict.verdict.model import Cause, Leg

if TYPE_CHECKING:
    from flowverdict.verdict.evidence_rules.rule import Rule

RULES: tuple[Rule, ...] = (
    *REASONS_NAMED,
    *PLACEMENT,
    *HANDSHAKE,
    *REASONS_NOT_NAMED,
    *CONNECTION,
    *NETWORK_RULES,
    *HINTS,
)


def decision_table() -> str:
    """Print ``RULES`` as the Markdown table that stands in the README."""
    rows = (
        f"| [{rule.when}]({rule.source}) | {_strikes_in_words(rule)} | {rule.strength.name.lower()} |"
        for rule in RULES
    )
    return "\n".join(["| evidence | strikes out | strength |", "|---|---|---|", *rows])


def _strikes_in_words(rule: Rule) -> str:
    if not rule.strikes:
        return "nothing; the verdict can be no more than *possible*"
    kept = [cause for cause in Cause if cause not in rule.strikes]
    if len(kept) == 1 and not any(isinstance(item, Leg) for item in rule.strikes):
        return f"everything but {kept[0]}"
    return ", ".join(str(item) for item in rule.strikes)
