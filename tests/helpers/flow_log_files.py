"""Hypothesis strategies of flow log files: fine, odd and damaged lines in any format.

Each field has few values, so that interfaces and flows occur again.
"""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address
from typing import TYPE_CHECKING

from hypothesis import strategies as st

from flowverdict.flowlog.fields import (
    DEFAULT_FIELDS,
    FIELDS,
    TRANSIT_GATEWAY_FIELDS,
    Field,
    FieldKind,
)
from flowverdict.flowlog.line_reader import MAX_LINE_BYTES
from flowverdict.flowlog.records import (
    DEFAULT_FORMAT,
    Action,
    FlowDirection,
    LogStatus,
    RecordFormat,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.core.addresses import Address

_TEXTS = [
    "a",
    "eni-0123456789abcdef0",
    "vpc-1",
    "subnet-0a1b2c3d4e5f67890",
    "12345678",
    "1234567890123456",
    "x" * 70,
]
_V4 = [
    "10.0.0.1",
    "10.0.0.2",
    "172.31.255.254",
    "0.0.0.0",  # noqa: S104
    "255.255.255.255",
    "8.8.8.8",
    "100.100.100.100",
]
_V6 = [
    "::",
    "::1",
    "2001:db8::1",
    "::ffff:1.2.3.4",
    "2001:db8:1234:a100:8d6e:3477:df66:f105",
    "fe80::",
]
ADDRESSES: list[Address] = [*map(IPv4Address, _V4), *map(IPv6Address, _V6)]


def values(described: Field) -> st.SearchStrategy[object]:
    """Return the usual and the extreme values of a field; ``None`` stands for a dash."""
    match described.kind:
        case FieldKind.INTEGER if described.name in {"start", "end"}:
            return st.integers(1_700_000_000, 1_700_000_999) | st.sampled_from(
                [None, 0, 999_999_999, 9_999_999_999, 10**10]
            )
        case FieldKind.INTEGER:
            some = [
                None,
                0,
                6,
                10,
                255,
                443,
                9_999,
                65_535,
                99_999_999,
                100_000_000,
                10**15,
                10**16,
                10**17,
            ]
            return st.sampled_from(
                [one for one in some if one is None or one <= described.maximum]
                + [described.maximum]
            )
        case FieldKind.ADDRESS:
            return st.sampled_from([*ADDRESSES, None]) | st.sampled_from(ADDRESSES[:3])
        case FieldKind.ACTION:
            return st.sampled_from([*[Action.ACCEPT] * 5, Action.REJECT, None])
        case FieldKind.LOG_STATUS:
            return st.sampled_from(
                [*[LogStatus.OK] * 8, LogStatus.NODATA, LogStatus.SKIPDATA, None]
            )
        case FieldKind.FLOW_DIRECTION:
            return st.sampled_from([*FlowDirection, *FlowDirection, None])
        case FieldKind.REJECT_REASON:
            return st.sampled_from(["-", "BPA"])
        case FieldKind.TEXT | FieldKind.ACCOUNT | FieldKind.ID:
            return _texts(described)


def _texts(described: Field) -> st.SearchStrategy[object]:
    if described.kind is FieldKind.ACCOUNT:
        return st.sampled_from(["123456789012", "210987654321", "unknown", None])
    texts = [described.prefix + text for text in _TEXTS]
    return st.sampled_from([*texts, None]) | st.sampled_from(texts[:2])


# A line of these values is read without a complaint.
_FINE: dict[FieldKind, st.SearchStrategy[object]] = {
    FieldKind.INTEGER: st.sampled_from([0, 6, 17, 255]),
    FieldKind.ADDRESS: st.sampled_from(_V4) | st.sampled_from(_V4[:2]),
    FieldKind.ACTION: st.just("ACCEPT"),
    FieldKind.LOG_STATUS: st.just("OK"),
    FieldKind.FLOW_DIRECTION: st.sampled_from(FlowDirection),
    FieldKind.REJECT_REASON: st.just("-"),
    FieldKind.TEXT: st.sampled_from(_TEXTS[:3]),
    FieldKind.ACCOUNT: st.just("123456789012"),
    FieldKind.ID: st.sampled_from(_TEXTS[:3]),
}
# With one of the others, a format is a transit gateway's, whose records are not read by column.
VPC_FIELDS = [name for name in FIELDS if name not in TRANSIT_GATEWAY_FIELDS]
FLOW_FIELDS = (
    "action",
    "interface-id",
    "srcaddr",
    "dstaddr",
    "srcport",
    "dstport",
    "protocol",
    "start",
    "end",
    "log-status",
)
HASHED_FIELDS = (
    "pkt-srcaddr",
    "pkt-dstaddr",
    "flow-direction",
    "tcp-flags",
    "subnet-id",
    "vpc-id",
    "resource-id",
)
FORMATS = st.one_of(
    st.just(DEFAULT_FIELDS),
    st.permutations([*FLOW_FIELDS, *HASHED_FIELDS]),
    st.permutations(VPC_FIELDS),
    st.permutations(list(FIELDS)),
    st.lists(st.sampled_from(list(FIELDS)), min_size=1, max_size=12, unique=True),
    st.lists(st.sampled_from([*FLOW_FIELDS, *HASHED_FIELDS]), min_size=1, unique=True).map(
        lambda names: [*names, "tomorrows-field"]
    ),
).map(
    lambda names: (
        RecordFormat(tuple(names)) if any(name in FIELDS for name in names) else DEFAULT_FORMAT
    )
)


def _fine(described: Field) -> st.SearchStrategy[object]:
    return (
        st.integers(1_700_000_000, 1_700_000_999)
        if described.name in {"start", "end"}
        else _FINE[described.kind].map(lambda value: _with_prefix(described, value))
    )


def _with_prefix(described: Field, value: object) -> object:
    return f"{described.prefix}{value}" if described.kind is FieldKind.ID else value


def _record_line(
    record_format: RecordFormat, of: Callable[[Field], st.SearchStrategy[object]]
) -> st.SearchStrategy[bytes]:
    known = {name: of(FIELDS[name]) for name in record_format.names if name in FIELDS}
    return st.fixed_dictionaries(known).map(
        lambda drawn: " ".join(
            "x" if name not in drawn else "-" if drawn[name] is None else str(drawn[name])
            for name in record_format.names
        ).encode()
    )


HOSTILE_WORDS = [
    b"eni-",
    b"subnet",
    b"vpc_1",
    b"12345678901",
    b"1234567890123",
    b"12345678901x",
    b"unknown1",
    b"080",
    b"-0",
    b"+1",
    b"1_0",
    b"65536",
    b"256",
    b"2147483648",
    b"9" * 19,
    b"9" * 25,
    b"0" * 30,
    b"1.2.3",
    b"1.2.3.4.5",
    b"1.2.3.04",
    b"1.2.3.256",
    b"1..2.3",
    b".1.2.3",
    b"1.2.3.",
    b"1234.1.1.1",
    b"fe80::%eth0",
    b"2001:DB8::1",
    b"::0",
    b"ACCEPTED",
    b"accept",
    b"ACCEP",
    b"OK2",
    b"O",
    b"ingressed",
    b"\xc3\xa9",
    b"\x7f",
    b"a\x00b",
    b"1700000000 ",
    b"",
    b"  ",
    b"1\t2",
    b"x" * 2_049,
    b"x" * 64,
    b"x" * 65,
    b"1700000:00",
    b"/1",
    b":",
    b"9" * 16,
    b"1:2",
    b"\xff" * 8,
    b"=",
    b"--",
]


@st.composite
def _damaged(draw: st.DrawFn, line: bytes) -> bytes:
    words = line.split(b" ")
    for _ in range(draw(st.integers(1, 2))):
        words[draw(st.integers(0, len(words) - 1))] = draw(st.sampled_from(HOSTILE_WORDS))
    return b" ".join(words)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """Draw a file of one format or two, most of whose lines are records."""
    formats = draw(st.lists(FORMATS, min_size=1, max_size=2))
    parts = []
    for record_format in formats:
        header = " ".join(record_format.names).encode()
        good = _record_line(record_format, values) | _record_line(record_format, _fine)
        line = st.one_of(
            good,
            good,
            good,
            good.flatmap(_damaged),
            good.map(lambda text: text.replace(b" ", b"  ", 1)),
            good.map(lambda text: b" " + text),
            good.map(lambda text: text + b"\r"),
            st.just(header),
            st.sampled_from(
                [
                    b"",
                    b" ",
                    b"\t",
                    b"nonsense",
                    b"x" * (MAX_LINE_BYTES - 1),
                    b"x" * MAX_LINE_BYTES,
                    b" " * 70_000,
                ]
            ),
        )
        parts += [header, *draw(st.lists(good, max_size=12)), *draw(st.lists(line, max_size=12))]
    return b"\n".join(parts) + draw(st.sampled_from([b"\n", b""]))
