"""Times for people: the day and the zone stand where a reader needs them."""

from __future__ import annotations

from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import pytest

from flowverdict.delivery.times import moment, slack_moment, span

NOON = int(datetime(2026, 11, 22, 12, 0, 5, tzinfo=UTC).timestamp())
SUMMER_ENDS = int(datetime(2026, 10, 25, 0, 59, 0, tzinfo=UTC).timestamp())  # 02:59 CEST
BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("first", "last", "zone", "told"),
    [
        (NOON, NOON + 20, UTC, "22 Nov 2026 12:00:05 to 12:00:25 UTC"),
        (NOON, NOON, UTC, "22 Nov 2026 12:00:05 UTC"),
        (NOON, NOON + 43_200, UTC, "22 Nov 2026 12:00:05 to 23 Nov 2026 00:00:05 UTC"),
        (NOON, NOON + 20, BERLIN, "22 Nov 2026 13:00:05 to 13:00:25 CET"),
        (SUMMER_ENDS, SUMMER_ENDS + 120, BERLIN, "25 Oct 2026 02:59:00 CEST to 02:01:00 CET"),
        (
            NOON,
            NOON + 20,
            ZoneInfo("America/Sao_Paulo"),
            "22 Nov 2026 09:00:05 to 09:00:25 UTC-03",
        ),
        (None, NOON, UTC, "22 Nov 2026 12:00:05 UTC"),
        (NOON, None, UTC, "22 Nov 2026 12:00:05 UTC"),
        (None, None, UTC, "unknown"),
    ],
)
def test_a_range_has_the_day_and_the_zone_once_unless_they_differ(
    first: int | None, last: int | None, zone: tzinfo, told: str
) -> None:
    assert span(first, last, zone) == told


def test_the_epoch_is_a_time() -> None:
    assert moment(0) == "1 Jan 1970 00:00:00 UTC"
    assert slack_moment(0).startswith("<!date^0^")


def test_slack_shows_each_reader_their_own_time() -> None:
    assert slack_moment(NOON) == "<!date^1795348805^{date_short_pretty} {time}|22 Nov 12:00 UTC>"
    assert slack_moment(None) == "unknown"
