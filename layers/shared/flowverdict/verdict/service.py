"""Find the port of the service that a rejected flow belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from flowverdict.core.protocols import PortLook, has_ports, port_look, without_ephemeral
from flowverdict.verdict.model import Leg

if TYPE_CHECKING:
    from flowverdict.flows.model import RejectedFlow


def service_port(flow: RejectedFlow, leg: Leg) -> int | None:
    """Return the port of the service of the connection; ``None`` where the ports do not show it.

    A high port without a known service counts as ephemeral: every connection has another.
    """
    key = flow.key
    if not has_ports(key.protocol):
        return None
    match leg:
        case Leg.REQUEST:
            port = key.destination_port
        case Leg.RESPONSE:
            port = key.source_port
        case Leg.UNKNOWN:
            look = port_look(key.source_port, key.destination_port)
            port = {
                PortLook.REQUEST: key.destination_port,
                PortLook.REPLY: key.source_port,
                PortLook.NEITHER: None,
            }[look]
    return without_ephemeral(port)
