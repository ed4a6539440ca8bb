"""TODO tests.helpers.connection."""

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
    """What both layers say to a packet at one interface.

    Parameters
    ----------
    acl
        ``None`` if the packet stays inside the subnet, where no ACL is asked.
    groups
        ``None`` for a reply, which the groups let pass.
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
    """What an interface's rules say to a request and to its reply."""

    request: Passage
    reply: Passage

    @property
    def outcome(self) -> Outcome:
        """Whether request and reply both pass."""
        return _both((self.request.outcome, self.reply.outcome))


def _both(outcomes: Iterable[Outcome]) -> Outcome:
    """Give what is sure if all have to allow."""
    told = set(outcomes)
    if Outcome.DENY in told:
        return Outcome.DENY
    return Outcome.UNKNOWN if Outcome.UNKNOWN in told else Outcome.ALLOW


# --- both layers ------------------------------------------------------------------------------------------------------


def evaluate_connection(
    config: NetConfig, interface: Interface, request: Packet, direction: FlowDirection
) -> Connection:
    """Say whether a request and its reply pass one interface, ``direction`` being the request's.

    The groups are stateful, so of the reply only the ACL is asked.
    """
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
