"""A value that could not be had, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class NotAvailable:
    """Stands in place of a value that could not be read, applied or offered.

    Parameters
    ----------
    reason
        Why, in one line, as it is shown to a person.
    """

    reason: str

    def __str__(self) -> str:
        return self.reason
