"""Read by column, quickly or a record a line, a file says the same.

Requirement: "Equal to the plain path for any records, any field order, any format version, any
chunk boundary."
"""

from __future__ import annotations

import gzip
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flowverdict.core.errors import FlowVerdictError, ObjectError
from flowverdict.flowlog import column_reader, fast_line_reader
from flowverdict.flowlog.column_reader import read_columns
from flowverdict.flowlog.columnar import (
    NOT_LOGGED,
    WINDOW,
    AcceptedFlows,
    InterfaceFacts,
    RejectedLines,
    Windows,
)
from flowverdict.flowlog.fields import DEFAULT_FIELDS, FIELDS, FieldKind
from flowverdict.flowlog.flow_hash import key_hash
from flowverdict.flowlog.flow_key import end_of, key_of
from flowverdict.flowlog.line_reader import LineReader
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import (
    Action,
    FlowDirection,
    FlowRecord,
    LogStatus,
    RecordFormat,
)
from flowverdict.flows import collector, evidence
from flowverdict.flows.evidence import FlowsByWindow
from tests.helpers import line_by_line
from tests.helpers.flow_log_files import (
    ADDRESSES,
    FLOW_FIELDS,
    FORMATS,
    HASHED_FIELDS,
    HOSTILE_WORDS,
    VPC_FIELDS,
    files,
)
from tests.helpers.hypothesis_weight import examples

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flowverdict.flowlog.record_counts import RecordCounts


type Accepted = tuple[int, int, int, int]

type Facts = dict[tuple[int, str | None], InterfaceFacts]

SEED = 20_261_124


@dataclass(slots=True)
class Kept:
    """A sink that stores everything."""

    records: list[FlowRecord] = field(default_factory=list)
    rejects: list[FlowRecord] = field(default_factory=list)
    columns: Counter[Accepted] = field(default_factory=Counter)
    facts: Facts = field(default_factory=dict)

    def record(self, record: FlowRecord) -> None:
        self.records.append(record)

    def accepted(self, window: int, flows: AcceptedFlows) -> None:
        columns = [
            [int(value) for value in column]
            for column in (flows.hashes, flows.starts, flows.ends, flows.flags)
        ]
        rows = list(zip(*columns, strict=True))
        assert {window_of(end) for _, _, end, _ in rows} == {window}
        self.columns.update(rows)

    def rejected(self, window: int, lines: RejectedLines) -> None:
        records = [
            lines.record_format.parse(line.decode("ascii")) for line in lines.text.split(b"\n")
        ]
        assert [key_hash(key_of(record), SEED) for record in records] == [
            int(hashed) for hashed in lines.hashes
        ]
        assert {
            window_of(end if (end := end_of(record)) is not None else NOT_LOGGED)
            for record in records
        } == {window}
        self.rejects += records

    def learned(self, window: int, interface: str | None, facts: InterfaceFacts) -> None:
        assert (window, interface) not in self.facts
        self.facts[window, interface] = facts


def window_of(end: int) -> int:
    return 0 if end == NOT_LOGGED else end // WINDOW


def is_accepted(record: FlowRecord) -> bool:
    return record.action is Action.ACCEPT and record.log_status in {LogStatus.OK, None}


def hashed(record: FlowRecord) -> Accepted:
    times = (
        NOT_LOGGED if value is None else value
        for value in (record.start, end_of(record), record.tcp_flags)
    )
    return (key_hash(key_of(record), SEED), *times)  # type: ignore[return-value]


def facts_of(records: Iterable[FlowRecord], facts: Facts) -> Facts:
    """Add what each record shows of its interface to the facts."""
    for record in records:
        end = end_of(record)
        one = facts.setdefault(
            (
                window_of(NOT_LOGGED if end is None else end),
                record.interface_id or record.resource_id,
            ),
            InterfaceFacts(),
        )
        one.accepts += record.action is Action.ACCEPT
        if record.subnet_id is not None:
            one.subnets.add(record.subnet_id)
        if record.vpc_id is not None:
            one.vpc_id = min(one.vpc_id or record.vpc_id, record.vpc_id)
        if record.srcaddr is None or record.dstaddr is None or record.srcaddr.version != 4:
            continue
        if record.flow_direction is not None:
            one.own.add(
                record.dstaddr if record.flow_direction is FlowDirection.INGRESS else record.srcaddr
            )
        else:
            ends = {record.srcaddr, record.dstaddr}
            one.shared = ends if one.shared is None else one.shared & ends
    return facts


WAYS = {"columns": read_columns, "quick": fast_line_reader.read_file}


def say_the_same(content: bytes, headerless: tuple[RecordFormat, ...] = ()) -> None:
    """Read a file in all ways; check for the same records, or the same refusal."""
    plain = LineReader(headerless)
    try:
        records = list(
            line_by_line.read_file(
                io.BytesIO(content), name="file", reader=plain, headerless=headerless
            )
        )
    except FlowVerdictError as error:
        for read in WAYS.values():
            with pytest.raises(type(error), match=f"^{re.escape(str(error))}$"):
                read(
                    io.BytesIO(content),
                    Kept(),
                    name="file",
                    headerless=headerless,
                    seed=SEED,
                    windows=Windows(apart=True),
                )
        return
    for read in WAYS.values():
        kept, reader = Kept(), LineReader(headerless)
        read(
            io.BytesIO(content),
            kept,
            name="file",
            reader=reader,
            headerless=headerless,
            seed=SEED,
            windows=Windows(apart=True),
        )
        assert_same(kept, reader, records, plain)


def assert_same(
    kept: Kept, reader: LineReader, records: list[FlowRecord], plain: LineReader
) -> None:
    assert reader.counts == plain.counts
    assert reader.samples == plain.samples
    assert reader.formats == plain.formats
    others = [record for record in kept.records if not is_accepted(record)]
    assert Counter(others + kept.rejects) == Counter(
        record for record in records if not is_accepted(record)
    )
    accepted = [record for record in records if is_accepted(record)]
    unusual = [record for record in kept.records if is_accepted(record)]
    assert kept.columns + Counter(map(hashed, unusual)) == Counter(map(hashed, accepted))
    assert facts_of(unusual, kept.facts) == facts_of(accepted + kept.rejects, {})


@pytest.fixture(scope="module", autouse=True)
def soon_by_column_again() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_reader, "_LINES_AFTER_HEADER", 2)
        yield


# From whole files in one chunk to most lines in two chunks, and few accepted lines held.
@pytest.fixture(
    scope="module",
    params=[
        pytest.param(1 << 20, marks=pytest.mark.slow),
        pytest.param(4096, marks=pytest.mark.slow),
        97,
    ],
)
def chunk(request: pytest.FixtureRequest) -> Iterator[int]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(column_reader, "CHUNK_BYTES", request.param)
        patch.setattr(fast_line_reader, "_MAX_ROWS", 3 if request.param == 97 else 2_000)
        yield request.param


@examples(1.5)
@given(files())
@example(b"action\nACCEPT\n" + b"ACCEPT\n" * 3)
@example(b"action srcaddr\n\nACCEPT 1.2.3.4")
def test_a_file_says_the_same_by_column_and_line_by_line(chunk: int, content: bytes) -> None:
    assert chunk == column_reader.CHUNK_BYTES
    say_the_same(content)


@examples(0.5)
@given(files(), st.lists(FORMATS, max_size=2), st.data())
def test_a_file_in_pieces_without_header_or_damaged_says_the_same(
    content: bytes, headerless: list[RecordFormat], data: st.DataObject
) -> None:
    say_the_same(content[data.draw(st.integers(0, 200)) :], tuple(headerless))
    cut = data.draw(st.integers(0, len(content)))
    packed = gzip.compress(content[:cut]) + gzip.compress(content[cut:])
    say_the_same(packed)
    say_the_same(packed[: data.draw(st.integers(0, len(packed)))])


def test_a_gzip_cut_after_the_first_byte_of_a_member_is_truncated() -> None:
    packed = gzip.compress(b" ".join(name.encode() for name in DEFAULT_FIELDS) + b"\n") + b"\x1f"
    say_the_same(packed)
    with pytest.raises(ObjectError, match="truncated gzip"):
        list(line_by_line.read_file(io.BytesIO(packed), name="file"))


_FINE_WORDS = {
    FieldKind.INTEGER: b"6",
    FieldKind.ADDRESS: b"10.0.0.1",
    FieldKind.ACTION: b"ACCEPT",
    FieldKind.LOG_STATUS: b"OK",
    FieldKind.FLOW_DIRECTION: b"egress",
    FieldKind.REJECT_REASON: b"-",
    FieldKind.TEXT: b"eni-0123456789abcdef0",
    FieldKind.ACCOUNT: b"123456789012",
    FieldKind.ID: b"eni-0123456789abcdef0",
}
_ODD_WORDS = [
    *HOSTILE_WORDS,
    *(str(address).encode() for address in ADDRESSES),
    *(
        b"- 0 00 1 65535 65536 255 256 99999999 100000000 1700000001 2147483647 2147483648 "
        b"REJECT NODATA ingress OK BPA"
    ).split(),
    *(b"9223372036854775807 9223372036854775808 253402300799 253402300800").split(),
    *(b"9" * digits for digits in range(1, 22)),
    *(b"x" * length for length in (7, 8, 9, 15, 16, 17, 23, 24, 25, 2_047, 2_048)),
]


_FIELD_ORDERS = [
    DEFAULT_FIELDS,
    tuple(VPC_FIELDS),
    tuple(VPC_FIELDS)[::-1],
    (*FLOW_FIELDS, *HASHED_FIELDS),
]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("chunk", "names"),
    [*((1 << 20, names) for names in _FIELD_ORDERS), (4096, DEFAULT_FIELDS), (97, DEFAULT_FIELDS)],
    indirect=["chunk"],
)
def test_any_odd_word_in_any_place_of_a_fine_line_says_the_same(
    chunk: int, names: tuple[str, ...]
) -> None:
    assert chunk == column_reader.CHUNK_BYTES
    fine = [
        b"1700000001" if name in {"start", "end"} else _FINE_WORDS[FIELDS[name].kind]
        for name in names
    ]
    odd = [
        [*fine[:place], word, *fine[place + 1 :]]
        for place in range(len(names))
        for word in _ODD_WORDS
    ]
    say_the_same(b"\n".join(map(b" ".join, [[name.encode() for name in names], fine, *odd, fine])))


@dataclass(frozen=True, slots=True)
class Collecting:
    """The settings of a collection: the most flows, and the most lines held before collecting."""

    distinct: bool
    apart: bool
    most: int | None
    most_held: int

    def flows(self) -> FlowsByWindow:
        """Return a collector with these settings."""
        origin = Origin(account_id="123456789012", region="eu-west-1")
        return FlowsByWindow(SEED, origin, apart=self.apart, distinct=self.distinct, most=self.most)


@pytest.mark.parametrize("chunk", [97], indirect=True)  # the tests above try other chunks
@pytest.mark.usefixtures("chunk")
@examples(2)
@given(
    files(),
    st.builds(
        Collecting,
        st.booleans(),
        st.booleans(),
        st.sampled_from([None, 1, 3]),
        most_held=st.sampled_from([2, 50_000]),
    ),
)
def test_what_is_collected_by_column_is_what_is_collected_record_by_record(
    content: bytes, collecting: Collecting
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(evidence, "MAX_FLOWS", collecting.most)
        patch.setattr(collector, "_MOST_HELD", collecting.most_held)
        plain, by_column = collecting.flows(), collecting.flows()
        try:
            for record in line_by_line.read_file(
                io.BytesIO(content), name="file", reader=LineReader(())
            ):
                plain.record(record)
        except FlowVerdictError:
            return  # the law above checks that both refuse the file
        read_columns(
            io.BytesIO(content), by_column, name="file", seed=SEED, windows=by_column.numbers
        )
        assert content_of(by_column) == content_of(plain)


def content_of(collected: FlowsByWindow) -> dict[int, tuple[object, ...]]:
    return {
        window: (
            one.rejects,
            one.aggregated,
            one.interfaces,
            one.accepted_index.pack(),
            [*one.rejected()],
        )
        for window, one in collected.windows.items()
    }


@given(files(), st.lists(FORMATS, min_size=1, max_size=3))
def test_messages_say_the_same(content: bytes, formats: list[RecordFormat]) -> None:
    messages = content.decode("latin-1").split("\n")
    plain, reader, kept = (
        LineReader(tuple(formats), headers=False),
        LineReader(tuple(formats), headers=False),
        Kept(),
    )
    records = list(line_by_line.read_messages(messages, plain))
    fast_line_reader.read_messages(messages, reader, kept, SEED, Windows(apart=True))
    assert_same(kept, reader, records, plain)


# --- what is broken -------------------------------------------------------------------------------


@given(st.integers(0, 10**6), st.integers(1, 255), st.binary(max_size=3))
@example(25, 255, b"")  # in the middle of what is packed: ISA-L has an error of its own for that
@examples(3)
def test_a_damaged_gzip_is_read_alike_or_refused_by_name_in_all_ways(
    at: int, change: int, more: bytes
) -> None:
    line = (
        b"2 123456789012 eni-1 203.0.113.9 10.0.0.5 %d 443 6 1 40 1795348800 1795348805 ACCEPT OK\n"
    )
    packed = bytearray(
        gzip.compress(
            " ".join(DEFAULT_FIELDS).encode()
            + b"\n"
            + b"".join(line % port for port in range(40_000, 40_300))
        )
    )
    packed[at % len(packed)] ^= change
    outcomes: list[RecordCounts | None] = []
    for read in WAYS.values():
        reader = LineReader(())
        try:
            read(
                io.BytesIO(bytes(packed) + more),
                Kept(),
                name="file",
                reader=reader,
                windows=Windows(apart=True),
            )
        except ObjectError:
            outcomes.append(None)
        else:
            outcomes.append(reader.counts)
    assert outcomes[0] == outcomes[1]


def test_a_name_of_megabytes_in_the_gzips_header_is_refused_by_name() -> None:
    content = gzip.compress(b"")[:3] + b"\x08" + bytes(6) + b"n" * (5 << 20)
    with pytest.raises(ObjectError, match="broken gzip: Gzip header exceeds"):
        read_columns(io.BytesIO(content), Kept(), name="file")
