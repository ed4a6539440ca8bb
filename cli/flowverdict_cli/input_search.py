"""Find all that a call of ``explain`` reads: each name on its command line may mean many files."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO

from flowverdict.core.errors import ObjectError
from flowverdict_cli.extras import require
from flowverdict_cli.inputs import CLOUDWATCH, S3, STDIN, Input, Period, local_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def find(
    names: Sequence[str],
    period: Period = Period(),  # noqa: B008 - frozen, nothing to share
) -> tuple[list[Input], list[str]]:
    """Return all inputs in the order of their names, and a note for what is passed over.

    Raises
    ------
    FlowVerdictError
        A pattern fits no file, a bucket or a log group cannot be read, or the AWS SDK is missing.
    """
    inputs: list[Input] = []
    notes: list[str] = []
    for name in names:
        if name == STDIN:
            inputs.append(Input(name="standard input", open=_stdin, is_stored=False))
        elif name.startswith((S3, CLOUDWATCH)):
            require("aws", name.partition(":")[0])
            from flowverdict_cli import cloud_inputs  # noqa: PLC0415 - the AWS SDK is an extra

            found, more = cloud_inputs.find(name, period)
            inputs += found
            notes += more
        else:
            found, more = local_inputs(name, period)
            inputs += found
            notes += more
    return inputs, notes


@contextmanager
def _stdin() -> Iterator[BinaryIO]:
    if sys.stdin is None:
        raise ObjectError("standard input", "closed")
    yield sys.stdin.buffer
