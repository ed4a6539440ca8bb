"""Addresses with cached properties behave as those of the standard library."""

from __future__ import annotations

import ipaddress
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.addresses import address_of

ADDRESSES = st.ip_addresses().map(str) | st.ip_addresses(v=6).map(
    lambda address: address.exploded.upper()
)
NEARLY = st.text(
    alphabet=f"{string.hexdigits}.:/ %\t\n٣", max_size=20
) | st.lists(  # an Arabic three: no digit of an address
    st.integers(0, 300).map(str) | st.sampled_from(["00", "01", "+1", "1_0", "", " 1"]),
    min_size=3,
    max_size=5,
).map(".".join)


@given(ADDRESSES | NEARLY)
def test_an_address_is_read_as_the_standard_library_reads_it(text: str) -> None:
    try:
        known = ipaddress.ip_address(text)
    except ValueError:
        with pytest.raises(ValueError, match=r".*"):
            address_of(text)
        return
    address = address_of(text)
    assert (address, hash(address), str(address), repr(address)) == (
        known,
        hash(known),
        str(known),
        repr(known),
    )
    assert known == address
    assert (address.version, address.packed, int(address)) == (
        known.version,
        known.packed,
        int(known),
    )
