"""The page: problems with evidence and fix, charts, noise, remote addresses, data quality.

``flowverdict report`` makes it of files, the sweep of the problems that are stored. It is one file
that shows everything without a script and without the network, in light and dark, on a telephone
and on a desktop. Its policy (CSP) forbids scripts and everything that would have to be loaded.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.alerts.lead import blocker_in_words, name_of_end
from flowverdict.alerts.model import Alert, Severity
from flowverdict.core.formatting import counted
from flowverdict.delivery.page.charts import Bars, Link, bars, flow_map
from flowverdict.delivery.page.html import document, element
from flowverdict.delivery.page.style import STYLE
from flowverdict.delivery.page.time_line import TimeLine, time_line
from flowverdict.delivery.text import (
    FIRST_FACTS,
    LAST_FACTS,
    chosen,
    copyable_commands,
    facts,
    fix_heading,
    fix_notes,
    mark,
    reasons,
    safe_url,
    shared_commands,
)
from flowverdict.delivery.text import heading as heading_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from xml.etree.ElementTree import Element

    from flowverdict.alerts.counts import Remote
    from flowverdict.alerts.model import Link as ConsoleLink
    from flowverdict.alerts.model import (
        Notice,
        Notification,
        RemediationText,
    )

MAX_WHOLE = 200  # problems with all their details
MAX_ROWS = 2_000  # problems after these, one row each
MAX_LINKS = 24  # problems on the map
MAX_SPANS = 40  # problems on the time line
MAX_ENDED = 200  # problems that have ended, one row each
_OPEN = {Severity.CRITICAL, Severity.HIGH}
_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


class Ended(NamedTuple):
    """A problem that has ended: in one line, how and when."""

    severity: str
    problem: str
    how: str
    when: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """What a page shows.

    Parameters
    ----------
    title, subtitle
        What was read, and when.
    totals
        Counts with what they count, the most important first.
    problems
        The most severe first.
    more
        How many problems there are beside these.
    happened
        What happened to a problem, one line each, by its fingerprint.
    ended
        Problems that have ended, the last first; ``None`` where nobody knows of ends.
    more_ended
        How many have ended beside these.
    time_line
        Problems over time; ``None`` where nobody knows when they began.
    noise, lacks
        One line each.
    over_time
        Charts of rejected records over time, with their titles.
    remotes
        The remote addresses of most rejected packets.
    quality
        What is known of the data: one line each.
    """

    title: str
    subtitle: str
    totals: Sequence[tuple[int, str]]
    problems: Sequence[Notification] = ()
    more: int = 0
    happened: Mapping[str, Sequence[str]] = MappingProxyType({})
    ended: Sequence[Ended] | None = None
    more_ended: int = 0
    time_line: TimeLine | None = None
    noise: Sequence[str] = ()
    lacks: Sequence[str] = ()
    over_time: Sequence[tuple[str, Bars]] = ()
    remotes: Sequence[Remote] = field(default=())
    quality: Sequence[str] = ()


def render(page: Page) -> str:
    """Return the page as HTML."""
    head = element(
        "head",
        element("meta", charset="utf-8"),
        element("meta", name="viewport", content="width=device-width, initial-scale=1"),
        element("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        element("meta", name="referrer", content="no-referrer"),
        element("title", page.title),
        element("style", STYLE),
    )
    body = element("body", element("main", *_sections(page)))
    return document(element("html", head, body, lang="en"))


def _sections(page: Page) -> Iterator[Element]:
    yield element(
        "header",
        element("h1", page.title),
        element("p", page.subtitle, class_="quiet"),
        element(
            "ul",
            *(element("li", element("b", f"{count:,}"), f" {what}") for count, what in page.totals),
            class_="totals",
        ),
    )
    yield from _drawings(page)
    yield _section(
        "Problems",
        *(
            [_problem(each, page.happened) for each in page.problems[:MAX_WHOLE]]
            or [element("p", "Nothing here needs a fix.")]
        ),
        *_rows(page.problems[MAX_WHOLE:], page.more),
    )
    if page.ended is not None:
        yield _section("Ended in the last day", *_ended(page.ended, page.more_ended))
    if page.noise:
        yield _section("Noise: nobody has to act", _list(page.noise))
    if page.remotes:
        yield _section("Remote addresses", _remotes(page.remotes))
    if page.lacks:
        yield _section("What would make this surer", _list(page.lacks))
    if page.quality:
        yield _section("Data", _list(page.quality))


def _drawings(page: Page) -> Iterator[Element]:
    links = [_link(each) for each in page.problems if isinstance(each, Alert)]
    if links:
        yield _section(
            "Who could not reach whom",
            flow_map("Rejected traffic, and the rule that stands between", links[:MAX_LINKS]),
            *_rest(len(links), MAX_LINKS, "problem"),
        )
    if any(shown.intervals > 1 for _, shown in page.over_time):
        yield _section("Over time", *(bars(title, shown) for title, shown in page.over_time))
    if page.time_line is not None and page.time_line.spans:
        spans = page.time_line.spans
        yield _section(
            "Time line",
            time_line(
                "A mark is a message or an end, a filled one what a person did",
                page.time_line._replace(spans=spans[:MAX_SPANS]),
            ),
            *_rest(len(spans), MAX_SPANS, "problem"),
        )


def _section(heading: str, *children: Element) -> Element:
    return element("section", element("h2", heading), *children)


def _list(lines: Iterable[str]) -> Element:
    return element("ul", *(element("li", line) for line in lines))


def _rest(count: int, most: int, noun: str) -> list[Element]:
    more = count - most
    return (
        [element("p", f"and {counted(more, f'more {noun}')}", class_="quiet")] if more > 0 else []
    )


def _link(alert: Alert) -> Link:
    near = name_of_end(alert.local_end) or alert.near
    far = _far(alert)
    source, destination = (far, near) if alert.outbound is False else (near, far)
    return Link(
        source=source,
        rule=blocker_in_words(alert),
        destination=destination,
        style=alert.severity,
        records=alert.records,
    )


def _far(alert: Alert) -> str:
    if alert.path == "internet":
        return "the internet"
    if alert.remote_count > 1:
        return alert.far_network or f"{alert.remote_count:,} addresses"
    named = name_of_end(alert.remote_end)
    if named is not None:
        return named
    return alert.top_remotes[0].address if alert.top_remotes else (alert.far or "an unknown end")


def _problem(notification: Notification, happened: Mapping[str, Sequence[str]]) -> Element:
    heading = element(
        "summary",
        element("span", mark(notification), class_=f"badge {notification.severity}"),
        f" {heading_of(notification)}",
    )
    parts = [
        *(_alert(notification) if isinstance(notification, Alert) else _notice(notification)),
        *_happened(happened.get(notification.fingerprint, ())),
    ]
    attributes = {"open": "open"} if notification.severity in _OPEN else {}
    return element(
        "details", heading, *parts, class_="problem", id=notification.fingerprint, **attributes
    )


def _alert(alert: Alert) -> Iterator[Element]:
    known = facts(alert)
    yield _facts(chosen(known, FIRST_FACTS))
    if alert.remediation is not None:
        yield from _fix(alert.remediation)
    elif alert.remediation_reason is not None:
        yield element("p", element("b", "Fix: "), alert.remediation_reason)
    for heading, lines in (
        ("What to look at next", alert.next_steps),
        ("Why", [alert.summary, *reasons(alert)]),
        ("This also explains", alert.explains),
    ):
        if lines:
            yield element("h3", heading)
            yield _list(lines)
    yield from _places(alert.links)
    yield element("h3", "Details")
    yield _facts(chosen(known, LAST_FACTS))
    yield element("p", f"Fingerprint {alert.fingerprint}", class_="quiet")


def _happened(lines: Sequence[str]) -> Iterator[Element]:
    if lines:
        yield element("h3", "What happened")
        yield _list(lines)


def _facts(known: Sequence[tuple[str, str]]) -> Element:
    pairs = ((element("dt", label), element("dd", text)) for label, text in known)
    return element("dl", *(part for pair in pairs for part in pair))


def _places(links: Sequence[ConsoleLink]) -> Iterator[Element]:
    urls = [(link.title, safe_url(link.url)) for link in links]
    shown = [element("li", element("a", title, href=url)) for title, url in urls if url]
    if shown:
        yield element("h3", "Where to look")
        yield element("ul", *shown)


def _fix(fix: RemediationText) -> Iterator[Element]:
    yield element("h3", fix_heading(fix))
    commands = copyable_commands(fix)
    if commands is None:
        yield element("p", "A name in the command has characters that cannot be shown.")
        return
    shared = shared_commands(fix)
    if shared is not None:
        note, lines = shared
        yield element("p", note)
        yield from _commands(lines.splitlines())
    yield from _commands(commands.splitlines())
    yield _list(fix_notes(fix))
    if fix.undo and all(map(str.isprintable, fix.undo)):
        yield element("h3", "Undo")
        yield from _commands(fix.undo)


def _commands(lines: Iterable[str]) -> Iterator[Element]:
    for line in lines:
        yield element("pre", element("code", line))


def _notice(notice: Notice) -> Iterator[Element]:
    yield element("p", notice.summary)
    for section in notice.sections:
        yield element("h3", section.heading)
        yield _list(section.lines)


def _rows(rest: Sequence[Notification], more: int) -> Iterator[Element]:
    """Yield a table of problems; ``more`` are counted only."""
    if not rest:
        return
    rows = [
        element(
            "tr",
            element("td", element("span", each.severity, class_=f"badge {each.severity}")),
            element("td", each.title),
            element("td", f"{each.records:,}", class_="number"),
        )
        for each in rest[:MAX_ROWS]
    ]
    yield _table(("Severity", "Problem", "Records"), rows)
    yield from _rest(len(rest) + more, MAX_ROWS, "problem")


def _ended(ended: Sequence[Ended], more: int) -> Iterator[Element]:
    if not ended:
        yield element("p", "None.")
        return
    rows = [
        element(
            "tr",
            element("td", element("span", each.severity, class_=f"badge {each.severity}")),
            *(element("td", text) for text in each[1:]),
        )
        for each in ended[:MAX_ENDED]
    ]
    yield _table(("Severity", "Problem", "How it ended", "When"), rows)
    yield from _rest(len(ended) + more, MAX_ENDED, "problem")


def _remotes(remotes: Sequence[Remote]) -> Element:
    rows = [
        element(
            "tr",
            element("td", remote.address),
            element("td", f"{remote.flows:,}", class_="number"),
            element("td", f"{remote.packets:,}", class_="number"),
        )
        for remote in remotes
    ]
    return _table(("Address", "Flows", "Packets"), rows)


def _table(heads: Sequence[str], rows: Sequence[Element]) -> Element:
    head = element("thead", element("tr", *(element("th", text, scope="col") for text in heads)))
    return element("div", element("table", head, element("tbody", *rows)), class_="wide")
