"""What the deployed functions may do, by statement, and what IAM refuses without each statement.

Policies are least privilege if everything works with them and each statement is needed. ``Role``
asks the emulator's IAM which calls of a function its role's policies allow, all of them or less one
statement. ``without`` takes a statement out of the deployed role, so that the function can be
started anew and invoked.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tests.e2e.emulator import Place
    from tests.e2e.stack import Stack


AWS_MANAGED: Final = "arn:aws:iam::aws:policy/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A policy of a role: its own, or a managed one that is attached to it."""

    role_name: str
    name: str
    arn: str | None = None  # of a managed one

    @property
    def title(self) -> str:
        """Name of the policy that does not depend on the stack's name or on the deployment."""
        return self.name.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement of a function's role, or one of its several actions or resources."""

    function: str  # logical id
    policy: Policy
    sid: str
    action: str | None = None  # None: the whole statement
    resource: str | None = None

    def __str__(self) -> str:
        part = self.action or self.resource
        return self.sid if part is None else f"{self.sid}: {part}"


class Call(NamedTuple):
    """What IAM is asked: an action and the ARN of its resource."""

    action: str
    resource: str


def policy_statements(stack: Stack) -> Iterator[Statement]:
    """Yield every deployed statement of the roles of the functions.

    Where a statement has several actions or resources, each of them follows. Statements of a
    managed policy are repeated for each function that has the policy. A policy that AWS manages
    counts as one statement.
    """
    logical_ids = {
        resource["PhysicalResourceId"]: resource["LogicalResourceId"]
        for resource in stack.resources
    }
    for function, role_name in roles(stack).items():
        for policy in sorted(_policies(stack.place, role_name), key=lambda item: item.title):
            if policy.arn is not None and policy.arn.startswith(AWS_MANAGED):
                yield Statement(function=function, policy=policy, sid=policy.title)
                continue
            for found in _statements(stack.place, policy):
                statement = Statement(function=function, policy=policy, sid=_sid(found, policy))
                yield statement
                for action in _several(found["Action"]):
                    yield replace(statement, action=action)
                for arn in _several(found["Resource"]):
                    yield replace(statement, resource=logical_ids.get(arn, arn))


@contextmanager
def without(stack: Stack, statement: Statement) -> Iterator[None]:
    """Take a statement out of its role until the block ends.

    Other roles that have the same managed policy keep all of the policy.
    """
    policy, iam = statement.policy, stack.place.client("iam")
    physical_ids = {
        resource["LogicalResourceId"]: resource["PhysicalResourceId"]
        for resource in stack.resources
    }
    of_aws = policy.arn is not None and policy.arn.startswith(AWS_MANAGED)
    before = [] if of_aws else _statements(stack.place, policy)
    after = [
        left for entry in before if (left := _less(entry, statement, physical_ids)) is not None
    ]
    if policy.arn is not None:
        # A policy of the role itself, with the remaining statements, replaces the managed policy.
        iam.detach_role_policy(RoleName=policy.role_name, PolicyArn=policy.arn)
        own = replace(policy, name=_STAND_IN, arn=None)
    else:
        own = policy
    if after:
        _put(stack.place, own, after)
    elif own is policy:  # a policy must have a statement
        iam.delete_role_policy(RoleName=policy.role_name, PolicyName=policy.name)
    try:
        start_anew(stack, statement.function)
        yield
    finally:
        if policy.arn is None:
            _put(stack.place, policy, before)
        else:
            iam.attach_role_policy(RoleName=policy.role_name, PolicyArn=policy.arn)
            if after:
                iam.delete_role_policy(RoleName=policy.role_name, PolicyName=_STAND_IN)
        start_anew(stack, statement.function)


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """The policies of a function's role, as deployed."""

    place: Place
    name: str
    policies: tuple[tuple[Policy, list[dict[str, Any]]], ...]
    physical_ids: Mapping[str, str]

    @classmethod
    def deployed(cls, stack: Stack, name: str) -> Role:
        """Read the policies of a role."""
        ids = {each["LogicalResourceId"]: each["PhysicalResourceId"] for each in stack.resources}
        policies = [
            (policy, _statements(stack.place, policy)) for policy in _policies(stack.place, name)
        ]
        return cls(place=stack.place, name=name, policies=tuple(policies), physical_ids=ids)

    def allowed(self, calls: Iterable[Call], *, less: Statement | None = None) -> frozenset[Call]:
        """Return the calls that the role may make, with all its policies or less a statement.

        IAM is asked. Conditions count as met, and statements that deny are left out.
        """
        documents = [
            json.dumps({"Version": "2012-10-17", "Statement": statements})
            for policy, whole in self.policies
            if (statements := self._left(policy, whole, less))
        ]
        by_resource: defaultdict[str, list[str]] = defaultdict(list)
        for call in calls:
            by_resource[call.resource].append(call.action)
        found: set[Call] = set()
        for resource, actions in by_resource.items():
            answer = self.place.client("iam").simulate_custom_policy(
                PolicyInputList=documents, ActionNames=actions, ResourceArns=[resource]
            )
            found |= {
                Call(result["EvalActionName"], resource)
                for result in answer["EvaluationResults"]
                if result["EvalDecision"] == "allowed"
            }
        return frozenset(found)

    @property
    def calls(self) -> frozenset[Call]:
        """A call for each action and resource of every statement."""
        return self._calls(each for _, whole in self.policies for each in whole)

    def calls_of(self, statement: Statement) -> frozenset[Call]:
        """Return a call for each action and resource of a statement."""
        return self._calls(
            each
            for policy, whole in self.policies
            for each in whole
            if policy == statement.policy and _sid(each, policy) == statement.sid
        )

    @staticmethod
    def _calls(statements: Iterable[dict[str, Any]]) -> frozenset[Call]:
        return frozenset(
            Call(action, resource)
            for each in statements
            for action in _as_list(each["Action"])
            for resource in _as_list(each["Resource"])
        )

    def _left(
        self, policy: Policy, whole: list[dict[str, Any]], less: Statement | None
    ) -> list[dict[str, Any]]:
        """Return what is left of a policy, without conditions."""
        left: list[dict[str, Any] | None] = [*whole]
        if less is not None and less.policy == policy:
            of_aws = policy.arn is not None and policy.arn.startswith(AWS_MANAGED)
            left = [] if of_aws else [_less(each, less, self.physical_ids) for each in whole]
        return [
            {name: value for name, value in each.items() if name != "Condition"}
            for each in left
            if each is not None and each["Effect"] == "Allow"
        ]


def start_anew(stack: Stack, function: str) -> None:
    """Make the next invocation a cold start.

    A warm function caches answers of AWS, which would hide that it may no longer make the request.
    """
    client, name = stack.place.client("lambda"), stack.physical_id(function)
    variables = client.get_function_configuration(FunctionName=name)["Environment"]["Variables"]
    # A changed description alone would not start the function anew.
    changed = variables | {"STARTED_ANEW_AT": f"{time.time():.3f}"}
    client.update_function_configuration(FunctionName=name, Environment={"Variables": changed})


_STAND_IN = "what-is-left"


def roles(stack: Stack) -> dict[str, str]:
    """Return the name of each function's role, by the function's logical id."""
    client = stack.place.client("lambda")
    functions = stack.of_type("AWS::Lambda::Function")
    roles = {
        function: client.get_function_configuration(FunctionName=name)["Role"]
        for function, name in functions.items()
    }
    return {function: arn.rpartition("/")[2] for function, arn in sorted(roles.items())}


def _policies(place: Place, role_name: str) -> Iterator[Policy]:
    iam = place.client("iam")
    for name in iam.list_role_policies(RoleName=role_name)["PolicyNames"]:
        yield Policy(role_name=role_name, name=name)
    for attached in iam.list_attached_role_policies(RoleName=role_name)["AttachedPolicies"]:
        yield Policy(role_name=role_name, name=attached["PolicyName"], arn=attached["PolicyArn"])


def _statements(place: Place, policy: Policy) -> list[dict[str, Any]]:
    iam = place.client("iam")
    if policy.arn is None:
        found = iam.get_role_policy(RoleName=policy.role_name, PolicyName=policy.name)[
            "PolicyDocument"
        ]
    else:
        version = iam.get_policy(PolicyArn=policy.arn)["Policy"]["DefaultVersionId"]
        found = iam.get_policy_version(PolicyArn=policy.arn, VersionId=version)["PolicyVersion"][
            "Document"
        ]
    notification = json.loads(found) if isinstance(found, str) else found
    statements = notification["Statement"]
    return [statements] if isinstance(statements, dict) else [*statements]


def _as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _several(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) and len(value) > 1 else []


def _sid(statement: Mapping[str, Any], policy: Policy) -> str:
    # SAM writes some policies itself, without a Sid; the name of the policy states its purpose.
    return str(statement.get("Sid", policy.title))


def _less(
    statement: dict[str, Any], taken: Statement, physical_ids: Mapping[str, str]
) -> dict[str, Any] | None:
    if _sid(statement, taken.policy) != taken.sid:
        return statement
    if taken.action is not None:
        return statement | {
            "Action": [action for action in statement["Action"] if action != taken.action]
        }
    if taken.resource is not None:
        arn = physical_ids.get(taken.resource, taken.resource)
        return statement | {
            "Resource": [resource for resource in statement["Resource"] if resource != arn]
        }
    return None


def _put(place: Place, policy: Policy, statements: list[dict[str, Any]]) -> None:
    notification = json.dumps({"Version": "2012-10-17", "Statement": statements})
    place.client("iam").put_role_policy(
        RoleName=policy.role_name, PolicyName=policy.name, PolicyDocument=notification
    )
