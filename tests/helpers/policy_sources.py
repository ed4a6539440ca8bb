"""Policy documents, texts of problems, and a clock, for tests that read a policy from AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.policy.source import MAX_AGE_SECONDS, PolicySource

if TYPE_CHECKING:
    from flowverdict.policy.model import Policy

LOW = '{"version": 1, "minimum_severity": "low"}'
HIGH = '{"version": 1, "minimum_severity": "high"}'
KEPT = "; the last good one applies"
NONE = "; no good one is known, so nothing is muted"


class Clock:
    """A clock that the tests set."""

    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds

    def a_minute_later(self) -> None:
        self.seconds += MAX_AGE_SECONDS


def outcome(source: PolicySource) -> tuple[Policy, str | None]:
    reading = source.current()
    assert reading.problem is None or "\n" not in reading.problem
    return reading.policy, reading.problem
