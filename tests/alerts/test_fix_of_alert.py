"""An alert has the fix of its problem, and no outsider's packets decide what it tells."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network

import pytest

from flowverdict.alerts.grouping import group
from flowverdict.alerts.model import Alert
from flowverdict.core.availability import NotAvailable
from flowverdict.verdict.remediation.model import Remediation
from tests.helpers.fixes import explained, rejected, with_group

# A group that offers the service to everybody, behind a network ACL that lets no reply out.
PUBLIC = with_group(
    "sg-0f60api",
    lambda group: replace(
        group,
        ingress=tuple(replace(rule, peer=ip_network("0.0.0.0/0")) for rule in group.ingress or ()),
    ),
)
CLIENT, ODD_CLIENT, SERVER = "198.51.100.77", "192.0.2.25", "10.60.8.10"


def exchange(client: str, port: int, *, packets: int) -> list[str]:
    """Write an accepted request of a client, and the reply that is rejected."""
    request = rejected("inside", client, SERVER, (port, 8443), "ingress", action="ACCEPT")
    reply = rejected("inside", SERVER, client, (8443, port), "egress", flags=18)
    return [request, reply.replace(" 3 180 ", f" {packets} {60 * packets} ")]


@pytest.mark.parametrize("packets", [1, 3, 9_000])
def test_the_busiest_flow_does_not_take_the_fix_away(packets: int) -> None:
    explanations = explained(
        *exchange(CLIENT, 50_122, packets=3),
        *exchange(ODD_CLIENT, 25, packets=packets),
        config=PUBLIC,
    )
    by_client = {str(one.flow.remote): one.remediation for one in explanations}
    fix, reason = by_client[CLIENT], by_client[ODD_CLIENT]
    assert isinstance(fix, Remediation)
    assert not isinstance(reason, Remediation)
    # The reply to a port that no client sends from is noise, and an alert of its own.
    alert, noise = (detection.notification for detection in group(explanations))
    assert isinstance(alert, Alert)
    assert isinstance(noise, Alert)
    assert (alert.severity, alert.flows, noise.severity, noise.flows) == ("critical", 1, "low", 1)
    assert alert.remediation is not None
    assert alert.remediation.commands == fix.commands("eu-central-1")
    assert CLIENT in alert.connection


def test_all_flows_of_an_alert_have_one_fix() -> None:
    clients = [f"198.51.100.{number}" for number in range(1, 9)]
    explanations = explained(
        *(
            record
            for number, client in enumerate(clients)
            for record in exchange(client, 50_000 + number, packets=1 + number)
        ),
        config=PUBLIC,
    )
    (fix,) = {one.remediation for one in explanations}
    assert isinstance(fix, Remediation)
    (alert,) = (detection.notification for detection in group(explanations))
    assert isinstance(alert, Alert)
    assert alert.remediation is not None
    assert alert.remediation.commands == fix.commands("eu-central-1")
    assert clients[0] in alert.connection  # not the busiest of them: packets cost nothing


def test_a_reply_does_not_let_in_whom_the_group_lets_in_no_more() -> None:
    (one,) = explained(*exchange(CLIENT, 50_122, packets=3))
    assert one.remediation == NotAvailable(
        f"none offered: no group lets {CLIENT} in, which may be intended. "
        "acl-0f60inside blocks it too"
    )
