"""Parse the answers of ``Describe*`` calls, from a file or from boto3, into a ``NetConfig``.

A snapshot is one JSON object. Its keys are those of EC2's answers: ``NetworkInterfaces``,
``SecurityGroups``, ``NetworkAcls``, ``Subnets``, ``Vpcs``, ``VpcPeeringConnections``,
``VpcEndpoints``, ``RouteTables``, and two for prefix lists: ``ManagedPrefixLists``, each with the
``Entries`` that ``GetManagedPrefixListEntries`` returns, and ``PrefixLists``, as
``DescribePrefixLists`` returns them with ``Cidrs``. Those of load balancing are ``LoadBalancers``,
``TargetGroups``, ``TargetHealthDescriptions`` and ``TargetGroupAttributes``
(``parse_load_balancers``). The elements have AWS's own shapes
(https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Types.html). ``ReadAt`` may hold the
time when they were read.

A key that is missing or null is *not known*. Unknown keys are skipped, and unknown values are kept
as text. Everything else is read strictly, since a misread rule would make a verdict wrong: an
element with a value of the wrong type is skipped, noted with its path, and *not known* from then
on. ``NextToken`` says that a list was cut (``snapshot_lists``).
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING

from flowverdict.core.errors import ConfigError
from flowverdict.network import parse_places, parse_rules
from flowverdict.network.configuration import NetConfig
from flowverdict.network.json_object import JsonObject, shown
from flowverdict.network.parse_load_balancers import (
    client_ip_attributes,
    load_balancer,
    target_group,
    targets,
)
from flowverdict.network.snapshot_lists import ListReader
from flowverdict.network.snapshot_refusals import snapshot_in

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


def load_snapshot(path: Path) -> NetConfig:
    """Parse a snapshot file; every error names the file.

    Raises
    ------
    ConfigError
        The file cannot be read, is not a JSON object with a list that a snapshot holds, or a list
        has the wrong type.
    """
    try:
        # From bytes, json detects UTF-8, UTF-16 and byte order marks: shells that redirect the AWS
        # CLI write all of them.
        document = json.loads(path.read_bytes(), object_pairs_hook=_no_key_twice)
        return parse_snapshot(snapshot_in(document))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON: {error}") from error
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _no_key_twice(pairs: list[tuple[str, object]]) -> dict[str, object]:
    """Return an object; of a key that occurs twice, ``json`` would silently drop one value."""
    found = dict(pairs)
    if len(found) < len(pairs):
        counts = Counter(key for key, _ in pairs)
        raise ConfigError(
            f"the key {shown(max(counts, key=counts.__getitem__))} occurs twice in one object"
        )
    return found


def parse_snapshot(answers: Mapping[str, object]) -> NetConfig:
    """Parse a set of ``Describe*`` answers.

    Elements that cannot be read are skipped: ``incomplete`` and ``notes`` of the result say so.

    Raises
    ------
    ConfigError
        A list, ``ReadAt`` or ``NextToken`` has the wrong type; the text names it.
    """
    lists = ListReader(JsonObject("", answers))
    lists.mark_cut()
    attributes = client_ip_attributes(lists)
    prefix_lists = lists.read(
        "prefix_lists", parse_rules.prefix_list, parse_rules.combine_prefix_lists
    )
    lists.note_cut_entries(prefix_lists or ())
    return NetConfig(
        interfaces=lists.read("interfaces", parse_places.interface),
        security_groups=lists.read("security_groups", parse_rules.security_group),
        network_acls=lists.read("network_acls", parse_rules.network_acl),
        subnets=lists.read("subnets", parse_places.subnet),
        vpcs=lists.read("vpcs", parse_places.vpc),
        peerings=lists.read("peerings", parse_places.peering),
        endpoints=lists.read("endpoints", parse_places.vpc_endpoint),
        route_tables=lists.read("route_tables", parse_places.route_table),
        prefix_lists=prefix_lists,
        load_balancers=lists.read("load_balancers", load_balancer),
        target_groups=lists.read("target_groups", lambda item: target_group(item, attributes)),
        targets=targets(lists),
        read_at=lists.root.time("ReadAt"),
        # Known now that all lists above are read.
        incomplete=frozenset(lists.incomplete),
        notes=lists.notes,
    )
