"""Model load balancers, their target groups and targets, as far as verdicts need them.

Each class is one element of an ``elasticloadbalancing`` (version 2) ``Describe*`` answer:
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_Operations.html. ``None``
means *not known*, as in ``network.model``.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadBalancer:
    """A load balancer; ``load_balancer_type`` is ``application``, ``network`` or ``gateway``.

    The interfaces of a load balancer are found by their description, which AWS writes as
    ``ELB net/NAME/ID`` after the end of the ARN.
    """

    arn: str
    name: str | None = None
    load_balancer_type: str | None = None
    scheme: str | None = None
    vpc_id: str | None = None
    group_ids: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetGroup:
    """A target group.

    ``preserve_client_ip`` is the attribute ``preserve_client_ip.enabled``, or AWS's default for the
    target type and protocol where the attributes were not read (network load balancers: on for
    instances and for UDP and TCP_UDP, off for addresses with TCP and TLS):
    https://docs.aws.amazon.com/elasticloadbalancing/latest/network/edit-target-group-attributes.html
    """

    arn: str
    name: str | None = None
    protocol: str | None = None
    port: int | None = None
    vpc_id: str | None = None
    target_type: str | None = None
    load_balancer_arns: tuple[str, ...] | None = None
    preserve_client_ip: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A registered target: an instance id, an address, or an ARN, with the port it serves."""

    target_group_arn: str
    target_id: str
    port: int | None = None
