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
    opens
        What the changes let pass beside the packets, one text for each change.
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
    opens_each: tuple[str, ...]
    tried: tuple[str, ...]
    verified: bool
    if_wanted: str | None = None
    managed_by: str | None = None

    def commands(self, region: str | None) -> tuple[str, ...]:
        """Return the AWS CLI commands, in order; without the Region if it is unknown or invalid."""
        option = region_option(region)
        return tuple(change.command(option) for change in self.changes)

    def undo(self, region: str | None) -> tuple[str, ...]:
        """Return the AWS CLI commands that take the changes back, the last change first."""
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
