"""What holds for an invocation as a whole."""

from __future__ import annotations

import io
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from flowverdict.app.deadlines import BudgetedConfigSource, ReadDeadline
from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import OutOfTimeError
from flowverdict.flows.model import Context
from flowverdict.network.configuration import NetConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.flows.model import RejectedFlow


class SlowConfigs:
    def __init__(self, per_account: float = 6) -> None:
        self.time = 0.0
        self.per_account = per_account
        self.asked: list[str | None] = []

    def read(
        self,
        account_id: str | None,
        region: str | None,
        flows: Sequence[RejectedFlow],
        *,
        seconds: float | None = None,
    ) -> NetConfig:
        del region, flows
        self.time += self.per_account if seconds is None else min(self.per_account, seconds)
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


OWN, SEEN, DELIVERING = "123456789012", "222222222222", "333333333333"


def flow(reported_by: str | None = None) -> RejectedFlow:
    return cast("RejectedFlow", SimpleNamespace(context=Context(reported_by=reported_by)))


@pytest.mark.parametrize("per_account", [0.5, 2, 100])
def test_the_better_an_account_is_known_the_more_of_the_time_is_left_to_it(
    per_account: float,
) -> None:
    """Whatever the others take: hundreds that a record names, and each as slow as can be."""
    slow = SlowConfigs(per_account)
    within = BudgetedConfigSource(
        slow, seconds=20, clock=slow.clock, own_account=OWN, seen=SEEN.__eq__
    )

    def read(account_id: str, region: str, about: RejectedFlow) -> bool:
        return isinstance(within.read(account_id, region, [about]), NetConfig)

    named = [f"{500_000_000_000 + number}" for number in range(100)]
    for account_id in named:
        read(account_id, "eu-west-1", flow(reported_by=DELIVERING))
    assert slow.time <= 5
    assert not read(named[-1], "eu-west-1", flow(reported_by=DELIVERING))
    assert read(DELIVERING, "eu-west-1", flow())
    for number in range(100):
        read(f"{600_000_000_000 + number}", "eu-west-1", flow())
    assert slow.time <= 10
    assert read(SEEN, "eu-west-1", flow(reported_by=DELIVERING))
    for number in range(100):
        read(SEEN, f"eu-west-{number}", flow())
    assert slow.time <= 15
    assert read(OWN, "eu-west-1", flow(reported_by=DELIVERING))
    for number in range(100):
        read(OWN, f"eu-west-{number}", flow())
    assert slow.time == 20


def test_one_place_uses_up_no_others_time() -> None:
    slow = SlowConfigs(1)
    within = BudgetedConfigSource(
        slow, seconds=20, clock=slow.clock, own_account=OWN, seen=lambda _: True
    )
    assert [isinstance(within.read(SEEN, "eu-west-1", [flow()]), NetConfig) for _ in range(6)] == [
        True
    ] * 5 + [False]
    assert isinstance(within.read(SEEN, "eu-west-2", [flow()]), NetConfig)


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
