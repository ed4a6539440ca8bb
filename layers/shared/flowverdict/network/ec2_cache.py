"""TODO flowverdict.network.ec2_cache."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from botocore.client import BaseClient

    from flowverdict.core.errors import NotReadError
    from flowverdict.network.describe import Item
    from flowverdict.network.ec2_clients import Credentials


MAX_KEPT_ITEMS = 10_000  # about 5 kB each as boto3 gives them, so 50 MB of the functions' 512 MB


# --- what is kept -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    items: tuple[Item, ...]
    read_at: datetime
    until: float


class Answers:
    """What was answered lately, value by value. Bounded: the oldest goes first."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._answers: dict[tuple[PlaceKey, str, str], Answer] = {}
        self._size = 0

    def get(self, place: PlaceKey, question: str, value: str) -> Answer | None:
        answer = self._answers.get((place, question, value))
        return answer if answer is not None and self._clock() < answer.until else None

    def put(self, place: PlaceKey, question: str, value: str, answer: Answer) -> None:
        key = (place, question, value)
        self._drop(key)
        self._answers[key] = answer
        self._size += _weight(answer)
        # All are kept equally long, so the first is the oldest.
        while (
            self._size > MAX_KEPT_ITEMS
            or self._clock() >= self._answers[next(iter(self._answers))].until
        ):
            self._drop(next(iter(self._answers)))
            if not self._answers:
                return

    def _drop(self, key: tuple[PlaceKey, str, str]) -> None:
        dropped = self._answers.pop(key, None)
        self._size -= 0 if dropped is None else _weight(dropped)


def _weight(answer: Answer) -> int:
    return 1 + len(answer.items)  # "nothing there" is an answer too


@dataclass(frozen=True, slots=True)
class PlaceKey:
    account_id: str | None  # None: whichever the process's own credentials belong to
    region: str


@dataclass(slots=True)
class Place:
    """An account and Region, with the means to read there."""

    key: PlaceKey
    client: BaseClient
    credentials: Credentials | None
    refusals: dict[str, tuple[float, NotReadError]] = field(default_factory=dict)
