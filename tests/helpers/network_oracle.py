"""An evaluation of ``Describe*`` answers that shares no code with the evaluator.

Addresses are integers, and a packet's ICMP type and code are known.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING

from flowverdict.flowlog.records import FlowDirection

if TYPE_CHECKING:
    from flowverdict.network.packet import Packet
    from tests.helpers.network_worlds import Json


def inside(address: str, cidr: str) -> bool:
    """Return whether an address lies in a CIDR."""
    text, length = cidr.split("/")
    if (":" in text) != (":" in address):
        return False
    shift = (128 if ":" in text else 32) - int(length)
    return int(ip_address(address)) >> shift == int(ip_address(text)) >> shift


def _icmp_matches(kind: int, code: int, packet: Packet) -> bool:
    return kind == -1 or (kind == packet.icmp_type and code in {-1, packet.icmp_code})


def oracle_acl(acl: Json, packet: Packet, direction: FlowDirection) -> tuple[str, int]:
    """Return the action and the number of the entry that decides."""
    remote = str(packet.destination if direction is FlowDirection.EGRESS else packet.source)
    for entry in sorted(acl["Entries"], key=lambda entry: int(entry["RuleNumber"])):
        protocol, ports, icmp = (
            int(entry["Protocol"]),
            entry.get("PortRange"),
            entry.get("IcmpTypeCode"),
        )
        if entry["Egress"] != (direction is FlowDirection.EGRESS) or not inside(
            remote, entry.get("CidrBlock") or entry["Ipv6CidrBlock"]
        ):
            continue
        if protocol not in {-1, packet.protocol}:
            continue
        if (
            protocol in {6, 17}
            and ports
            and packet.destination_port not in range(ports["From"], ports["To"] + 1)
        ):
            continue
        if protocol in {1, 58} and icmp and not _icmp_matches(icmp["Type"], icmp["Code"], packet):
            continue
        return str(entry["RuleAction"]), int(entry["RuleNumber"])
    return "deny", 32_768 if ":" in remote else 32_767


def oracle_groups(world: Json, packet: Packet, direction: FlowDirection) -> bool:
    """Return whether the groups of the first interface allow a packet."""
    mine = {group["GroupId"] for group in world["NetworkInterfaces"][0]["Groups"]}
    remote, key = (
        (packet.destination, "IpPermissionsEgress")
        if direction is FlowDirection.EGRESS
        else (packet.source, "IpPermissions")
    )
    return any(
        _allows(world, permission, packet, str(remote))
        for group in world["SecurityGroups"]
        if group["GroupId"] in mine
        for permission in group[key]
    )


def _allows(world: Json, permission: Json, packet: Packet, remote: str) -> bool:
    protocol = {"tcp": 6, "udp": 17, "icmp": 1, "icmpv6": 58}.get(permission["IpProtocol"]) or int(
        permission["IpProtocol"]
    )
    if protocol not in {-1, packet.protocol}:
        return False
    if protocol in {6, 17} and packet.destination_port not in range(
        permission["FromPort"], permission["ToPort"] + 1
    ):
        return False
    if protocol in {1, 58} and not _icmp_matches(
        permission["FromPort"], permission["ToPort"], packet
    ):
        return False
    ranges = [range_["CidrIp"] for range_ in permission["IpRanges"]] + [
        range_["CidrIpv6"] for range_ in permission["Ipv6Ranges"]
    ]
    if permission["PrefixListIds"]:
        ranges += [entry["Cidr"] for entry in world["ManagedPrefixLists"][0]["Entries"]]
    return any(inside(remote, cidr) for cidr in ranges) or any(
        _has_member(world, pair, remote) for pair in permission["UserIdGroupPairs"]
    )


def _has_member(world: Json, pair: Json, remote: str) -> bool:
    over_peering = "VpcPeeringConnectionId" in pair
    active = world["VpcPeeringConnections"][0]["Status"]["Code"] == "active"
    if over_peering and (pair.get("PeeringStatus") == "deleted" or not active):
        return False
    for interface in world["NetworkInterfaces"]:
        addresses = [item["PrivateIpAddress"] for item in interface["PrivateIpAddresses"]]
        addresses += [item["Ipv6Address"] for item in interface["Ipv6Addresses"]]
        has = remote in addresses or any(
            inside(remote, item["Ipv4Prefix"]) for item in interface.get("Ipv4Prefixes", ())
        )
        if (
            has
            and {"GroupId": pair["GroupId"]} in interface["Groups"]
            and (interface["VpcId"] == "vpc-2") is over_peering
        ):
            return True
    return False
