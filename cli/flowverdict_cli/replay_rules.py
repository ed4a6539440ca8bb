"""Which rules an event of ``flowverdict replay`` needs, and those of a file or an account."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING
from unittest.mock import patch

from flowverdict.core.errors import EnvelopeError
from flowverdict.flowlog.cloudwatch_logs import decode
from flowverdict_cli.local_aws import objects_named

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flowverdict.verdict.batch import FixedConfig


@contextmanager
def rules_in_place(rules: FixedConfig | None) -> Iterator[None]:
    """Let the functions read these rules in place of EC2's; ``None`` changes nothing."""
    if rules is None:
        yield
        return
    from flowverdict.app import alert_wiring  # noqa: PLC0415 - takes its time to load

    with patch.object(alert_wiring, "Ec2Config", partial(_KnownRules, rules)):
        yield


class _KnownRules:
    """Stands for ``network.ec2.Ec2Config``: every account has these rules."""

    def __init__(self, rules: FixedConfig, **_: object) -> None:
        self.read = rules.read

    def has_seen(self, account_id: str) -> bool:  # noqa: ARG002 - one configuration for all
        """Return whether the account's rules were read before."""
        return True


def has_records(event: object) -> bool:
    """Whether an event may bring records of a flow log: it names objects, or has log data."""
    if isinstance(event, dict) and "awslogs" in event:
        with suppress(EnvelopeError):  # the handler reports that
            return decode(event) is not None
        return False
    return bool(objects_named(event))
