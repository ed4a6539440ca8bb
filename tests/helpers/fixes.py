"""The network of ``tests/scenarios/fixes.config.json``, and flows that are explained by it."""

from __future__ import annotations

import io
from dataclasses import replace
from ipaddress import ip_network
from typing import TYPE_CHECKING

from flowverdict.core.availability import NotAvailable
from flowverdict.network.model import SecurityGroupRule
from flowverdict.network.snapshot import load_snapshot
from flowverdict.verdict.batch import Batch, FixedConfig, explain_flows
from tests.helpers.shop import SCENARIOS

if TYPE_CHECKING:
    from collections.abc import Callable

    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import NetworkAcl, SecurityGroup
    from flowverdict.verdict.explanation import Explanation
    from flowverdict.verdict.remediation.model import Remediation
    from flowverdict.verdict.remediation.offers import OpenOffers

NETWORK = load_snapshot(SCENARIOS / "fixes.config.json")
FIELDS = (
    "version account-id interface-id srcaddr dstaddr srcport dstport protocol packets bytes start "
    "end action log-status tcp-flags pkt-srcaddr pkt-dstaddr region flow-direction reject-reason"
)


def rejected(  # noqa: PLR0913 - the parts of a record
    interface: str,
    source: str,
    destination: str,
    ports: tuple[int, int],
    way: str,
    *,
    protocol: int = 6,
    flags: int | str = 2,
    action: str = "REJECT",
) -> str:
    """Write a record of a packet that was rejected at an interface, ``way`` in or out."""
    return (
        f"8 210987654321 eni-0f{interface} {source} {destination} {ports[0]} {ports[1]} {protocol} "
        f"3 180 1795348800 1795348820 {action} OK {flags} {source} {destination} eu-central-1 "
        f"{way} -"
    )


def explained(
    *records: str, config: NetConfig = NETWORK, open_offers: OpenOffers | None = None
) -> list[Explanation]:
    """Explain the rejected flows of the records together."""
    batch = Batch()
    batch.add_file(io.BytesIO("\n".join([FIELDS, *records]).encode()), name="x")
    return explain_flows([*batch.flows.rejected()], FixedConfig(config), open_offers)


def fix_of(*records: str, config: NetConfig = NETWORK) -> Remediation:
    """Return the one fix that all rejected flows of the records have."""
    (fix,) = {one.remediation for one in explained(*records, config=config)}
    assert not isinstance(fix, NotAvailable), fix.reason
    return fix


def reason_of(*records: str, config: NetConfig = NETWORK) -> str:
    """Return the one reason why no rejected flow of the records has a fix."""
    (fix,) = {one.remediation for one in explained(*records, config=config)}
    assert isinstance(fix, NotAvailable), fix.commands(None)
    return fix.reason


def with_acl(acl_id: str, change: Callable[[NetworkAcl], NetworkAcl]) -> NetConfig:
    """Return the network with one network ACL changed."""
    acls = NETWORK.network_acls or ()
    assert NETWORK.network_acl(acl_id) is not None
    return replace(
        NETWORK,
        network_acls=tuple(change(acl) if acl.network_acl_id == acl_id else acl for acl in acls),
    )


def with_group(group_id: str, change: Callable[[SecurityGroup], SecurityGroup]) -> NetConfig:
    """Return the network with one security group changed."""
    groups = NETWORK.security_groups or ()
    assert NETWORK.security_group(group_id) is not None
    return replace(
        NETWORK,
        security_groups=tuple(
            change(group) if group.group_id == group_id else group for group in groups
        ),
    )


def crowded(group: SecurityGroup, rules: int) -> SecurityGroup:
    """Return the group with so many inbound rules in place of its own."""
    return replace(
        group,
        ingress=tuple(
            SecurityGroupRule(
                group_id=group.group_id,
                egress=False,
                protocol="tcp",
                from_port=20_000 + number,
                to_port=20_000 + number,
                peer=ip_network("192.0.2.1/32"),
            )
            for number in range(rules)
        ),
    )
