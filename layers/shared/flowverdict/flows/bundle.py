"""Bundles: what several sources show of one window, in one object.

An invocation reads many files, and what they show of a window is stored once, so the objects of a
window grow with the invocations and not with the files. A bundle has a section for each source. Its
name has the number and a digest of its sources: a batch that is delivered again writes the same
bundle. A source may be in several bundles, because the queue delivers at least once and in other
batches. Of a source that was read, the sections are equal. Where the source could not be read at
first, the section with what was read counts. Version 0.2.0 stored an object for each source, named
by the source.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.errors import EvidenceError
from flowverdict.flows.evidence_codec import pack, unpack
from flowverdict.flows.stored_evidence import StoredEvidence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from flowverdict.flows.evidence import Evidence


_MARK = b"FVB1"
_LENGTH = 8  # bytes of the index's length
_NAME = re.compile(r"bundle-(\d{1,6})-[0-9a-f]{40}")


class Section(NamedTuple):
    """What a source shows of a window, packed; ``was_read`` is False where it is not known."""

    source_id: str
    packed: bytes
    was_read: bool

    @classmethod
    def of(cls, source_id: str, evidence: Evidence, *, was_read: bool = True) -> Section:
        """Pack what a source shows."""
        return cls(source_id, pack(evidence), was_read)


class Piece(NamedTuple):
    """A stored section, or what version 0.2.0 stored of a source.

    Parameters
    ----------
    rank
        Of several pieces of a source, the one with the lowest rank counts.
    error
        Why it cannot be read; its evidence is ``StoredEvidence.unreadable()`` then.
    """

    source_id: str
    rank: int
    evidence: StoredEvidence
    error: EvidenceError | None = None


_READ, _OF_AN_OBJECT, _NOT_READ, _UNREADABLE = range(4)


def name_of(sections: Iterable[Section]) -> str:
    """Return the name of the bundle of these sections, in whatever order they come."""
    sources = sorted((section.source_id, section.was_read) for section in sections)
    digest = hashlib.sha256(json.dumps(sources).encode()).hexdigest()[:40]
    return f"bundle-{len(sources)}-{digest}"


def sources_in(name: str) -> int:
    """Return the number of sources of which an object has evidence, as its name shows it."""
    named = _NAME.fullmatch(name)
    return 1 if named is None else int(named[1])


def pack_bundle(sections: Sequence[Section]) -> bytes:
    """Return a bundle's bytes, which ``pieces_in`` reads."""
    index = json.dumps(
        [[section.source_id, len(section.packed), section.was_read] for section in sections]
    ).encode()
    parts = (section.packed for section in sections)
    return b"".join((_MARK, len(index).to_bytes(_LENGTH, "little"), index, *parts))


def pieces_in(name: str, body: bytes) -> list[Piece]:
    """Return the pieces of a stored object; one piece of an object that cannot be read."""
    if not body.startswith(_MARK) and _NAME.fullmatch(name) is None:
        return [_piece(name, _OF_AN_OBJECT, body)]
    try:
        return [
            _piece(source_id, _READ if was_read else _NOT_READ, packed)
            for source_id, packed, was_read in _sections_in(body)
        ]
    except EvidenceError as error:
        return [Piece(name, _UNREADABLE, StoredEvidence.unreadable(), error)]


def chosen(pieces: Iterable[Piece]) -> list[Piece]:
    """Return the piece of each source that counts, in the order of the sources."""
    best: dict[str, Piece] = {}
    for piece in pieces:
        other = best.setdefault(piece.source_id, piece)
        if piece.rank < other.rank:
            best[piece.source_id] = piece
    return [piece for _, piece in sorted(best.items())]


def _piece(source_id: str, rank: int, packed: bytes) -> Piece:
    try:
        return Piece(source_id, rank, unpack(packed))
    except EvidenceError as error:
        return Piece(source_id, _UNREADABLE, StoredEvidence.unreadable(), error)


def _sections_in(body: bytes) -> Iterator[Section]:
    if not body.startswith(_MARK):
        raise EvidenceError(f"evidence cannot be read: {body[:4]!r} does not begin a known bundle")
    start = len(_MARK) + _LENGTH
    at = start + int.from_bytes(body[len(_MARK) : start], "little")
    try:
        index = [
            (str(source_id), int(length), bool(was_read))
            for source_id, length, was_read in json.loads(body[start:at])
        ]
    except (ValueError, TypeError, RecursionError) as error:
        raise EvidenceError(f"evidence cannot be read: its index is damaged: {error}") from error
    if any(length < 0 for _, length, _ in index) or at + sum(
        length for _, length, _ in index
    ) != len(body):
        raise EvidenceError("evidence cannot be read: it is not as long as its index says")
    for source_id, length, was_read in index:
        yield Section(source_id, body[at : at + length], was_read)
        at += length
