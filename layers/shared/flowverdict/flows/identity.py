"""A canonical identity of flows, as bytes: equal values have equal bytes in every process.

``repr`` does not serve: the order of a set's elements follows from hashes, which differ between
processes, and from the order of insertion. Here the elements of a set and the keys of a mapping are
sorted by their own canonical text. The text of a value names its type or is delimited, so that
different values have different texts, and different sequences of values too.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from functools import cache, lru_cache
from ipaddress import IPv4Address, IPv6Address
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from flowverdict.flowlog.losses import Missing
from flowverdict.flows.model import Context
from flowverdict.flows.observed import ObservedValues

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from flowverdict.core.addresses import Address

type _Text = Callable[[Any], str]


def identity_of(value: object) -> bytes:
    """Return the canonical bytes of a dataclass, collection, address, enum or scalar.

    Values of the same types have equal bytes if and only if they are equal.

    Raises
    ------
    TypeError
        A value in it is of a type without a canonical form.
    """
    return _text(value).encode()


def _text(value: object) -> str:
    kind = type(value)
    return (_TEXTS.get(kind) or _text_for(kind))(value)


def _text_for(kind: type) -> _Text:
    """Choose how values of a type are written, and remember the choice."""
    text: _Text
    if dataclasses.is_dataclass(kind):
        text = _of_dataclass(kind)
    elif issubclass(kind, AbstractSet):
        text = _of_set
    elif issubclass(kind, Mapping):
        text = _of_mapping
    elif issubclass(kind, tuple | list):
        text = _of_sequence
    elif issubclass(kind, IPv4Address | IPv6Address):
        text = _of_address
    elif issubclass(kind, Enum):
        text = cache(repr)
    else:
        raise TypeError(f"{kind.__qualname__} has no canonical form")
    _TEXTS[kind] = text
    return text


def _of_dataclass(kind: type[DataclassInstance]) -> _Text:
    """Write the fields that equality compares, in the order in which the class declares them."""
    names = [field.name for field in dataclasses.fields(kind) if field.compare]
    values_of = attrgetter(*names) if names else lambda _: ()
    several = len(names) != 1
    if several and all(field.type in _SCALARS for field in dataclasses.fields(kind)):
        return lambda value: f"{kind.__name__}({','.join(map(repr, values_of(value)))})"

    def text(value: object) -> str:
        values = values_of(value)
        return f"{kind.__name__}({_joined(values if several else (values,))})"

    return text


def _joined(values: tuple[object, ...] | list[object]) -> str:
    # Inlined _text, which saves a call for each value.
    return ",".join(
        [(_TEXTS.get(kind := type(value)) or _text_for(kind))(value) for value in values]
    )


def _of_set(value: AbstractSet[object]) -> str:
    return f"{{{','.join(sorted(map(_text, value)))}}}"


def _of_mapping(value: Mapping[object, object]) -> str:
    return f"<{','.join(sorted(f'{_text(key)}:{_text(item)}' for key, item in value.items()))}>"


def _of_sequence(value: tuple[object, ...] | list[object]) -> str:
    return f"({_joined(value)})"


def _of_address(value: Address) -> str:
    return "ip " + str(value)  # an address formats itself in five times the time


# Annotations of fields whose values are written as their ``repr``.
_SCALARS = {"int", "int | None", "bool", "str", "str | None"}

_TEXTS: dict[type, _Text] = {
    **dict.fromkeys((type(None), bool, int, float, str, bytes), repr),
    # A window's flows share few of these.
    Context: lru_cache(maxsize=4_096)(_of_dataclass(Context)),
    Missing: lru_cache(maxsize=1_024)(_of_dataclass(Missing)),
    ObservedValues: lru_cache(maxsize=1_024)(_of_dataclass(ObservedValues)),
}
