"""Read what CloudFormation knows of the deployed stack, with the user's own credentials."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

from flowverdict.core.aws_client import error_code
from flowverdict.core.errors import FlowVerdictError

if TYPE_CHECKING:
    from collections.abc import Mapping


class NoStackError(FlowVerdictError):
    """The stack does not exist."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """The outputs and parameters of a stack."""

    outputs: Mapping[str, str]
    parameters: Mapping[str, str]


def describe(client: Any, stack_name: str, otherwise: str) -> Stack:  # noqa: ANN401 - CloudFormation's; its stubs are not installed
    """Return the outputs and parameters of a stack.

    Parameters
    ----------
    otherwise
        What the user may do without this call, for the error.

    Raises
    ------
    FlowVerdictError
        The stack cannot be described; ``NoStackError`` where it does not exist.
    """
    try:
        (stack,) = client.describe_stacks(StackName=stack_name)["Stacks"]
    except ClientError as error:
        code = error_code(error)
        if code == "ValidationError":  # what CloudFormation answers for a stack that does not exist
            raise NoStackError(f"no stack {stack_name!a} in {client.meta.region_name}") from error
        raise FlowVerdictError(f"cloudformation:DescribeStacks: {code}; {otherwise}") from error
    except BotoCoreError as error:
        raise FlowVerdictError(f"cloudformation:DescribeStacks: {error}") from error
    return Stack(
        outputs={
            str(output["OutputKey"]): str(output["OutputValue"])
            for output in stack.get("Outputs", [])
        },
        parameters={
            str(parameter["ParameterKey"]): str(parameter.get("ParameterValue", ""))
            for parameter in stack.get("Parameters", [])
        },
    )
