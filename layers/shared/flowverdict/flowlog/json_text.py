"""Read a text of JSON documents piece by piece, with whatever stands between them.

A document is bounded. One that is longer is entered: its members and elements come one by one, each
bounded in its place, so that a list of a million events needs no more memory than one event.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flowverdict.core.errors import NotAFlowLogError, ObjectError

if TYPE_CHECKING:
    from collections.abc import Iterator


READ_CHARACTERS: Final = 1 << 16
_BLANKS: Final = " \t\r\n\ufeff"
_BRACKETS: Final = "{["
# What an error this near to the end of what was read may come from: an escape or a literal that
# the next characters complete.
_INCOMPLETE: Final = 16
_MAX_DEPTH: Final = 8  # to which documents are entered; AWS's have two


@dataclass(frozen=True, slots=True)
class Between:
    """A line that stands before, between or after the documents."""

    text: str


class _TooLongError(Exception):
    """A value is longer than the bound."""


class JsonText:
    """Reads documents from chunks of text.

    Parameters
    ----------
    chunks
        The text in pieces of any size.
    name
        The source's name in errors.
    most
        Maximum number of characters of a document, or of a member or element of a longer one.
    """

    def __init__(self, chunks: Iterator[str], name: str, most: int) -> None:
        self._chunks = chunks
        self._name = name
        self._most = most
        self._decoder = json.JSONDecoder()
        self._text = ""
        self._begin = 0
        self._ended = False

    def documents(self) -> Iterator[object]:
        """Yield each document; raise for what is no JSON.

        Raises
        ------
        NotAFlowLogError
            A document is nested too deeply.
        ObjectError
            A document is broken, truncated or too long.
        """
        while self._next() is not None:
            try:
                yield self._value()
            except _TooLongError as error:
                raise ObjectError(
                    self._name, f"a JSON document of more than {self._most:,} characters"
                ) from error

    def documents_and_lines(self) -> Iterator[object]:
        """Yield documents, parts of longer documents, and ``Between`` for each line of other text.

        The part of a document has the same keys around it.
        """
        while (character := self._next()) is not None:
            if character not in _BRACKETS or self._is_prose():
                yield Between(self._line())
                continue
            begin_of_text = self._text[self._begin : self._begin + 1]
            try:
                yield self._value()
            except _TooLongError:
                yield from self._parts(begin_of_text, 0)

    def _is_prose(self) -> bool:
        """Whether what begins like a document is none: ``[ec2-user@host ~]$``, ``{note}``."""
        if len(self._text) - self._begin < READ_CHARACTERS:
            self._more(READ_CHARACTERS)
        begin = self._begin + 1
        while begin < len(self._text) and self._text[begin] in _BLANKS:
            begin += 1
        following = self._text[begin : begin + 1]
        if self._text[self._begin] == "{":
            return following not in {'"', "}", ""}
        return following not in {'"', "{", "[", "]", ""}

    def _parts(self, opening: str, depth: int) -> Iterator[object]:
        """Yield the members of an object or the elements of a list that is too long as a whole."""
        if depth > _MAX_DEPTH:
            raise ObjectError(self._name, f"JSON of more than {self._most:,} characters")
        closing = "}" if opening == "{" else "]"
        self._begin += 1
        while (character := self._next()) != closing:
            if character == ",":
                self._begin += 1
                continue
            if character is None:
                raise self._broken("it ends before its last bracket")
            key = self._key() if opening == "{" else None
            for part in self._part(depth):
                yield part if key is None else {key: part}
        self._begin += 1

    def _key(self) -> str:
        key = self._bounded()
        if not isinstance(key, str) or self._next() != ":":
            raise self._broken("a name and a colon are expected")
        self._begin += 1
        return key

    def _part(self, depth: int) -> Iterator[object]:
        opening = self._next()
        if opening is not None and opening in _BRACKETS:
            try:
                yield self._value()
            except _TooLongError:
                for part in self._parts(opening, depth + 1):
                    yield [part] if opening == "[" else part
        else:
            yield self._bounded()

    def _bounded(self) -> object:
        try:
            return self._value()
        except _TooLongError as error:
            raise ObjectError(
                self._name, f"a JSON text of more than {self._most:,} characters"
            ) from error

    def _value(self) -> object:
        while True:
            try:
                value, end = self._decoder.raw_decode(self._text, self._begin)
            except RecursionError as error:
                raise NotAFlowLogError(self._name, "JSON that is nested too deeply") from error
            except json.JSONDecodeError as error:
                is_final = not error.msg.startswith("Unterminated string") and (
                    error.pos + _INCOMPLETE < len(self._text)
                )
                if self._ended or is_final:
                    raise self._broken(str(error)) from error
            else:
                may_go_on = isinstance(value, int | float) and end == len(self._text)
                if self._ended or not may_go_on:
                    self._begin = end
                    return value
            if len(self._text) - self._begin > self._most:
                raise _TooLongError
            # As much again, so that the beginning of a document is parsed a few times only.
            self._more(max(READ_CHARACTERS, len(self._text) - self._begin))

    def _broken(self, why: str) -> ObjectError:
        return ObjectError(self._name, f"truncated or broken JSON: {why[:200]}")

    def _next(self) -> str | None:
        """Return the next character that is not blank, ``None`` at the end."""
        while True:
            while self._begin < len(self._text):
                if self._text[self._begin] not in _BLANKS:
                    return self._text[self._begin]
                self._begin += 1
            if self._ended:
                return None
            self._more(READ_CHARACTERS)

    def _line(self) -> str:
        """Return the rest of the line, of a long line its beginning."""
        start = ""
        while True:
            end = self._text.find("\n", self._begin)
            piece = self._text[self._begin : end if end >= 0 else len(self._text)]
            start += piece[: READ_CHARACTERS - len(start)]
            self._begin += len(piece)
            if end >= 0 or self._ended:
                return start
            self._more(READ_CHARACTERS)

    def _more(self, wanted: int) -> None:
        """Read at least so many further characters, if there are as many; drop what was read."""
        parts = [self._text[self._begin :]]
        size = 0
        for chunk in self._chunks:
            parts.append(chunk)
            size += len(chunk)
            if size >= wanted:
                break
        else:
            self._ended = True
        self._text, self._begin = "".join(parts), 0
