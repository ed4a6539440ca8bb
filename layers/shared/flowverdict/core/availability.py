"""A value that is not available, with the reason in words."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class NotAvailable:
    """The stand-in for a value that could not be read, applied or offered.

    Parameters
    ----------
    reason
        Why, in one line, as users see it.
    retry_helps
        Whether another try within minutes may bring the value: AWS throttled, or time was spent.
    """

    reason: str
    retry_helps: bool = field(default=False, kw_only=True, compare=False)

    def __str__(self) -> str:
        return self.reason


@dataclass(frozen=True, slots=True)
class NotSetUp(NotAvailable):
    """The stand-in for a value that nobody has set up to be read, which is no failure."""
