"""Read tables whose columns are named after fields: CSV, tab-separated text, columns of text.

Athena writes CSV with all values in quotes
(https://docs.aws.amazon.com/athena/latest/ug/querying-finding-output-files.html), the console of
CloudWatch Logs Insights without, and people copy tables out of both. Each line is read by itself,
so a damaged one damages no other. A row becomes the line that AWS would have written.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from flowverdict.flowlog.field_names import MAX_NAME, field_of, is_message, meant_by
from flowverdict.flowlog.fields import FIELDS, FieldKind
from flowverdict.flowlog.records import ABSENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


_DELIMITERS = ("\t", ",", ";", "|")
_NAME = re.compile(r"[@A-Za-z][\w@ .-]*")
# Fields that tell a flow log from other tables, and how many fields and how many of these there
# must be.
_TELLING = frozenset(
    {"interface-id", "srcaddr", "dstaddr", "srcport", "dstport", "protocol", "action"}
    | {"pkt-srcaddr", "pkt-dstaddr", "log-status"}
)
_FEWEST = 3
_FEWEST_TELLING = 2
_SAFE = "".join(chr(code) for code in range(0x21, 0x7F))
_MILLISECONDS = 100_000_000_000  # seconds until the year 5138; a larger time is milliseconds
_NO_WORD = "\N{REPLACEMENT CHARACTER}"  # not ASCII, so the line is counted as malformed
_NOTHING = {"", "null", "NULL", "None", "N/A", "n/a"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The columns of a table.

    Parameters
    ----------
    delimiter
        What separates them; empty for blanks.
    fields
        The field of each column, ``None`` for a column that is passed over.
    """

    delimiter: str
    fields: tuple[str | None, ...]

    @property
    def header(self) -> str:
        """The header line of the same columns in AWS's spelling."""
        return " ".join(name for name in self.fields if name is not None)

    def record_of(self, line: str) -> str | None:
        """Return the record of a row; ``None`` for a line with another number of columns."""
        cells = cells_of(line, self.delimiter)
        if len(cells) != len(self.fields):
            return None
        return " ".join(
            word_of(name, cell)
            for name, cell in zip(self.fields, cells, strict=True)
            if name is not None
        )


def columns_of(line: str) -> Columns | None:
    """Return the columns that a header line names, ``None`` for a line that is no header.

    Columns with other names are passed over, but not in text that only blanks separate.
    """
    found = [
        columns
        for delimiter in (*_DELIMITERS, "")
        if delimiter in line and (columns := _columns_between(delimiter, line)) is not None
    ]
    return max(found, key=lambda columns: len(columns.header.split()), default=None)


def _columns_between(delimiter: str, line: str) -> Columns | None:
    names = cells_of(line, delimiter)
    if not all(_NAME.fullmatch(name) for name in names if name):
        return None
    fields = fields_of(names)
    if not are_of_records(fields) or (not delimiter and None in fields):
        return None
    return Columns(delimiter=delimiter, fields=fields)


def are_of_records(fields: Iterable[str | None]) -> bool:
    """Whether so many of the fields are a flow log's that a row of them is a record."""
    known = {name for name in fields if name in FIELDS}
    telling = known & _TELLING
    return {"srcaddr", "dstaddr"} <= known or (
        len(known) >= _FEWEST and len(telling) >= _FEWEST_TELLING
    )


def fields_of(names: Iterable[str]) -> tuple[str | None, ...]:
    """Return the field of each column; of two columns of one field, the first has it.

    A name that is misspelt is kept, so that the header is refused with the name that was meant.
    """
    plain = [name.lower().replace("_", "-") for name in names]
    fields: list[str | None] = []
    for name in plain:
        known = field_of(name)
        if known is None and meant_by(name) is not None:
            known = name
        named_exactly = known == name
        if known in fields or is_message(name) or (known in plain and not named_exactly):
            known = None
        fields.append(known)
    return tuple(fields)


def is_message_table(line: str) -> bool:
    """Whether a line is a header with a column of whole records."""
    for delimiter in _DELIMITERS:
        names = cells_of(line, delimiter)
        if all(len(name) <= MAX_NAME and _NAME.fullmatch(name) for name in names if name) and any(
            map(is_message, names)
        ):
            return True
    return False


def cells_of(line: str, delimiter: str) -> list[str]:
    """Return the cells of a row, without quotes and without blanks around them."""
    line = line.strip("\r\n ")
    if not delimiter:
        return line.split()
    if delimiter == "|":
        line = line.strip("|")
    try:
        row = next(csv.reader([line], delimiter=delimiter, skipinitialspace=True), [])
    except csv.Error:  # a carriage return inside the line
        return []
    return [cell.strip(" \"'") for cell in row]


def word_of(name: str, value: object) -> str:
    """Return the word of a record for the value of a field; ``-`` for none."""
    if isinstance(value, dict | list):
        return _NO_WORD
    text = "" if value is None else str(value).strip()
    if text in _NOTHING:
        return ABSENT
    known = FIELDS.get(name)
    if known is None:
        return quote(text, safe=_SAFE)
    if name in {"start", "end"}:
        return _seconds(text)
    if known.kind is FieldKind.INTEGER and text.endswith(".0"):
        text = text[:-2]  # as spreadsheets and pandas write a column with gaps
    if known.kind is FieldKind.INTEGER:
        text = text.replace(",", "")
    return quote(text, safe=_SAFE)


def _seconds(text: str) -> str:
    """Return a time as Unix seconds: from seconds, milliseconds or ISO 8601, else as it is."""
    plain = text.removesuffix(".0")
    if plain.isdigit() and plain.isascii():
        return str(int(plain) // 1_000) if int(plain[:19]) >= _MILLISECONDS else plain
    try:
        time = datetime.fromisoformat(text.removesuffix(" UTC"))
    except ValueError:
        return quote(text, safe=_SAFE)
    return str(int(time.replace(tzinfo=time.tzinfo or UTC).timestamp()))


def rows(columns: Columns, lines: Iterable[str], stray: str) -> Iterable[str]:
    """Yield a line for each line: a row's record, a header in AWS's spelling, or ``stray``."""
    header = [name for name in columns.fields if name is not None]
    for line in lines:
        if not line.strip():
            yield ""
            continue
        record = columns.record_of(line)
        if record is None:
            yield stray if _is_rule(line) else line
        elif _is_header(line, columns, header):
            yield columns.header
        else:
            yield record


def _is_header(line: str, columns: Columns, header: Sequence[str]) -> bool:
    names = fields_of(cells_of(line, columns.delimiter))
    return [name for name in names if name is not None] == header


def _is_rule(line: str) -> bool:
    return not re.sub(r"[-+|=:*\s]", "", line)
