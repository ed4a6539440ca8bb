"""Parse what lets packets pass: security groups, network ACLs and prefix lists, in AWS's shapes.

https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Types.html: ``SecurityGroup``,
``NetworkAcl``, ``ManagedPrefixList`` and ``PrefixList``. Each function raises ``ConfigError`` with
the path of a value of the wrong shape.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.errors import ConfigError
from flowverdict.network.model import (
    GroupReference,
    IcmpTypeCode,
    NetworkAcl,
    NetworkAclEntry,
    PortRange,
    PrefixList,
    PrefixListReference,
    SecurityGroup,
    SecurityGroupRule,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from flowverdict.core.addresses import Network
    from flowverdict.network.json_object import JsonObject
    from flowverdict.network.model import Peer


# --- security groups --------------------------------------------------------------------------


def security_group(item: JsonObject) -> SecurityGroup:
    """Parse a security group and its rules, one for each peer."""
    group_id = item.identifier("GroupId")
    return SecurityGroup(
        group_id=group_id,
        name=item.text("GroupName"),
        description=item.text("Description"),
        owner_id=item.text("OwnerId"),
        vpc_id=item.text("VpcId"),
        ingress=_rules(item, "IpPermissions", group_id, egress=False),
        egress=_rules(item, "IpPermissionsEgress", group_id, egress=True),
        tags=item.tags("Tags"),
    )


def _rules(
    item: JsonObject, key: str, group_id: str, *, egress: bool
) -> tuple[SecurityGroupRule, ...] | None:
    permissions = item.each(
        key, lambda permission: tuple(_permission(permission, group_id, egress=egress))
    )
    return None if permissions is None else tuple(rule for rules in permissions for rule in rules)


def _permission(item: JsonObject, group_id: str, *, egress: bool) -> Iterator[SecurityGroupRule]:
    peers: list[Peer | None] = [
        *(peer.ipv4_network("CidrIp") for peer in item.objects("IpRanges")),
        *(peer.ipv6_network("CidrIpv6") for peer in item.objects("Ipv6Ranges")),
        *(
            PrefixListReference(prefix_list_id=peer.identifier("PrefixListId"))
            for peer in item.objects("PrefixListIds")
        ),
        *(_group_reference(peer) for peer in item.objects("UserIdGroupPairs")),
    ]
    # Without a peer, the type of the peer is newer than this program. The rule stays in the set, so
    # that no denial is certain.
    for peer in peers or [None]:
        yield SecurityGroupRule(
            group_id=group_id,
            egress=egress,
            protocol=item.text("IpProtocol"),
            from_port=item.number("FromPort"),
            to_port=item.number("ToPort"),
            peer=peer,
        )


def _group_reference(item: JsonObject) -> GroupReference:
    return GroupReference(
        group_id=item.identifier("GroupId"),
        account_id=item.text("UserId"),
        vpc_id=item.text("VpcId"),
        peering_id=item.text("VpcPeeringConnectionId"),
        peering_status=item.text("PeeringStatus"),
    )


# --- network ACLs -----------------------------------------------------------------------------


def network_acl(item: JsonObject) -> NetworkAcl:
    """Parse a network ACL, its entries and the subnets that it is associated with."""
    return NetworkAcl(
        network_acl_id=item.identifier("NetworkAclId"),
        vpc_id=item.text("VpcId"),
        owner_id=item.text("OwnerId"),
        is_default=item.flag("IsDefault"),
        entries=item.each("Entries", _network_acl_entry),
        subnet_ids=item.each(
            "Associations", lambda association: association.identifier("SubnetId")
        ),
        tags=item.tags("Tags"),
    )


def _network_acl_entry(item: JsonObject) -> NetworkAclEntry:
    ports, icmp = item.nested("PortRange"), item.nested("IcmpTypeCode")
    egress = item.flag("Egress")
    if egress is None:
        raise item.missing("Egress")
    return NetworkAclEntry(
        rule_number=item.required_number("RuleNumber"),
        egress=egress,
        action=item.text("RuleAction"),
        protocol=item.text("Protocol"),
        network=item.either_network("CidrBlock", "Ipv6CidrBlock"),
        ports=None
        if ports is None
        else PortRange(first=ports.required_number("From"), last=ports.required_number("To")),
        icmp=None
        if icmp is None
        else IcmpTypeCode(type=icmp.required_number("Type"), code=icmp.required_number("Code")),
    )


# --- prefix lists -----------------------------------------------------------------------------


def prefix_list(item: JsonObject) -> PrefixList:
    """Parse a prefix list, with the ranges from ``Entries`` or ``Cidrs``.

    ``describe-managed-prefix-lists`` names lists without their ranges, which
    ``get-managed-prefix-list-entries`` returns as ``Entries``. ``describe-prefix-lists`` names the
    lists of AWS's services with ``Cidrs``.
    """
    return PrefixList(
        prefix_list_id=item.identifier("PrefixListId"),
        name=item.text("PrefixListName"),
        owner_id=item.text("OwnerId"),
        max_entries=item.number("MaxEntries"),
        cidrs=_ranges(item),
        is_cut=bool(item.text("NextToken")),
    )


def _ranges(item: JsonObject) -> tuple[Network, ...] | None:
    entries, cidrs = item.each("Entries", _prefix_list_entry), item.networks("Cidrs")
    if entries is not None and cidrs is not None and set(entries) != set(cidrs):
        raise ConfigError(f"{item.path}: Entries and Cidrs are not the same ranges")
    return cidrs if entries is None else entries


def _prefix_list_entry(item: JsonObject) -> Network:
    network = item.network("Cidr")
    if network is None:
        raise item.missing("Cidr")
    return network


def combine_prefix_lists(first: PrefixList, second: PrefixList) -> PrefixList | None:
    """Return what two elements say of one prefix list; ``None`` if they contradict each other.

    Two calls of AWS describe the same list, each with facts that the other call leaves out.
    """
    both = (first, second)
    names, owners = {each.name for each in both}, {each.owner_id for each in both}
    sizes = {each.max_entries for each in both}
    if max(len(values - {None}) for values in (names, owners, sizes)) > 1:
        return None
    ranges = _combined_ranges([each for each in both if each.cidrs is not None])
    if ranges is None:
        return None
    cidrs, is_cut = ranges
    return PrefixList(
        prefix_list_id=first.prefix_list_id,
        name=_known(names),
        owner_id=_known(owners),
        max_entries=_known(sizes),
        cidrs=cidrs,
        is_cut=is_cut,
    )


def _combined_ranges(
    listed: Sequence[PrefixList],
) -> tuple[tuple[Network, ...] | None, bool] | None:
    """Return all known entries and whether entries are missing; ``None`` for a contradiction."""
    if not listed:
        return None, False
    known = tuple(dict.fromkeys(network for each in listed for network in each.cidrs or ()))
    whole = [set(each.cidrs or ()) for each in listed if not each.is_cut]
    return (known, not whole) if all(each == {*known} for each in whole) else None


def _known[T](values: set[T | None]) -> T | None:
    return next((value for value in values if value is not None), None)
