"""Collect what many lines show about their interfaces, without looking at each line.

An interface has one subnet, one VPC and mostly one address of its own. So the known values are
compared with whole columns, and only lines that show something new are looked at one by one. The
results equal those of package ``flows``, which learns the same from single records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from flowverdict.flowlog.column_fields import ADDRESSES, Fields
from flowverdict.flowlog.columnar import InterfaceFacts, canonical_address
from flowverdict.flowlog.flow_hash_numpy import (
    EGRESS,
    IDENTITY,
    INGRESS,
    UINT64,
    IdentifiedTokens,
    mixed,
)
from flowverdict.flowlog.records import ABSENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from numpy.typing import NDArray

    from flowverdict.core.addresses import Address
    from flowverdict.flowlog.columnar import Sink
    from flowverdict.flowlog.flow_hash_numpy import Flags, Integers, Words


MEMO_BITS = 16  # caches have 2^16 places


def first_place(identities: Words) -> Integers:
    """Return each word's place in a cache: the upper 16 bits of its identity; int64."""
    return (identities >> UINT64(64 - MEMO_BITS)).view(np.int64)


def second_place(identities: Words) -> Integers:
    """Return each word's other place in a cache: the lower 16 bits of its identity; int64."""
    return (identities & UINT64((1 << MEMO_BITS) - 1)).view(np.int64)


def _longer[T: np.generic](column: NDArray[T], size: int) -> NDArray[T]:
    """Return the column, extended with zeros to a size."""
    grown = np.zeros(size, column.dtype)
    grown[: column.size] = column
    return grown


class _SeenTexts:
    """For each interface all texts of a column, and the latest as a cache."""

    def __init__(self, text: Callable[[int, int], bytes]) -> None:
        self.texts: dict[int, set[bytes]] = {}
        self._text = text
        self._usual: Words = np.zeros(1, np.uint64)

    def learn(self, places: Integers, seen: IdentifiedTokens, among: Flags | None = None) -> None:
        """Learn a column's values, of all lines or of those in ``among``."""
        if (needed := int(places.max(initial=0)) + 1) > self._usual.size:
            self._usual = _longer(self._usual, 2 * needed)
        new = self._usual[places] != seen.identities
        news = np.flatnonzero(new if among is None else new & among)
        if not news.size:
            return
        pairs = mixed(places[news].view(np.uint64) * IDENTITY, IDENTITY) ^ seen.identities[news]
        for row in news[np.unique(pairs, return_index=True)[1]].tolist():
            self.texts.setdefault(int(places[row]), set()).add(self._text(*seen.place(row)))
            self._usual[places[row]] = seen.identities[row]


class _SharedAddresses:
    """For each interface the addresses that all its lines share: first two, soon one or none."""

    def __init__(self, text: Callable[[int, int], bytes]) -> None:
        self.texts: dict[int, dict[int, bytes]] = {}
        self._text = text
        self._lower: Words = np.zeros(1, np.uint64)
        self._higher: Words = np.zeros(1, np.uint64)
        self._none = np.zeros(1, np.int64)  # 1: no shared address is left, which is final

    def learn(
        self,
        places: Integers,
        sources: IdentifiedTokens,
        destinations: IdentifiedTokens,
        among: Flags,
    ) -> None:
        """Learn both addresses of the lines in ``among``."""
        if (needed := int(places.max(initial=0)) + 1) > self._none.size:
            self._lower, self._higher = (
                _longer(self._lower, 2 * needed),
                _longer(self._higher, 2 * needed),
            )
            self._none = _longer(self._none, 2 * needed)
        while places.size:
            lower, higher = self._lower[places], self._higher[places]
            both = (sources.identities == lower) | (destinations.identities == lower)
            both &= (sources.identities == higher) | (destinations.identities == higher)
            news = np.flatnonzero(~both & (self._none[places] == 0) & among)
            places, sources, destinations, among = (
                places[news],
                sources.pick(news),
                destinations.pick(news),
                among[news],
            )
            for row in np.unique(places, return_index=True)[1].tolist():
                self._learn_line(
                    int(places[row]),
                    {int(seen.identities[row]): seen for seen in (sources, destinations)},
                    row,
                )

    def _learn_line(self, place: int, ends: dict[int, IdentifiedTokens], row: int) -> None:
        shared = self.texts.get(place)
        if shared is None:
            shared = {identity: self._text(*seen.place(row)) for identity, seen in ends.items()}
        else:
            shared = {identity: text for identity, text in shared.items() if identity in ends}
        self.texts[place] = shared
        if shared:
            self._lower[place], self._higher[place] = min(shared), max(shared)
        else:
            self._none[place] = 1


class Interfaces:
    """What the columns of one window show about interfaces.

    Words are distinguished by their 64-bit identities. ``text`` returns the bytes of a word
    from its start in the buffer and its length.
    """

    def __init__(self, text: Callable[[int, int], bytes]) -> None:
        self._text = text
        self._names: list[bytes] = [b""]  # place 0 stays empty
        self._by_state: dict[int, int] = {}
        self._states: Words = np.zeros(1, np.uint64)
        self._likely = np.zeros(1 << MEMO_BITS, np.int64)
        self._accepts = np.zeros(1, np.int64)
        self._own, self._subnets, self._vpcs = _SeenTexts(text), _SeenTexts(text), _SeenTexts(text)
        self._shared = _SharedAddresses(text)

    def learn(self, fields: Fields, states: Words, rows: Integers) -> None:
        """Learn some lines of a chunk; ``states`` are the hash states after their interfaces."""
        places = self._places(fields.interface.seen(states).pick(rows))
        self._accepts += np.bincount(places[fields.accepted[rows]], minlength=self._accepts.size)
        for name, known in (("subnet-id", self._subnets), ("vpc-id", self._vpcs)):
            if name in fields.names:
                known.learn(places, fields.seen(name).pick(rows))
        if len(fields.addresses) < len(ADDRESSES):
            return
        v4 = ~fields.is_v6("srcaddr")[rows]
        sources, destinations = fields.seen("srcaddr").pick(rows), fields.seen("dstaddr").pick(rows)
        without_direction = v4
        if fields.direction is not None:
            outgoing, incoming = (
                v4 & (fields.direction.first[rows] == word) for word in (EGRESS, INGRESS)
            )
            without_direction = v4 & ~outgoing & ~incoming
            self._own.learn(places, sources, outgoing)
            self._own.learn(places, destinations, incoming)
        self._shared.learn(places, sources, destinations, without_direction)

    def _places(self, seen: IdentifiedTokens) -> Integers:
        """Return the number of each line's interface."""
        likely = first_place(seen.identities)
        places = self._likely[likely]
        news = np.flatnonzero(self._states[places] != seen.identities)
        if news.size:
            states, rows, where = np.unique(
                seen.identities[news], return_index=True, return_inverse=True
            )
            found = [
                self._place(int(state), seen, row)
                for state, row in zip(states, news[rows].tolist(), strict=True)
            ]
            places[news] = np.array(found)[where]
            self._likely[likely[news]] = places[news]
        return places

    def _place(self, state: int, seen: IdentifiedTokens, row: int) -> int:
        place = self._by_state.setdefault(state, len(self._names))
        if place == len(self._names):
            self._names.append(self._text(*seen.place(row)))
            if place >= self._states.size:
                self._states, self._accepts = (
                    _longer(self._states, 2 * place),
                    _longer(self._accepts, 2 * place),
                )
            self._states[place] = state
        return place

    def hand_over(self, window: int, sink: Sink) -> None:
        """Hand the facts about each interface to the sink."""
        for place, name in enumerate(self._names[1:], start=1):
            shared = self._shared.texts.get(place)
            sink.learned(
                window,
                _text_of(name),
                InterfaceFacts(
                    accepts=int(self._accepts[place]),
                    own=_addresses(self._own.texts.get(place, ())),
                    shared=None if shared is None else _addresses(shared.values()),
                    subnets=_texts_of(self._subnets.texts.get(place, set())),
                    vpc_id=min(_texts_of(self._vpcs.texts.get(place, set())), default=None),
                ),
            )


def _addresses(words: Iterable[bytes]) -> set[Address]:
    return {address for word in words if (address := canonical_address(word)) is not None}


def _text_of(token: bytes) -> str | None:
    return None if token == ABSENT.encode() else token.decode("ascii")


def _texts_of(tokens: set[bytes]) -> set[str]:
    return {text for token in tokens if (text := _text_of(token)) is not None}
