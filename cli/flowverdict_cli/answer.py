"""The answer of ``flowverdict explain``: the problems, then the noise, then what the input lacks.

The problems are the alerts that the functions would send for the same records. What the functions
would leave to the digest is noise: one line for each kind of it at each place.
"""

from __future__ import annotations

import textwrap
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.alerts.grouping import detections
from flowverdict.alerts.model import Alert, Kind, Severity
from flowverdict.core.formatting import counted
from flowverdict.core.untrusted import one_line
from flowverdict.delivery.text import (
    confidence_in_words,
    copyable_commands,
    fix_heading,
    fix_notes,
    how_much,
    mark,
    shared_commands,
    split_command,
    when,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flowverdict.alerts.model import Notice, Notification, RemediationText
    from flowverdict.flows.model import RejectedFlow
    from flowverdict_cli.explain import Explained

MAX_WHOLE = 50  # problems that are shown whole; further problems are one line each
MAX_TITLES = 200
_MAX_NOISE = 12  # lines
_MAX_PORTS = 5
_LABEL = 10  # columns


class Line(NamedTuple):
    """A line of the answer; a line that is not to be folded may be copied, as a command is."""

    text: str = ""
    style: str = ""
    fold: bool = True
    indent: int = 0


STYLES = {
    Severity.CRITICAL: "bold red",
    Severity.HIGH: "bold yellow",
    Severity.MEDIUM: "bold",
    Severity.LOW: "",
    Severity.INFO: "",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Rejected traffic of one kind at one place that nobody has to act on."""

    what: str
    records: int
    flows: int
    addresses: int
    busiest: str | None
    ports: tuple[int, ...]

    def __str__(self) -> str:
        """Return the noise in one line."""
        sources = "1 address" if self.addresses == 1 else f"{self.addresses:,} addresses"
        most = f", most {self.busiest}" if self.addresses > 1 and self.busiest is not None else ""
        if self.addresses == 1 and self.busiest is not None:
            sources = self.busiest
        shown = ", ".join(str(port) for port in self.ports[:_MAX_PORTS])
        more = len(self.ports) - _MAX_PORTS
        ports = f"; {'port' if len(self.ports) == 1 else 'ports'} {shown}" if shown else ""
        rest = f" and {more:,} more" if more > 0 else ""
        return f"{counted(self.records, 'record')}  {self.what}: {sources}{most}{ports}{rest}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What rejected flows come to.

    Parameters
    ----------
    problems
        What a person should look at, the most severe first.
    noise
        The rest, the most records first.
    lacks
        What the input lacks that would make the answer surer, one sentence each.
    """

    problems: tuple[Notification, ...]
    noise: tuple[Noise, ...]
    lacks: tuple[str, ...]

    @property
    def noise_records(self) -> int:
        """How many rejected records are noise."""
        return sum(each.records for each in self.noise)


def notifications(explained: Explained) -> list[Notification]:
    """Return the alerts and notices for explained flows, the most severe first."""
    # Of some of the flows alone it is not known how many connections failed in all.
    found = detections(
        explained.explanations,
        explained.read.batch.flows,
        count_connections=not explained.some_left_out,
    )
    shown = (each.notification for each in found)
    return [each for each in shown if each.severity.rank <= explained.least.rank]


def answer_of(explained: Explained) -> Answer:
    """Return the answer to explained flows."""
    shown = notifications(explained)
    noise = [each for each in shown if _is_noise(each)]
    problems = tuple(each for each in shown if not _is_noise(each))
    return Answer(
        problems=problems,
        noise=_noise(each for each in noise if isinstance(each, Alert)),
        lacks=tuple(_lacks(explained)),
    )


def _is_noise(notification: Notification) -> bool:
    """Whether the functions would leave it to the digest, and no fix is offered for it."""
    return (
        isinstance(notification, Alert)
        and notification.severity.rank >= Severity.LOW.rank
        and notification.remediation is None
    )


def _noise(alerts: Iterable[Alert]) -> tuple[Noise, ...]:
    by_kind: defaultdict[tuple[str, str], list[Alert]] = defaultdict(list)
    for alert in alerts:
        where = alert.interfaces[0] if alert.interface_count == 1 else alert.vpc_id
        by_kind[_what(alert), where or "an unknown place"].append(alert)
    lines = [_noise_of(f"{what}, at {where}", same) for (what, where), same in by_kind.items()]
    return tuple(sorted(lines, key=lambda line: (-line.records, line.what)))


def _what(alert: Alert) -> str:
    what = "Scans" if alert.kind is Kind.SCAN else alert.headline
    # Inbound, only what comes from the internet is of low severity (``alerts.severity``).
    is_outside = alert.severity is Severity.LOW and alert.outbound is False
    return f"{what}, from the internet" if is_outside else what


def _noise_of(what: str, alerts: Sequence[Alert]) -> Noise:
    packets: Counter[str] = Counter()
    for alert in alerts:
        for remote in alert.top_remotes:
            packets[remote.address] += remote.packets
    ports: Counter[int] = Counter()
    for alert in alerts:
        if alert.service_port is not None:
            ports[alert.service_port] += alert.records
    not_named = sum(max(0, alert.remote_count - len(alert.top_remotes)) for alert in alerts)
    busiest = min(packets, key=lambda address: (-packets[address], address), default=None)
    return Noise(
        what=what,
        records=sum(alert.records for alert in alerts),
        flows=sum(alert.flows for alert in alerts),
        addresses=len(packets) + not_named,
        busiest=busiest,
        ports=tuple(sorted(ports, key=lambda port: (-ports[port], port))),
    )


def _lacks(explained: Explained) -> Iterator[str]:
    """Yield what the input lacks, the most important first."""
    batch = explained.read.batch
    flows = [each.flow for each in explained.explanations if each.flow.packets_lost is None]
    if not flows:
        return
    if not explained.has_rules:
        yield (
            "No rules: --rules FILE (flowverdict snapshot writes it) or --account names the rule "
            "that blocks and gives the fix."
        )
    if batch.counts.accepted == 0:
        yield (
            "Only rejected records: without the accepted ones a reply cannot be told from a "
            "request for sure."
        )
    missing = [name for name, logged in _DECIDING.items() if not any(map(logged, flows))]
    if missing:
        yield f"The format lacks {_listed(missing)}: a flow log that has more fields is surer."
    if batch.counts.skip_data:
        yield f"AWS lost records ({counted(batch.counts.skip_data, 'SKIPDATA record')})."
    if batch.counts.malformed.total():
        yield f"{counted(batch.counts.malformed.total(), 'malformed line')} (see standard error)."


def _logs_reason(flow: RejectedFlow) -> bool:
    return flow.reject_reasons != {None}


_DECIDING = {
    "tcp-flags": lambda flow: flow.traffic.tcp_flags is not None,
    "flow-direction": lambda flow: flow.direction_logged,
    "reject-reason": _logs_reason,
}


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def lines_of(answer: Answer) -> Iterator[Line]:
    """Yield the lines of the answer."""
    for problem in answer.problems[:MAX_WHOLE]:
        yield from _problem(problem)
        yield Line()
    titles = answer.problems[MAX_WHOLE : MAX_WHOLE + MAX_TITLES]
    for problem in titles:
        yield _title(problem)
    more = len(answer.problems) - MAX_WHOLE - len(titles)
    if more > 0:
        yield Line(f"and {more:,} more problems: --flows has every flow")
    if titles:
        yield Line()
    if answer.noise:
        yield from _noise_lines(answer)
        yield Line()
    if answer.lacks:
        yield Line("What would make this surer", "bold")
        for sentence in answer.lacks:
            yield Line(f"- {sentence}", indent=2)


def _noise_lines(answer: Answer) -> Iterator[Line]:
    total = counted(answer.noise_records, "rejected record")
    first = "Nothing here needs a fix. " if not answer.problems else ""
    yield Line(f"{first}Noise, nobody has to act: {total}", "bold")
    for noise in answer.noise[:_MAX_NOISE]:
        yield Line(f"- {one_line(str(noise))}", indent=2)
    rest = answer.noise[_MAX_NOISE:]
    if rest:
        records = counted(sum(each.records for each in rest), "record")
        yield Line(f"- {records}  of {len(rest):,} more kinds")


def _title(notification: Notification) -> Line:
    text = f"{mark(notification):<{_LABEL}}{one_line(notification.title)}"
    return Line(text, STYLES[notification.severity], indent=_LABEL)


def _problem(notification: Notification) -> Iterator[Line]:
    yield _title(notification)
    if isinstance(notification, Alert):
        yield from _alert(notification)
    else:
        yield from _notice(notification)


def _row(label: str, text: str) -> Line:
    return Line(f"  {label:<{_LABEL}}{one_line(text)}", indent=_LABEL + 2)


def _alert(alert: Alert) -> Iterator[Line]:
    ends = [end for end in (alert.local_end, alert.remote_end) if end is not None]
    yield _row("Who", "; ".join(ends) if ends else alert.scope)
    yield _row("How much", f"{how_much(alert)}; {when(alert)}")
    if alert.owners:
        yield _row("Owner", ", ".join(f"{name} {value}" for name, value in alert.owners))
    yield _row("Why", f"{alert.verdict_caption} ({confidence_in_words(alert)}). {alert.summary}")
    if alert.remediation is not None:
        yield from _fix(alert.remediation)
    elif alert.remediation_reason is not None:
        yield _row("Fix", alert.remediation_reason)
    for step in alert.next_steps:
        prose, command = split_command(step)
        yield _row("Look at", prose)
        if command is not None and command.isprintable():
            yield Line(f"    {command}", fold=False)
    for title in alert.explains:
        yield _row("Explains", title)


def _fix(fix: RemediationText) -> Iterator[Line]:
    heading = fix_heading(fix)
    yield _row("Fix", heading[5:-1] if heading.startswith("Fix (") else heading)
    commands = copyable_commands(fix)
    if commands is None:
        yield _row("", "a name in the command has characters that cannot be shown: not offered")
        return
    shared = shared_commands(fix)
    if shared is not None:
        note, lines = shared
        yield _row("", note)
        yield from (Line(f"    {line}", fold=False) for line in lines.splitlines())
    yield from (Line(f"    {line}", fold=False) for line in commands.splitlines())
    for note in fix_notes(fix):
        yield _row("", note)
    if all(map(str.isprintable, fix.undo)):
        for number, line in enumerate(fix.undo):
            if number == 0:
                yield _row("Undo", "")
            yield Line(f"    {line}", fold=False)


def _notice(notice: Notice) -> Iterator[Line]:
    yield _row("What", notice.summary)
    for section in notice.sections:
        for text in section.lines:
            yield _row("", text)


def folded(line: Line, width: int) -> list[str]:
    """Return a line as it is printed at a width in columns."""
    if not line.fold or len(line.text) <= width:
        return [line.text.rstrip()]
    return textwrap.wrap(
        line.text,
        width,
        subsequent_indent=" " * line.indent,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
