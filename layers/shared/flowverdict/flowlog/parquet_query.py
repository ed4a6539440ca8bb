"""Write the SQL that reads the records of a Parquet file in columns.

DuckDB evaluates most functions of a text once for all records that share an entry of the column's
dictionary, so that checks of texts cost next to nothing; ``regexp_matches`` is not one of these.
So the query checks each value but addresses, and says of what kind a record is. An accepted or
rejected record with addresses has values that ``LineReader`` would accept, in the spelling of
``RecordFormat.render``.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

from flowverdict.flowlog.arrow import TEXT
from flowverdict.flowlog.column_fields import (
    ADDRESSES,
    INTERFACES,
    KEY_INTEGERS,
    MAX_ADDRESS,
    PACKET_FIELDS,
)
from flowverdict.flowlog.fields import (
    ACCOUNT_DIGITS,
    FIELDS,
    TRANSIT_GATEWAY_FIELDS,
    UNKNOWN_ACCOUNT,
    FieldKind,
)
from flowverdict.flowlog.flow_hash_numpy import MAX_TOKEN
from flowverdict.flowlog.records import ABSENT, MAX_TEXT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Kind(IntEnum):
    """What the query knows of a record."""

    LINE = 0  # only its line says what it is
    ACCEPTED = 1  # if its addresses are addresses
    REJECTED = 2  # likewise


KIND, LINE = "kind", "line"
# Texts of longer records are read apart, so that a batch of DuckDB's has a bounded size.
_MAX_LINE = 1_024
_MARK = "\N{REPLACEMENT CHARACTER}"  # not ASCII, so the line is counted as malformed
_MAX_FLAGS = 999
_EPOCHS = (10**9, 10**10 - 1)  # times of ten digits, as in text
_OCTET = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_V4 = rf"{_OCTET}([.]{_OCTET}){{3}}"
_TEXTS = (*INTERFACES, *ADDRESSES, *PACKET_FIELDS, "flow-direction", "subnet-id", "vpc-id")
# The kinds of Arrow of each integer that is handed over.
_INTEGERS = {"srcport": "i", "dstport": "i", "protocol": "i", "tcp-flags": "i"} | dict.fromkeys(
    ("start", "end"), "l"
)
_SQL_TYPES = {"i": "INTEGER", "l": "BIGINT"}


@dataclass(frozen=True, slots=True)
class Value:
    """The SQL of a field's value.

    Parameters
    ----------
    text
        Of the value as text, ``NULL`` where the record has none.
    number
        Of an integer field's value as a whole number; ``None`` for other fields.
    is_clean
        Whether the text is one word of ASCII, whatever the file holds.
    """

    text: str
    number: str | None
    is_clean: bool


def value_of_column(name: str) -> Value:
    """Return the value of a field whose column has the type of AWS's table."""
    column = f'"{FIELDS[name].attribute}"'
    if FIELDS[name].kind is FieldKind.INTEGER:
        return Value(f"{column}::VARCHAR", column, is_clean=True)
    return Value(column, None, is_clean=False)


def value_of_text(name: str, text: str) -> Value:
    """Return the value of a field by the SQL of its text, numbers too."""
    number = f"TRY_CAST({text} AS BIGINT)" if FIELDS[name].kind is FieldKind.INTEGER else None
    return Value(text, number, is_clean=False)


@dataclass(frozen=True, slots=True)
class Query:
    """What to ask DuckDB for.

    Parameters
    ----------
    columns
        SQL of all records in columns: of ``kinds``.
    kinds
        Arrow's kind of each column: ``KIND``, ``LINE``, and those of some fields by their names.
    lines
        SQL of the lines of those records that may need one and that ``LINE`` has none of: the
        accepted with any address but IPv4, and of others the long ones.
    """

    columns: str
    kinds: Mapping[str, str]
    lines: str


def query_of(values: Mapping[str, Value], unused: int, table: str) -> Query:
    """Return the query for a file.

    Parameters
    ----------
    values
        The values that are read, in the order of the line's words.
    unused
        The number of words after these that the line has no value of.
    table
        SQL of the table of records.
    """
    handed_over = _handed_over(values)
    numbers = {name: f"n{index}" for index, name in enumerate(values) if values[name].number}
    texts = {name: f"t{index}" for index, name in enumerate(values) if not values[name].is_clean}
    # A clean number is made text in lines alone.
    places = {name: texts.get(name) or f"{numbers[name]}::VARCHAR" for name in values}
    read = ", ".join(
        [f"{values[name].text} AS {place}" for name, place in texts.items()]
        + [f"{values[name].number} AS {place}" for name, place in numbers.items()]
        or ["0"]
    )
    kind = _kind(values, places, numbers) if handed_over else f"{Kind.LINE}"
    size = " + ".join(["0", *(f"coalesce(strlen({text}), 1)" for text in texts.values())])
    known = f"SELECT *, ({kind})::TINYINT AS {KIND} FROM (SELECT {read} FROM {table})"  # noqa: S608 - built of known names
    line = _line(values, places, unused)
    # A byte that is replaced by the mark becomes three.
    is_short = f"({size}) * CASE {KIND} WHEN {Kind.LINE} THEN 3 ELSE 1 END <= {_MAX_LINE}"
    columns = {
        KIND: ("c", KIND),
        LINE: (
            TEXT,
            # One condition would be evaluated for every record.
            f"CASE WHEN {KIND} <> {Kind.ACCEPTED} THEN CASE WHEN {is_short} THEN {line} END END",
        ),
        **{name: _column(name, numbers.get(name, places[name])) for name in handed_over},
    }
    selected = ", ".join(f'{sql} AS "{name}"' for name, (_, sql) in columns.items())
    return Query(
        columns=f"SELECT {selected} FROM ({known})",  # noqa: S608 - as above
        kinds={name: arrow_kind for name, (arrow_kind, _) in columns.items()},
        lines=f"SELECT {line} FROM ({known}) WHERE CASE WHEN {KIND} = {Kind.ACCEPTED} "  # noqa: S608 - as above
        f"THEN {_not_v4(places)} ELSE NOT ({is_short}) END",
    )


def _not_v4(places: Mapping[str, str]) -> str:
    """Return the SQL of whether any address of an accepted record is not one of IPv4."""
    known = [
        _fails(places[name], f"{_V4}|{ABSENT}" if name in PACKET_FIELDS else _V4)
        for name in (*ADDRESSES, *PACKET_FIELDS)
        if name in places
    ]
    return " OR ".join(known or ["false"])


def _handed_over(names: Iterable[str]) -> list[str]:
    """Return the fields that are handed over in columns; none where only lines say anything."""
    known = set(names)
    if "action" not in known or known.isdisjoint(INTERFACES) or known & TRANSIT_GATEWAY_FIELDS:
        return []
    return [name for name in (*_TEXTS, *_INTEGERS) if name in known]


def _column(name: str, value: str) -> tuple[str, str]:
    """Return Arrow's kind of a field that is handed over, and its SQL."""
    if name in _TEXTS:
        return TEXT, f"CASE WHEN strlen({value}) <= {MAX_TOKEN} THEN {value} END"
    kind = _INTEGERS[name]
    return kind, f"coalesce(TRY_CAST({value} AS {_SQL_TYPES[kind]}), -1)"


def _kind(
    values: Mapping[str, Value], places: Mapping[str, str], numbers: Mapping[str, str]
) -> str:
    """Return the SQL of a record's kind."""
    bad = [_fault(name, places[name], numbers.get(name)) for name in values]
    bad += [
        f"{number}::VARCHAR IS DISTINCT FROM {places[name]}"
        for name, number in numbers.items()
        if not values[name].is_clean
    ]
    return (
        f"CASE WHEN {' OR '.join(bad)} THEN {Kind.LINE} "
        f"WHEN {places['action']} = 'ACCEPT' THEN {Kind.ACCEPTED} "
        f"WHEN {places['action']} = 'REJECT' THEN {Kind.REJECTED} ELSE {Kind.LINE} END"
    )


def _fault(name: str, text: str, number: str | None) -> str:
    """Return the SQL of whether a value is invalid; ``NULL`` where one that may be is absent."""
    known = FIELDS[name]
    if number is not None:
        least, most = 0, known.maximum
        if name in _INTEGERS and name not in KEY_INTEGERS:
            least, most = (0, _MAX_FLAGS) if name == "tcp-flags" else _EPOCHS
        is_optional = name == "tcp-flags" or name not in _INTEGERS
        beyond = f"{number} NOT BETWEEN {least} AND {most}"
        return beyond if is_optional else f"({beyond}) IS NOT FALSE"
    match known.kind:
        case FieldKind.ACTION:
            return "false"
        case FieldKind.LOG_STATUS:
            return f"{text} IS DISTINCT FROM 'OK'"
        case FieldKind.FLOW_DIRECTION:
            return _fails(text, f"ingress|egress|{ABSENT}")
        case FieldKind.ADDRESS:
            beyond = f"strlen({text}) NOT BETWEEN 1 AND {MAX_ADDRESS}"
            return beyond if name in PACKET_FIELDS else f"({beyond}) IS NOT FALSE"
        case FieldKind.ACCOUNT:
            return _fails(text, f"[0-9]{{{ACCOUNT_DIGITS}}}|{UNKNOWN_ACCOUNT}|{ABSENT}")
        case _:
            words = f"{known.prefix}[!-~]*|{ABSENT}" if known.prefix else "[!-~]+"
            return _fails(text, words, MAX_TOKEN if name in _TEXTS else MAX_TEXT)


def _fails(text: str, pattern: str, longest: int = MAX_TEXT) -> str:
    """Return the SQL of whether a text is too long, or does not match: no text may be empty."""
    return f"strlen(regexp_extract({text}, '^({pattern})$')) NOT BETWEEN 1 AND {longest}"


def _line(values: Mapping[str, Value], places: Mapping[str, str], unused: int) -> str:
    """Return the SQL of a record's line."""
    rest = [f"'{ABSENT}'"] * unused
    words = {name: _word(values[name], places[name]) for name in values}
    # What is not checked yet is cleaned in every line.
    unchecked = {name: words[name] for name in (*ADDRESSES, *PACKET_FIELDS) if name in values}
    checked = {name: f"coalesce({place}, '{ABSENT}')" for name, place in places.items()}
    plain = ", ".join([*(checked | unchecked).values(), *rest])
    cleaned = ", ".join([*words.values(), *rest])
    return (
        f"CASE {KIND} WHEN {Kind.LINE} THEN concat_ws(' ', {cleaned}) "
        f"ELSE concat_ws(' ', {plain}) END"
    )


def _word(value: Value, text: str) -> str:
    """Return the SQL of a field's word in a line, or of a word that makes the line malformed."""
    if value.is_clean:
        return f"coalesce({text}, '{ABSENT}')"
    one_word = f"regexp_replace({text}, '[^!-~]', '{_MARK}', 'g')"
    # A constant stands in for a text that is too long; left() would be evaluated for every record.
    too_long = f"repeat('x', {MAX_TEXT + 1})"
    word = f"CASE WHEN strlen({text}) > {MAX_TEXT} THEN {too_long} ELSE {one_word} END"
    return f"coalesce({word}, '{ABSENT}')"
