"""Values of the JSON contracts that explanations and alerts share; each is one JSON object."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AclEntry:
    """The network ACL rule that decides; ``egress`` is false for an inbound rule."""

    network_acl_id: str
    rule_number: int
    egress: bool
    action: str
    protocol: str | None
    cidr_block: str | None
    from_port: int | None
    to_port: int | None
    icmp_type: int | None
    icmp_code: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Miss:
    """The security group rule that allows all but one of protocol, port and peer."""

    security_group_id: str
    egress: bool
    protocol: str | None
    from_port: int | None
    to_port: int | None
    peer: str | None
    differs: str
