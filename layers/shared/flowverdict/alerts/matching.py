"""Find the entries that match a problem with a few look-ups, however many entries there are.

An entry asks for values of keys (``Key``): of each key that it names, one of the values it lists.
The policy document matches rejected flows, a silence of the alert table matches alerts, and both
are matched here.

What is matched has *clauses* for each key: for each clause, an entry has to list one of its values.
An alert of two remote addresses has two clauses, because an entry that names one of the two says
nothing of the other. A clause without values stands for a value that is not known; only an entry
that does not ask for the key passes it.

Each value that an entry asks for is indexed, with the entries that ask for it as the bits of a
number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import TYPE_CHECKING, Self, cast

from flowverdict.alerts.model import Alert, Severity
from flowverdict.core.protocols import protocol_number
from flowverdict.core.untrusted import is_account_id, is_region, is_resource_id
from flowverdict.verdict.model import VerdictKind

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from flowverdict.alerts.model import Notification
    from flowverdict.core.addresses import Address, Network


class Key(StrEnum):
    """What an entry may ask for, spelled as in the policy document; the cheap ones stand first."""

    VERDICT = "verdict"
    ACCOUNT = "account_id"
    REGION = "region"
    VPC = "vpc_id"
    SUBNET = "subnet_id"
    INTERFACE = "interface_id"
    PROTOCOL = "protocol"
    PORT = "port"
    CIDR = "cidr"
    SECURITY_GROUP = "security_group_id"
    NETWORK_ACL = "network_acl_id"
    OWNER = "owner"
    SEVERITY = "severity"
    FINGERPRINT = "fingerprint"


type Value = str | int | Network
type Asked = Mapping[Key, Sequence[Value]]
type Clauses = Sequence[Sequence[str | int | Address | Network]]

UNKNOWN: Clauses = ((),)


def known(*values: str | int | Address | None) -> Clauses:
    """Return one clause, of the values that are known."""
    return (tuple(value for value in values if value is not None),)


def first_matching(matching: int) -> int:
    """Return the position of the lowest bit that is set; -1 for 0."""
    return (matching & -matching).bit_length() - 1


@dataclass(frozen=True, slots=True)
class _Values:
    """One key of all entries: bits of entries that do not ask for it, and of those that do."""

    indifferent: int
    asking: dict[str | int, int] = field(default_factory=dict)

    def add(self, value: Value, bit: int) -> None:
        """Index that an entry asks for a value."""
        plain = cast("str | int", value)
        self.asking[plain] = self.asking.get(plain, 0) | bit

    def of(self, value: str | int | Address | Network) -> int:
        """Return the bits of the entries that list the value."""
        return self.asking.get(cast("str | int", value), 0)


@dataclass(frozen=True, slots=True)
class _Networks:
    """The same for CIDR blocks, looked up by leading bits, once for each prefix length."""

    indifferent: int
    asking: dict[int, dict[int, dict[int, int]]] = field(default_factory=dict)

    def add(self, value: Value, bit: int) -> None:
        """Index that an entry asks for a block."""
        block = cast("Network", value)
        beyond = block.max_prefixlen - block.prefixlen
        asking = self.asking.setdefault(block.version, {}).setdefault(beyond, {})
        leading = int(block.network_address) >> beyond
        asking[leading] = asking.get(leading, 0) | bit

    def of(self, value: str | int | Address | Network) -> int:
        """Return the bits of the entries with a block that holds the address, or all of a block."""
        if isinstance(value, IPv4Network | IPv6Network):
            number, own = int(value.network_address), value.max_prefixlen - value.prefixlen
            version: int = value.version
        else:
            address = cast("Address", value)
            number, own, version = int(address), 0, address.version
        found = 0
        for beyond, asking in self.asking.get(version, {}).items():
            if beyond >= own:
                found |= asking.get(number >> beyond, 0)
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryIndex:
    """What all entries ask for, by key; a key that no entry asks for is not there."""

    by_key: Mapping[Key, _Values | _Networks]

    @classmethod
    def of(cls, entries: Sequence[Asked]) -> Self:
        """Build the index; an entry's bit is its position in the list."""
        by_key: dict[Key, _Values | _Networks] = {}
        for key in Key:
            indifferent = sum(1 << at for at, asked in enumerate(entries) if not asked.get(key))
            index = (_Networks if key is Key.CIDR else _Values)(indifferent)
            for position, asked in enumerate(entries):
                for value in asked.get(key, ()):
                    index.add(value, 1 << position)
            if index.asking:
                by_key[key] = index
        return cls(by_key=by_key)

    def matching(self, asked: int, clauses_of: Callable[[Key], Clauses]) -> int:
        """Return the bits of the asked entries that match; the cheap keys are looked up first."""
        found = asked
        for key, index in self.by_key.items():
            if not found:
                break
            for clause in clauses_of(key):
                listed = index.indifferent
                for value in clause:
                    listed |= index.of(value)
                found &= listed
        return found


# --- what an alert has ----------------------------------------------------------------------------


def clauses_of_alert(notification: Notification, key: Key) -> Clauses:
    """Return what an alert or notice has for a key."""
    match key:
        case Key.FINGERPRINT:
            return known(notification.fingerprint)
        case Key.ACCOUNT:
            return known(notification.account_id)
        case Key.REGION:
            return known(notification.region)
        case Key.VPC:
            return known(notification.vpc_id)
        case Key.SEVERITY:
            return known(notification.severity)
        case Key.INTERFACE:
            every = [(interface,) for interface in notification.interfaces]
            left_out = notification.interface_count > len(every) or not every
            return (*every, ()) if left_out else every
        case _:
            return (
                _only_of_alerts(notification, key) if isinstance(notification, Alert) else UNKNOWN
            )


def _only_of_alerts(alert: Alert, key: Key) -> Clauses:
    match key:
        case Key.VERDICT:
            return known(alert.verdict)
        case Key.SUBNET:
            return known(alert.subnet_id)
        case Key.PROTOCOL:
            return known(alert.protocol)
        case Key.PORT:
            return known(alert.service_port)
        case Key.SECURITY_GROUP:
            return (alert.security_groups,)
        case Key.NETWORK_ACL:
            entry = alert.network_acl_entry
            return UNKNOWN if entry is None else known(entry.network_acl_id)
        case Key.OWNER:
            return (owner_values(alert.owners),)
        case _:
            return _remotes(alert)


def _remotes(alert: Alert) -> Clauses:
    """Return a clause for each remote address, and one for all of those that are not listed."""
    every = [_networks(remote.address) for remote in alert.top_remotes]
    if alert.remote_count > len(every) or not every:
        every.append(_networks(alert.far_network))
    return every


def _networks(text: str | None) -> tuple[Network, ...]:
    """Return the block or address that a stored text names; nothing for other text."""
    try:
        return () if text is None else (ip_network(text),)
    except ValueError:
        return ()


def owner_values(owners: Sequence[tuple[str, str]]) -> tuple[str, ...]:
    """Return how an entry may name an owner: ``team=payments``, or ``payments`` for any tag."""
    return tuple(text for name, value in owners for text in (f"{name.casefold()}={value}", value))


# --- values as text -------------------------------------------------------------------------------

_FINGERPRINT = re.compile(r"[0-9a-f]{32}")
_MAX_OWNER = 256
_RESOURCES = {
    Key.VPC: "vpc",
    Key.SUBNET: "subnet",
    Key.INTERFACE: "eni",
    Key.SECURITY_GROUP: "sg",
    Key.NETWORK_ACL: "acl",
}


def parse_value(key: Key, text: str) -> Value:
    """Parse a value that an entry asks for.

    Raises
    ------
    ValueError
        The text is not a value of the key; the error says what is.
    """
    match key:
        case Key.CIDR:
            return _network(text)
        case Key.PORT:
            return _number(text, 65_535, "a port")
        case Key.PROTOCOL:
            number = protocol_number(text)
            return _number(text, 255, "a protocol: TCP, UDP, ICMP") if number is None else number
        case Key.VERDICT:
            return _one_of(text, [kind.value for kind in VerdictKind])
        case Key.SEVERITY:
            return _one_of(text, [severity.value for severity in Severity])
        case Key.OWNER:
            return parse_owner(text)
        case _:
            if not _is_id(key, text):
                raise ValueError(f"not a value of {key}")
            return text


def value_as_text(key: Key, value: Value) -> str:
    """Return the text that ``parse_value`` reads as this value."""
    if key is Key.CIDR:
        network = cast("Network", value)
        is_address = network.prefixlen == network.max_prefixlen
        return str(network.network_address) if is_address else str(network)
    return str(value)


def parse_owner(text: str) -> str:
    """Parse ``NAME=VALUE`` of a tag that names an owner, or the value alone.

    Raises
    ------
    ValueError
        The text is blank, too long, or not one line.
    """
    if not text.strip() or len(text) > _MAX_OWNER or not text.isprintable():
        raise ValueError("not a tag NAME=VALUE in one line, nor a value")
    name, equals, value = text.strip().partition("=")
    return f"{name.casefold()}={value}" if equals else name


def _is_id(key: Key, text: str) -> bool:
    if key is Key.FINGERPRINT:
        return _FINGERPRINT.fullmatch(text) is not None
    if key is Key.ACCOUNT:
        return is_account_id(text)
    if key is Key.REGION:
        return is_region(text)
    return is_resource_id(text, _RESOURCES[key])


def _network(text: str) -> Network:
    try:
        return ip_network(text)
    except ValueError as error:
        raise ValueError("not an address or a CIDR block without bits beyond its prefix") from error


def _number(text: str, most: int, what: str) -> int:
    if not re.fullmatch(r"[0-9]{1,5}", text, re.ASCII) or int(text) > most:
        raise ValueError(f"not {what}, nor a number up to {most}")
    return int(text)


def _one_of(text: str, values: Sequence[str]) -> str:
    if text not in values:
        raise ValueError(f"not one of {', '.join(values)}")
    return text
