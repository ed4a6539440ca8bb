"""Options that commands share. Nothing heavy is imported here: ``--help`` answers at once."""

from __future__ import annotations

from importlib import import_module
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from flowverdict.delivery.renderers import RENDERERS

if TYPE_CHECKING:
    from collections.abc import Callable
    from enum import Enum

    from click.shell_completion import CompletionItem

    from flowverdict.core.addresses import Network

EXIT_USAGE = 2
EXIT_INCOMPLETE = 3
OUTPUTS = ("table", "json", "csv", "markdown", "html", "terraform", *RENDERERS)


class _Member(click.ParamType):  # type: ignore[type-arg]  # generic since click 8.5
    """A member of an enumeration, which is imported when the option is given."""

    def __init__(self, module: str, name: str) -> None:
        self.name = name
        self._module = module

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Enum:
        """Return the member."""
        members: type[Enum] = getattr(import_module(self._module), self.name)
        try:
            return members(value)
        except ValueError:
            self.fail(
                f"{value!r} is not one of {', '.join(str(each) for each in members)}", param, ctx
            )

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's
        param: click.Parameter,  # noqa: ARG002
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the members that begin with what is typed."""
        from click.shell_completion import CompletionItem  # noqa: PLC0415 - --help starts fast

        members: type[Enum] = getattr(import_module(self._module), self.name)
        names = (str(each.value) for each in members)
        return [CompletionItem(name) for name in names if name.startswith(incomplete)]


class _Range(click.ParamType):  # type: ignore[type-arg]  # as above
    """An address or a range of addresses."""

    name = "range"

    def convert(
        self,
        value: Any,  # noqa: ANN401 - click's
        param: click.Parameter | None,
        ctx: click.Context | None,
    ) -> Network:
        """Return the range; an address is a range of one."""
        try:
            return ip_network(str(value), strict=False)
        except ValueError:
            self.fail(f"{value!r} is not an address or a range", param, ctx)


_FILTERS = (
    click.option(
        "--severity",
        type=_Member("flowverdict.alerts.model", "Severity"),
        metavar="SEVERITY",
        help="Only what is at least this severe: critical, high, medium, low or info.",
    ),
    click.option("--interface", metavar="ENI", help="Only flows of this interface."),
    click.option("--vpc", metavar="VPC", help="Only flows of this VPC."),
    click.option(
        "--remote", type=_Range(), metavar="RANGE", help="Only flows from or to these addresses."
    ),
    click.option(
        "--port",
        type=click.IntRange(0, 65_535),
        metavar="PORT",
        help="Only flows of the service at this port.",
    ),
    click.option(
        "--verdict",
        type=_Member("flowverdict.verdict.model", "VerdictKind"),
        metavar="VERDICT",
        help="Only flows with this verdict, as JSON spells it.",
    ),
)


def selecting[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Add the filters to a command: the attributes of ``selection.Selection``."""
    for option in reversed(_FILTERS):
        command = option(command)
    return command


_READING = (
    click.option(
        "--log-format",
        metavar="FIELDS",
        help="Fields of lines without a header: names, or ${name} as EC2 shows them. "
        "\"auto\" tries AWS's known formats. Default: AWS's default format.",
    ),
    click.option(
        "--most",
        type=click.IntRange(min=0),
        default=75_000,
        show_default=True,
        metavar="FLOWS",
        help="Maximum number of flows to explain; the rest are only counted. "
        "0: all flows, at 2 KB of memory each.",
    ),
    click.option(
        "--since",
        metavar="TIME",
        help="Only flows with records of this time or later (2026-11-01 or 2026-11-01T12:00:00Z); "
        "files named after earlier times are not read. Default for a log group: its last hour.",
    ),
    click.option("--until", metavar="TIME", help="Only flows with records before this time."),
    click.option(
        "--aws-ranges",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="AWS's ip-ranges.json, newer than the list that comes with this version: names the "
        "service of an address that neither the records nor the rules name. No verdict depends "
        "on it.",
    ),
)


def reading[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Add the options that say what of the files is read, and with which rules."""
    for option in reversed(_READING):
        command = option(command)
    return rules_option(command)


def rules_option[**P, R](command: Callable[P, R]) -> Callable[P, R]:
    """Add ``--rules`` to a command, also as ``--config``, and ``--account``; see ``rules``."""
    command = click.option(
        "--account",
        is_flag=True,
        help="Read the rules from AWS, with your own credentials and Region, as `flowverdict "
        "snapshot` does.",
    )(command)
    return click.option(
        "--rules",
        "--config",
        "config",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Rules of the account, as `flowverdict snapshot` writes them.",
    )(command)
