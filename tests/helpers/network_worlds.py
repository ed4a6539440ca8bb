"""Random ``Describe*`` answers and packets, as strategies of Hypothesis."""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any

from hypothesis import strategies as st

from flowverdict.network.packet import Packet

# Few values, so that rules and packets meet often.
PORTS = (0, 22, 443, 1024, 32_768, 50_000, 65_535)
PROTOCOLS = (1, 6, 17, 47, 58)
IPV4 = (
    "10.0.1.1",
    "10.0.1.2",
    "10.0.1.17",
    "10.0.2.1",
    "10.2.0.1",
    "10.2.0.2",
    "192.0.2.1",
    "203.0.113.1",
)
IPV6 = ("2001:db8::1", "2001:db8::2", "2001:db8:2::1")
CIDRS4 = ("0.0.0.0/0", "10.0.0.0/16", "10.0.1.0/24", "10.0.1.2/32", "10.2.0.0/16", "128.0.0.0/1")
CIDRS6 = ("::/0", "2001:db8::/64", "2001:db8::2/128")
ICMP_KINDS = ((8, 0), (0, 0), (3, 1), (3, 4), (13, 7))

type Json = dict[str, Any]


@st.composite
def packets(draw: st.DrawFn) -> Packet:
    """Draw a packet of one IP version, without an ICMP type and code."""
    family = draw(st.sampled_from([IPV4, IPV4, IPV6]))
    protocol = draw(st.sampled_from(PROTOCOLS))
    has_ports = protocol in {6, 17}
    return Packet(
        source=ip_address(draw(st.sampled_from(family))),
        destination=ip_address(draw(st.sampled_from(family))),
        protocol=protocol,
        source_port=draw(st.sampled_from(PORTS)) if has_ports else 0,
        destination_port=draw(st.sampled_from(PORTS)) if has_ports else 0,
    )


port_ranges = st.tuples(st.sampled_from(PORTS), st.sampled_from(PORTS)).map(sorted)
icmp_kinds = st.sampled_from([(-1, -1), (8, -1), (8, 0), (3, -1), (3, 4)])


@st.composite
def acl_entries(draw: st.DrawFn, number: int) -> Json:
    """Draw an entry of a network ACL."""
    entry: Json = {
        "RuleNumber": number,
        "Egress": draw(st.booleans()),
        "RuleAction": draw(st.sampled_from(["allow", "deny"])),
        "Protocol": str(draw(st.sampled_from([-1, *PROTOCOLS]))),
    }
    if draw(st.booleans()):
        entry["CidrBlock"] = draw(st.sampled_from(CIDRS4))
    else:
        entry["Ipv6CidrBlock"] = draw(st.sampled_from(CIDRS6))
    if draw(st.booleans()):
        first, last = draw(port_ranges)
        entry["PortRange"] = {"From": first, "To": last}
    if draw(st.booleans()):
        kind, code = draw(icmp_kinds)
        entry["IcmpTypeCode"] = {"Type": kind, "Code": code}
    return entry


@st.composite
def acls(draw: st.DrawFn) -> Json:
    """Draw the network ACL of subnet-1."""
    numbers = draw(st.lists(st.integers(1, 60), unique=True, max_size=6))
    return {
        "NetworkAclId": "acl-1",
        "VpcId": "vpc-1",
        "Entries": [draw(acl_entries(number)) for number in numbers],
        "Associations": [{"SubnetId": "subnet-1"}],
    }


OWN, OTHER = "111111111111", "222222222222"
FAR: Json = {
    "GroupId": "sg-9",
    "UserId": OTHER,
    "VpcId": "vpc-2",
    "VpcPeeringConnectionId": "pcx-1",
}
PAIRS: tuple[Json, ...] = (
    {"GroupId": "sg-1", "UserId": OWN},
    {"GroupId": "sg-2", "UserId": OWN},
    {"GroupId": "sg-gone", "UserId": OWN},
    FAR,
    FAR | {"PeeringStatus": "deleted"},
)


@st.composite
def permissions(draw: st.DrawFn) -> Json:
    """Draw an ``IpPermission`` of a security group."""
    protocol = draw(st.sampled_from(["-1", "tcp", "udp", "icmp", "icmpv6", "6", "17", "47"]))
    permission: Json = {
        "IpProtocol": protocol,
        "IpRanges": [],
        "Ipv6Ranges": [],
        "PrefixListIds": [],
        "UserIdGroupPairs": [],
    }
    if protocol in {"icmp", "icmpv6"}:
        permission["FromPort"], permission["ToPort"] = draw(icmp_kinds)
    elif protocol != "-1":
        permission["FromPort"], permission["ToPort"] = draw(port_ranges)
    for _ in range(draw(st.integers(1, 2))):
        match draw(st.sampled_from(["4", "6", "list", "group", "group"])):
            case "4":
                permission["IpRanges"].append({"CidrIp": draw(st.sampled_from(CIDRS4))})
            case "6":
                permission["Ipv6Ranges"].append({"CidrIpv6": draw(st.sampled_from(CIDRS6))})
            case "list":
                permission["PrefixListIds"].append({"PrefixListId": "pl-1"})
            case _:
                permission["UserIdGroupPairs"].append(draw(st.sampled_from(PAIRS)))
    return permission


def interface(
    name: str, position: tuple[str, str, str], addresses: tuple[str, ...], groups: list[str]
) -> Json:
    """Return an interface; the position is its VPC, subnet and owner."""
    vpc, subnet, owner = position
    return {
        "NetworkInterfaceId": name,
        "InterfaceType": "interface",
        "OwnerId": owner,
        "VpcId": vpc,
        "SubnetId": subnet,
        "Groups": [{"GroupId": group} for group in groups],
        "PrivateIpAddresses": [
            {"PrivateIpAddress": address} for address in addresses if "." in address
        ],
        "Ipv6Addresses": [{"Ipv6Address": address} for address in addresses if ":" in address],
    }


@st.composite
def worlds(draw: st.DrawFn) -> Json:
    """Draw a VPC with three interfaces, and a peer VPC of another account with one."""
    groups = st.lists(st.sampled_from(["sg-1", "sg-2"]), unique=True, min_size=1)
    rules = st.lists(permissions(), max_size=4)
    here, there, far = (
        ("vpc-1", "subnet-1", OWN),
        ("vpc-1", "subnet-2", OWN),
        ("vpc-2", "subnet-9", OTHER),
    )
    pods = interface("eni-b", here, ("10.0.1.2", "2001:db8::2"), draw(groups))
    requester = {
        "VpcId": "vpc-1",
        "OwnerId": OWN,
        "CidrBlock": "10.0.0.0/16",
        "Region": "eu-west-1",
    }
    accepter = {
        "VpcId": "vpc-2",
        "OwnerId": OTHER,
        "CidrBlock": "10.2.0.0/16",
        "Region": "eu-west-1",
    }
    return {
        "NetworkInterfaces": [
            interface("eni-me", here, ("10.0.1.1", "2001:db8::1"), draw(groups)),
            pods | {"Ipv4Prefixes": [{"Ipv4Prefix": "10.0.1.16/28"}]},
            interface("eni-c", there, ("10.0.2.1",), draw(groups)),
            interface(
                "eni-p",
                far,
                ("10.2.0.1", "2001:db8:2::1"),
                [draw(st.sampled_from(["sg-9", "sg-8"]))],
            ),
        ],
        "SecurityGroups": [
            {
                "GroupId": name,
                "OwnerId": OWN,
                "VpcId": "vpc-1",
                "IpPermissions": draw(rules),
                "IpPermissionsEgress": draw(rules),
            }
            for name in ("sg-1", "sg-2")
        ],
        "NetworkAcls": [draw(acls())],
        "Subnets": [
            {
                "SubnetId": "subnet-1",
                "VpcId": "vpc-1",
                "CidrBlock": "10.0.1.0/24",
                "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": "2001:db8::/64"}],
            },
        ],
        "Vpcs": [
            {
                "VpcId": "vpc-1",
                "CidrBlock": "10.0.0.0/16",
                "Ipv6CidrBlockAssociationSet": [{"Ipv6CidrBlock": "2001:db8::/56"}],
            }
        ],
        "VpcPeeringConnections": [
            {
                "VpcPeeringConnectionId": "pcx-1",
                "RequesterVpcInfo": requester,
                "AccepterVpcInfo": accepter,
                "Status": {"Code": draw(st.sampled_from(["active", "active", "expired"]))},
            }
        ],
        "ManagedPrefixLists": [
            {
                "PrefixListId": "pl-1",
                "Entries": [{"Cidr": "192.0.2.0/24"}, {"Cidr": "2001:db8:2::/48"}],
            }
        ],
    }
