"""A Parquet file says what the text file of the same records says, whatever they hold.

Requirement: "One engine for text and Parquet".
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING
from unittest.mock import patch

from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.errors import FlowVerdictError
from flowverdict.flowlog.fields import (
    DEFAULT_FIELDS,
    FIELDS,
    MAX_INT_64,
    READ_FIELDS,
    TRANSIT_GATEWAY_DEFAULT_FIELDS,
    FieldKind,
)
from flowverdict.flowlog.parquet_columns import ROWS
from flowverdict.flows.read_source import read_object
from tests.helpers.flow_log_files import VPC_FIELDS
from tests.helpers.hypothesis_weight import examples
from tests.helpers.parquet_files import parquet, type_of

if TYPE_CHECKING:
    from collections.abc import Mapping

NAME = (
    "AWSLogs/123456789012/vpcflowlogs/eu-west-1/2026/11/22/"
    "123456789012_vpcflowlogs_eu-west-1_fl-1_20261122T1200Z_x.log"
)
_V4 = ["10.0.0.1", "10.0.0.2", "203.0.113.12", "255.255.255.255"]
_V6 = ["2001:db8::1", "::ffff:1.2.3.4", "::", "2001:DB8::1"]


_WORDS: dict[FieldKind, tuple[list[object], list[object]]] = {
    FieldKind.ADDRESS: ([*_V4, *_V6], ["10.0.0.256", "fe80::1%eth0", "010.0.0.1"]),
    FieldKind.ACCOUNT: (["123456789012", "unknown"], ["12345678901", "eni-0123456789abcdef0"]),
    FieldKind.ACTION: (["ACCEPT", "REJECT"], ["accept", "OK2"]),
    FieldKind.LOG_STATUS: (["OK", "OK", "OK", "NODATA", "SKIPDATA"], ["accept", "OK2"]),
    FieldKind.FLOW_DIRECTION: (["ingress", "egress"], ["accept", "OK2"]),
    FieldKind.REJECT_REASON: (["BPA", "EC"], []),
}


def values(name: str) -> st.SearchStrategy[object]:
    """Return a few good values of a field, and rarely a bad value if the field is read."""
    known = FIELDS.get(name)
    if known is None or known.kind is FieldKind.TEXT:
        good: list[object] = ["a", "eni-0123456789abcdef0", "x" * 70, "x" * 2_048]
        bad: list[object] = ["x" * 2_049, "é", "\x7f"]
    elif known.kind is FieldKind.INTEGER:
        good = [0, 6, 443, 1_795_348_800, known.maximum]
        good = [one for one in good if isinstance(one, int) and one <= known.maximum]
        widest = MAX_INT_64 if type_of(name) == "BIGINT" else 2**31 - 1
        bad = [-1, widest if widest > known.maximum else -widest]
    elif known.kind is FieldKind.ID:
        good = [f"{known.prefix}0123456789abcdef0", known.prefix + "x" * 70]
        bad = ["BPA", "123456789012", known.prefix + "x" * 2_048]
    else:
        good, bad = _WORDS[known.kind]
    usual = st.sampled_from([*good, *good, None])
    return usual | st.sampled_from([*good * 9, *bad]) if bad and name in READ_FIELDS else usual


_FORMATS = st.one_of(
    st.just(DEFAULT_FIELDS),
    st.permutations([*VPC_FIELDS, "tomorrows-field"]),
    st.permutations([*DEFAULT_FIELDS, *sorted({*READ_FIELDS, *VPC_FIELDS} - {*DEFAULT_FIELDS})]),
    st.permutations([*TRANSIT_GATEWAY_DEFAULT_FIELDS, "tomorrows-field"]),
    st.lists(st.sampled_from(list(FIELDS)), min_size=1, max_size=9, unique=True),
    st.just((*DEFAULT_FIELDS[:5], "srcport", "tgw-id", "start")),
).map(lambda names: tuple(dict.fromkeys(names)))


def outcome(content: bytes) -> tuple[object, ...] | str:
    try:
        read = read_object(io.BytesIO(content), name=NAME, seed=1)
    except FlowVerdictError as error:
        return type(error).__name__
    # Not compared as bytes: interfaces stand in the order in which their evidence was stored, and a
    # line of text with an unusual version is stored separately, while the version in Parquet is
    # not read.
    evidence = {
        window: (
            one.flow_log,
            one.flows.rejects,
            one.flows.interfaces,
            one.flows.aggregated,
            one.flows.accepted_index.pack(),
        )
        for window, one in read.windows.items()
    }
    return evidence, read.reading.counts, read.reading.unknown_fields


@examples(0.6)
@given(
    st.data(),
    _FORMATS,
    st.sampled_from(["gzip", "snappy"]),
    st.sampled_from([1, 10]),
    st.sampled_from([3, ROWS]),
)
def test_parquet_and_text_say_the_same(
    data: st.DataObject, names: tuple[str, ...], codec: str, times: int, rows_at_once: int
) -> None:
    row: st.SearchStrategy[Mapping[str, object]] = st.fixed_dictionaries(
        {name: values(name) for name in names}
    )
    rows = data.draw(st.lists(row, min_size=1, max_size=8)) * times
    lines = [
        " ".join(names),
        *(" ".join("-" if one[name] is None else str(one[name]) for name in names) for one in rows),
    ]
    text = "".join(f"{line}\n" for line in lines).encode()
    content = parquet(names, [[one[name] for name in names] for one in rows], codec=codec)
    with patch("flowverdict.flowlog.parquet.ROWS", rows_at_once):
        assert outcome(content) == outcome(text)
