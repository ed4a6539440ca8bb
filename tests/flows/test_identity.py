"""Equal flows have equal bytes in every process and order of sets; different flows do not."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, fields, replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.addresses import address_of
from flowverdict.flowlog.fields import OBSERVED_FIELDS
from flowverdict.flowlog.flow_key import FlowKey
from flowverdict.flowlog.losses import Loss, Missing
from flowverdict.flowlog.records import FlowDirection
from flowverdict.flowlog.transit_gateway import PacketsLost
from flowverdict.flows.accepted_index import Activity
from flowverdict.flows.identity import identity_of
from flowverdict.flows.model import Context, RejectedFlow, TrafficTotals
from flowverdict.flows.observed import ObservedValues

if TYPE_CHECKING:
    from collections.abc import Mapping

# Some texts look like parts of the canonical form.
_TEXTS = st.none() | st.sampled_from(["a", "b", "a,'b'", "None", "ip 10.0.0.1", "(", "'"])
_NUMBERS = st.none() | st.integers(0, 3)
_ADDRESSES = st.none() | st.sampled_from(
    [address_of(text) for text in ("10.0.0.1", "10.0.0.11", "2001:db8::1")]
)
_ACTIVITIES = st.builds(Activity, _NUMBERS, _NUMBERS, _NUMBERS)
_LOSSES = st.sampled_from(Loss)
_FIELDS: Mapping[str, st.SearchStrategy[Any]] = {
    "key": st.builds(
        FlowKey,
        _TEXTS,
        *[_ADDRESSES] * 4,
        *[_NUMBERS] * 3,
        st.none() | st.sampled_from(FlowDirection),
    ),
    "traffic": st.builds(TrafficTotals, *[_NUMBERS] * 3, *[st.integers(-1, 3)] * 4),
    "context": st.builds(Context, **dict.fromkeys(Context.__dataclass_fields__, _TEXTS)),
    "direction": st.none() | st.sampled_from(FlowDirection),
    "direction_logged": st.booleans(),
    "mirror": st.none() | _ACTIVITIES,
    "same": st.none() | _ACTIVITIES,
    "accepts_logged": st.booleans(),
    "accepts_logged_elsewhere": st.booleans(),
    "losses": st.builds(Missing, surely=st.frozensets(_LOSSES), perhaps=st.frozensets(_LOSSES)),
    "forwards": st.booleans(),
    "same_subnet": st.none() | st.booleans(),
    "observed": st.builds(
        ObservedValues, st.tuples(*[st.frozensets(_TEXTS)] * len(OBSERVED_FIELDS))
    ),
    "packet_addresses_logged": st.booleans(),
    "packets_lost": st.none() | st.builds(PacketsLost, *[st.integers(0, 3)] * 4),
}
_FLOWS = st.builds(RejectedFlow, **_FIELDS)


def test_the_laws_know_every_field() -> None:
    assert [field.name for field in fields(RejectedFlow)] == list(_FIELDS)


@given(flow=_FLOWS, other=_FLOWS)
def test_flows_have_equal_bytes_exactly_if_they_are_equal(
    flow: RejectedFlow, other: RejectedFlow
) -> None:
    assert (identity_of(flow) == identity_of(other)) is (flow == other)


@given(flow=_FLOWS, name=st.sampled_from(list(_FIELDS)), data=st.data())
def test_a_field_that_differs_gives_other_bytes(
    flow: RejectedFlow, name: str, data: st.DataObject
) -> None:
    value = data.draw(_FIELDS[name].filter(lambda value: value != getattr(flow, name)))
    assert identity_of(replace(flow, **{name: value})) != identity_of(flow)


@given(flow=_FLOWS)
def test_an_equal_flow_that_was_built_anew_has_equal_bytes(flow: RejectedFlow) -> None:
    # The standard library's addresses equal the project's.
    key = flow.key._replace(
        source=None if flow.key.source is None else ip_address(str(flow.key.source))
    )
    again = replace(flow, key=key, context=replace(flow.context))
    assert again == flow
    assert identity_of(again) == identity_of(flow)


@dataclass(frozen=True, slots=True, kw_only=True)
class _WithMoreSets(RejectedFlow):
    paths: frozenset[int | None]
    by_name: Mapping[str, frozenset[str]]


@given(
    flow=_FLOWS,
    paths=st.lists(st.none() | st.integers(-3, 70)),
    names=st.lists(st.sampled_from("abcdef"), unique=True),
    data=st.data(),
)
def test_a_further_set_or_mapping_may_be_filled_in_any_order(
    flow: RejectedFlow, paths: list[int | None], names: list[str], data: st.DataObject
) -> None:
    plain = {field.name: getattr(flow, field.name) for field in fields(flow)}

    def build(paths: list[int | None], names: list[str]) -> _WithMoreSets:
        return _WithMoreSets(
            **plain,
            paths=frozenset(paths),
            by_name={name: frozenset(names) for name in names},
        )

    built = build(paths, names)
    other = build(data.draw(st.permutations(paths)), data.draw(st.permutations(names)))
    assert identity_of(built) == identity_of(other)
    assert identity_of(replace(built, paths=built.paths ^ {7})) != identity_of(built)
    assert identity_of(replace(built, by_name={})) != identity_of(built) or not names


def test_neighbouring_values_do_not_run_together() -> None:
    assert identity_of(("a", "b")) != identity_of(("a,b",))
    assert identity_of((frozenset({1}), 2)) != identity_of((frozenset({1, 2}),))
    assert identity_of(({}, ())) != identity_of((frozenset(), ()))
    assert identity_of(("10.0.0.1",)) != identity_of((ip_address("10.0.0.1"),))


def test_processes_with_other_hashes_agree() -> None:
    program = (
        "from flowverdict.flows.identity import identity_of;"
        "print(identity_of(frozenset(map(str, range(50)))))"
    )
    printed = {
        subprocess.run(  # noqa: S603 - this interpreter
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(printed) == 1


def test_a_type_without_a_canonical_form_is_refused() -> None:
    with pytest.raises(TypeError, match="object has no canonical form"):
        identity_of((1, object()))
