"""Find the records in JSON: of the AWS CLI, of Firehose, of Athena, of CloudWatch Logs.

What an object is, its keys decide: ``message`` holds a record (a log event of
https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_FilterLogEvents.html, a
line of Firehose), ``logEvents`` and ``events`` hold such objects, ``results`` rows of pairs of
``field`` and ``value``
(https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_GetQueryResults.html),
``ResultSet`` Athena's rows
(https://docs.aws.amazon.com/athena/latest/APIReference/API_GetQueryResults.html). An object whose
keys are fields is a record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from flowverdict.core.errors import NotAFlowLogError
from flowverdict.flowlog.cloudwatch_logs import UNFIT, batch_of
from flowverdict.flowlog.field_names import is_message
from flowverdict.flowlog.framed_lines import STRAY
from flowverdict.flowlog.json_text import Between
from flowverdict.flowlog.other_logs import log_of_object
from flowverdict.flowlog.table_rows import are_of_records, fields_of, word_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


_LISTS = ("events", "logEvents", "results", "Records", "records", "Rows", "hits", "data")
_MAX_DEPTH = 6  # of what holds records; AWS's documents have three


class JsonRecords:
    """Makes lines of a flow log out of JSON documents.

    Parameters
    ----------
    name
        The source's name in errors.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._header: tuple[str | None, ...] | None = None
        self._athena: tuple[str | None, ...] | None = None
        self._seen: set[str] = set()
        self._found = False

    def lines(self, documents: Iterable[object]) -> Iterator[str]:
        """Yield a line for each record, a header line before records with fields of their own.

        Raises
        ------
        NotAFlowLogError
            The documents are of another log, which is named, or hold no record.
        """
        for document in documents:
            if isinstance(document, Between):
                yield STRAY
            else:
                yield from self._lines_in(document, 0)
        if not self._found:
            raise NotAFlowLogError(self._name, "JSON in which no flow log record was found")

    def _lines_in(self, value: object, depth: int) -> Iterator[str]:
        if depth > _MAX_DEPTH:
            return
        if isinstance(value, str):
            self._found = True
            yield _one_line(value)
        elif isinstance(value, list):
            pairs = _pairs(value)
            if pairs is not None:
                yield from self._lines_of_object(pairs, depth)
            else:
                for element in cast("list[object]", value):
                    yield from self._lines_in(element, depth + 1)
        elif isinstance(value, dict):
            yield from self._lines_of_object(cast("dict[str, object]", value), depth)

    def _lines_of_object(self, found: Mapping[str, object], depth: int) -> Iterator[str]:
        if (other := log_of_object(found)) is not None:
            raise NotAFlowLogError(self._name, other)
        if "messageType" in found and "logEvents" in found:
            yield from self._lines_of_batch(found)
            return
        message = next((found[key] for key in found if is_message(key)), None)
        if isinstance(message, str):
            self._found = True
            yield _one_line(message)
            return
        if isinstance(message, dict):  # an event whose message was parsed: its fields are columns
            yield from self._lines_of_object(cast("dict[str, object]", message), depth + 1)
            return
        fields = fields_of(found)
        if are_of_records(fields):
            yield from self._lines_of_row(fields, found.values())
            return
        if isinstance(cells := found.get("Data"), list):
            yield from self._lines_of_athena([_cell(cell) for cell in cells])
            return
        for key in ("ResultSet", *_LISTS):
            if isinstance(inside := found.get(key), list | dict):
                self._found = self._found or inside == [] or key == "ResultSet"
                yield from self._lines_in(inside, depth + 1)

    def _lines_of_batch(self, envelope: Mapping[str, object]) -> Iterator[str]:
        """Yield the messages of an envelope of CloudWatch Logs, once if it comes twice."""
        self._found = True
        try:
            batch = batch_of(envelope)
        except UNFIT as error:
            raise NotAFlowLogError(
                self._name,
                "a JSON document in it is not an envelope of CloudWatch Logs: "
                f"{type(error).__name__}: {str(error)[:200]}",
            ) from error
        if batch is not None and batch.source_id not in self._seen:
            self._seen.add(batch.source_id)
            yield from map(_one_line, batch.messages)

    def _lines_of_row(
        self, fields: tuple[str | None, ...], values: Iterable[object]
    ) -> Iterator[str]:
        self._found = True
        if fields != self._header:
            self._header = fields
            yield " ".join(name for name in fields if name is not None)
        yield " ".join(
            word_of(name, value)
            for name, value in zip(fields, values, strict=True)
            if name is not None
        )

    def _lines_of_athena(self, cells: list[object]) -> Iterator[str]:
        """Yield the record of a row of Athena; the first row has the columns' names."""
        if self._athena is None:
            self._athena = fields_of(str(cell) for cell in cells)
        elif len(cells) == len(self._athena):
            yield from self._lines_of_row(self._athena, cells)


def _pairs(value: list[object]) -> dict[str, object] | None:
    """Return a row of CloudWatch Logs Insights by field; ``None`` for another list."""
    pairs: dict[str, object] = {}
    for element in value:
        if not isinstance(element, dict) or not isinstance(element.get("field"), str):
            return None
        pairs[element["field"]] = element.get("value")
    return pairs or None


def _cell(cell: object) -> object:
    return cell.get("VarCharValue") if isinstance(cell, dict) else cell


def _one_line(text: str) -> str:
    return " ".join(text.split())
