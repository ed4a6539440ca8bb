"""The rules of the commands that explain flows: of a snapshot file, or read from AWS."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from flowverdict.core.errors import FlowVerdictError
from flowverdict.core.untrusted import one_line
from flowverdict.network.snapshot import load_snapshot, parse_snapshot
from flowverdict.verdict.batch import FixedConfig
from flowverdict_cli.extras import require

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from flowverdict.network.configuration import NetConfig
    from flowverdict_cli.snapshot import Snapshot


def rules_of(path: Path | None, *, account: bool) -> FixedConfig | None:
    """Return the rules that a command line asks for, ``None`` without any.

    Print to standard error what had to be left out.

    Parameters
    ----------
    path
        A snapshot file.
    account
        Whether to read the rules from AWS, with the user's own credentials and Region, as
        ``flowverdict snapshot`` does.

    Raises
    ------
    FlowVerdictError
        Both are asked for, the file is not a snapshot, or AWS did not answer.
    """
    if path is not None and account:
        raise FlowVerdictError("--rules and --account: give one of them")
    if path is not None:
        return _noted(str(path), load_snapshot(path))
    return _noted("AWS", _read_account()) if account else None


def _read_account() -> NetConfig:
    require("aws", "--account")
    return parse_snapshot(read_account(None).answers)


def read_account(region: str | None, vpc_ids: Sequence[str] = ()) -> Snapshot:
    """Read the rules of the user's account and Region; print to standard error what AWS denied.

    Raises
    ------
    FlowVerdictError
        AWS did not answer, or a VPC does not exist.
    """
    from flowverdict_cli import snapshot  # noqa: PLC0415 - the AWS SDK is an extra
    from flowverdict_cli.snapshot_load_balancers import (  # noqa: PLC0415 - as above
        with_load_balancers,
    )

    read = snapshot.read_snapshot(snapshot.user_client(region), vpc_ids)
    read = with_load_balancers(read, snapshot.user_client(region, "elbv2"), vpc_ids)
    for denied in read.denied:
        click.echo(f"flowverdict: left out, not permitted: {denied}", err=True)
    return read


def _noted(name: str, config: NetConfig) -> FixedConfig:
    for note in config.notes:
        click.echo(one_line(f"{name}: {note}"), err=True)
    return FixedConfig(config)
