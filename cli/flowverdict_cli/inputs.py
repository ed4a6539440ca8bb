"""Find what ``explain`` reads: files, folders, patterns, S3, log groups and standard input."""

from __future__ import annotations

import glob
import hashlib
import os
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final, cast

from flowverdict.core.errors import FlowVerdictError, ObjectError
from flowverdict.core.formatting import counted
from flowverdict.flowlog.line_reader import Continued, plain_bytes
from flowverdict.flowlog.object_key import time_of, why_foreign
from flowverdict.flowlog.shapes import PARQUET_MAGIC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

    from flowverdict.flowlog.records import RecordFormat


STDIN: Final = "-"
S3: Final = "s3://"
CLOUDWATCH: Final = "cloudwatch:"
# AWS puts a file's records within its five minutes, and names the file after their beginning.
_FILE_SECONDS: Final = 300
_SAME_START_BYTES: Final = 1 << 16  # of content, that files share before they are compared whole
_READ_BYTES: Final = 1 << 20


def moment(text: str | None) -> datetime | None:
    """Parse the time of ``--since`` and ``--until``; ``None`` without one.

    A date alone is its midnight. A time without a zone is UTC.

    Raises
    ------
    FlowVerdictError
        The text is not a time.
    """
    if text is None:
        return None
    try:
        read = datetime.fromisoformat(text)
    except ValueError as error:
        raise FlowVerdictError(
            f"{text!a} is not a time such as 2026-11-01 or 2026-11-01T12:00:00Z"
        ) from error
    return read.replace(tzinfo=UTC) if read.tzinfo is None else read.astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """The time of ``--since`` and ``--until``; ``None`` for any time."""

    since: datetime | None = None
    until: datetime | None = None

    def has(self, first: datetime, last: datetime) -> bool:
        """Whether some time from ``first`` to ``last`` is in the period."""
        return not (
            (self.since is not None and last < self.since)
            or (self.until is not None and first >= self.until)
        )

    def has_file(self, name: str) -> bool:
        """Whether a file may have records of the period; a name without a time may."""
        begin = time_of(name)
        if begin is None:
            return True
        return self.has(
            datetime.fromtimestamp(begin, UTC), datetime.fromtimestamp(begin + _FILE_SECONDS, UTC)
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """Something to read.

    Parameters
    ----------
    name
        Its name in errors.
    open
        Opens it; raises ``ObjectError`` if that is not possible.
    size
        Its bytes, as stored; ``None`` if not known.
    formats
        The formats of its lines, where AWS knows them; ``None`` for those of the command.
    is_stored
        Whether it can be opened again, and is the same then.
    may_be_empty
        Whether it is no fault that it holds nothing.
    """

    name: str
    open: Callable[[], AbstractContextManager[BinaryIO]]
    size: int | None = None
    formats: tuple[RecordFormat, ...] | None = None
    is_stored: bool = True
    may_be_empty: bool = False


def local_inputs(name: str, period: Period) -> tuple[list[Input], list[str]]:
    """Return the files that a name, a folder or a pattern means, and a note of what is passed over.

    Raises
    ------
    FlowVerdictError
        A pattern fits no file.
    """
    path = Path(name)
    if path.is_dir():
        return _selected(name, _files_below(path), period)
    if not path.exists() and glob.has_magic(name):
        names = sorted(glob.glob(name, recursive=True))  # noqa: PTH207 - may begin anywhere
        files = [found for found in names if not Path(found).is_dir()]
        if not files:
            raise FlowVerdictError(f"{name}: no file has a name of this pattern")
        return _selected(name, files, period)
    return [_file(name)], []


def _files_below(folder: Path) -> list[str]:
    """Return all files of a folder and of the folders in it, but for hidden ones."""
    found = []
    for parent, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        paths = (Path(parent, name) for name in sorted(files) if not name.startswith("."))
        found += [str(path) for path in paths if path.is_file()]  # not a pipe, which would wait
    return found


def _selected(name: str, files: Sequence[str], period: Period) -> tuple[list[Input], list[str]]:
    """Return the files that may be flow logs of the period, and a note of the others."""
    own = [found for found in files if why_foreign(found) is None]
    timely = [found for found in own if period.has_file(found)]
    return [_file(found) for found in timely], passed_over(
        name, read=len(timely), foreign=len(files) - len(own), outside=len(own) - len(timely)
    )


def passed_over(name: str, *, read: int, foreign: int, outside: int) -> list[str]:
    """Return a note of what is not read of a folder, if anything."""
    parts = [
        f"{counted(foreign, 'file')} of other kinds passed over" if foreign else "",
        f"{counted(outside, 'file')} outside --since and --until" if outside else "",
        "no flow log file there" if not read else "",
    ]
    said = ", ".join(filter(None, parts))
    return [f"{name}: {said}"] if said else []


def _file(name: str) -> Input:
    try:
        size = Path(name).stat().st_size
    except OSError:
        size = None  # said when it is opened
    return Input(name=name, open=partial(_opened, name), size=size)


@contextmanager
def _opened(name: str) -> Iterator[BinaryIO]:
    try:
        with Path(name).open("rb") as file:
            yield file
    except OSError as error:
        raise ObjectError(name, (error.strerror or str(error)).lower()) from error


@dataclass(slots=True)
class Contents:
    """The contents that were read, to read none twice: a file and its copy, packed or not.

    Contents that begin alike are compared whole.
    """

    _by_start: dict[bytes, list[tuple[Input, list[bytes]]]] = field(default_factory=dict)

    def seen(self, found: Input, stream: BinaryIO) -> tuple[Input | None, BinaryIO]:
        """Return the earlier input of the same content, ``None`` if it is new, and the stream.

        Raises
        ------
        ObjectError
            One of the inputs cannot be read.
        """
        if not found.is_stored:
            return None, stream
        begin = b""
        while len(begin) < _SAME_START_BYTES and (
            more := stream.read(_SAME_START_BYTES - len(begin))
        ):
            begin += more
        whole = cast("BinaryIO", Continued(begin, stream))
        start = _start_of(begin)
        if b"\n" not in start.strip() and not start.startswith(PARQUET_MAGIC):
            return None, whole  # empty, or a header alone, as all files of quiet hours are
        alike = self._by_start.setdefault(hashlib.sha256(start).digest(), [])
        digests: list[bytes] = []
        for earlier, known in alike:
            if not known:
                known.append(_digest_of(earlier))
            if not digests:
                digests.append(_digest_of(found))
            if known == digests:
                return earlier, whole
        alike.append((found, digests))
        return None, whole


_GZIP: Final = 31  # zlib's window bits for gzip
_START_BYTES: Final = 1 << 12  # of content, which the first 64 KiB of a packed file hold


def _start_of(begin: bytes) -> bytes:
    if not begin.startswith(b"\x1f\x8b"):
        return begin[:_START_BYTES]
    try:
        return zlib.decompressobj(_GZIP).decompress(begin, _START_BYTES)
    except zlib.error:
        return b""  # said when it is read


def _digest_of(found: Input) -> bytes:
    digest = hashlib.sha256()
    try:
        with found.open() as stream:
            plain = plain_bytes(stream)
            while chunk := plain.read(_READ_BYTES):
                digest.update(chunk)
    except (EOFError, OSError, zlib.error) as error:
        digest.update(repr(error).encode() + os.urandom(16))  # equal to no other
    return digest.digest()
