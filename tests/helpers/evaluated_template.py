"""Evaluates a template for given parameters, as CloudFormation does, without an account.

Only what no resource has to exist for: references to resources stay ``{"Ref": NAME}`` and
``{"GetAtt": NAME}``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PSEUDO: Final = {
    "AWS::AccountId": "123456789012",
    "AWS::Partition": "aws",
    "AWS::Region": "eu-west-1",
    "AWS::StackName": "flowverdict",
}
_NOTHING: Final = object()  # AWS::NoValue


_OF_VALUES: Final[Mapping[str, Callable[[Any], Any]]] = {
    "And": all,
    "Or": any,
    "Not": lambda arguments: not arguments[0],
    "Equals": lambda arguments: str(arguments[0]) == str(arguments[1]),
    "Select": lambda arguments: arguments[1][int(arguments[0])],
    "Split": lambda arguments: arguments[1].split(arguments[0]),
    "Join": lambda arguments: arguments[0].join(arguments[1]),
}
_FUNCTIONS: Final = frozenset({"Condition", "FindInMap", "If", "Ref", "Sub", *_OF_VALUES})


@dataclass(frozen=True, slots=True)
class Evaluated:
    """A template with the values of all its parameters.

    Parameters
    ----------
    template
        As ``read_template`` returns it.
    given
        Parameters and pseudo parameters that are not their defaults.
    """

    template: Mapping[str, Any]
    given: Mapping[str, str]

    @property
    def resources(self) -> dict[str, dict[str, Any]]:
        """The resources whose conditions hold, evaluated."""
        return {
            name: self.value(resource)
            for name, resource in self.template["Resources"].items()
            if self._exists(resource)
        }

    @property
    def outputs(self) -> dict[str, Any]:
        """The values of the outputs whose conditions hold."""
        return {
            name: self.value(output["Value"])
            for name, output in self.template["Outputs"].items()
            if self._exists(output)
        }

    @property
    def refusals(self) -> set[str]:
        """The names of the rules that refuse these parameters."""
        return {
            name
            for name, rule in self.template["Rules"].items()
            if ("RuleCondition" not in rule or self.value(rule["RuleCondition"]))
            and not all(self.value(assertion["Assert"]) for assertion in rule["Assertions"])
        }

    def properties(self, logical_id: str) -> dict[str, Any]:
        """Return the evaluated properties of a resource that exists."""
        found: dict[str, Any] = self.resources[logical_id]["Properties"]
        return found

    def condition(self, name: str) -> bool:
        """Whether a condition of the template holds."""
        return bool(self.value(self.template["Conditions"][name]))

    def value(self, value: object) -> Any:  # noqa: ANN401 - any piece of a template
        """Return a piece of the template, evaluated."""
        if isinstance(value, list):
            entries = [self.value(entry) for entry in value]
            return [entry for entry in entries if entry is not _NOTHING]
        if not isinstance(value, dict):
            return value
        if len(value) == 1:
            ((name, argument),) = value.items()
            if name in _FUNCTIONS:
                return self._call(name, argument)
        evaluated = {name: self.value(part) for name, part in value.items()}
        return {name: part for name, part in evaluated.items() if part is not _NOTHING}

    def _exists(self, part: Mapping[str, Any]) -> bool:
        return "Condition" not in part or self.condition(part["Condition"])

    def _reference(self, name: str) -> Any:  # noqa: ANN401 - as above
        if name == "AWS::NoValue":
            return _NOTHING
        known = _PSEUDO | dict(self.given)
        if name in known:
            return known[name]
        parameter = self.template["Parameters"].get(name)
        return {"Ref": name} if parameter is None else str(parameter["Default"])

    def _call(self, name: str, argument: Any) -> Any:  # noqa: ANN401 - as above
        if name == "Ref":
            return self._reference(argument)
        if name == "Condition":
            return self.condition(argument)
        if name == "Sub":
            return self._substituted(argument)
        if name == "If":
            condition, holding, otherwise = argument
            return self.value(holding if self.condition(condition) else otherwise)
        if name == "FindInMap":
            mapping, first, second = self.value(argument)
            return self.template["Mappings"][mapping][first][second]
        return _OF_VALUES[name](self.value(argument))

    def _substituted(self, argument: Any) -> str:  # noqa: ANN401 - text, or text and variables
        text, variables = (argument, {}) if isinstance(argument, str) else argument

        def replaced(found: re.Match[str]) -> str:
            name = found[1]
            value = self.value(variables[name]) if name in variables else self._reference(name)
            return value if isinstance(value, str) else found[0]

        text = re.sub(r"\$\{([A-Za-z0-9_.:]+)\}", replaced, text)
        return re.sub(r"\$\{!", "${", text)  # text of its own, as a variable of IAM
