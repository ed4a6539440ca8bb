"""The values that a flow's records have in the fields which evidence rules look at.

A field is marked by ``observed=True`` in ``flowlog/fields.py``. From there on its values of all
rejected records of a flow are collected, merged, stored with the evidence and shown to the rules,
as ``RejectedFlow.observed``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, cast

from flowverdict.flowlog.fields import FIELDS, OBSERVED_FIELDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowverdict.flowlog.records import FlowRecord

type ObservedValue = str | int | None

NOT_LOGGED: frozenset[ObservedValue] = frozenset({None})

OBSERVED_ATTRIBUTES = tuple(FIELDS[name].attribute for name in OBSERVED_FIELDS)
_PLACES = {name: place for place, name in enumerate(OBSERVED_FIELDS)}


@dataclass(frozen=True, slots=True)
class ObservedValues(Mapping[str, frozenset[ObservedValue]]):
    """The values by the AWS name of the field; ``None`` among them for records without the field.

    Parameters
    ----------
    sets
        The values of each of ``OBSERVED_FIELDS``, in their order.
    """

    sets: tuple[frozenset[ObservedValue], ...]

    @classmethod
    def of(cls, values: Mapping[str, Iterable[ObservedValue]]) -> ObservedValues:
        """Return values by field; a field that is missing counts as not logged."""
        return cls(tuple(frozenset(values.get(name, NOT_LOGGED)) for name in OBSERVED_FIELDS))

    def __getitem__(self, name: str) -> frozenset[ObservedValue]:
        return self.sets[_PLACES[name]]

    def __iter__(self) -> Iterator[str]:
        return iter(OBSERVED_FIELDS)

    def __len__(self) -> int:
        return len(self.sets)

    def texts(self, name: str) -> frozenset[str | None]:
        """Return a text field's values; raises ``KeyError`` if the field is not observed."""
        return cast("frozenset[str | None]", self[name])

    def integers(self, name: str) -> frozenset[int | None]:
        """Return an integer field's values; raises ``KeyError`` if the field is not observed."""
        return cast("frozenset[int | None]", self[name])

    def merged_with(self, other: ObservedValues) -> ObservedValues:
        """Return the values of both."""
        if other.sets == self.sets:
            return self
        return ObservedValues(
            tuple(values | more for values, more in zip(self.sets, other.sets, strict=True))
        )


NOTHING_OBSERVED = ObservedValues((frozenset(),) * len(OBSERVED_FIELDS))


@lru_cache(maxsize=1_024)  # records have few different values, and share them
def observed_values(*values: ObservedValue) -> ObservedValues:
    """Return one record's values of ``OBSERVED_FIELDS``, given in their order."""
    return ObservedValues(tuple(frozenset({value}) for value in values))


def observed_of(record: FlowRecord) -> ObservedValues:
    """Return a record's values of the observed fields."""
    return observed_values(*[getattr(record, name) for name in OBSERVED_ATTRIBUTES])
