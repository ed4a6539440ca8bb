"""Stored evidence is unchanged, damaged evidence is refused, and accepted flows are found again.

Requirement: "The same object or log event delivered twice, ten times, concurrently, or
half-processed before a crash adds to counts once and alerts once." Evidence is what a second
delivery writes again, and what windows are evaluated from.
"""

from __future__ import annotations

import json
import zlib
from ipaddress import ip_address
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flowverdict.core.errors import EvidenceError
from flowverdict.flowlog.flow_hash import key_hash
from flowverdict.flowlog.losses import Loss, Span
from flowverdict.flowlog.object_key import Origin
from flowverdict.flowlog.records import Action, FlowDirection, FlowRecord, LogStatus
from flowverdict.flows import accepted_index, stored_evidence
from flowverdict.flows.accepted_index import AcceptedFlowIndex, Activity
from flowverdict.flows.collector import FlowCollector
from flowverdict.flows.evidence import Evidence, FlowLog, flows_of
from flowverdict.flows.evidence_codec import pack, unpack
from flowverdict.flows.stored_evidence import evidence_for
from tests.helpers.flow_records import SEEN, collector_of, maybe, records
from tests.helpers.whole_evidence import whole

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address
    from flowverdict.flows.stored_evidence import StoredEvidence
    from tests.helpers.flow_records import Activity as SeenRecords

_FLOW_LOGS = maybe(FlowLog("fl-1", 14), FlowLog("fl-2", 29))
_SEEDS = st.integers(0, 2**64 - 1)
# A few hashes that collide, and any others; times and flags within the range of their fields.
_TIMES = st.none() | st.integers(0, 3) | st.integers(0, 2**63 - 1)
_FLAGS = st.none() | st.integers(0, 3) | st.integers(0, 2**31 - 1)
_ACCEPTED = st.lists(st.tuples(st.integers(0, 5) | _SEEDS, _TIMES, _TIMES, _FLAGS), max_size=12)
_LOSSES = st.lists(
    st.tuples(
        st.sampled_from(Loss),
        st.sampled_from([None, "eni-1", "eni-2"]),
        st.builds(Origin, account_id=st.sampled_from([None, "1"]), region=st.just(None)),
        st.builds(Span, st.none() | st.integers(0, 9), st.none() | st.integers(0, 9)),
    ),
    max_size=4,
)

type Accepted = list[tuple[int, int | None, int | None, int | None]]


def evidence_of(seen: SeenRecords, flow_log: FlowLog | None, *, distinct: bool) -> Evidence:
    flows = FlowCollector(distinct=distinct)
    for record, origin in seen:
        flows.add(record, origin)
    return Evidence(flows=flows, flow_log=flow_log)


@given(seen=SEEN, more=SEEN, flow_log=_FLOW_LOGS, losses=_LOSSES, distinct=st.booleans())
def test_evidence_is_the_same_after_it_was_kept(
    seen: SeenRecords,
    more: SeenRecords,
    flow_log: FlowLog | None,
    losses: list[tuple[Loss, str | None, Origin, Span]],
    *,
    distinct: bool,
) -> None:
    evidence = evidence_of(seen, flow_log, distinct=distinct)
    for loss in losses:
        evidence.flows.losses.add(*loss)
    kept = whole(unpack(pack(evidence)))
    assert kept.flow_log == flow_log
    assert kept.flows.rejects == evidence.flows.rejects
    assert kept.flows.interfaces == evidence.flows.interfaces
    assert kept.flows.losses == evidence.flows.losses
    # Merged with more records, the stored evidence gives the same flows as the evidence itself.
    direct, merged = collector_of(more), collector_of(more)
    direct.merge(evidence.flows)
    merged.merge(kept.flows)
    assert list(merged.rejected()) == list(direct.rejected())
    assert list(merged.lost()) == list(direct.lost())


@given(seen=SEEN, flow_log=_FLOW_LOGS, data=st.data())
def test_damaged_evidence_is_said_to_be_damaged_and_nothing_else_is_raised(
    seen: SeenRecords, flow_log: FlowLog | None, data: st.DataObject
) -> None:
    evidence = evidence_of(seen, flow_log, distinct=False)
    packed = pack(evidence)
    at = data.draw(st.integers(0, len(packed) - 1))
    end = data.draw(st.sampled_from([at, at + 1, len(packed)]))
    damaged = packed[:at] + data.draw(st.binary(max_size=3)) + packed[end:]
    try:
        kept = whole(unpack(damaged))
    except EvidenceError:
        return
    # A few bits in the header of a compressed stream do not affect its content.
    assert kept.flows.rejects == evidence.flows.rejects
    assert kept.flows.interfaces == evidence.flows.interfaces
    assert kept.flow_log == evidence.flow_log


_ENDS = st.sampled_from([ip_address(f"10.0.0.{host}") for host in (1, 2, 3)])


def meeting(record: FlowRecord, source: Address, destination: Address) -> FlowRecord:
    """Return a record of one small network, so that rejects have to do with other records."""
    return record._replace(
        srcaddr=source,
        dstaddr=destination,
        pkt_srcaddr=source,
        pkt_dstaddr=destination,
        action=record.action or Action.REJECT,
        log_status=LogStatus.OK,
        vpc_id="vpc-1",
    )


_MET = st.lists(
    st.tuples(st.builds(meeting, records(maybe(*FlowDirection)), _ENDS, _ENDS), st.just(Origin())),
    max_size=8,
)
_SOURCES = st.lists(
    st.tuples(st.integers(0, 3), _MET | SEEN, _FLOW_LOGS, st.booleans()), min_size=1, max_size=5
)


@given(
    sources=_SOURCES, judged=st.sets(st.integers(0, 3)), by_numpy=st.booleans(), most=maybe(1, 3)
)
def test_a_window_shows_the_same_without_the_facts_that_it_does_not_need(
    sources: list[tuple[int, SeenRecords, FlowLog | None, bool]],
    judged: set[int],
    most: int | None,
    *,
    by_numpy: bool,
) -> None:
    kept: dict[int, list[StoredEvidence]] = {}
    everything: dict[int, list[Evidence]] = {}
    for window, seen, flow_log, distinct in sources:
        flows = FlowCollector(distinct=distinct, most=most)
        for record, origin in seen:
            flows.add(record, origin)
        packed = pack(Evidence(flows=flows, flow_log=flow_log))
        kept.setdefault(window, []).append(unpack(packed))
        everything.setdefault(window, []).append(whole(unpack(packed)))
    with pytest.MonkeyPatch.context() as patch:
        if by_numpy:
            patch.setattr(stored_evidence, "_MANY", 1)
            patch.setattr(accepted_index, "_MANY", 1)
        needed = evidence_for(judged, kept, 0)
    for window in judged:
        flows, expected = flows_of(window, needed, 0), flows_of(window, everything, 0)
        assert [*flows.rejected()] == [*expected.rejected()]
        assert [*flows.lost()] == [*expected.lost()]
        assert flows.aggregated == expected.aggregated
        assert flows.all_losses() == expected.all_losses()


_PLAIN = st.none() | st.booleans() | st.integers(-1, 2**70) | st.text(max_size=3)
_JSON = st.recursive(
    _PLAIN,
    lambda inner: (
        st.lists(inner, max_size=14) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=20,
)


@given(
    parts=st.fixed_dictionaries(
        dict.fromkeys(("flow_log", "rejects", "interfaces", "contexts"), _JSON)
    ),
    whole=st.none() | _JSON,
    mark=st.sampled_from([b"FVE1", b"FVE2"]),
)
def test_whole_bytes_that_say_nonsense_are_no_evidence(
    parts: dict[str, object], whole: object, mark: bytes
) -> None:
    body = zlib.compress(json.dumps(parts if whole is None else whole).encode())
    try:
        unpack(mark + len(body).to_bytes(8, "little") + body + AcceptedFlowIndex().pack())
    except EvidenceError:
        return
    assert whole is None, "something without any of the parts was taken for evidence"


# --- what was accepted ----------------------------------------------------------------------------


def plain(accepted: Accepted) -> dict[int, Activity]:
    """Return what a dict would hold: the oracle."""
    seen: dict[int, Activity] = {}
    for hashed, start, end, flags in accepted:
        one = seen.get(hashed, Activity())
        starts = [at for at in (one.first_start, start) if at is not None]
        ends = [at for at in (one.last_end, end) if at is not None]
        known = [some for some in (one.tcp_flags, flags) if some is not None]
        seen[hashed] = Activity(
            min(starts, default=None),
            max(ends, default=None),
            known[0] | known[-1] if known else None,
        )
    return seen


def accepts_of(accepted: Accepted) -> AcceptedFlowIndex:
    accepts = AcceptedFlowIndex()
    for one in accepted:
        accepts.add(*one, service=one[0] % 3)
    return accepts


@given(
    parts=st.lists(st.tuples(_ACCEPTED, st.booleans()), max_size=4),
    asked=st.lists(st.integers(0, 7)),
)
def test_accepted_flows_are_found_as_in_a_dict_however_they_were_kept(
    parts: list[tuple[Accepted, bool]], asked: list[int]
) -> None:
    together = AcceptedFlowIndex()
    for accepted, is_kept in parts:
        accepts = accepts_of(accepted)
        together.merge(AcceptedFlowIndex.unpack(accepts.pack()) if is_kept else accepts)
    everything = plain([one for accepted, _ in parts for one in accepted])
    hashes = {*asked, *everything}
    assert together.lookup(hashes) == everything
    services = {hashed % 3 for hashed in everything}
    assert together.by_service({0, 1, 2, 3}) == {
        service: {hashed for hashed in everything if hashed % 3 == service} for service in services
    }
    assert together.lookup({*asked}) == {
        hashed: everything[hashed] for hashed in asked if hashed in everything
    }


@given(accepted=_ACCEPTED, data=st.data())
def test_equal_flows_are_equal_bytes_in_whatever_order_they_came(
    accepted: Accepted, data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(accepted))
    again = data.draw(st.lists(st.sampled_from(accepted), max_size=3)) if accepted else []
    assert accepts_of([*shuffled, *again]).pack() == accepts_of(accepted).pack()


@given(seen=SEEN, seed=_SEEDS)
def test_the_hash_of_a_flow_follows_from_its_key_and_the_seed(seen: SeenRecords, seed: int) -> None:
    rejected = collector_of(seen).rejects
    keys = {near for key, _ in rejected for near in (key, *key.mirrors(), *key.same())}
    hashes = {key: key_hash(key, seed) for key in keys}
    assert hashes == {key: key_hash(key, seed) for key in keys}
    assert len({*hashes.values()}) == len(keys)
    assert all(0 <= hashed < 2**64 for hashed in hashes.values())
    assert all(key_hash(key, seed ^ 1) != hashed for key, hashed in hashes.items())
