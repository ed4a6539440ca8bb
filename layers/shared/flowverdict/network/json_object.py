"""Read typed values out of a JSON object, strictly, with the path of each value.

A missing or null key reads as ``None``: *not known*. A value of the wrong type raises an error that
names its path, because a misread rule would make a verdict wrong.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowverdict.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowverdict.core.addresses import Network


_PREFIX_LENGTH = re.compile(r"/[0-9]{1,3}")
# A file may come from anyone, and an id goes into commands: an id must not be an option, and must
# not have the AWS CLI's syntax in it ("sg-1},{...").
_IDENTIFIER = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:/-]{0,255}")
_SHOWN = 64  # enough to find the value by, and still one line


def shown(value: object) -> str:
    """Return a value as one short line, escaped: a file's content must not reach a terminal."""
    return ascii(value)[:_SHOWN]


def _to_network(text: str) -> Network | None:
    # ip_network() also accepts bare addresses, netmasks and addresses with a zone.
    if "%" in text or not _PREFIX_LENGTH.fullmatch(text[text.find("/") :]):
        return None
    try:
        return ip_network(text, strict=False)  # clears host bits, as AWS does
    except ValueError:
        return None


def _to_address(text: str) -> IPv4Address | IPv6Address | None:
    if "%" in text:
        return None
    try:
        return ip_address(text)
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class JsonObject:
    """A JSON object and its path in the snapshot.

    Each method that reads a key returns ``None`` where the key is missing or null, and raises
    ``ConfigError`` where the value has the wrong type.
    """

    path: str
    fields: Mapping[str, object]

    def place(self, key: str) -> str:
        """Return the path of a key."""
        return f"{self.path}.{key}" if self.path else key

    def wrong(self, key: str, what: str) -> ConfigError:
        """Return the error for a value that is ``what``."""
        return ConfigError(f"{self.place(key)}: {shown(self.fields.get(key))} is {what}")

    def missing(self, key: str) -> ConfigError:
        """Return the error for a key that is missing."""
        return ConfigError(f"{self.place(key)}: is missing")

    def text(self, key: str) -> str | None:
        """Read a string."""
        value = self.fields.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(key, "not text")

    def identifier(self, key: str) -> str:
        """Read the id of an element; raise also if it is missing or is not safe in a command."""
        value = self.text(key)
        if value is None:
            raise self.missing(key)
        if not _IDENTIFIER.fullmatch(value):
            raise self.wrong(key, "not an id")
        return value

    def number(self, key: str) -> int | None:
        """Read a whole number."""
        value = self.fields.get(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.wrong(key, "not a whole number")

    def required_number(self, key: str) -> int:
        """Read a whole number; raise also if it is missing."""
        value = self.number(key)
        if value is None:
            raise self.missing(key)
        return value

    def flag(self, key: str) -> bool | None:
        """Read true or false."""
        value = self.fields.get(key)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(key, "neither true nor false")

    def time(self, key: str) -> datetime | None:
        """Read a time that has a time zone, as ISO 8601 text or from boto3; return it in UTC."""
        value = self.fields.get(key)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError as error:
                raise self.wrong(key, "not an ISO 8601 time") from error
        if value is None:
            return None
        if not isinstance(value, datetime):
            raise self.wrong(key, "not an ISO 8601 time")
        if value.tzinfo is None:
            raise self.wrong(key, "a time without its zone")
        try:
            return value.astimezone(UTC)
        except OverflowError as error:
            raise self.wrong(key, "not a time UTC can show") from error

    def network(self, key: str) -> Network | None:
        """Read an IPv4 or IPv6 CIDR."""
        text = self.text(key)
        network = None if text is None else _to_network(text)
        if text is not None and network is None:
            raise self.wrong(key, "not a CIDR")
        return network

    def ipv4_network(self, key: str) -> IPv4Network | None:
        """Read an IPv4 CIDR."""
        network = self.network(key)
        if network is None or isinstance(network, IPv4Network):
            return network
        raise self.wrong(key, "not an IPv4 CIDR")

    def ipv6_network(self, key: str) -> IPv6Network | None:
        """Read an IPv6 CIDR."""
        network = self.network(key)
        if network is None or isinstance(network, IPv6Network):
            return network
        raise self.wrong(key, "not an IPv6 CIDR")

    def either_network(self, ipv4_key: str, ipv6_key: str) -> Network | None:
        """Read the one CIDR that AWS writes under a key of its IP version."""
        ipv4, ipv6 = self.ipv4_network(ipv4_key), self.ipv6_network(ipv6_key)
        return ipv6 if ipv4 is None else ipv4

    def ipv4_address(self, key: str) -> IPv4Address | None:
        """Read an IPv4 address."""
        text = self.text(key)
        if text is None:
            return None
        address = _to_address(text)
        if isinstance(address, IPv4Address):
            return address
        raise self.wrong(key, "not an IPv4 address")

    def ipv6_address(self, key: str) -> IPv6Address | None:
        """Read an IPv6 address."""
        text = self.text(key)
        if text is None:
            return None
        address = _to_address(text)
        if isinstance(address, IPv6Address):
            return address
        raise self.wrong(key, "not an IPv6 address")

    def nested(self, key: str) -> JsonObject | None:
        """Read an object."""
        value = self.fields.get(key)
        if value is None:
            return None
        if isinstance(value, Mapping):
            return JsonObject(self.place(key), value)
        raise self.wrong(key, "not an object")

    def items(self, key: str) -> list[object] | None:
        """Read a list of any values."""
        value = self.fields.get(key)
        if value is None or isinstance(value, list):
            return value
        raise self.wrong(key, "not a list")

    def places(self, key: str) -> Iterator[tuple[str, object]]:
        """Read a list of any values, each with its path; a missing list has none."""
        for index, value in enumerate(self.items(key) or ()):
            yield f"{self.place(key)}[{index}]", value

    def objects(self, key: str) -> Iterator[JsonObject]:
        """Read a list of objects; a missing list has none."""
        return (as_object(place, value) for place, value in self.places(key))

    def each[T](self, key: str, read: Callable[[JsonObject], T]) -> tuple[T, ...] | None:
        """Read every object of a list; ``None`` for a missing list, ``()`` for an empty one."""
        return (
            None
            if self.fields.get(key) is None
            else tuple(read(item) for item in self.objects(key))
        )

    def some[T](self, key: str, read: Callable[[JsonObject], T | None]) -> tuple[T, ...]:
        """Read the values in a list of objects; ``()`` for a list that AWS omits if empty."""
        return tuple(value for item in self.objects(key) if (value := read(item)) is not None)

    def texts(self, key: str) -> tuple[str, ...] | None:
        """Read a list of strings."""
        return self._parsed(key, lambda text: text, "text")

    def identifiers(self, key: str) -> tuple[str, ...] | None:
        """Read a list of ids that are safe in a command."""
        return self._parsed(
            key, lambda text: text if _IDENTIFIER.fullmatch(text) else None, "an id"
        )

    def networks(self, key: str) -> tuple[Network, ...] | None:
        """Read a list of IPv4 and IPv6 CIDRs."""
        return self._parsed(key, _to_network, "a CIDR")

    def _parsed[T](
        self, key: str, parse: Callable[[str], T | None], kind: str
    ) -> tuple[T, ...] | None:
        """Read a list of strings that are each of a kind; ``parse`` returns ``None`` for others."""
        if self.fields.get(key) is None:
            return None
        found: list[T] = []
        for place, value in self.places(key):
            if not isinstance(value, str):
                raise ConfigError(f"{place}: {shown(value)} is not text")
            parsed = parse(value)
            if parsed is None:
                raise ConfigError(f"{place}: {shown(value)} is not {kind}")
            found.append(parsed)
        return tuple(found)

    def tags(self, key: str) -> Mapping[str, str]:
        """Read a list of tags; an element without tags has none."""
        return MappingProxyType(dict(_tag(tag) for tag in self.objects(key)))


def as_object(place: str, value: object) -> JsonObject:
    """Return the object at a place; raise ``ConfigError`` if the value is not an object."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"{place}: {shown(value)} is not an object")
    return JsonObject(place, value)


def _tag(item: JsonObject) -> tuple[str, str]:
    key = item.text("Key")
    if key is None:
        raise item.missing("Key")
    return key, item.text("Value") or ""
