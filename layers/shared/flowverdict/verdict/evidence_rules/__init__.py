"""The evidence rules: what strikes out which hypotheses, as the rows of the decision table.

Each module holds the rules of one kind of evidence: first the observations, then their rows. An
observation is one sentence about a flow, or ``None``. ``RULES`` puts all rows in the order in which
evidence is shown. AWS's own word (``reject-reason``) comes first, then where the interface lies,
TCP handshakes, accepted traffic of the connection, the rules as read, and last the hints.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.verdict.evidence_rules.connection import CONNECTION
from flowverdict.verdict.evidence_rules.handshake import HANDSHAKE
from flowverdict.verdict.evidence_rules.hints import HINTS
from flowverdict.verdict.evidence_rules.network_rules import NETWORK_RULES
from flowverdict.verdict.evidence_rules.placement import PLACEMENT
from flowverdict.verdict.evidence_rules.reject_reasons import REASONS_NAMED, REASONS_NOT_NAMED
from flowverdict.verdict.model import Cause, Leg, Strength

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
    """Return ``RULES`` as the Markdown table of docs/understand/evidence.md."""
    rows = (
        f"| [{rule.when}]({rule.source}) | {_strikes_in_words(rule)} | {_strength_in_words(rule)} |"
        for rule in RULES
    )
    return "\n".join(["| evidence | strikes out | strength |", "|---|---|---|", *rows])


def _strength_in_words(rule: Rule) -> str:
    strength = rule.strength.name.lower()
    if not rule.by_absence:
        return strength
    if set(rule.by_absence) == set(rule.strikes):
        return f"{strength}; weak if records are missing"
    softer = "soft, and " if rule.strength is Strength.HARD else ""
    weak = ", ".join(str(item) for item in rule.by_absence)
    return f"{strength}; if records are missing {softer}weak for {weak}"


def _strikes_in_words(rule: Rule) -> str:
    if not rule.strikes:
        return "nothing; the verdict can be no more than *possible*"
    left = [cause for cause in Cause if cause not in rule.strikes]
    if len(left) == 1 and not any(isinstance(item, Leg) for item in rule.strikes):
        return f"everything but {left[0]}"
    return ", ".join(str(item) for item in rule.strikes)
