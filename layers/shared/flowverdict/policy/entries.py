"""Define the entries of a policy document: what each matches, and until when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from flowverdict.alerts.matching import Key
from flowverdict.policy.values import (
    AccountId,
    Bounded,
    Cidr,
    FingerprintText,
    InterfaceId,
    NetworkAclId,
    Owner,
    Port,
    Protocol,
    Reason,
    Region,
    SecurityGroupId,
    Severe,
    SlackChannel,
    SubnetId,
    Time,
    TopicArn,
    Verdict,
    VpcId,
    to_list,
    wrong,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from flowverdict.alerts.matching import Value


class Strict(BaseModel):
    """Base of all parts of the document: no unknown keys, no type conversion, immutable."""

    # Built on first use, so that the import does nothing, as in every other module.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, defer_build=True)


class Match(Strict):
    """Which flows an entry is about: all given matchers must match, and at least one is given.

    In Python a matcher that is not given is empty.
    """

    cidr: Annotated[
        tuple[Cidr, ...],
        BeforeValidator(to_list, json_schema_input_type=Cidr | Annotated[list[Cidr], Bounded]),
        Bounded,
    ] = Field(
        default=(),
        description="Remote address of the packet: one of these blocks or addresses. "
        "Where the direction is not known, either end.",
    )
    port: Annotated[
        tuple[Port, ...],
        BeforeValidator(to_list, json_schema_input_type=Port | Annotated[list[Port], Bounded]),
        Bounded,
    ] = Field(
        default=(),
        description="Port of the service that was to be reached: one of these. "
        "Where no port tells, either logged port.",
    )
    interface_id: Annotated[
        tuple[InterfaceId, ...],
        BeforeValidator(
            to_list, json_schema_input_type=InterfaceId | Annotated[list[InterfaceId], Bounded]
        ),
        Bounded,
    ] = Field(default=(), description="Network interface that logged the flow: one of these.")
    vpc_id: Annotated[
        tuple[VpcId, ...],
        BeforeValidator(to_list, json_schema_input_type=VpcId | Annotated[list[VpcId], Bounded]),
        Bounded,
    ] = Field(
        default=(), description="VPC of the flow, which the flow log has to carry: one of these."
    )
    verdict: Annotated[
        tuple[Verdict, ...],
        BeforeValidator(
            to_list, json_schema_input_type=Verdict | Annotated[list[Verdict], Bounded]
        ),
        Bounded,
    ] = Field(default=(), description="What rejected the flow, as the verdict says: one of these.")
    account_id: Annotated[
        tuple[AccountId, ...],
        BeforeValidator(
            to_list, json_schema_input_type=AccountId | Annotated[list[AccountId], Bounded]
        ),
        Bounded,
    ] = Field(default=(), description="Account of the interface: one of these.")
    region: Annotated[
        tuple[Region, ...],
        BeforeValidator(to_list, json_schema_input_type=Region | Annotated[list[Region], Bounded]),
        Bounded,
    ] = Field(default=(), description="Region of the interface: one of these.")
    subnet_id: Annotated[
        tuple[SubnetId, ...],
        BeforeValidator(
            to_list, json_schema_input_type=SubnetId | Annotated[list[SubnetId], Bounded]
        ),
        Bounded,
    ] = Field(
        default=(),
        description="Subnet of the interface, which the flow log has to carry: one of these.",
    )
    security_group_id: Annotated[
        tuple[SecurityGroupId, ...],
        BeforeValidator(
            to_list,
            json_schema_input_type=SecurityGroupId | Annotated[list[SecurityGroupId], Bounded],
        ),
        Bounded,
    ] = Field(
        default=(),
        description="Security group that blocks or may block, as the rules show it: one of these.",
    )
    network_acl_id: Annotated[
        tuple[NetworkAclId, ...],
        BeforeValidator(
            to_list, json_schema_input_type=NetworkAclId | Annotated[list[NetworkAclId], Bounded]
        ),
        Bounded,
    ] = Field(
        default=(), description="Network ACL whose rule blocks, as the rules show it: one of these."
    )
    protocol: Annotated[
        tuple[Protocol, ...],
        BeforeValidator(
            to_list, json_schema_input_type=Protocol | Annotated[list[Protocol], Bounded]
        ),
        Bounded,
    ] = Field(default=(), description="Protocol of the packet: one of these.")
    owner: Annotated[
        tuple[Owner, ...],
        BeforeValidator(to_list, json_schema_input_type=Owner | Annotated[list[Owner], Bounded]),
        Bounded,
    ] = Field(
        default=(),
        description="Owner, as the interface's tags or the records name it: NAME=VALUE of a tag, "
        "or its value.",
    )
    severity: Annotated[
        tuple[Severe, ...],
        BeforeValidator(to_list, json_schema_input_type=Severe | Annotated[list[Severe], Bounded]),
        Bounded,
    ] = Field(default=(), description="Severity that the flow has: one of these.")
    fingerprint: Annotated[
        tuple[FingerprintText, ...],
        BeforeValidator(
            to_list,
            json_schema_input_type=FingerprintText | Annotated[list[FingerprintText], Bounded],
        ),
        Bounded,
    ] = Field(
        default=(),
        description="Fingerprint of the alert that the flow belongs to, unless it is part of "
        "a scan.",
    )

    def asked(self) -> Mapping[Key, tuple[Value, ...]]:
        """Return the values that are asked for, by key."""
        return {key: getattr(self, key) for key in Key if getattr(self, key)}

    @model_validator(mode="after")
    def _asks_for_something(self) -> Match:
        if not self.model_fields_set:
            raise wrong(
                "empty, so it would match every flow; "
                f"give at least one of {', '.join(type(self).model_fields)}"
            )
        return self


class Silence(Strict):
    """Rejected flows that are muted until a time."""

    match: Match = Field(description="Which flows.")
    until: Time = Field(
        description="When the silence ends: a time with its offset from UTC. "
        "From then on nothing is muted."
    )
    reason: Reason = Field(description="Why, in one line, for whoever reads this later.")

    def is_over(self, now: datetime) -> bool:
        """Whether the silence has ended at an aware time."""
        return self.until <= now


class Expected(Strict):
    """Rejected flows that are wanted, and muted for good."""

    match: Match = Field(description="Which flows.")
    reason: Reason = Field(
        description="Why they are wanted, in one line, for whoever reads this later."
    )


class Route(Strict):
    """Alerts that go to their owner: to a topic, to a channel of Slack, or to both.

    In Python a place that is not given is ``None``.
    """

    match: Match = Field(description="Which alerts.")
    topic: TopicArn = Field(
        default=None,
        description="Topic that gets the text in place of the email topic; one of the stack's "
        "parameter RouteTopicArns.",
    )
    slack_channel: SlackChannel = Field(
        default=None,
        description="Channel of Slack that has the thread in place of the stack's parameter "
        "SlackChannel: its id, or its name with #. A stack with a webhook posts to the webhook's "
        "channel alone.",
    )

    @model_validator(mode="after")
    def _goes_somewhere(self) -> Route:
        if self.topic is None and self.slack_channel is None:
            raise wrong("goes nowhere; give a topic, a slack_channel, or both")
        return self


type Entry = Silence | Expected
