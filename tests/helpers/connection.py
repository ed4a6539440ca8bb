"""Evaluate a request and its reply at one interface, at both layers.

Security groups are stateful, so a connection passes if both layers allow the request, and the
network ACL allows the reply
(https://docs.aws.amazon.com/vpc/latest/userguide/security-group-rules.html).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from flowverdict.network.acl import AclAnswer, evaluate_subnet_acl
from flowverdict.network.packet import Outcome, Packet
from flowverdict.network.security_groups import GroupsAnswer, evaluate_groups

if TYPE_CHECKING:
    from collections.abc import Iterable

    from flowverdict.flowlog.records import FlowDirection
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import Interface


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """What both layers do with a packet at one interface.

    Parameters
    ----------
    acl
        ``None`` if the packet stays inside the subnet, where no network ACL applies.
    groups
        ``None`` for a reply, which the groups always allow.
    """

    packet: Packet
    direction: FlowDirection
    acl: AclAnswer | None
    groups: GroupsAnswer | None

    @property
    def outcome(self) -> Outcome:
        """Whether the packet passes both layers."""
        return _both(layer.outcome for layer in (self.acl, self.groups) if layer is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """What an interface's rules do with a request and with its reply."""

    request: Passage
    reply: Passage

    @property
    def outcome(self) -> Outcome:
        """Whether request and reply both pass."""
        return _both((self.request.outcome, self.reply.outcome))


def _both(outcomes: Iterable[Outcome]) -> Outcome:
    """Return what is certain if all have to allow."""
    known = set(outcomes)
    if Outcome.DENY in known:
        return Outcome.DENY
    return Outcome.UNKNOWN if Outcome.UNKNOWN in known else Outcome.ALLOW


def evaluate_connection(
    config: NetConfig, interface: Interface, request: Packet, direction: FlowDirection
) -> Connection:
    """Evaluate a request and its reply; ``direction`` is the direction of the request."""
    reply = request.reply()
    return Connection(
        request=Passage(
            packet=request,
            direction=direction,
            acl=evaluate_subnet_acl(config, interface, request, direction),
            groups=evaluate_groups(config, interface, request, direction),
        ),
        reply=Passage(
            packet=reply,
            direction=direction.opposite,
            acl=evaluate_subnet_acl(config, interface, reply, direction.opposite),
            groups=None,
        ),
    )
