"""An explained flow: the verdict with the rules, both ends and the fix, as values to be shown.

The JSON contract is one object for each rejected flow; its schema is
``docs/schemas/explanation.schema.json``. Times are ISO 8601 in UTC.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from flowverdict.core.addresses import is_inside, kind_not_carried
from flowverdict.core.availability import NotAvailable
from flowverdict.flowlog.records import FlowDirection
from flowverdict.network.packet import Outcome
from flowverdict.verdict.model import Verdict, VerdictKind
from flowverdict.verdict.outsiders import may_be_from_outside
from flowverdict.verdict.owners import describe_next_hop, name_local_end
from flowverdict.verdict.paths import INSIDE_PATHS
from flowverdict.verdict.values import AclEntry, Miss

if TYPE_CHECKING:
    from flowverdict.flows.model import RejectedFlow
    from flowverdict.network.acl import AclAnswer
    from flowverdict.network.security_groups import NearestMiss
    from flowverdict.verdict.endpoints import Endpoints
    from flowverdict.verdict.remediation.model import Remediation
    from flowverdict.verdict.rules_check import RulesCheck


_NETWORK_ACL_BLOCKS = {VerdictKind.NETWORK_ACL, VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP}
_GROUPS_MAY_BLOCK = {
    VerdictKind.SECURITY_GROUP,
    VerdictKind.NETWORK_ACL_AND_SECURITY_GROUP,
    VerdictKind.NETWORK_ACL_OR_SECURITY_GROUP,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """A rejected flow, explained.

    ``rules_check`` and ``endpoints`` are ``None`` where the rules were not read; ``remediation`` is
    then the reason why there is no fix.
    """

    flow: RejectedFlow
    verdict: Verdict
    remediation: Remediation | NotAvailable
    rules_check: RulesCheck | None = None
    endpoints: Endpoints | None = None

    @property
    def has_fix(self) -> bool:
        """Whether a fix is offered for the flow: the fix of its problem."""
        return not isinstance(self.remediation, NotAvailable)

    @property
    def blocking_entry(self) -> AclAnswer | None:
        """The network ACL's answer, if the network ACL blocks and the deciding entry is known."""
        if self.rules_check is None or self.verdict.kind not in _NETWORK_ACL_BLOCKS:
            return None
        acl = self.rules_check.acl
        if acl is None or acl.outcome is not Outcome.DENY or acl.entry is None:
            return None
        # An entry before the deciding one may match: then the number of the blocking rule is not
        # known.
        return None if acl.possible else acl

    @property
    def blocking_groups(self) -> tuple[str, ...]:
        """The groups on the interface, if the security groups block or may block."""
        if self.rules_check is None or self.verdict.kind not in _GROUPS_MAY_BLOCK:
            return ()
        return tuple(sorted(self.rules_check.groups.group_ids or ()))

    @property
    def nearest_miss(self) -> NearestMiss | None:
        """The rule that came closest to allowing the packet, if the security groups may block."""
        return (
            self.rules_check.groups.nearest_miss
            if self.rules_check is not None and self.blocking_groups
            else None
        )

    @property
    def blocker(self) -> str | None:
        """The blocking rule, the groups, or both, as text; ``None`` where not known."""
        entry = self.blocking_entry
        named = (
            []
            if entry is None or entry.entry is None
            else [f"{entry.network_acl_id} rule {entry.entry.rule_number}"]
        )
        return ", ".join([*named, *self.blocking_groups]) or None

    @property
    def acl_entry(self) -> AclEntry | None:
        """The deciding entry of the network ACL, if the network ACL blocks."""
        acl = self.blocking_entry
        if acl is None or acl.entry is None or acl.network_acl_id is None:
            return None
        entry = acl.entry
        return AclEntry(
            network_acl_id=acl.network_acl_id,
            rule_number=entry.rule_number,
            egress=entry.egress,
            action=entry.action or "deny",  # the entry blocks the packet
            protocol=entry.protocol,
            cidr_block=None if entry.network is None else str(entry.network),
            from_port=None if entry.ports is None else entry.ports.first,
            to_port=None if entry.ports is None else entry.ports.last,
            icmp_type=None if entry.icmp is None else entry.icmp.type,
            icmp_code=None if entry.icmp is None else entry.icmp.code,
        )

    @property
    def miss(self) -> Miss | None:
        """The rule that came closest, as the JSON contract shows it."""
        if self.nearest_miss is None:
            return None
        rule = self.nearest_miss.rule
        return Miss(
            security_group_id=rule.group_id,
            egress=rule.egress,
            protocol=rule.protocol,
            from_port=rule.from_port,
            to_port=rule.to_port,
            peer=None if rule.peer is None else str(rule.peer),
            differs=self.nearest_miss.differs,
        )

    @property
    def rules_read_at(self) -> str | None:
        """When the rules were read, as ISO 8601 in UTC."""
        read_at = None if self.rules_check is None else self.rules_check.read_at
        return None if read_at is None else f"{read_at:%Y-%m-%dT%H:%M:%SZ}"

    @property
    def not_carried(self) -> str | None:
        """What the packet is if no VPC carries it: ``broadcast``, ``multicast``, ``link-local``."""
        if self.rules_check is not None:
            return self.rules_check.found_path.special
        for end in (self.flow.key.packet_destination, self.flow.key.packet_source):
            if end is not None and (kind := kind_not_carried(end)) is not None:
                return kind
        return None

    @property
    def source_is_inside(self) -> bool:
        """Whether the packet was sent by the interface or from inside the organisation."""
        source = self.flow.key.packet_source
        return (
            self.flow.direction is FlowDirection.EGRESS
            or self.is_inside
            or (source is not None and is_inside(source))
        )

    @property
    def is_inside(self) -> bool:
        """Whether both ends are inside the organisation: by their addresses, or by the path."""
        by_path = self.endpoints is not None and self.endpoints.path in INSIDE_PATHS
        # What a transit gateway itself logs may come from an internet host, by a VPC at the edge.
        if by_path and self.flow.packets_lost is None:
            return True
        source, destination = self.flow.key.packet_source, self.flow.key.packet_destination
        return (
            source is not None
            and destination is not None
            and is_inside(source)
            and is_inside(destination)
        )

    @property
    def is_from_outside(self) -> bool:
        """Whether a host outside the organisation may have caused the packet by itself."""
        return may_be_from_outside(self.flow, self.verdict, ends_are_inside=self.is_inside)

    @property
    def local_end(self) -> str | None:
        """What the interface belongs to, as the rules and the records show."""
        return name_local_end(self.flow, None if self.endpoints is None else self.endpoints.local)

    @property
    def notes(self) -> tuple[str, ...]:
        """Notes about the path, the next hop of the records among them."""
        next_hop = describe_next_hop(self.flow)
        known = () if self.endpoints is None else self.endpoints.notes
        return known if next_hop is None else (*known, next_hop)

    def rule_details(self) -> dict[str, object]:
        """Return the keys of the contract that name rules; alerts have the same keys."""
        entry, miss, remediation = self.acl_entry, self.miss, self.remediation
        return {
            "network_acl_entry": None if entry is None else asdict(entry),
            "security_groups": list(self.blocking_groups),
            "nearest_miss": None if miss is None else asdict(miss),
            "rules_read_at": self.rules_read_at,
            "local_end": self.local_end,
            "remote_end": None if self.endpoints is None else self.endpoints.remote,
            "path": None if self.endpoints is None else self.endpoints.path,
            "path_id": None if self.endpoints is None else self.endpoints.path_id,
            "notes": list(self.notes),
            "remedy": None
            if isinstance(remediation, NotAvailable)
            else _remedy(remediation, self.flow.context.region),
            "remedy_reason": remediation.reason if isinstance(remediation, NotAvailable) else None,
        }


def _remedy(remediation: Remediation, region: str | None) -> dict[str, object]:
    return {
        "commands": list(remediation.commands(region)),
        "shared": list(remediation.shared_commands(region)),
        "shared_with": remediation.shared_with,
        "opens": remediation.opens,
        "verified": remediation.verified,
        "tried": list(remediation.tried),
        "if_wanted": remediation.if_wanted,
        "managed_by": remediation.managed_by,
        "undo": list(remediation.undo(region)),
        "terraform": list(remediation.terraform),
    }
