"""TODO flowverdict.network.json_object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from flowverdict.core.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flowverdict.core.addresses import Network


# --- reading values ---------------------------------------------------------------------------------------------------

_PREFIX_LENGTH = re.compile(r"/[0-9]{1,3}")
# A file is anybody's, and an id goes into commands: none is an option, or has what the AWS CLI takes for syntax ("sg-1},{...").
_IDENTIFIER = re.compile(r"[0-9A-Za-z][0-9A-Za-z._:/-]{0,255}")
_SHOWN = 64  # enough to find the value by, and still one line


def _shown(value: object) -> str:
    return ascii(value)[:_SHOWN]  # ascii(): a file's content must not reach a terminal unescaped


def _to_network(text: str) -> Network | None:
    # ip_network() also takes bare addresses and netmasks, and addresses with a zone.
    if "%" in text or not _PREFIX_LENGTH.fullmatch(text[text.find("/") :]):
        return None
    try:
        return ip_network(text, strict=False)  # as AWS does with host bits: it clears them
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
    """A JSON object and its place in the snapshot. A reader gives ``None`` for a missing or null key, else its kind or raises."""

    path: str
    fields: Mapping[str, object]

    def place(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path else key

    def wrong(self, key: str, what: str) -> ConfigError:
        return ConfigError(f"{self.place(key)}: {_shown(self.fields.get(key))} is {what}")

    def missing(self, key: str) -> ConfigError:
        return ConfigError(f"{self.place(key)}: is missing")

    def text(self, key: str) -> str | None:
        value = self.fields.get(key)
        if value is None or isinstance(value, str):
            return value
        raise self.wrong(key, "no text")

    def identifier(self, key: str) -> str:
        value = self.text(key)
        if value is None:
            raise self.missing(key)
        if not _IDENTIFIER.fullmatch(value):
            raise self.wrong(key, "no id")
        return value

    def number(self, key: str) -> int | None:
        value = self.fields.get(key)
        if value is None or (isinstance(value, int) and not isinstance(value, bool)):
            return value
        raise self.wrong(key, "no whole number")

    def required_number(self, key: str) -> int:
        value = self.number(key)
        if value is None:
            raise self.missing(key)
        return value

    def flag(self, key: str) -> bool | None:
        value = self.fields.get(key)
        if value is None or isinstance(value, bool):
            return value
        raise self.wrong(key, "neither true nor false")

    def time(self, key: str) -> datetime | None:
        value = self.fields.get(key)
        if isinstance(value, str):
            try:
                value = datetime.fromisoformat(value)
            except ValueError as error:
                raise self.wrong(key, "no ISO 8601 time") from error
        if value is None:
            return None
        if not isinstance(value, datetime):
            raise self.wrong(key, "no ISO 8601 time")
        if value.tzinfo is None:
            raise self.wrong(key, "a time without its zone")
        try:
            return value.astimezone(UTC)
        except OverflowError as error:
            raise self.wrong(key, "no time UTC can show") from error

    def network(self, key: str) -> Network | None:
        text = self.text(key)
        network = None if text is None else _to_network(text)
        if text is not None and network is None:
            raise self.wrong(key, "no CIDR")
        return network

    def ipv4_network(self, key: str) -> IPv4Network | None:
        network = self.network(key)
        if network is None or isinstance(network, IPv4Network):
            return network
        raise self.wrong(key, "no IPv4 CIDR")

    def ipv6_network(self, key: str) -> IPv6Network | None:
        network = self.network(key)
        if network is None or isinstance(network, IPv6Network):
            return network
        raise self.wrong(key, "no IPv6 CIDR")

    def ipv4_address(self, key: str) -> IPv4Address | None:
        text = self.text(key)
        if text is None:
            return None
        address = _to_address(text)
        if isinstance(address, IPv4Address):
            return address
        raise self.wrong(key, "no IPv4 address")

    def ipv6_address(self, key: str) -> IPv6Address | None:
        text = self.text(key)
        if text is None:
            return None
        address = _to_address(text)
        if isinstance(address, IPv6Address):
            return address
        raise self.wrong(key, "no IPv6 address")

    def nested(self, key: str) -> JsonObject | None:
        value = self.fields.get(key)
        if value is None:
            return None
        if isinstance(value, Mapping):
            return JsonObject(self.place(key), value)
        raise self.wrong(key, "no object")

    def items(self, key: str) -> list[object] | None:
        value = self.fields.get(key)
        if value is None or isinstance(value, list):
            return value
        raise self.wrong(key, "no list")

    def objects(self, key: str) -> Iterator[JsonObject]:
        for index, value in enumerate(self.items(key) or ()):
            place = f"{self.place(key)}[{index}]"
            if not isinstance(value, Mapping):
                raise ConfigError(f"{place}: {_shown(value)} is no object")
            yield JsonObject(place, value)

    def each[T](self, key: str, read: Callable[[JsonObject], T]) -> tuple[T, ...] | None:
        """Read every object of a list; ``None`` for a list that is not there, which is not the same as an empty one."""
        return (
            None
            if self.fields.get(key) is None
            else tuple(read(item) for item in self.objects(key))
        )

    def some[T](self, key: str, read: Callable[[JsonObject], T | None]) -> tuple[T, ...]:
        """Read what the objects of a list hold, for lists that AWS leaves out where there is nothing to list."""
        return tuple(value for item in self.objects(key) if (value := read(item)) is not None)

    def texts(self, key: str) -> tuple[str, ...] | None:
        values = self.items(key)
        if values is None:
            return None
        for index, value in enumerate(values):
            if not isinstance(value, str):
                raise ConfigError(f"{self.place(key)}[{index}]: {_shown(value)} is no text")
        return tuple(value for value in values if isinstance(value, str))
