"""Take columns from a stream of Arrow, without a library for it.

An object hands on such a stream as a capsule of C structures:
https://arrow.apache.org/docs/format/CStreamInterface.html and, for the arrays in it,
https://arrow.apache.org/docs/format/CDataInterface.html. Only flat columns of the kinds that this
program asks for are read; a stream of other kinds is refused, since the memory behind a column of
another kind would be misread.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

    from flowverdict.flowlog.flow_hash_numpy import Flags


TEXT = "u"  # Arrow's format of UTF-8 texts with offsets of 32 bits
KINDS: Mapping[str, str] = {"c": "<i1", "i": "<i4", "l": "<i8"}  # Arrow's formats of integers


class _Schema(ctypes.Structure):
    pass


class _Array(ctypes.Structure):
    pass


class _Stream(ctypes.Structure):
    pass


_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.POINTER(ctypes.POINTER(_Schema))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Schema))),
    ("private_data", ctypes.c_void_p),
]
_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.POINTER(ctypes.POINTER(_Array))),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))),
    ("private_data", ctypes.c_void_p),
]
_Stream._fields_ = [
    (
        "get_schema",
        ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Schema)),
    ),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Array))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(_Stream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Stream))),
    ("private_data", ctypes.c_void_p),
]


class ArrowError(Exception):
    """The producer of a stream failed, or made other columns than those asked for."""


@dataclass(frozen=True, slots=True)
class TextColumn:
    """A column of texts, valid until the next batch.

    Parameters
    ----------
    offsets
        Where each text begins in ``data``, and where the last ends; int32, shape (rows + 1,).
    data
        The bytes of all texts; uint8.
    valid
        Which rows have a text; ``None`` if all have.
    """

    offsets: NDArray[np.int32]
    data: NDArray[np.uint8]
    valid: Flags | None

    def text(self, row: int) -> bytes | None:
        """Return the text of a row, ``None`` where the row has none."""
        if self.valid is not None and not self.valid[row]:
            return None
        return self.data[self.offsets[row] : self.offsets[row + 1]].tobytes()

    def texts(self, rows: NDArray[np.int64]) -> Iterator[memoryview]:
        """Yield the texts of rows that have one."""
        data = memoryview(self.data)
        begins, ends = self.offsets[rows].tolist(), self.offsets[rows + 1].tolist()
        return (data[begin:end] for begin, end in zip(begins, ends, strict=True))


type Column = TextColumn | NDArray[np.integer[Any]]


@dataclass(frozen=True, slots=True)
class Batch:
    """Some rows of a stream, in columns by name, valid until the next batch."""

    rows: int
    columns: dict[str, Column]

    def text(self, name: str) -> TextColumn:
        """Return a column of texts."""
        column = self.columns[name]
        if not isinstance(column, TextColumn):
            raise TypeError(f"column {name} is no text")
        return column

    def integers(self, name: str) -> NDArray[np.integer[Any]]:
        """Return a column of integers."""
        column = self.columns[name]
        if isinstance(column, TextColumn):
            raise TypeError(f"column {name} is text")
        return column


def batches(capsule: object, kinds: Mapping[str, str]) -> Iterator[Batch]:
    """Yield the batches of a stream that has columns of these names and kinds.

    Parameters
    ----------
    capsule
        What ``__arrow_c_stream__`` returned.
    kinds
        ``TEXT`` or one of ``KINDS`` by column, in the order of the columns. An integer column has
        no nulls.

    Raises
    ------
    ArrowError
        The producer failed, with its own message, or has other columns.
    """
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    stream = _Stream.from_address(pointer(capsule, b"arrow_array_stream"))
    schema = _Schema()
    _succeed(stream, stream.get_schema(ctypes.byref(stream), ctypes.byref(schema)))
    try:
        found = [schema.children[index].contents.format for index in range(schema.n_children)]
    finally:
        schema.release(ctypes.byref(schema))
    if found != [kind.encode() for kind in kinds.values()]:
        raise ArrowError(f"columns of the kinds {found}")
    while True:
        array = _Array()
        _succeed(stream, stream.get_next(ctypes.byref(stream), ctypes.byref(array)))
        if not array.release:  # the end
            return
        try:
            yield Batch(
                array.length,
                {
                    name: _column(array.children[index].contents, kind, array.length)
                    for index, (name, kind) in enumerate(kinds.items())
                },
            )
        finally:
            array.release(ctypes.byref(array))


def _succeed(stream: _Stream, code: int) -> None:
    if code:
        message = stream.get_last_error(ctypes.byref(stream)) or b"no reason given"
        raise ArrowError(message.decode("utf-8", "replace"))


def _column(array: _Array, kind: str, rows: int) -> Column:
    if array.offset or array.length != rows:
        raise ArrowError("a column that is a part of another")
    if kind != TEXT:
        if array.null_count:
            raise ArrowError("no value in a column of integers")
        return _memory(array.buffers[1], rows, KINDS[kind])
    valid = None
    if array.null_count and array.buffers[0]:
        bits = _memory(array.buffers[0], (rows + 7) // 8, "u1")
        valid = np.unpackbits(bits, count=rows, bitorder="little").view(np.bool_)
    offsets = _memory(array.buffers[1], rows + 1, "<i4")
    return TextColumn(offsets, _memory(array.buffers[2], int(offsets[-1]), "u1"), valid)


def _memory(address: int | None, size: int, kind: str) -> NDArray[Any]:
    """Return memory as an array, without copying."""
    if not address or not size:
        return np.zeros(size, kind)
    length = size * np.dtype(kind).itemsize
    return np.frombuffer((ctypes.c_uint8 * length).from_address(address), kind)
