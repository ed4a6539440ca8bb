"""Find the record in a line that has more than the record, and tell lines that cannot be records.

CloudWatch Logs puts a time before each record that it exports to S3
(https://docs.aws.amazon.com/AmazonCloudWatch/latest/logs/S3Export.html), ``aws logs tail`` a time
and the stream's name, the AWS CLI's text output a word and ids in front and a time behind, its
table output and a CSV file other columns, and people quotes. What is in front and behind differs,
the record does not: it is the only run of words in the line that one of the formats reads.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.addresses import address_of
from flowverdict.flowlog.records import MalformedLine

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flowverdict.flowlog.records import RecordFormat


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")  # of `aws logs tail` on a terminal
_MARKS = re.compile(r"""[\s,;|"'`\\\u2018-\u201f]+""")
_MARKS_KEPT = re.compile(f"({_MARKS.pattern})")
# The name and the number of a line that grep puts in front of it.
_PLACE = re.compile(r"\s*\S*:(?=[^\s:]+\s)")
# Words in front of and behind a record, of which no known frame has half as many: without a bound
# a line of 64 KiB would be tried at thirty thousand places.
_MAX_FRAME = 64


class FramedLines:
    """Takes the records out of their frames, line by line.

    Parameters
    ----------
    formats
        The formats that the records may have.
    """

    def __init__(self, formats: Sequence[RecordFormat]) -> None:
        self._formats = formats
        self._frame: tuple[Callable[[str], _Words], int, int] | None = None

    def record_in(self, line: str) -> str | None:
        """Return the record in a line, its words separated by one blank; ``None`` without one.

        Also ``None`` if the line has two readings, so that neither is chosen.
        """
        if "\x1b" in line:
            line = _COLOURS.sub("", line)
        for split in (_split_at_blanks, _split_at_marks, _split_behind_place):
            found_words = split(line)
            words = found_words.words
            found = {
                (begin, len(words) - begin - width): " ".join(words[begin : begin + width])
                for begin, width in self._runs(words)
                if found_words.are_apart(begin, begin + width)
            }
            if len(found) == 1:
                ((before, behind), record) = next(iter(found.items()))
                self._frame = (split, before, behind)
                return record
            if found:
                return None
        return None

    def unframed(self, line: str) -> str:
        """Return the record in a line, or the line without the frame of the record before it.

        A damaged record is counted with the words that it has; ``STRAY`` stands for a line that
        names no interface and no address, so that it is of the frame and no record.
        """
        record = self.record_in(line)
        if record is not None:
            return record
        if is_stray(line) or not _names_one(_split_at_marks(line).words):
            return STRAY if line.strip() else line
        if self._frame is None:
            return line
        split, before, behind = self._frame
        words = split(line).words
        return " ".join(words[before : len(words) - behind]) or line

    def _runs(self, words: Sequence[str]) -> list[tuple[int, int]]:
        """Return the places and lengths of all runs of words that a format reads."""
        runs = []
        for width in dict.fromkeys(len(known.names) for known in self._formats):
            if not 0 <= len(words) - width <= _MAX_FRAME:
                continue
            for begin in range(len(words) - width + 1):
                text = " ".join(words[begin : begin + width])
                if any(
                    len(known.names) == width and _reads(known, text) for known in self._formats
                ):
                    runs.append((begin, width))
        return runs


def are_joined(line: str, formats: Sequence[RecordFormat]) -> bool:
    """Whether a line has several records with tabs between them.

    So the AWS CLI writes a list of texts (``--query 'events[].message' --output text``).
    """
    cells = line.split("\t", _MAX_FRAME)
    records = sum(any(_reads(known, cell) for known in formats) for cell in cells)
    return records >= 2  # noqa: PLR2004 - several


class _Words(NamedTuple):
    """The words of a line, and what stands between each and the next."""

    words: list[str]
    gaps: list[str]

    def are_apart(self, begin: int, end: int) -> bool:
        """Whether the words from ``begin`` to ``end`` are all of a record, and not a part of it.

        What follows a record is set off by another mark than its words are: else the record is of
        another format, which only begins with these fields. In front of it may also be a time, a
        name, or the number of an event.
        """
        if end - begin < 2:  # noqa: PLR2004 - a single word has no mark of its own
            return len(self.words) == 1
        inner = self.gaps[begin].strip(" ") or " "
        if end < len(self.words) and (self.gaps[end - 1].strip(" ") or " ") == inner:
            return False
        if begin == 0 or (self.gaps[begin - 1].strip(" ") or " ") != inner:
            return True
        before = self.words[begin - 1]
        is_number = before.isdigit() and len(before) < _EPOCH_DIGITS
        return is_number is False and (before.isdigit() or not looks_like_a_record(before))


_EPOCH_DIGITS = 13  # of a time in milliseconds; an account has twelve


def _split_at_blanks(line: str) -> _Words:
    parts = re.split(r"(\s+)", line.strip())
    return _Words(parts[::2], parts[1::2])


def _split_at_marks(line: str) -> _Words:
    parts = _MARKS_KEPT.split(line)
    words, gaps = parts[::2], parts[1::2]
    if words and not words[0]:
        words, gaps = words[1:], gaps[1:]
    if words and not words[-1]:
        words, gaps = words[:-1], gaps[:-1]
    return _Words(words, gaps)


def _split_behind_place(line: str) -> _Words:
    place = _PLACE.match(line)  # at the start alone: a search takes minutes for a long word
    return _split_at_blanks(line if place is None else line[place.end() :])


def _reads(record_format: RecordFormat, text: str) -> bool:
    try:
        record_format.parse(text)
    except MalformedLine:
        return False
    return True


STRAY = "#"  # a line that is counted as one between records


def _names_one(words: Sequence[str]) -> bool:
    """Whether one of the words is an interface's id or an address."""
    return any(
        looks_like_a_record(word) and not word.isdigit() and word not in _CONSTANTS
        for word in words
    )


# Comments, prompts of shells, fences and rules of Markdown and of tables.
_STRAY = re.compile(
    r"""\s*(?:[#;%>]|//|```|~~~|--|==|\*\*|<|\$(?:\s|$)|\S*[$%#>]\s+(?:aws|cat|head|zcat|grep|jq)\b
    |\[?[\w.-]+@[\w.-]+|[+|:=\-\s*_]+$|[\]\[{}(),"'\s]+$)""",
    re.VERBOSE,
)
_CONSTANTS = {"ACCEPT", "REJECT", "OK", "NODATA", "SKIPDATA", "ingress", "egress", "-"}
_ID = re.compile(r"(?:eni|vpc|subnet|i|tgw|tgw-attach)-[0-9a-f]{4,}")


def is_stray(line: str) -> bool:
    """Whether a line is plainly none of a record: a comment, a prompt, a rule, a sentence.

    A damaged record is not stray: at least a third of its words look like a record's.
    """
    words = _split_at_marks(line).words
    alike = sum(looks_like_a_record(word) for word in words)
    return is_marked(line) or (
        alike * 3 < max(1, len(words)) and not any(map(_ID.fullmatch, words))
    )


def is_marked(line: str) -> bool:
    """Whether a line begins as a comment, a prompt or a fence does, and is no damaged record."""
    if not _STRAY.match(line):
        return False
    words = _split_at_marks(line).words
    return sum(looks_like_a_record(word) for word in words) * 2 < max(1, len(words))


def looks_like_a_record(word: str) -> bool:
    """Whether a word is one that records have: a number, an address, an id, a constant."""
    if word in _CONSTANTS or word.isdigit() or _ID.fullmatch(word):
        return True
    try:
        address_of(word)
    except ValueError:
        return False
    return True


def width_of_records(lines: Sequence[str]) -> int | None:
    """Return how many words the lines have that look like records, ``None`` if none does so."""
    for line in lines:
        words = line.split()
        alike = [word for word in words if looks_like_a_record(word)]
        numbers = sum(word.isdigit() for word in alike)
        if len(words) > 3 and len(alike) * 2 > len(words) and numbers < len(alike):  # noqa: PLR2004
            return len(words)
    return None
