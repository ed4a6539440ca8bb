"""List all resources in an account and Region, of the kinds that this stack consists of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.e2e.emulator import Place


@dataclass(frozen=True, slots=True, kw_only=True)
class Thing:
    """One resource: its service, and the name by which CloudFormation knows the resource."""

    service: str
    name: str


# service, operation, key of the list, key of the name; None where the list is of names.
_LISTS = (
    ("cloudwatch", "describe_alarms", "MetricAlarms", "AlarmName"),
    ("cloudwatch", "list_dashboards", "DashboardEntries", "DashboardName"),
    ("dynamodb", "list_tables", "TableNames", None),
    ("events", "list_rules", "Rules", "Name"),
    ("iam", "list_roles", "Roles", "RoleName"),
    ("kms", "list_aliases", "Aliases", "AliasName"),
    ("lambda", "list_event_source_mappings", "EventSourceMappings", "UUID"),
    ("lambda", "list_functions", "Functions", "FunctionName"),
    ("logs", "describe_log_groups", "logGroups", "logGroupName"),
    ("s3", "list_buckets", "Buckets", "Name"),
    ("scheduler", "list_schedules", "Schedules", "Name"),
    ("secretsmanager", "list_secrets", "SecretList", "ARN"),
    ("sns", "list_subscriptions", "Subscriptions", "SubscriptionArn"),
    ("sns", "list_topics", "Topics", "TopicArn"),
    ("sqs", "list_queues", "QueueUrls", None),
)


def inventory(place: Place) -> frozenset[Thing]:
    """Return all resources except KMS keys: AWS keeps a deleted KMS key for days."""
    found: set[Thing] = set()
    for service, operation, list_key, name_key in _LISTS:
        client = place.client(service)
        pages = (
            client.get_paginator(operation).paginate()
            if client.can_paginate(operation)
            else [getattr(client, operation)()]
        )
        for page in pages:
            for entry in page.get(list_key, []):
                found.add(
                    Thing(service=service, name=str(entry if name_key is None else entry[name_key]))
                )
    layers = place.client("lambda")
    for layer in layers.list_layers()["Layers"]:
        for version in layers.list_layer_versions(LayerName=layer["LayerName"])["LayerVersions"]:
            found.add(Thing(service="lambda", name=version["LayerVersionArn"]))
    return frozenset(found)
