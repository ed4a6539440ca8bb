"""Several problems that ended alike, in one message."""

from __future__ import annotations

from dataclasses import replace

from flowverdict.alerts.ending import Ending
from flowverdict.alerts.ends import ends_of
from flowverdict.alerts.model import Alert, Kind, Severity, Status
from tests.helpers.notification_samples import scenario


def ended(number: int, ending: Ending = Ending.QUIET) -> Alert:
    alert = scenario("rules-outbound-response")
    status = Status.REMINDER if ending is Ending.UNKNOWN else Status.RESOLVED
    return replace(
        alert.with_status(status, f"Reason {number}.", ending), fingerprint=f"{number:032x}"
    )


def test_notice_has_the_ending_of_its_problems_and_names_each() -> None:
    low = replace(ended(2), severity=Severity.LOW, first_seen=1, last_seen=2)
    notice = ends_of([low, ended(1)])
    assert (notice.kind, notice.status, notice.ending) == (
        Kind.ENDS,
        Status.RESOLVED,
        Ending.QUIET,
    )
    assert notice.title == "2 problems went quiet"
    assert (notice.severity, notice.first_seen) == (Severity.CRITICAL, 1)
    (section,) = notice.sections
    assert [line.partition(": replies")[0] for line in section.lines] == [
        "shop-web :443 (HTTPS)"
    ] * 2
    assert section.lines[0].endswith(f"Reason 1. Fingerprint {1:032x}")


def test_unknown_is_never_resolved() -> None:
    notice = ends_of([ended(1, Ending.UNKNOWN), ended(2, Ending.UNKNOWN)])
    assert (notice.status, notice.title) == (
        Status.REMINDER,
        "2 problems may go on: no flow logs show it",
    )


def test_very_many_are_counted() -> None:
    (section,) = ends_of([ended(number) for number in range(500)]).sections
    assert len(section.lines) == 31
    assert section.lines[-1] == "and 470 more problems"


def test_order_does_not_matter_and_each_sweep_has_its_own() -> None:
    both = [ended(1), ended(2)]
    assert ends_of(both) == ends_of(both[::-1])
    later = [alert.with_status(Status.RESOLVED, "Later.", Ending.QUIET) for alert in both]
    assert ends_of(later).fingerprint != ends_of(both).fingerprint
