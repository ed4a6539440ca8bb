"""Decide whether a rule should change at all: a fix must not undo what someone decided."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside
from flowverdict.core.availability import NotAvailable
from flowverdict.core.formatting import with_port
from flowverdict.core.protocols import SYSTEM_PORTS_END, Protocol, is_service_port
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.clients_through import load_balancer_before
from flowverdict.network.model import ALL_PROTOCOLS, EVERYWHERE
from flowverdict.network.packet import Outcome
from flowverdict.network.security_groups import evaluate_groups
from flowverdict.verdict.endpoints import PRIVATE_ADDRESSES_ONLY
from flowverdict.verdict.model import Confidence, EvidenceKind, Leg, VerdictKind
from flowverdict.verdict.outsiders import invitation, is_backscatter, may_be_from_outside
from flowverdict.verdict.paths import INSIDE_PATHS, Path
from flowverdict.verdict.remediation.candidates import is_client_port, trusted_list

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.network.acl import AclAnswer
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface, NetworkAcl, NetworkAclEntry
    from flowverdict.verdict.remediation.case import Case, Trip


NOTHING_TO_FIX = {
    VerdictKind.CLOSED_CONNECTION: "none needed: no rule rejected it",
    VerdictKind.RULES_ALLOW: "none needed: the rules, as read, let the packet pass",
    VerdictKind.BLOCK_PUBLIC_ACCESS: (
        "none offered: an exclusion is a decision about a whole VPC or subnet"
    ),
    VerdictKind.ENCRYPTION_CONTROLS: (
        "none offered: the traffic has to be encrypted, no rule has to change"
    ),
}
CALLS_ARE_RESTRICTED = "outbound traffic to the internet is restricted here, which may be intended"
SCAN = (
    "none offered: the source tries so many ports or hosts that it is a scan, "
    "which is answered by staying closed"
)


@lru_cache(maxsize=64)  # flows share them
def no_fix_without_rules(kind: VerdictKind, why: str) -> NotAvailable:
    """Return why there is no fix where the rules ``were not read`` or ``could not be applied``."""
    unknown = f"none offered: the rules of the network ACL and the security groups {why}"
    return NotAvailable(NOTHING_TO_FIX.get(kind, unknown))


def obstacle(case: Case) -> str | None:
    """Return why no rule should change, whatever change would let the packet pass."""
    return next((reason for why in _OBSTACLES if (reason := why(case)) is not None), None)


# --- the verdict ----------------------------------------------------------------------------------


def _not_carried(case: Case) -> str | None:
    special = case.found_path.special
    if special is None:
        return None
    return f"none offered: a VPC does not carry {special} packets, whatever its rules say"


def _nothing_to_fix(case: Case) -> str | None:
    verdict = case.verdict
    if verdict.kind is VerdictKind.CLOSED_CONNECTION and verdict.confidence is Confidence.POSSIBLE:
        return "none offered: the packets may belong to a connection that was over"
    return NOTHING_TO_FIX.get(verdict.kind)


def _icmp_error(case: Case) -> str | None:
    if all(item.kind is not EvidenceKind.ICMP_ERROR for item in case.verdict.evidence):
        return None
    return (
        "none offered: flow logs do not show the ICMP type. If these are 'fragmentation "
        "needed' messages, the network ACL must let ICMP type 3 code 4 in (IPv6: type 2): "
        "without them large packets of accepted connections are lost (path MTU discovery)"
    )


def _not_settled(case: Case) -> str | None:
    if case.verdict.kind in {VerdictKind.UNDETERMINED, VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP}:
        return "none offered: which rule blocked it is not settled"
    return None


def _untracked(case: Case) -> str | None:
    if case.verdict.kind is VerdictKind.SECURITY_GROUP and case.verdict.leg is Leg.RESPONSE:
        return (
            "none offered: the security group does not track the connection, so the reply is a new "
            "connection to it; look at the routes of both directions and at idle time-outs"
        )
    return None


def _backscatter(case: Case) -> str | None:
    if is_backscatter(case.flow, case.verdict):
        return (
            "none offered: the packet answers no request (backscatter); opening is not the answer"
        )
    return None


def _nat_gateway_from_outside(case: Case) -> str | None:
    check = case.rules_check
    if (
        check.interface.is_nat_gateway
        and case.verdict.leg is not Leg.RESPONSE
        and check.direction is FlowDirection.INGRESS
        and case.found_path.path is Path.INTERNET
    ):
        return (
            "none offered: a NAT gateway accepts nothing that the internet begins; "
            "opening is not the answer"
        )
    return None


def _leg_not_certain(case: Case) -> str | None:
    if case.leg is Leg.UNKNOWN:
        return "none offered: whether this is a request or a reply is not certain enough"
    return None


# --- the other end --------------------------------------------------------------------------------


def _idle_peering(case: Case) -> str | None:
    found = case.found_path
    if case.leg is Leg.RESPONSE or found.path is not Path.PEERING:
        return None
    if found.peering is not None and found.peering.carries_traffic is True:
        return None
    return f"none offered: {found.path_id} carries no traffic, whatever the rules say"


def _written_denial_here(case: Case) -> str | None:
    acl = case.rules_check.acl
    if acl is None or acl.outcome is not Outcome.DENY:
        return None
    denial = written_denial(acl)
    return None if denial is None else f"none offered: {denial}"


def _by_public_address(case: Case) -> str | None:
    """Return why a request between hosts of the user's own, by a public address, is not let pass.

    A rule for the public address would open more than the rule that refers to the hosts' group.
    """
    check, owner = case.rules_check, case.found_path.public_of
    if owner is None or case.leg is not Leg.REQUEST or check.groups.outcome is Outcome.ALLOW:
        return None
    return (
        f"none offered: {check.packet.peer(check.direction)} is the public address of "
        f"{owner.interface_id}, and {PRIVATE_ADDRESSES_ONLY}; in one VPC, connect by private "
        "addresses"
    )


def _uninvited(case: Case) -> str | None:
    """Return why a request from the internet is not let in: no group offers it anything."""
    check = case.rules_check
    if (
        case.leg is not Leg.REQUEST
        or check.direction is not FlowDirection.INGRESS
        or is_inside(check.packet.source)
        or case.found_path.path in INSIDE_PATHS
        or case.found_path.path is Path.LOAD_BALANCER
        or check.groups.outcome is Outcome.ALLOW
        or trusted_list(case.config, case.found_path.prefix_list, check.interface)
    ):
        return None
    if (invited := invitation(check)) is not None:
        return f"none offered: {invited}; add a rule if this is wanted"
    return (
        "none offered: nothing here is meant to answer this from the internet; "
        "opening is not the answer"
    )


_FROM_ANYWHERE = frozenset({Path.INTERNET, Path.LOAD_BALANCER, Path.AWS_SERVICE})
_SAME_PORT_AT_BOTH_ENDS = frozenset({123, 500})  # NTP, IKE
_DNS = 53


def _reply_to_system_port(case: Case) -> str | None:
    """Return why a reply to a low port of a host outside stays blocked.

    The host chooses the port that it sends from: an entry for it opens the port of a service. Only
    of a few protocols both ends have the same low port.
    """
    packet, check = case.rules_check.packet, case.rules_check
    port = packet.destination_port
    if (
        case.leg is not Leg.RESPONSE
        or check.direction is not FlowDirection.EGRESS
        or case.found_path.path not in _FROM_ANYWHERE
        or packet.protocol not in {Protocol.TCP, Protocol.UDP}
        or port is None
        or port >= SYSTEM_PORTS_END
        or (
            packet.protocol == Protocol.UDP
            and port == packet.source_port
            and port in _SAME_PORT_AT_BOTH_ENDS
        )
    ):
        return None
    both_ends = packet.protocol == Protocol.UDP and port == packet.source_port
    who = "a DNS server alone" if both_ends and port == _DNS else "no client"
    return (
        f"none offered: a host on the internet sent its request from port {port}, which {who} "
        "does; a reply to it opens nothing that is needed"
    )


def _restricted_call(case: Case) -> str | None:
    """Return why a call to the internet that the groups or the network ACL restrict stays so."""
    check = case.rules_check
    if not _calls_internet(case):
        return None
    port = check.packet.destination_port
    known_service = port is not None and is_service_port(port)
    of_no_port = check.packet.protocol not in {Protocol.TCP, Protocol.UDP}
    # What may be the reply to a host outside has the port that this host has chosen.
    is_sure = not may_be_from_outside(case.flow, case.verdict, ends_are_inside=False)
    if is_sure and (
        is_client_port(check.packet)
        or (check.groups.outcome is Outcome.ALLOW and (known_service or of_no_port))
    ):
        return None
    return (
        f"none offered: outbound traffic is restricted here, and "
        f"{with_port(str(check.packet.destination), port)} is a public address: see what the host "
        "runs, and whether it should call there"
    )


def _calls_internet(case: Case) -> bool:
    """Whether a request goes out to the internet, or to an address of AWS that no list names."""
    found = case.found_path
    return (
        case.leg is Leg.REQUEST
        and case.rules_check.direction is FlowDirection.EGRESS
        and (
            found.path is Path.INTERNET
            or (found.path is Path.AWS_SERVICE and found.prefix_list is None)
        )
    )


# --- quarantine -----------------------------------------------------------------------------------

_ISOLATION = re.compile(r"quarantin|isolat|forensic|incident[-_ ]?response", re.IGNORECASE)


def isolated(case: Case) -> str | None:
    """Return why an isolated host at either end stays so; ``None`` where neither is isolated."""
    for interface in (case.rules_check.interface, case.found_path.far):
        if interface is not None:
            reason = _isolation_of(case.config, interface)
            if reason is not None:
                return f"{reason}: was it isolated on purpose?"
    return None


def _isolation_of(config: NetConfig, interface: Interface) -> str | None:
    if _ISOLATION.search(interface.tags.get("Name", "")):
        return f"{interface.interface_id} is named as isolated"
    return _isolation_by_groups(config, interface) or _isolation_by_acl(config, interface)


def _isolation_by_groups(config: NetConfig, interface: Interface) -> str | None:
    known = [config.security_group(each) for each in interface.group_ids or ()]
    groups = [group for group in known if group is not None]
    for group in groups:
        if _ISOLATION.search(f"{group.name or ''} {group.tags.get('Name', '')}"):
            return f"{group.group_id} of {interface.interface_id} is named as an isolation group"
    without_rules = [group for group in groups if group.ingress == () and group.egress == ()]
    if not known or len(without_rules) < len(known):
        return None
    names = ", ".join(sorted(group.group_id for group in without_rules))
    return f"{names} of {interface.interface_id} has no rule at all"


def _isolation_by_acl(config: NetConfig, interface: Interface) -> str | None:
    if interface.subnet_id is None:
        return None
    acl = config.network_acl_of_subnet(interface.subnet_id, interface.vpc_id)
    if acl is None or acl.entries is None or not _lets_nothing_pass(acl):
        return None
    return f"{acl.network_acl_id} lets nothing in and nothing out"


def _lets_nothing_pass(acl: NetworkAcl) -> bool:
    """Whether no entry of a network ACL allows anything before everything is denied."""
    for egress in (False, True):
        entries = sorted(
            (entry for entry in acl.entries or () if entry.egress is egress),
            key=lambda entry: entry.rule_number,
        )
        first = next(
            (each for each in entries if each.action == "allow" or _is_default(each)), None
        )
        if first is not None and first.action == "allow":
            return False
    return True


_OBSTACLES: tuple[Callable[[Case], str | None], ...] = (
    _not_carried,
    _nothing_to_fix,
    _icmp_error,
    _not_settled,
    _untracked,
    _backscatter,
    _nat_gateway_from_outside,
    _leg_not_certain,
    _idle_peering,
    _written_denial_here,
    _by_public_address,
    _uninvited,
    _reply_to_system_port,
    _restricted_call,
)


# --- written denials ------------------------------------------------------------------------------


def written_denial(answer: AclAnswer) -> str | None:
    """Name the entry that denies a specific range, protocol or port, which someone decided."""
    entries = (*answer.possible, *(() if answer.entry is None else (answer.entry,)))
    entry = next(
        (each for each in entries if each.action == "deny" and not _is_default(each)), None
    )
    if entry is None:
        return None
    return f"{answer.network_acl_id} {entry}: written on purpose? No command is offered against it"


def _is_default(entry: NetworkAclEntry) -> bool:
    """Whether an entry is the closing ``*``, or a denial of everything."""
    if entry.is_closing:
        return True
    return (
        entry.action == "deny"
        and entry.protocol == ALL_PROTOCOLS
        and entry.network in EVERYWHERE.values()
    )


# --- a decision, or a mistake ---------------------------------------------------------------------


def doubt(case: Case, trip: Trip) -> str | None:
    """Return why the traffic may be blocked on purpose; ``None`` where that is a mistake."""
    check = case.rules_check
    if case.leg is Leg.RESPONSE:
        return None
    before = through(case.config, case)
    if check.groups.outcome is Outcome.UNKNOWN and before is not None:
        return f"it is needed if the packets came by the load balancer {before}"
    if _calls_internet(case) or (
        check.direction is FlowDirection.EGRESS and case.found_path.path is Path.AWS_SERVICE
    ):
        return CALLS_ARE_RESTRICTED
    if check.acl_outcome is Outcome.DENY and check.groups.outcome is Outcome.DENY:
        return "network ACL and security groups both block it, as between separate networks"
    if check.direction is FlowDirection.EGRESS and check.groups.outcome is Outcome.DENY:
        return _doubt_of_call(case, trip)
    return None


def through(config: NetConfig, case: Case) -> str | None:
    """Return the load balancer that a request may have come by; ``None`` if there is none."""
    check = case.rules_check
    if case.leg is not Leg.REQUEST or check.direction is not FlowDirection.INGRESS:
        return None
    before = load_balancer_before(config, check.interface, check.packet)
    return None if before is None else before.name


def _doubt_of_call(case: Case, trip: Trip) -> str | None:
    """Return a doubt about a call inside that the caller's groups restrict."""
    if case.found_path.path is Path.GATEWAY_ENDPOINT:
        return None
    if trip.far is not None:
        there = evaluate_groups(case.config, trip.far, trip.request, FlowDirection.INGRESS)
        if there.outcome is Outcome.ALLOW:
            return None
    return "outbound traffic is restricted here, and the far side is not known to expect it"
