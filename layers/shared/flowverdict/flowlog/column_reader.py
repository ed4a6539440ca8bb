"""Read big text flow logs by column, a chunk at a time.

Nearly all lines of a flow log are accepted traffic, of which little is needed. Lines that are valid
records in this program's own spelling are *regular*: they are checked and hashed by the thousand
with numpy, and of rejected lines the text is handed on. ``LineReader`` reads every other line:
without data, malformed, a header, or in another spelling (``080``, two blanks, an IPv6 address in
capitals). So one class alone decides what a line is. Tests compare the results of both ways.
"""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from isal import igzip, igzip_lib

from flowverdict.flowlog.column_sink import ColumnSink, KnownAddresses, texts_of
from flowverdict.flowlog.flow_hash_numpy import PADDING, aligned_words
from flowverdict.flowlog.line_reader import (
    MAX_LINE_BYTES,
    LineReader,
    first_record,
    lines_of,
    plain_bytes,
    unpacking,
)
from flowverdict.flowlog.text_fields import TextFields, layout_of

if TYPE_CHECKING:
    from flowverdict.flowlog.columnar import Sink, Windows
    from flowverdict.flowlog.flow_hash_numpy import Flags, Integers
    from flowverdict.flowlog.line_reader import BufferedBytes
    from flowverdict.flowlog.records import RecordFormat
    from flowverdict.flowlog.text_fields import Layout


CHUNK_BYTES = 1 << 21
# Lines that are read individually after a header, so that a file of nothing but headers costs no
# more than one that is read line by line.
_LINES_AFTER_HEADER = 64

_MAX_REGULAR_LINE = 2_048  # bytes; no text in such a line can be too long

_BLANK, _NEWLINE = 0x20, 0x0A
_PRINTABLE_FROM, _DELETE = 0x21, 0x7F


def read_columns(  # noqa: PLR0913 - all but stream and sink are options
    stream: BinaryIO,
    sink: Sink,
    *,
    name: str,
    reader: LineReader | None = None,
    headerless: tuple[RecordFormat, ...] = (),
    seed: int = 0,
    windows: Windows | None = None,
) -> None:
    """Read one text flow log file, gzipped or not, into a sink.

    Parameters
    ----------
    stream
        The file's bytes, read forward only.
    name
        The file's name in errors: ``s3://bucket/key`` or a path.
    reader
        Counts the lines; pass a reader to use its counts and samples afterwards.
    headerless
        Formats to assume if the first line is a record. Files in S3 always have a header, pasted
        lines do not.
    seed
        Where the hashes of the keys begin.
    windows
        Numbers the windows that records ended in; without it every record is in window 0.

    Raises
    ------
    NotAFlowLogError
        The file is empty, or its first line is neither a header nor (if allowed) a record.
    ObjectError
        The gzip is truncated or broken.
    """
    reader = reader if reader is not None else LineReader(headerless)
    chunks = _ChunkReader(reader, sink, seed, windows)
    plain = plain_bytes(stream, _Gunzip)
    lines = lines_of(plain, reader, name)
    for record in first_record(lines, reader, name, headerless):
        sink.record(record)
    with unpacking(name):
        chunks.read(plain)
    chunks.columns.finish()


class _Gunzip(igzip.IGzipFile):
    """ISA-L's gzip reader with the standard library's errors.

    ISA-L raises ``OverflowError`` for a file name in the gzip header that exceeds its buffer.
    """

    def read(self, size: int | None = -1) -> bytes:
        try:
            return super().read(size)
        except (igzip_lib.IsalError, OverflowError) as error:  # type: ignore[misc]  # the stub declares an instance
            raise gzip.BadGzipFile(str(error)) from error


class _ChunkReader:
    """Reads the chunks of one file into columns."""

    def __init__(self, reader: LineReader, sink: Sink, seed: int, windows: Windows | None) -> None:
        self._reader = reader
        self._sink = sink
        self._buffer = bytearray(MAX_LINE_BYTES + CHUNK_BYTES + PADDING)
        self._text = texts_of(self._buffer)
        self._signed = np.frombuffer(self._buffer, np.int8)
        self._words = aligned_words(self._buffer)
        self._is_stop = np.empty(len(self._buffer), np.bool_)
        self._single_lines = 0  # lines to read individually before the next columns
        self._known = KnownAddresses(self._text)
        self.columns = ColumnSink(reader, sink, seed=seed, windows=windows, text=self._text)

    def read(self, stream: BufferedBytes) -> None:
        """Read the rest of a file."""
        view = memoryview(self._buffer)
        held = 0  # bytes at the start of the buffer, of a line whose end was not read yet
        overlong = False
        while size := stream.readinto(view[held : held + CHUNK_BYTES]):
            begin, end = 0, held + size
            if overlong:
                begin = self._buffer.find(b"\n", 0, end) + 1
                overlong = begin == 0
                if overlong:
                    continue
            whole = self._buffer.rfind(b"\n", max(begin, held), end) + 1
            if whole:
                self._read_lines(begin, whole)
                begin = whole
            self._buffer[: end - begin] = self._buffer[begin:end]
            held = end - begin
            if held > MAX_LINE_BYTES:
                self._reader.skip_overlong()
                overlong, held = True, 0
        if held:
            self._read_line(0, held)

    def _read_lines(self, begin: int, end: int) -> None:
        while begin < end:
            formats = self._reader.formats
            layout = layout_of(formats[0]) if len(formats) == 1 else None
            if layout is not None and not self._single_lines:
                begin = self._read_columns(layout, begin, end)
                continue
            line_end = self._buffer.index(b"\n", begin) + 1
            self._read_line(begin, line_end)
            self._single_lines = max(0, self._single_lines - 1)
            begin = line_end

    def _read_line(self, begin: int, end: int) -> None:
        if end - begin > MAX_LINE_BYTES:
            self._reader.skip_overlong()
            return
        formats = self._reader.formats
        if (record := self._reader.read(self._text(begin, end - begin))) is not None:
            self._sink.record(record)
        if self._reader.formats is not formats:
            self._single_lines = _LINES_AFTER_HEADER

    def _read_columns(self, layout: Layout, begin: int, end: int) -> int:
        """Read lines by column while they have one format; return where the next line begins."""
        line_starts, line_ends, lines, stops, regular = self._find_lines(layout, begin, end)
        fields = TextFields(self._words, layout, stops, self._known.are_addresses)
        del stops  # as large as the chunk
        regular &= fields.regular
        is_regular = np.zeros(line_ends.size, np.bool_)
        is_regular[lines[regular]] = True
        record_format = self._reader.formats[0]  # a header among the other lines replaces it
        read = self._read_others(np.flatnonzero(~is_regular), line_starts, line_ends)
        regular &= lines < read
        if (rows := np.flatnonzero(regular)).size:
            begins, ends = line_starts[lines], line_ends[lines] - 1

            def text_of(some: Integers) -> bytes:
                return b"\n".join(map(self._line, begins[some].tolist(), ends[some].tolist()))

            self.columns.hand_over(record_format, fields, rows, text_of)
        return int(line_ends[read - 1])

    def _find_lines(
        self, layout: Layout, begin: int, end: int
    ) -> tuple[Integers, Integers, Integers, Integers, Flags]:
        """Return where lines start and end, and the numbers of those that have all words.

        Of the latter also where words end, as ``TextFields`` needs it, and which may be regular.
        """
        size = end - begin
        signed, is_stop = self._signed[begin:end], self._is_stop[:size]
        # As signed numbers all but printable ASCII are below "!", except the last character.
        np.less(signed, _PRINTABLE_FROM, out=is_stop)
        if signed.max() == _DELETE:
            is_stop |= signed == _DELETE
        stops = np.flatnonzero(is_stop)
        stopped_by = signed.take(stops)
        stops += begin
        newlines = stopped_by == _NEWLINE
        lasts = np.flatnonzero(newlines)
        line_ends = stops[lasts] + 1
        line_starts = np.concatenate(([begin], line_ends[:-1]))
        has_width = np.diff(lasts, prepend=-1) == layout.width
        if lasts.size + np.count_nonzero(stopped_by == _BLANK) < stops.size:
            odd_stops = np.flatnonzero(~newlines & (stopped_by != _BLANK))
            has_width[np.searchsorted(lasts, odd_stops)] = False
        lines = np.flatnonzero(has_width)
        table = np.empty((layout.width + 1, lines.size), np.int64)
        table[0] = line_starts[lines] - 1
        if lines.size == lasts.size:
            table[1:] = stops.reshape(-1, layout.width).T
        else:
            table[1:] = stops[lasts[lines] + np.arange(1 - layout.width, 1)[:, None]]
        regular = line_ends[lines] - line_starts[lines] <= _MAX_REGULAR_LINE
        # Two blanks, or a line that begins with a blank: an empty word.
        if is_stop[0] or (stops[1:] - stops[:-1] == 1).any():
            regular &= (np.diff(table, axis=0) > 1).all(axis=0)
        return line_starts, line_ends, lines, table, regular

    def _read_others(self, others: Integers, line_starts: Integers, line_ends: Integers) -> int:
        """Read the irregular lines up to the first that changes the format.

        Returns the number of all lines up to there.
        """
        done: int = 0
        for number, begin, end in zip(
            others.tolist(), line_starts[others].tolist(), line_ends[others].tolist(), strict=True
        ):
            self._reader.pass_over(number - done)
            self._read_line(begin, end)
            done = number + 1
            if self._single_lines:
                return done
        lines = len(line_starts)
        self._reader.pass_over(lines - done)
        return lines

    def _line(self, begin: int, end: int) -> bytearray:
        return self._buffer[begin:end]
