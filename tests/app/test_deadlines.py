"""What holds for an invocation as a whole."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from flowverdict.app.deadlines import BudgetedConfigSource, ReadDeadline
from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import OutOfTimeError
from flowverdict.network.configuration import NetConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.flows.model import RejectedFlow


class SlowConfigs:
    def __init__(self) -> None:
        self.time = 0.0
        self.asked: list[str | None] = []

    def read(
        self, account_id: str | None, region: str | None, flows: Sequence[RejectedFlow]
    ) -> NetConfig:
        del region, flows
        self.time += 6
        self.asked.append(account_id)
        return NetConfig()

    def clock(self) -> float:
        return self.time


def test_reading_rules_ends_when_the_invocations_budget_is_spent_and_says_so() -> None:
    slow = SlowConfigs()
    within = BudgetedConfigSource(slow, seconds=15, clock=slow.clock)
    answers = [within.read(f"{number:012}", "eu-west-1", ()) for number in range(5)]
    assert [isinstance(answer, NetConfig) for answer in answers] == [True, True, True, False, False]
    assert len(slow.asked) == 3
    assert answers[3] == NotAvailable(
        "the rules were not read: 15 s for reading those of other accounts and Regions were spent"
    )


def test_reading_ends_before_the_function_does_and_says_what_was_not_read() -> None:
    now = 0.0
    until = ReadDeadline(100, clock=lambda: now)
    stream = until.limit(io.BytesIO(b"abcdef"), "s3://bucket/key")
    assert stream.read(3) == b"abc"
    now = 59.9
    assert stream.read(3) == b"def"
    now = 60
    with pytest.raises(
        OutOfTimeError, match=r"^s3://bucket/key: not read to its end within the 60 s"
    ):
        stream.read(1)
    with pytest.raises(OutOfTimeError):
        until.check("another")
