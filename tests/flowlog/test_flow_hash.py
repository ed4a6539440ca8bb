from __future__ import annotations

import json
import subprocess
import sys
from ipaddress import IPv4Address, IPv6Address
from itertools import product
from random import Random
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.flowlog import flow_hash_numpy
from flowverdict.flowlog.flow_hash import (
    AFTER_FIELD,
    MASK,
    KeyHashes,
    columns_of,
    key_hash,
    multiplier_of,
    related_hashes,
)
from flowverdict.flowlog.flow_key import FlowKey
from flowverdict.flowlog.records import FlowDirection

if TYPE_CHECKING:
    from collections.abc import Sequence

KEY = FlowKey(
    "eni-0123456789abcdef0",
    IPv4Address("10.0.0.1"),
    IPv4Address("192.0.2.1"),
    IPv4Address("10.0.0.9"),
    IPv4Address("192.0.2.1"),
    50_000,
    443,
    6,
    FlowDirection.EGRESS,
)

OTHERS = {"interface": "eni-0123456789abcdef1", "direction": FlowDirection.INGRESS, "protocol": 7}

_PORTS = st.none() | st.integers(0, 65_535)
_ENDS = st.none() | st.ip_addresses(v=4) | st.ip_addresses(v=6) | st.just(IPv4Address("10.0.0.1"))
_TEXTS = st.none() | st.text(
    st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=40
)
KEYS = st.builds(
    FlowKey,
    _TEXTS,
    _ENDS,
    _ENDS,
    _ENDS,
    _ENDS,
    _PORTS,
    _PORTS,
    st.none() | st.integers(0, 255),
    st.sampled_from([None, *FlowDirection]),
)
SEEDS = st.integers(0, 2**64 - 1)


def test_the_hash_never_changes_since_stored_evidence_holds_it() -> None:
    assert key_hash(KEY, 0) == 17373960839334330690
    assert key_hash(KEY, 1) != key_hash(KEY, 0)


@pytest.mark.parametrize("field", FlowKey._fields)
def test_each_bit_of_the_hash_depends_on_each_field(field: str) -> None:
    rng = Random(field)  # noqa: S311 - no secret
    samples, changed = 1_000, [0] * 64
    for _ in range(samples):
        key = KEY._replace(
            source_port=rng.randrange(1, 65_536), source=IPv4Address(rng.getrandbits(32))
        )
        value = getattr(key, field)
        other = OTHERS.get(field) or (
            value - 1 if isinstance(value, int) else IPv4Address(int(value) ^ 1)
        )
        values = [other if name == field else getattr(key, name) for name in FlowKey._fields]
        difference = key_hash(key, 0) ^ key_hash(FlowKey._make(values), 0)
        changed = [count + (difference >> bit & 1) for bit, count in enumerate(changed)]
    # Half of the time each, within five standard deviations of 1,000 throws of a coin.
    assert all(abs(count - samples / 2) < 5 * (samples / 4) ** 0.5 for count in changed)


def _hashed_word_by_word(tokens: Sequence[bytes], seed: int) -> int:
    def mixed(state: int) -> int:
        state = state * multiplier_of(seed) & MASK
        return state ^ state >> 32

    state = seed
    for token, after in zip(tokens, AFTER_FIELD, strict=True):
        for at in range(0, len(token), 8):
            state = mixed(state) if at else state
            state = mixed(state ^ int.from_bytes(token[at : at + 8], "little"))
        state = mixed(state + after)
    return mixed(mixed(state))


@given(st.lists(KEYS, min_size=1, max_size=9), SEEDS)
def test_many_keys_hashed_at_once_have_the_hash_of_each(keys: Sequence[FlowKey], seed: int) -> None:
    each = [_hashed_word_by_word(tokens, seed) for tokens in zip(*columns_of(keys), strict=True)]
    assert [*KeyHashes.of(keys, seed).of_flows()] == each == [key_hash(key, seed) for key in keys]


@given(KEYS, KEYS, SEEDS)
def test_two_keys_have_equal_hashes_only_if_they_are_equal(
    one: FlowKey, other: FlowKey, seed: int
) -> None:
    assert (key_hash(one, seed) == key_hash(other, seed)) == (one == other)


@pytest.mark.slow
def test_nobody_can_choose_addresses_that_have_equal_hashes_without_the_seed() -> None:
    # The last character of one word of the address, and two of the next word: where the multiplier
    # is known, the difference that the first makes is the most probable of the other two.
    def chosen(one: str, two: str, three: str) -> FlowKey:
        source = IPv6Address(f"2001:db8:0:1:aa{one}a:b{two}bb:{three}ccc:dddd")
        return KEY._replace(source=source)

    digits = "123456789abcdef"
    keys = [chosen(*three) for three in product(digits, repeat=3)]
    for seed in range(50):
        hashes = flow_hash_numpy.related_hashes(keys, seed)[:, 3]
        assert np.unique(hashes).size == len(keys)


@given(KEYS, SEEDS)
def test_related_hashes_are_those_of_the_related_keys(key: FlowKey, seed: int) -> None:
    ((mirrors, same),) = related_hashes([key], seed)
    assert mirrors == tuple(key_hash(mirror, seed) for mirror in key.mirrors())
    assert same == tuple(key_hash(one, seed) for one in key.same())


@given(st.lists(KEYS, min_size=1, max_size=5), SEEDS)
def test_related_hashes_of_many_keys_equal_those_of_each(
    keys: Sequence[FlowKey], seed: int
) -> None:
    # Without a direction, the related keys are the one without, ingress and egress.
    plain = [key._replace(direction=None) for key in keys]
    assert [*related_hashes(plain, seed)] == [
        (tuple(hashes[:3]), tuple(hashes[3:]))
        for hashes in flow_hash_numpy.related_hashes(keys, seed).tolist()
    ]


def test_the_line_reader_loads_neither_numpy_nor_isal() -> None:
    code = (
        "import json, sys; from flowverdict.flowlog import fast_line_reader; "
        "print(json.dumps(sorted(sys.modules)))"
    )
    finished = subprocess.run(  # noqa: S603 - our own
        [sys.executable, "-c", code], capture_output=True, check=True, text=True
    )
    loaded = set(json.loads(finished.stdout))
    assert "flowverdict.flowlog.fast_line_reader" in loaded
    assert not loaded & {"numpy", "isal", "flowverdict.flowlog.column_reader"}
