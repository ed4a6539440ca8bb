"""The source of configuration as a protocol; adapters and test doubles implement it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.core.availability import NotAvailable
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.configuration import NetConfig


class ConfigSource(Protocol):
    """Knows the rules that applied to rejected flows."""

    def read(
        self,
        account_id: str | None,
        region: str | None,
        flows: Sequence[RejectedFlow],
        *,
        seconds: float | None = None,
    ) -> NetConfig | NotAvailable:
        """Return the configuration that the flows, all of one account and Region, need.

        ``seconds`` bounds the time for reading; ``None`` leaves it to the source.
        ``NotAvailable`` gives the reason in one line where it cannot be read. Never raises for what
        AWS answers or what the records name: a verdict stands without configuration.
        """
