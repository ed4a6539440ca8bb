"""Name the services of a VPC whose traffic no network ACL and no security group filters.

- Network ACLs: https://docs.aws.amazon.com/vpc/latest/userguide/nacl-basics.html
- Security groups: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-security-groups.html
- The addresses of the resolver: https://docs.aws.amazon.com/vpc/latest/userguide/AmazonDNS-concepts.html

AWS records none of this traffic in flow logs.
"""

from __future__ import annotations

from ipaddress import IPv4Network, ip_address
from typing import TYPE_CHECKING

from flowverdict.network.packet import PROTOCOLS_WITH_PORTS

if TYPE_CHECKING:
    from flowverdict.core.addresses import Address
    from flowverdict.flowlog.records import FlowDirection
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface
    from flowverdict.network.packet import Packet

_RESOLVER = "the VPC's DNS resolver"
_SERVICES = {
    ip_address(text): name
    for texts, name in (
        (("169.254.169.253", "fd00:ec2::253"), _RESOLVER),
        (("169.254.169.254", "fd00:ec2::254"), "the instance metadata service"),
        (("169.254.169.123", "fd00:ec2::123"), "the Amazon Time Sync Service"),
        (("169.254.170.2",), "the metadata endpoint of ECS tasks"),
    )
    for text in texts
}
_DNS = 53


def unfiltered_service(
    config: NetConfig, interface: Interface, packet: Packet, direction: FlowDirection
) -> str | None:
    """Return the service at the remote end of a packet that no rule filters, ``None`` otherwise."""
    remote = packet.peer(direction)
    name = _SERVICES.get(remote)
    if name is not None:
        return name
    ports = (packet.source_port, packet.destination_port)
    if packet.protocol not in PROTOCOLS_WITH_PORTS or _DNS not in ports:
        return None
    return _RESOLVER if remote == _resolver_in_range(config, interface) else None


def _resolver_in_range(config: NetConfig, interface: Interface) -> Address | None:
    """Return the address of the resolver in the VPC: the base of its primary range plus two."""
    vpc = None if interface.vpc_id is None else config.vpc(interface.vpc_id)
    primary = vpc.cidrs[0] if vpc is not None and vpc.cidrs else None
    return primary.network_address + 2 if isinstance(primary, IPv4Network) else None
