"""Protocol names and the ports that services listen on.

Ports are weak evidence: they break ties and never make a verdict certain. A port is a *service*
port if it is below 1024 or among the well-known ports listed here. A port is *ephemeral* from 32768
up, where Linux starts
(https://docs.aws.amazon.com/vpc/latest/userguide/custom-network-acl.html#nacl-ephemeral-ports).
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class Protocol(IntEnum):
    """IANA numbers of the protocols that the rules distinguish."""

    ICMP = 1
    TCP = 6
    UDP = 17
    ICMPV6 = 58


_PROTOCOL_NAMES = MappingProxyType(
    {
        1: "ICMP",
        2: "IGMP",
        4: "IPv4",
        6: "TCP",
        17: "UDP",
        41: "IPv6",
        47: "GRE",
        50: "ESP",
        51: "AH",
        58: "ICMPv6",
        132: "SCTP",
    }
)

WELL_KNOWN_PORTS: Mapping[int, str] = MappingProxyType(
    {
        20: "FTP data",
        21: "FTP",
        22: "SSH",
        23: "Telnet",
        25: "SMTP",
        53: "DNS",
        67: "DHCP",
        80: "HTTP",
        88: "Kerberos",
        110: "POP3",
        111: "RPC",
        123: "NTP",
        135: "RPC",
        139: "NetBIOS",
        143: "IMAP",
        161: "SNMP",
        389: "LDAP",
        443: "HTTPS",
        445: "SMB",
        465: "SMTPS",
        514: "syslog",
        587: "SMTP submission",
        636: "LDAPS",
        853: "DNS over TLS",
        873: "rsync",
        990: "FTPS",
        993: "IMAPS",
        995: "POP3S",
        1194: "OpenVPN",
        1433: "SQL Server",
        1521: "Oracle",
        1883: "MQTT",
        2049: "NFS",
        2181: "ZooKeeper",
        2375: "Docker",
        2376: "Docker",
        2379: "etcd",
        3000: "HTTP",
        3128: "proxy",
        3268: "Active Directory",
        3306: "MySQL",
        3389: "RDP",
        4317: "OTLP",
        4318: "OTLP",
        5000: "HTTP",
        5060: "SIP",
        5432: "PostgreSQL",
        5439: "Redshift",
        5601: "Kibana",
        5671: "AMQPS",
        5672: "AMQP",
        5900: "VNC",
        5984: "CouchDB",
        5985: "WinRM",
        5986: "WinRM",
        6379: "Redis",
        6443: "Kubernetes",
        7000: "Cassandra",
        8000: "HTTP",
        8080: "HTTP",
        8089: "Splunk",
        8125: "StatsD",
        8182: "Neptune",
        8200: "Vault",
        8443: "HTTPS",
        8500: "Consul",
        8883: "MQTTS",
        9000: "HTTP",
        9042: "Cassandra",
        9090: "Prometheus",
        9092: "Kafka",
        9094: "Kafka",
        9098: "Kafka",
        9100: "node exporter",
        9200: "OpenSearch",
        9300: "OpenSearch",
        9997: "Splunk",
        10250: "kubelet",
        11211: "memcached",
        15672: "RabbitMQ",
        27017: "MongoDB",
        50051: "gRPC",
    }
)

_WITH_PORTS = frozenset({Protocol.TCP, Protocol.UDP, 132})
SYSTEM_PORTS_END = 1024
EPHEMERAL_PORTS_START = 32_768


class PortLook(StrEnum):
    """Whether the two ports of a packet suggest a request or a reply."""

    REQUEST = "request"
    REPLY = "reply"
    NEITHER = "neither"


def protocol_name(protocol: int | None) -> str:
    """Return a protocol's name: ``TCP``, ``OSPFIGP``, ``protocol 253``."""
    if protocol is None:
        return "unknown protocol"
    if protocol in _PROTOCOL_NAMES:
        return _PROTOCOL_NAMES[protocol]
    return _registered("PROTOCOLS").get(protocol, f"protocol {protocol}")


def service_name(protocol: int | None, port: int) -> str | None:
    """Return the name of the service at a port, ``None`` for none that is known.

    Of system ports that are not among the well-known ones, it is IANA's.
    """
    if port in WELL_KNOWN_PORTS:
        return WELL_KNOWN_PORTS[port]
    if port >= SYSTEM_PORTS_END or protocol not in {Protocol.TCP, Protocol.UDP}:
        return None
    of_udp = _registered("UDP_PORTS").get(port) if protocol == Protocol.UDP else None
    return of_udp if of_udp is not None else _registered("TCP_PORTS").get(port)


def _registered(table: str) -> Mapping[int, str]:
    """Return a table of IANA's names, which are loaded with the first of them."""
    from flowverdict.core import registered_names  # noqa: PLC0415 - few names are ever needed

    found: Mapping[int, str] = getattr(registered_names, table)
    return found


def protocol_number(name: str) -> int | None:
    """Return the number of a protocol that ``protocol_name`` names, in any case of letters."""
    wanted = name.casefold()
    return next((n for n, known in _PROTOCOL_NAMES.items() if known.casefold() == wanted), None)


def is_service_port(port: int) -> bool:
    """Whether a service is likely to listen on the port."""
    return port < SYSTEM_PORTS_END or port in WELL_KNOWN_PORTS


def without_ephemeral(port: int | None) -> int | None:
    """Return the port, or ``None`` for an ephemeral port without a known service.

    A client uses another such port for every connection.
    """
    return port if port is None or port < EPHEMERAL_PORTS_START or is_service_port(port) else None


def has_ports(protocol: int | None) -> bool:
    """Whether packets of the protocol carry ports; flow logs show 0 for those that do not."""
    return protocol in _WITH_PORTS


def port_look(srcport: int | None, dstport: int | None) -> PortLook:
    """Return what the two ports suggest.

    A request goes from a non-service port to a service port, or from an ephemeral port to any lower
    port. A reply comes from a service port and goes to a port that is not a service port. "The
    lower port is the server's" alone is too weak to call a packet a reply.
    """
    if srcport is None or dstport is None or srcport == dstport:
        return PortLook.NEITHER
    if is_service_port(dstport) and not is_service_port(srcport):
        return PortLook.REQUEST
    if is_service_port(srcport) and not is_service_port(dstport):
        return PortLook.REPLY
    if srcport >= EPHEMERAL_PORTS_START > dstport:
        return PortLook.REQUEST
    return PortLook.NEITHER
