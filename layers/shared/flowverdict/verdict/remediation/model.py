"""Model a fix: the changes of rules, what was tried, and how the fix is offered."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from flowverdict.verdict.remediation.commands import (
    authorize,
    create_entry,
    delete_entry,
    region_option,
    revoke,
)
from flowverdict.verdict.remediation.terraform import entry_resource, rule_resource

if TYPE_CHECKING:
    from flowverdict.network.configuration import NetConfig
    from flowverdict.network.model import NetworkAclEntry, SecurityGroupRule


LAST_RULE_NUMBER = 32_766


def place_of(resource_id: str, *, egress: bool) -> str:
    """Name one direction of a network ACL or of a security group."""
    return f"{resource_id} {'egress' if egress else 'ingress'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AclChange:
    """A new allowing entry of a network ACL."""

    network_acl_id: str
    entry: NetworkAclEntry

    def apply(self, config: NetConfig) -> NetConfig:
        """Return the configuration with the entry in it."""
        acls = tuple(
            replace(acl, entries=(*(acl.entries or ()), self.entry))
            if acl.network_acl_id == self.network_acl_id
            else acl
            for acl in config.network_acls or ()
        )
        return replace(config, network_acls=acls)

    @property
    def place(self) -> str:
        """The direction of the network ACL that is changed."""
        return place_of(self.network_acl_id, egress=self.entry.egress)

    @property
    def content(self) -> str:
        """What the entry lets pass, without its number."""
        return content_of(self.entry)

    @property
    def rule_number(self) -> int:
        """The number of the entry."""
        return self.entry.rule_number

    def command(self, region: str) -> str:
        """Return the AWS CLI command that makes the change."""
        return create_entry(self.network_acl_id, self.entry, region)

    def undo(self, region: str) -> str:
        """Return the AWS CLI command that takes the change back."""
        return delete_entry(self.network_acl_id, self.entry, region)

    @property
    def terraform(self) -> str:
        """The change as a Terraform resource."""
        return entry_resource(self.network_acl_id, self.entry)


def content_of(entry: NetworkAclEntry) -> str:
    """Write what an allowing entry lets pass: two entries with one content are the same entry."""
    return f"{entry.protocol} {entry.ports} {entry.icmp} {entry.network}"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupChange:
    """A new rule of a security group."""

    rule: SecurityGroupRule

    def apply(self, config: NetConfig) -> NetConfig:
        """Return the configuration with the rule in it."""
        groups = tuple(
            group
            if group.group_id != self.rule.group_id
            else replace(group, egress=(*(group.egress or ()), self.rule))
            if self.rule.egress
            else replace(group, ingress=(*(group.ingress or ()), self.rule))
            for group in config.security_groups or ()
        )
        return replace(config, security_groups=groups)

    @property
    def place(self) -> str:
        """The direction of the group that is changed."""
        return place_of(self.rule.group_id, egress=self.rule.egress)

    @property
    def content(self) -> str:
        """What the rule lets pass: EC2 takes a rule with the same content once."""
        rule = self.rule
        return f"{rule.protocol} {rule.from_port} {rule.to_port} {rule.peer}"

    @property
    def rule_number(self) -> None:
        """Rules of groups have no number."""
        return

    def command(self, region: str) -> str:
        """Return the AWS CLI command that makes the change."""
        return authorize(self.rule, region)

    def undo(self, region: str) -> str:
        """Return the AWS CLI command that takes the change back."""
        return revoke(self.rule, region)

    @property
    def terraform(self) -> str:
        """The change as a Terraform resource."""
        return rule_resource(self.rule)


type Change = AclChange | GroupChange


@dataclass(frozen=True, slots=True, kw_only=True)
class Remediation:
    """Changes that together let the packets of a problem and their replies pass.

    Parameters
    ----------
    changes
        What this fix offers, in order.
    shared
        Changes that are needed too, and that the fix of another open problem offers: EC2 takes
        each of them once.
    shared_with
        The problems of those fixes, in words; ``None`` without shared changes.
    opens_each
        What the changes let pass beside the packets, one text for each change, shared or not.
    tried
        Where packet and reply were tried with the changes: this side, reply path, far side.
    verified
        Whether all of them were tried, on the rules as read.
    if_wanted
        Why the traffic may be blocked on purpose, so that the fix is for the case that it is
        wanted; ``None`` where the block is a mistake.
    managed_by
        What the changed rules are managed by, so that the change belongs there.
    """

    changes: tuple[Change, ...]
    shared: tuple[Change, ...] = ()
    shared_with: str | None = None
    opens_each: tuple[str, ...]
    tried: tuple[str, ...]
    verified: bool
    if_wanted: str | None = None
    managed_by: str | None = None

    @property
    def needed(self) -> tuple[Change, ...]:
        """All changes that the packets need, the shared changes first."""
        return (*self.shared, *self.changes)

    def commands(self, region: str | None) -> tuple[str, ...]:
        """Return the AWS CLI commands, in order; without the Region if it is unknown or invalid."""
        option = region_option(region)
        return tuple(change.command(option) for change in self.changes)

    def shared_commands(self, region: str | None) -> tuple[str, ...]:
        """Return the AWS CLI commands of the shared changes."""
        option = region_option(region)
        return tuple(change.command(option) for change in self.shared)

    def undo(self, region: str | None) -> tuple[str, ...]:
        """Return the AWS CLI commands that take the changes back, the last change first.

        Shared changes stay, because another problem needs them.
        """
        option = region_option(region)
        return tuple(change.undo(option) for change in reversed(self.changes))

    @property
    def terraform(self) -> tuple[str, ...]:
        """The changes as Terraform resources, in order."""
        return tuple(change.terraform for change in self.changes)

    @property
    def opens(self) -> str:
        """What else the changes let pass."""
        return "; ".join(dict.fromkeys(self.opens_each))
