"""The page is one file without scripts, whatever the texts of alerts and notices are."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from flowverdict.alerts.lead import lead
from flowverdict.delivery.page.charts import Bars
from flowverdict.delivery.page.page import MAX_ROWS, MAX_WHOLE, Ended, Page, render
from flowverdict.delivery.page.time_line import Moment, Span, TimeLine
from tests.helpers.any_notification import COUNT, NOTIFICATION, TEXT, several
from tests.helpers.hypothesis_weight import examples
from tests.helpers.notification_samples import digest, scenario
from tests.helpers.pages import Parsed, assert_inert

if TYPE_CHECKING:
    from flowverdict.alerts.model import Notification


def page_of(*problems: Notification) -> Page:
    return Page(title="Rejected traffic", subtitle="one file", totals=(), problems=problems)


LINES = several(TEXT, most=3)


@examples(0.6)
@given(problems=st.lists(NOTIFICATION, max_size=4), lines=LINES, title=TEXT, count=COUNT)
def test_no_text_of_a_notification_becomes_markup(
    problems: list[Notification], lines: tuple[str, ...], title: str, count: int
) -> None:
    bars = (title, Bars(count % 4_000_000_000, 60, {title: [count, 0, 1], "x": [0, 0, 0]}))
    page = Page(
        title=title,
        subtitle=title,
        totals=((count, title),),
        problems=problems,
        happened={each.fingerprint: lines for each in problems},
        ended=[Ended(title, title, title, title)],
        more_ended=count,
        time_line=TimeLine(
            0, 86_400, [Span(title, title, 0, None, [Moment(1, title, by_person=True)])]
        ),
        noise=lines,
        lacks=lines,
        over_time=(bars,),
        quality=lines,
    )
    parsed = assert_inert(render(page))
    assert parsed.elements.count("details") == len(problems)
    assert all(
        character.isprintable() or character == "\n" for character in parsed.text if character
    )


def test_a_problem_has_who_how_much_why_and_the_fix() -> None:
    alert = scenario("rules-outbound-response")
    text = assert_inert(render(page_of(alert))).text
    assert alert.remediation is not None
    for said in (
        lead(alert),
        alert.summary,
        alert.local_end,
        "1 flow, 1 record, 4 packets",
        *alert.remediation.commands,
        *alert.remediation.undo,
        *(item.detail for item in alert.evidence),
        alert.fingerprint,
    ):
        assert said is not None
        assert said in text
    # The map: who, the rule, to whom.
    places = [text.index(word) for word in ("shop-web", "network ACL shop-public", "the internet")]
    assert places == sorted(places)


def test_a_page_without_problems_says_so() -> None:
    assert "Nothing here needs a fix." in assert_inert(render(page_of())).text


def test_a_notice_is_shown_with_its_lines() -> None:
    notice = digest()
    text = assert_inert(render(page_of(notice))).text
    assert all(line in text for section in notice.sections for line in section.lines)


def test_only_so_many_problems_are_whole_the_rest_are_rows_or_counted() -> None:
    alert = scenario("rules-outbound-response")
    parsed = assert_inert(render(page_of(*[alert] * (MAX_WHOLE + MAX_ROWS + 3))))
    assert parsed.elements.count("details") == MAX_WHOLE
    assert parsed.elements.count("tr") == 1 + MAX_ROWS
    assert "and 3 more problems" in parsed.text


def test_bars_stand_on_each_other_and_are_as_high_as_they_count() -> None:
    shown = Bars(1_795_348_800, 300, {"critical": [3, 0, 1], "high": [1, 0, 0], "low": [0, 0, 0]})
    page = Page(title="t", subtitle="s", totals=(), over_time=(("By severity", shown),))
    rects = [
        dict(attributes)
        for tag, attributes in elements_of(render(page))
        if tag == "rect" and "s" in (dict(attributes).get("class") or "")
    ]
    assert [(each["class"], float(each["height"] or 0)) for each in rects] == [
        ("s0", 120.0),
        ("s1", 40.0),
        ("s0", 40.0),
    ]
    assert float(rects[1]["y"] or 0) + 40 == float(rects[0]["y"] or 0)
    text = Parsed(render(page)).text
    assert "2026-11-22T12:00:00Z: 3 critical" in text
    assert "low: 0" not in text


def test_a_time_line_has_a_bar_for_each_problem_and_a_mark_for_each_moment_in_it() -> None:
    begin, end = 1_795_348_800, 1_795_348_800 + 86_400
    spans = [
        Span(
            "goes on", "high", begin - 3_600, None, [Moment(begin - 60, "before", by_person=False)]
        ),
        Span(
            "over",
            "low",
            begin,
            begin + 43_200,
            [Moment(begin + 60, "acknowledged", by_person=True)],
        ),
    ]
    page = render(Page(title="t", subtitle="s", totals=(), time_line=TimeLine(begin, end, spans)))
    found = [dict(attributes) for _, attributes in elements_of(page)]
    bars = [each for each in found if (each.get("class") or "").startswith("span ")]
    assert [(each["class"], each["x"], each["width"]) for each in bars] == [
        ("span high", "240.0", "472.0"),
        ("span low over", "240.0", "236.0"),
    ]
    assert [each["class"] for each in found if (each.get("class") or "").startswith("mark")] == [
        "mark person"
    ]
    text = assert_inert(page).text
    assert "over: from 2026-11-22T12:00:00Z, ended 2026-11-23T00:00:00Z" in text
    assert "2026-11-22T12:01:00Z: acknowledged" in text


def elements_of(page: str) -> list[tuple[str, list[tuple[str, str | None]]]]:
    found: list[tuple[str, list[tuple[str, str | None]]]] = []

    class Reader(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            found.append((tag, attrs))

    Reader().feed(page)
    return found
