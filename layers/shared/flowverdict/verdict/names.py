"""Collect the names that people gave to the places of a rejected flow, by their ids.

A name is the tag ``Name``; a security group has a name of its own too
(https://docs.aws.amazon.com/vpc/latest/userguide/creating-security-groups.html). Anybody who may
tag a resource writes it, so it is text that cannot fake a line, and is shown beside the id.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.untrusted import one_line

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface


MAX_TAG = 64  # characters of a tag's value that are shown: enough for a name, not for a message


def name_in(tags: Mapping[str, str]) -> str:
    """Return the tag ``Name`` as text that fits a line, empty without one."""
    return shown_name(tags.get("Name", ""))


def shown_name(text: str) -> str:
    """Return at most ``MAX_TAG`` characters of a name, on one line."""
    return one_line(text).strip()[:MAX_TAG]


def names_around(config: NetConfig, interface: Interface) -> tuple[tuple[str, str], ...]:
    """Return ids with their names: of the interface, its groups, subnet, network ACL and VPC."""
    return tuple((key, name) for key, name in _named(config, interface) if name)


def _named(config: NetConfig, interface: Interface) -> Iterator[tuple[str, str]]:
    yield interface.interface_id, name_in(interface.tags)
    for group_id in interface.group_ids or ():
        group = config.security_group(group_id)
        if group is not None:
            yield group_id, shown_name(group.name or "") or name_in(group.tags)
    if interface.subnet_id is not None:
        subnet = config.subnet(interface.subnet_id)
        if subnet is not None:
            yield subnet.subnet_id, name_in(subnet.tags)
        acl = config.network_acl_of_subnet(interface.subnet_id, interface.vpc_id)
        if acl is not None:
            yield acl.network_acl_id, name_in(acl.tags)
    if interface.vpc_id is not None:
        vpc = config.vpc(interface.vpc_id)
        if vpc is not None:
            yield vpc.vpc_id, name_in(vpc.tags)
