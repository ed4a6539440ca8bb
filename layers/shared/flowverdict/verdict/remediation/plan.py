"""Plan fixes: one for each problem, made from all of the problem's flows.

A problem is what one alert tells: the flows that the same rule or groups block, in one direction,
leg and service. The changes of a problem are found layer by layer in the order of travel, each for
all flows that the layer blocks, and are then tried together.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from flowverdict.core.availability import NotAvailable
from flowverdict.core.errors import StateError
from flowverdict.core.protocols import Protocol, protocol_name
from flowverdict.network.acl import AclAnswer
from flowverdict.network.model import EVERYWHERE, GroupReference
from flowverdict.network.packet import Outcome
from flowverdict.network.security_groups import GroupsAnswer
from flowverdict.verdict.attempts import is_attempt, is_scan, place_of
from flowverdict.verdict.model import Leg
from flowverdict.verdict.remediation import intent
from flowverdict.verdict.remediation.blast_radius import opens
from flowverdict.verdict.remediation.candidates import acl_changes, entry_ports, group_changes
from flowverdict.verdict.remediation.case import Blocked, Case, Trip, blocks, trip_of
from flowverdict.verdict.remediation.limits import Ledger, is_default, manager_of
from flowverdict.verdict.remediation.model import AclChange, Remediation
from flowverdict.verdict.remediation.offers import OpenOffers
from flowverdict.verdict.service import service_port

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from flowverdict.flowlog.records import FlowDirection
    from flowverdict.network.configuration import NetConfig
    from flowverdict.verdict.model import VerdictKind
    from flowverdict.verdict.remediation.model import Change
    from flowverdict.verdict.remediation.offers import NewOffer, Offer

_TRIES = 8  # to store what is offered, while other invocations store their offers
_MAX_ROUNDS = 8  # request and reply at both ends pass at most six layers
_MAX_CHANGES = 40  # commands that a person can review
_MAX_PORTS = 3  # different ports of one problem that are opened one by one


class _Problem(NamedTuple):
    """What the flows of a problem have in common."""

    account_id: str | None
    region: str | None
    place: str | None
    direction: FlowDirection | None
    leg: Leg
    verdict: VerdictKind
    protocol: int | None
    service_port: int | None
    blocker: str | None
    # What an outsider may have caused has a fix of its own, made after the others.
    is_from_outside: bool


def plan_fixes(
    cases: Sequence[Case], open_offers: OpenOffers | None = None
) -> list[Remediation | NotAvailable]:
    """Plan fixes for rejected flows that are seen together; return one for each case, in order.

    The cases of a problem get the same fix. No two fixes offer the same change, and no two changes
    have a rule number in common: among these fixes, and with those in ``open_offers``.

    Raises
    ------
    StateError
        The store of ``open_offers`` cannot be reached, or other invocations were faster again and
        again. Plan again later: what was offered by then is offered again.
    """
    open_offers = OpenOffers() if open_offers is None else open_offers
    for _ in range(_TRIES):
        planned = _plan(cases, open_offers)
        fixes = {
            problem: fix
            for problem, fix in planned
            if problem is not None and isinstance(fix, Remediation)
        }
        made = [
            open_offers.make(change, _key(problem), _title(problem))
            for problem in sorted(fixes, key=lambda each: _smallest_first(each, fixes[each]))
            for change in fixes[problem].changes
        ]
        first = _first_offers(made, open_offers)
        if open_offers.keep(made):
            fixes = {
                problem: _without_repeated(fix, _key(problem), first)
                for problem, fix in fixes.items()
            }
            return [
                fixes[problem] if problem in fixes and isinstance(fix, Remediation) else fix
                for problem, fix in planned
            ]
    raise StateError(f"other invocations planned fixes of the same rules in each of {_TRIES} tries")


class _Planned(NamedTuple):
    """What is planned for a case; its problem is known where a fix was looked for."""

    problem: _Problem | None
    fix: Remediation | NotAvailable


def _plan(cases: Sequence[Case], open_offers: OpenOffers) -> list[_Planned]:
    """Return what is planned for each case, as if its problem were the only one."""
    found: dict[int, _Planned] = {}
    problems: defaultdict[_Problem, list[int]] = defaultdict(list)
    scans = _of_scans(cases)
    for index, case in enumerate(cases):
        reason = intent.obstacle(case)
        if reason is None and index in scans:
            reason = intent.SCAN
        if reason is None:
            problems[_problem_of(case)].append(index)
        else:
            found[index] = _Planned(None, NotAvailable(reason))
    ledger = Ledger(open_offers=open_offers)
    # In an order that does not depend on the order of the records.
    for problem in sorted(problems, key=lambda each: (each.is_from_outside, repr(each))):
        members = {index: _as_sent(trip_of(cases[index])) for index in problems[problem]}
        for index, fix in _solve(members, ledger).items():
            found[index] = _Planned(problem, fix)
    return [found[index] for index in range(len(cases))]


# --- what several fixes need ----------------------------------------------------------------------


def _key(problem: _Problem) -> str:
    # Stored: without the last field, as earlier versions made it, but where that field is set.
    parts = problem if problem.is_from_outside else problem[:-1]
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]


_PACKETS = {Leg.REQUEST: "requests", Leg.RESPONSE: "replies", Leg.UNKNOWN: "packets"}


def _title(problem: _Problem) -> str:
    """Name a problem: ``TCP 8080 requests blocked by sg-0a1b``."""
    port = "" if problem.service_port is None else f" {problem.service_port}"
    by = (problem.blocker or problem.verdict).replace("rule 32767", "rule *")
    return f"{protocol_name(problem.protocol)}{port} {_PACKETS[problem.leg]} blocked by {by}"


def _smallest_first(problem: _Problem, fix: Remediation) -> tuple[bool, bool, int, str]:
    """Return what orders the fixes that need the same change: a plain small fix keeps it."""
    return problem.is_from_outside, fix.if_wanted is not None, len(fix.changes), repr(problem)


type _Offers = dict[tuple[str, str, int | None], Offer]


def _first_offers(made: Sequence[NewOffer], open_offers: OpenOffers) -> _Offers:
    """Return for each change that is offered who offered it first."""
    places = list(dict.fromkeys(each.place for each in made))
    open_offers.load(places)
    earlier = [(place, offer) for place in places for offer in open_offers.at(place)]
    first: _Offers = {}
    for place, offer in [*earlier, *((each.place, each.offer) for each in made)]:
        first.setdefault((place, offer.change, offer.rule_number), offer)
    return first


def _without_repeated(fix: Remediation, problem: str, first: _Offers) -> Remediation:
    """Return the fix of a problem without the changes that the fix of another problem offers."""
    offers = {
        change: first[change.place, change.content, change.rule_number] for change in fix.changes
    }
    shared = tuple(change for change, offer in offers.items() if offer.problem != problem)
    if not shared:
        return fix
    titles = dict.fromkeys(offers[change].title for change in shared)
    return replace(
        fix,
        changes=tuple(change for change in fix.changes if change not in shared),
        shared=shared,
        shared_with="; ".join(titles),
    )


def _of_scans(cases: Sequence[Case]) -> set[int]:
    """Return the cases that belong to scans."""
    attempts: defaultdict[Hashable, list[int]] = defaultdict(list)
    for index, case in enumerate(cases):
        if is_attempt(case.flow, case.verdict):
            place = place_of(case.flow, inside=case.source_is_inside)
            source = str(case.flow.key.packet_source)
            attempts[place, source, case.is_from_outside].append(index)
    return {
        index
        for indices in attempts.values()
        if is_scan(
            [cases[each].flow.key for each in indices], inside=cases[indices[0]].source_is_inside
        )
        for index in indices
    }


def _problem_of(case: Case) -> _Problem:
    flow, context = case.flow, case.flow.context
    return _Problem(
        account_id=context.account_id,
        region=context.region,
        place=context.vpc_id or flow.key.interface,
        direction=flow.direction,
        leg=case.verdict.leg,
        verdict=case.verdict.kind,
        protocol=flow.key.protocol,
        service_port=service_port(flow, case.verdict.leg),
        blocker=case.blocker,
        is_from_outside=case.is_from_outside,
    )


_ECHO = {Protocol.ICMP: 8, Protocol.ICMPV6: 128}


def _as_sent(trip: Trip) -> Trip:
    """Return the trip with an ICMP request as the echo request that it most likely is."""
    kind = _ECHO.get(Protocol(trip.request.protocol)) if trip.request.protocol in {1, 58} else None
    if kind is None:
        return trip
    return replace(trip, request=replace(trip.request, icmp_type=kind, icmp_code=0))


# --- one problem ----------------------------------------------------------------------------------


def _solve(members: dict[int, Trip], ledger: Ledger) -> dict[int, Remediation | NotAvailable]:
    """Find the fix of a problem for all its flows, or without those for which there is none."""
    found: dict[int, Remediation | NotAvailable] = {}
    left = dict(members)
    if len({trip.request.destination_port for trip in left.values()}) > _MAX_PORTS:
        reason = (
            "none offered: the requests go to many ports, and which range to open is a decision"
        )
        return dict.fromkeys(left, NotAvailable(reason))
    while left:
        taken = ledger.copy()
        changes, failed = _search(left, taken)
        if failed:
            found |= {index: NotAvailable(reason) for index, reason in failed.items()}
            left = {index: trip for index, trip in left.items() if index not in failed}
            continue
        if not changes:
            reason = "none needed: the rules let the packet and its reply pass"
            return found | dict.fromkeys(left, NotAvailable(reason))
        for change in changes:
            ledger.take(change)
        fix = _remediation(list(left.values()), changes)
        return found | dict.fromkeys(left, fix)
    return found


def _search(members: dict[int, Trip], ledger: Ledger) -> tuple[tuple[Change, ...], dict[int, str]]:
    """Return the changes that let all members pass, or the members for which there are none."""
    changed = next(iter(members.values())).case.config
    changes: list[Change] = []
    pending = dict(members)
    for _ in range(_MAX_ROUNDS):
        blocked: dict[int, Blocked] = {}
        failed: dict[int, str] = {}
        for index, trip in pending.items():
            first = _first_to_change(changed, trip)
            if isinstance(first, NotAvailable):
                failed[index] = f"none offered: {first.reason}"
            elif first is not None:
                blocked[index] = first
        if failed or not blocked:
            return tuple(changes), failed
        pending = {index: pending[index] for index in blocked}
        bucket = _bucket(next(iter(blocked.values())))
        same = {index: each for index, each in blocked.items() if _bucket(each) == bucket}
        members_of_bucket = list(same.values())
        found = (
            acl_changes(changed, members_of_bucket, ledger)
            if isinstance(members_of_bucket[0].answer, AclAnswer)
            else group_changes(changed, members_of_bucket, ledger)
        )
        if isinstance(found, NotAvailable):
            return (), {
                index: f"none offered: {found.reason}{_also(members[index], each)}"
                for index, each in same.items()
            }
        changes += found
        if len(changes) > _MAX_CHANGES:
            break
        for change in found:
            changed = change.apply(changed)
    return (), dict.fromkeys(members, "none offered: too many rules would have to change")


def _first_to_change(config: NetConfig, trip: Trip) -> Blocked | NotAvailable | None:
    """Return the first layer that needs a change, or why none of them can get one."""
    first: Blocked | None = None
    for each in blocks(config, trip):
        if each.outcome is Outcome.UNKNOWN and not _needs_address(config, each):
            if each.hop.is_far:
                continue  # what is not known there is said, see _tried
            return NotAvailable(
                f"the rules leave open whether it would work ({'; '.join(each.answer.reasons)})"
            )
        if isinstance(each.answer, AclAnswer):
            denial = intent.written_denial(each.answer)
            if denial is not None:
                side = "at the far side " if each.hop.is_far else ""
                return NotAvailable(f"{side}{denial}{_also(trip, each)}")
        first = first or each
    isolated = None if first is None else intent.isolated(trip.case)
    if first is None or isolated is None:
        return first
    return NotAvailable(isolated)


def _needs_address(config: NetConfig, blocked: Blocked) -> bool:
    """Return whether only the client's group is in doubt, because of a load balancer before it.

    A rule for the client's address then settles it: that counts whichever way the client came.
    """
    hop, answer = blocked.hop, blocked.answer
    client = hop.trip.far
    if hop.is_far or client is None or not isinstance(answer, GroupsAnswer):
        return False
    refers_to_client = [
        isinstance(rule.peer, GroupReference) and rule.peer.group_id in (client.group_ids or ())
        for rule in answer.possible
    ]
    return (
        bool(refers_to_client)
        and all(refers_to_client)
        and intent.through(config, hop.trip.case) is not None
    )


def _also(trip: Trip, named: Blocked) -> str:
    """Name what else blocks the packets of a trip, so that a reader knows the whole way."""
    denying = [
        _name(each) for each in blocks(trip.case.config, trip) if each.outcome is Outcome.DENY
    ]
    others = [name for name in dict.fromkeys(denying) if name != _name(named)]
    if not others:
        return ""
    return f". {' and '.join(others)} {'blocks' if len(others) == 1 else 'block'} it too"


def _name(blocked: Blocked) -> str:
    if isinstance(blocked.answer, AclAnswer):
        return str(blocked.answer.network_acl_id)
    return ", ".join(sorted(blocked.answer.group_ids or ()))


def _bucket(blocked: Blocked) -> Hashable:
    """Return what hops must have in common to get one change."""
    hop, answer = blocked.hop, blocked.answer
    packet = hop.packet
    if isinstance(answer, AclAnswer):
        number = None if answer.entry is None else answer.entry.rule_number
        return (
            answer.network_acl_id,
            hop.direction,
            hop.is_reply,
            packet.protocol,
            packet.destination.version,
            entry_ports(hop),
            number,
        )
    return (
        tuple(sorted(answer.group_ids or ())),
        hop.direction,
        packet.protocol,
        packet.destination_port,
    )


# --- how a fix is offered -------------------------------------------------------------------------


def _remediation(trips: Sequence[Trip], changes: tuple[Change, ...]) -> Remediation:
    config = trips[0].case.config
    after, opened = config, []
    for change in changes:
        opened.append(opens(after, change))
        after = change.apply(after)
    tried, verified = _tried(after, trips)
    doubts = [doubt for trip in trips if (doubt := intent.doubt(trip.case, trip)) is not None]
    doubts += [doubt for change in changes if (doubt := _doubt_of(config, change)) is not None]
    managers = [name for change in changes if (name := _manager(config, change)) is not None]
    return Remediation(
        changes=changes,
        opens_each=tuple(opened),
        tried=tried,
        verified=verified,
        if_wanted=doubts[0] if doubts else None,
        managed_by=", ".join(dict.fromkeys(managers)) or None,
    )


def _tried(config: NetConfig, trips: Sequence[Trip]) -> tuple[tuple[str, ...], bool]:
    """Return what was tried with the changes made, and whether that is everything."""
    as_ping = any(trip.request.icmp_type is not None for trip in trips)
    this_side = "this side" + (", as a ping: flow logs show no ICMP type" if as_ping else "")
    notes = [trip.far_note for trip in trips if trip.far_note is not None and trip.far_exists]
    for trip in trips:
        notes += [
            f"far side: not tried, {'; '.join(each.answer.reasons)}"
            for each in blocks(config, trip)
            if each.outcome is Outcome.UNKNOWN
        ]
    if notes:
        return (this_side, "reply path", notes[0]), False
    nowhere = [trip.far_note for trip in trips if trip.far_note is not None]
    all_outside = len(nowhere) == len(trips)
    return (this_side, "reply path", nowhere[0] if all_outside else "far side"), True


def _doubt_of(config: NetConfig, change: Change) -> str | None:
    """Return why a change needs a second thought, whatever the flows are."""
    if isinstance(change, AclChange):
        return None
    rule, group = change.rule, config.security_group(change.rule.group_id)
    if rule.egress and rule.peer in EVERYWHERE.values():
        return intent.CALLS_ARE_RESTRICTED
    if group is None or not is_default(group):
        return None
    return (
        f"{group.group_id} is the default group of its VPC; a group of its own is better for the "
        "interface"
    )


def _manager(config: NetConfig, change: Change) -> str | None:
    changed = (
        config.network_acl(change.network_acl_id)
        if isinstance(change, AclChange)
        else config.security_group(change.rule.group_id)
    )
    return None if changed is None else manager_of(changed.tags)
