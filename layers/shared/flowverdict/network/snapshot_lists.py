"""Read the lists of a snapshot element by element, and collect what had to be left out.

An element that cannot be read is skipped and named, and its list counts as incomplete: the other
elements are as good as before, and nothing is concluded from what is missing. The same goes for an
id that occurs twice with different contents, since nothing tells which of them is right, and for a
list that AWS returned in parts of which only the first was kept.
"""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from flowverdict.core.errors import ConfigError
from flowverdict.network.json_object import as_object

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from flowverdict.network.json_object import JsonObject
    from flowverdict.network.model import PrefixList


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownList:
    """A list that a snapshot may hold.

    ``attribute`` names the list in a ``NetConfig``, ``id_key`` holds the id of an element.
    ``by_marker``: AWS cuts the list with ``NextMarker`` and not with ``NextToken``.
    """

    attribute: str
    id_key: str
    by_marker: bool = False


KNOWN_LISTS: Mapping[str, KnownList] = MappingProxyType(
    {
        "NetworkInterfaces": KnownList(attribute="interfaces", id_key="NetworkInterfaceId"),
        "SecurityGroups": KnownList(attribute="security_groups", id_key="GroupId"),
        "NetworkAcls": KnownList(attribute="network_acls", id_key="NetworkAclId"),
        "Subnets": KnownList(attribute="subnets", id_key="SubnetId"),
        "Vpcs": KnownList(attribute="vpcs", id_key="VpcId"),
        "VpcPeeringConnections": KnownList(attribute="peerings", id_key="VpcPeeringConnectionId"),
        "VpcEndpoints": KnownList(attribute="endpoints", id_key="VpcEndpointId"),
        "RouteTables": KnownList(attribute="route_tables", id_key="RouteTableId"),
        "ManagedPrefixLists": KnownList(attribute="prefix_lists", id_key="PrefixListId"),
        "PrefixLists": KnownList(attribute="prefix_lists", id_key="PrefixListId"),
        "LoadBalancers": KnownList(
            attribute="load_balancers", id_key="LoadBalancerArn", by_marker=True
        ),
        "TargetGroups": KnownList(
            attribute="target_groups", id_key="TargetGroupArn", by_marker=True
        ),
        "TargetHealthDescriptions": KnownList(attribute="targets", id_key="TargetGroupArn"),
    }
)
_MAX_NOTES = 5  # for each list; a file of the wrong kind has thousands of bad elements


class ListReader:
    """Reads the lists of one snapshot.

    ``incomplete`` holds the lists that lack elements, by their attribute of ``NetConfig``.
    """

    def __init__(self, root: JsonObject) -> None:
        self.root = root
        self.incomplete: set[str] = set()
        self._notes: defaultdict[str, list[str]] = defaultdict(list)

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, one sentence each, with a few sentences for each list."""
        shown: list[str] = []
        for attribute, notes in self._notes.items():
            shown += notes[:_MAX_NOTES]
            more = len(notes) - _MAX_NOTES
            if more > 0:
                shown.append(f"{more:,} more elements of {attribute} are skipped")
        return tuple(shown)

    def read[T](
        self,
        attribute: str,
        parse: Callable[[JsonObject], T],
        combine: Callable[[T, T], T | None] = lambda one, other: one if one == other else None,
    ) -> tuple[T, ...] | None:
        """Read a list; ``None`` if the snapshot has none of its keys.

        ``combine`` returns what two elements with one id say together, ``None`` if they contradict
        each other.

        Raises
        ------
        ConfigError
            The value of the key is not a list.
        """
        found: dict[str, T] = {}
        doubtful: dict[str, str] = {}
        keys = [
            key
            for key, known in KNOWN_LISTS.items()
            if known.attribute == attribute and self.root.items(key) is not None
        ]
        for key in keys:
            for place, value in self.root.places(key):
                with self.skipping(attribute, place):
                    item = as_object(place, value)
                    element_id = item.identifier(KNOWN_LISTS[key].id_key)
                    try:
                        element = parse(item)
                    except ConfigError:
                        doubtful[element_id] = key
                        raise
                    both = combine(found.get(element_id, element), element)
                    if both is None:
                        doubtful[element_id] = key
                    else:
                        found[element_id] = both
        # Of an element that cannot be read, a readable copy may be an older state.
        for element_id, key in doubtful.items():
            if found.pop(element_id, None) is not None:
                self._note(
                    attribute,
                    f"{key}: {element_id} occurs more than once with different contents; none of "
                    f"them is used, and what depends on {element_id} is not known",
                )
        return tuple(found.values()) if keys else None

    @contextmanager
    def skipping(self, attribute: str, place: str) -> Iterator[None]:
        """Skip and note what cannot be read inside the ``with`` block, an element of a list."""
        try:
            yield
        except ConfigError as error:
            self._note(
                attribute, f"{error}; {place} is skipped, and what depends on it is not known"
            )

    def mark_cut(self) -> None:
        """Mark the lists whose answers were cut, as ``NextToken`` or ``NextMarker`` tells.

        The token does not name its list: where several lists stand beside the token, each of them
        may be cut. The AWS CLI also prints ``NextToken`` in place of ``NextMarker``, which is of
        ``elasticloadbalancing`` alone.

        Raises
        ------
        ConfigError
            The token is not text.
        """
        present = [key for key in KNOWN_LISTS if self.root.fields.get(key) is not None]
        by_marker = [key for key in present if KNOWN_LISTS[key].by_marker]
        for token, keys in (("NextToken", present), ("NextMarker", by_marker or present)):
            if self.root.text(token) and keys:
                self.incomplete |= {KNOWN_LISTS[key].attribute for key in keys}
                cut = (
                    f"the list {keys[0]} was cut"
                    if len(keys) == 1
                    else f"a list was cut, and nothing tells which of {', '.join(keys)}"
                )
                self._notes[token].append(
                    f"{token}: {cut}; what depends on missing elements is not known"
                )

    def note_cut_entries(self, prefix_lists: Iterable[PrefixList]) -> None:
        """Note the prefix lists of which ``NextToken`` says that entries are missing."""
        self._notes["entries"] += [
            f"{each.prefix_list_id}: its entries were cut (NextToken); what depends on the missing "
            "entries is not known"
            for each in prefix_lists
            if each.is_cut
        ]

    def _note(self, attribute: str, sentence: str) -> None:
        self.incomplete.add(attribute)
        self._notes[attribute].append(sentence)
