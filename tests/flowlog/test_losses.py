"""What a malformed line may have been, and which flows a loss concerns."""

from __future__ import annotations

import pytest

from flowverdict.flowlog.line_reader import LineReader
from flowverdict.flowlog.losses import NOTHING_MISSING, Loss, Losses, Missing, Span, span_of_file
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT, RecordFormat

ENI, OTHER = "eni-0123456789abcdef0", "eni-0123456789abcdef1"
START = 1_795_348_800
HOME = Origin(account_id="111122223333", region="eu-west-1")


def line(**words: str) -> bytes:
    values = {
        "version": "2",
        "account-id": "111122223333",
        "interface-id": ENI,
        "srcaddr": "10.0.0.1",
        "dstaddr": "10.0.0.2",
        "srcport": "40000",
        "dstport": "443",
        "protocol": "six",  # the damage
        "packets": "1",
        "bytes": "60",
        "start": str(START),
        "end": str(START + 60),
        "action": "ACCEPT",
        "log-status": "OK",
    } | words
    return " ".join(values[name] for name in DEFAULT_FORMAT.names).encode()


def lost_by(text: bytes, *formats: RecordFormat) -> list[tuple[Loss, str | None, Span]]:
    reader = LineReader((DEFAULT_FORMAT,))
    if formats:
        reader.formats = formats
    assert reader.read(text) is None
    assert reader.counts.malformed.total() == 1
    return [(loss, interface, span) for loss, interface, _, span in reader.losses]


def test_a_line_that_is_damaged_in_one_word_is_of_its_interface_and_time() -> None:
    assert lost_by(line()) == [(Loss.MALFORMED, ENI, Span(START, START + 60))]


@pytest.mark.parametrize("interface", ["-", "eni-", "eni-XYZ", "en1-0123456789abcdef0"])
def test_a_line_without_a_valid_interface_may_be_of_any(interface: str) -> None:
    assert lost_by(line(**{"interface-id": interface})) == [
        (Loss.MALFORMED, None, Span(START, START + 60))
    ]


def test_a_time_that_is_no_number_is_not_known() -> None:
    assert lost_by(line(end="soon")) == [(Loss.MALFORMED, ENI, Span(START, None))]


@pytest.mark.parametrize("text", [line()[:50], line() + b" 1", b"\xff" * 9, b"x" * 70_000], ids=len)
def test_a_line_of_another_width_may_be_of_any_interface_and_time(text: bytes) -> None:
    assert lost_by(text) == [(Loss.MALFORMED, None, Span())]


@pytest.mark.parametrize("words", [{"action": "REJECT"}, {"log-status": "NODATA"}])
def test_what_shows_no_accepted_packet_is_no_loss(words: dict[str, str]) -> None:
    assert lost_by(line(**words)) == []


def test_lines_of_a_transit_gateway_show_no_connection() -> None:
    assert lost_by(b"one two three", TRANSIT_GATEWAY_FORMAT) == []
    assert lost_by(b"one two three", DEFAULT_FORMAT, TRANSIT_GATEWAY_FORMAT) != []


def test_many_damaged_interfaces_count_as_any() -> None:
    reader = LineReader((DEFAULT_FORMAT,))
    for number in range(1_005):
        reader.read(line(**{"interface-id": f"eni-{number:017x}"}))
    assert len([*reader.losses]) == 1_001
    assert any(interface is None for _, interface, *_ in reader.losses)


# --- whom a loss concerns -------------------------------------------------------------------------


SKIPPED = frozenset({Loss.SKIPPED})


def concerning(losses: Losses, interface: str | None = ENI, origin: Origin = HOME) -> Missing:
    return losses.concerning(interface, origin, START)


def test_a_loss_concerns_its_interface_alone() -> None:
    losses = Losses()
    losses.add(Loss.SKIPPED, ENI, HOME)
    assert concerning(losses) == Missing(surely=SKIPPED)
    assert concerning(losses, OTHER) == concerning(losses, None) == NOTHING_MISSING


def test_a_loss_without_an_interface_may_concern_its_account_and_region() -> None:
    losses = Losses()
    losses.add(Loss.NOT_READ, None, HOME)
    elsewhere = Origin(account_id="111122223333", region="us-east-1")
    may = Missing(perhaps=frozenset({Loss.NOT_READ}))
    assert concerning(losses) == concerning(losses, origin=Origin()) == may
    assert concerning(losses, None) == may
    assert concerning(losses, origin=elsewhere) == NOTHING_MISSING


@pytest.mark.parametrize(
    ("first", "concerns"),
    [(None, True), (START - 86_400, True), (START + 660, True), (START + 661, False)],
)
def test_what_was_lost_long_after_a_flow_does_not_concern_it(
    first: int | None, *, concerns: bool
) -> None:
    losses = Losses()
    losses.add(Loss.SKIPPED, ENI, span=Span(first, first))
    assert bool(concerning(losses)) is concerns


def test_the_time_of_two_losses_is_known_only_if_both_are() -> None:
    late, unknown = Losses(), Losses()
    late.add(Loss.SKIPPED, ENI, span=Span(START + 9_000, START + 9_060))
    unknown.add(Loss.SKIPPED, ENI)
    assert concerning(late) == NOTHING_MISSING
    late.merge(unknown)
    assert concerning(late) == Missing(surely=SKIPPED)
    assert len([*late]) == 1


def test_the_name_of_a_file_tells_its_time() -> None:
    name = "111122223333_vpcflowlogs_eu-west-1_fl-0a1b_20261122T1200Z_4f2a.log.gz"
    assert span_of_file(f"folder/{name}") == Span(START - 660, START + 299)
    for other in ("records.log", name.replace("T12", "T77"), name.replace("_20261122T1200Z", "")):
        assert span_of_file(other) == Span()
