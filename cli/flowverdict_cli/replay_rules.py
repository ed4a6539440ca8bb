"""Rules of a file or of an account in place of those of moto, for ``flowverdict replay``."""

from __future__ import annotations

from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

from flowverdict.app import wiring

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.verdict.batch import FixedConfig


@contextmanager
def rules_in_place(rules: FixedConfig | None) -> Iterator[None]:
    """Let the functions read these rules in place of EC2's; ``None`` changes nothing."""
    if rules is None:
        yield
        return
    with patch.object(wiring, "Ec2Config", partial(_KnownRules, rules)):
        yield


class _KnownRules:
    """Stands for ``network.ec2.Ec2Config``: every account has these rules."""

    def __init__(self, rules: FixedConfig, **_: object) -> None:
        self.read = rules.read

    def has_seen(self, account_id: str) -> bool:  # noqa: ARG002 - one configuration for all
        """Return whether the account's rules were read before."""
        return True
