"""Evidence of neighbouring windows, and of several flow logs that report one flow.

Its laws are in ``tests/laws/test_evidence_laws.py``.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import pytest

from flowverdict.core.errors import EvidenceError
from flowverdict.flowlog.columnar import MAX_WINDOWS, WINDOW
from flowverdict.flowlog.fields import MAX_EPOCH
from flowverdict.flowlog.line_reader import LineReader
from flowverdict.flowlog.losses import NOTHING_MISSING, Loss, Missing
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import RecordFormat
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import Evidence, FlowsByWindow, flows_of
from flowverdict.flows.evidence_codec import pack, unpack
from flowverdict.flows.read_source import SourceRead, read_log_events, read_object
from flowverdict.flows.stored_evidence import evidence_for
from tests.helpers.flow_log_lines import (
    CLIENT,
    DEFAULT,
    NUMBER,
    SERVER,
    START,
    content_of,
    key_of,
    reply,
    request,
    wide,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from flowverdict.flows.model import RejectedFlow
    from flowverdict.flows.stored_evidence import StoredEvidence

SEED = 7


def file_of(flow_log_id: str, lines: Sequence[str]) -> SourceRead:
    return read_object(io.BytesIO(content_of(lines)), name=key_of(flow_log_id), seed=SEED)


def stored(*sources: SourceRead) -> dict[int, list[Evidence]]:
    """Return the evidence of these sources as windows are judged from it: packed and unpacked."""
    evidence: dict[int, list[StoredEvidence]] = {}
    for source in sources:
        for number, piece in source.windows.items():
            evidence.setdefault(number, []).append(unpack(pack(piece)))
    return evidence_for(evidence, evidence, SEED)


def evaluated(*sources: SourceRead) -> list[RejectedFlow]:
    """Return the rejected flows of all windows, in the order of the windows."""
    evidence = stored(*sources)
    return [
        flow for number in sorted(evidence) for flow in flows_of(number, evidence, SEED).rejected()
    ]


def counted(flows: Sequence[RejectedFlow]) -> dict[int | None, int]:
    """Count the packets by source port; each port is a flow."""
    packets: dict[int | None, int] = {}
    for flow in flows:
        packets[flow.key.source_port] = packets.get(flow.key.source_port, 0) + flow.traffic.packets
    return packets


# --- neighbours -----------------------------------------------------------------------------------


@pytest.mark.parametrize("request_at", [-WINDOW, 0, WINDOW, 2 * WINDOW])
def test_what_the_windows_around_it_accepted_is_known(request_at: int) -> None:
    accepted = file_of("fl-1", [request(40_001, request_at, 0, 1, "ACCEPT")])
    (flow,) = evaluated(file_of("fl-1", [reply(40_001, 10, 0)]), accepted)
    assert flow.mirror is not None
    assert flow.mirror.first_start == START + request_at
    assert flow.accepts_logged


@pytest.mark.parametrize("request_at", [-2 * WINDOW, 3 * WINDOW])
def test_what_windows_farther_away_accepted_is_not(request_at: int) -> None:
    accepted = file_of("fl-1", [request(40_001, request_at, 0, 1, "ACCEPT")])
    (flow,) = evaluated(file_of("fl-1", [reply(40_001, 10, 0)]), accepted)
    assert flow.mirror is None


def test_an_interface_without_rejects_is_known_by_the_address_that_a_reject_names() -> None:
    rejected = file_of("fl-1", [wide(request(40_001, 0))])
    accepted = wide(request(40_002, -WINDOW, action="ACCEPT"))
    other_end = accepted.replace("eni-1", "eni-2").replace("ingress", "egress")
    (flow,) = evaluated(rejected, file_of("fl-2", [other_end]))
    assert flow.same_subnet is True
    assert flow.accepts_logged_elsewhere


def test_each_window_counts_its_own_rejects_and_losses_and_no_others() -> None:
    lost = "2 123456789012 eni-1 - - - - - - - {0} {0} - SKIPDATA"
    lines = [
        line
        for at in (-WINDOW, 0, WINDOW)
        for line in (request(40_001, at, 0, 2), lost.format(START + at))
    ]
    evidence = stored(file_of("fl-1", lines))
    assert sorted(evidence) == [NUMBER - 1, NUMBER, NUMBER + 1]
    for number in evidence:
        flows = flows_of(number, evidence, SEED)
        (flow,), (losses,) = list(flows.rejected()), list(flows.lost())
        assert (flow.traffic.packets, flow.traffic.first_start) == (2, number * WINDOW)
        assert (losses.records, losses.first_start) == (1, number * WINDOW)


def test_what_is_judged_is_not_changed_by_judging_it() -> None:
    evidence = stored(
        file_of("fl-1", [request(40_001, 0, 0, 2)]), file_of("fl-2", [request(40_001, 0, 0, 2)])
    )
    first = list(flows_of(NUMBER, evidence, SEED).rejected())
    assert list(flows_of(NUMBER, evidence, SEED).rejected()) == first


# --- what is missing ------------------------------------------------------------------------------

CUT = "2 123456789012 eni-1 203.0."
CUT_LINE = Missing(perhaps=frozenset({Loss.MALFORMED}))


def losses_by_flow(*sources: SourceRead) -> dict[tuple[int, str | None], Missing]:
    """Return why records may be missing, by the window and interface of a rejected flow."""
    evidence = stored(*sources)
    return {
        (number, flow.key.interface): flow.losses
        for number in sorted(evidence)
        for flow in flows_of(number, evidence, SEED).rejected()
    }


def test_a_line_of_no_known_time_may_be_of_all_windows_of_its_file() -> None:
    lines = [request(40_001, at, 0) for at in (0, WINDOW)]
    assert losses_by_flow(file_of("fl-1", [*lines, CUT])) == {
        (NUMBER, "eni-1"): CUT_LINE,
        (NUMBER + 1, "eni-1"): CUT_LINE,
    }


def test_a_damaged_line_is_of_the_interface_and_the_window_that_it_names() -> None:
    eni = "eni-0123456789abcdef0"
    lines = [
        request(40_001, at, 0).replace("eni-1", name)
        for at in (0, 20 * WINDOW)
        for name in (eni, "eni-2")
    ]
    damaged = request(40_002, 0, 0, action="ACCEPT").replace("eni-1", eni).replace("22", "2X2", 1)
    assert losses_by_flow(file_of("fl-1", [*lines, damaged])) == {
        (NUMBER, eni): Missing(surely=frozenset({Loss.MALFORMED})),
        (NUMBER, "eni-2"): NOTHING_MISSING,
        (NUMBER + 20, eni): NOTHING_MISSING,
        (NUMBER + 20, "eni-2"): NOTHING_MISSING,
    }


def test_a_file_of_which_no_line_is_left_is_missing_in_the_window_of_its_name() -> None:
    damaged = file_of("fl-2", [f"{CUT}{number}" for number in range(3)])
    assert list(damaged.windows) == [NUMBER]
    whole = file_of("fl-1", [request(40_001, 0, 0)])
    assert losses_by_flow(whole, damaged) == {(NUMBER, "eni-1"): CUT_LINE}


@pytest.mark.parametrize(("windows", "concerns"), [(1, True), (2, False)])
def test_what_aws_lost_in_a_neighbouring_window_is_missing_too(
    windows: int, *, concerns: bool
) -> None:
    at, skipped = START - windows * WINDOW, frozenset({Loss.SKIPPED})
    lost = file_of("fl-2", [f"2 123456789012 eni-1 - - - - - - - {at} {at} - SKIPDATA"])
    found = losses_by_flow(file_of("fl-1", [request(40_001, 0, 0)]), lost)
    assert found == {(NUMBER, "eni-1"): Missing(surely=skipped if concerns else frozenset())}


# --- two flow logs that report one flow -----------------------------------------------------------


def test_a_flow_that_two_flow_logs_of_one_format_report_counts_once() -> None:
    lines = [request(port, 0, 50, 3) for port in (40_001, 40_002)]
    vpc, subnet = file_of("fl-aa", lines), file_of("fl-bb", lines)
    assert (
        counted(evaluated(vpc, subnet)) == counted(evaluated(subnet, vpc)) == {40_001: 3, 40_002: 3}
    )


def test_two_files_of_one_flow_log_are_both_counted() -> None:
    # A busy interval is split over several files.
    first, second = (file_of("fl-aa", [request(40_001, at, 50, 3)]) for at in (0, 60))
    assert counted(evaluated(first, second)) == {40_001: 6}


def test_of_two_formats_the_one_that_says_more_is_counted_and_what_only_the_other_has_too() -> None:
    narrow = file_of("fl-aa", [request(40_001, 0, 50, 3), request(40_009, 0, 50, 1)])
    wider = file_of("fl-bb", [wide(request(40_001, 0, 50, 3))])
    for flows in (evaluated(narrow, wider), evaluated(wider, narrow)):
        assert counted(flows) == {40_001: 3, 40_009: 1}
        assert {flow.key.source_port: flow.direction_logged for flow in flows} == {
            40_001: True,
            40_009: False,
        }


@pytest.mark.parametrize("start", range(0, 600, 60))
def test_a_minutes_and_ten_minutes_records_of_one_flow_count_once(start: int) -> None:
    # Ten minutes of a flow: ten records of a flow log, and a single record of another, which ends
    # up to 10 minutes after the first of the ten.
    minutes = [wide(request(40_001, start + 60 * minute, 59, 1)) for minute in range(10)]
    ten = [request(40_001, start, 599, 10), request(40_009, start, 599, 10)]
    narrow, wider = file_of("fl-aa", ten), file_of("fl-bb", minutes)
    assert counted(evaluated(narrow, wider)) == {40_001: 10, 40_009: 10}


@pytest.mark.parametrize("start", range(0, 600, 60))
def test_ten_minutes_records_that_say_more_count_once_too(start: int) -> None:
    minutes = [request(40_001, start + 60 * minute, 59, 1) for minute in range(10)]
    narrow, wider = (
        file_of("fl-aa", minutes),
        file_of("fl-bb", [wide(request(40_001, start, 599, 10))]),
    )
    assert counted(evaluated(narrow, wider)) == {40_001: 10}


def test_what_the_flow_log_that_is_not_counted_accepted_is_known() -> None:
    narrow = file_of("fl-aa", [reply(40_001, 10, 0), request(40_001, 0, 0, 1, "ACCEPT")])
    wider = file_of("fl-bb", [wide(reply(40_001, 10, 0))])
    (flow,) = evaluated(narrow, wider)
    assert flow.direction_logged
    assert flow.mirror is not None


# --- log events -----------------------------------------------------------------------------------


def log_events(*lines: str) -> SourceRead:
    return read_log_events(
        lines,
        name="group:stream",
        formats=(RecordFormat.from_header(DEFAULT),),
        origin=Origin(account_id="123456789012"),
        seed=SEED,
    )


def test_two_equal_lines_count_once_in_one_event_and_in_two() -> None:
    line = request(40_001, 0, 50, 3)
    later = request(40_001, 60, 50, 4)
    assert counted(evaluated(log_events(line, line, later))) == {40_001: 7}
    assert counted(evaluated(log_events(line), log_events(line, later), log_events(later))) == {
        40_001: 7
    }


# --- hostile times --------------------------------------------------------------------------------


def test_a_file_of_times_all_over_has_a_few_windows_and_loses_nothing() -> None:
    reader = LineReader((RecordFormat.from_header(DEFAULT),))
    flows = FlowsByWindow(SEED, Origin())
    times = [*range(0, MAX_EPOCH, MAX_EPOCH // 1_000), MAX_EPOCH]
    for port, at in enumerate(times):
        record = reader.read(
            f"2 123456789012 eni-1 {CLIENT} {SERVER} {port} 22 6 1 40 {at} {at} REJECT OK".encode()
        )
        assert record is not None
        flows.record(record)
    assert len(flows.windows) == MAX_WINDOWS
    ports = {
        key.source_port for collector in flows.windows.values() for key, _ in collector.rejects
    }
    assert ports == set(range(len(times)))


def test_what_ended_at_no_known_time_has_a_window_too() -> None:
    source = read_object(
        io.BytesIO(
            f"{DEFAULT}\n2 123456789012 eni-1 {CLIENT} {SERVER} 1 22 6 1 40 - - REJECT OK".encode()
        ),
        name="x",
        seed=SEED,
    )
    assert list(source.windows) == [0]
    assert counted(evaluated(source)) == {1: 1}


# --- what cannot be read --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        b"",
        b"FVE1",
        b"FVE2",
        b"FVE3" + bytes(100),
        b"<html>",
        pack(Evidence(flows=FlowCollector()))[:-1],
    ],
)
def test_bytes_that_are_not_evidence_raise_an_evidence_error(broken: bytes) -> None:
    with pytest.raises(EvidenceError, match=r"^evidence cannot be read: "):
        unpack(broken)
