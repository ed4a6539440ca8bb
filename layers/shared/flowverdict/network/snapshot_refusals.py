"""Recognise JSON documents that people take for a snapshot, and say what they are instead."""

from __future__ import annotations

from collections.abc import Mapping

from flowverdict.core.errors import ConfigError
from flowverdict.core.untrusted import is_region
from flowverdict.network.json_object import shown
from flowverdict.network.snapshot_lists import KNOWN_LISTS

_WHAT_IT_HOLDS = "a snapshot holds what `aws ec2 describe-...` prints, such as SecurityGroups"
_SHOWN_KEYS = 5  # of a wrong file; enough to recognise it by


def _camel_case(key: str) -> str:
    return key[0].lower() + key[1:]


# AWS Config records the same elements under other names:
# https://docs.aws.amazon.com/config/latest/developerguide/example-sconfigitem.html
_LISTS_OF_AWS_CONFIG = frozenset(map(_camel_case, KNOWN_LISTS))
_WORDS_OF_AWS_CONFIG = frozenset(
    {
        "configuration",
        "configurationItem",
        "configurationItems",
        "ipPermissions",
        "ipPermissionsEgress",
        "resourceId",
        "resourceType",
        *(_camel_case(known.id_key) for known in KNOWN_LISTS.values()),
    }
)


def snapshot_in(document: object) -> Mapping[str, object]:
    """Return the document if it is a JSON object with at least one key of a snapshot.

    Raises
    ------
    ConfigError
        The document is something else, which the text names.
    """
    if isinstance(document, list):
        raise ConfigError(_about_list(document))
    if not isinstance(document, Mapping):
        raise ConfigError("not a JSON object")
    spelling = _spelling_of_aws_config(document)
    if spelling is not None:
        raise ConfigError(f"{shown(spelling)} is AWS Config's spelling; {_WHAT_IT_HOLDS}")
    if not KNOWN_LISTS.keys() & document.keys():
        raise ConfigError(_about_unknown_keys(document))
    return document


def _about_list(elements: list[object]) -> str:
    first = elements[0] if elements else None
    keys = first if isinstance(first, Mapping) else {}
    if _WORDS_OF_AWS_CONFIG & keys.keys():
        return f"not a JSON object but a list, in AWS Config's spelling; {_WHAT_IT_HOLDS}"
    key = next(
        (key for key, known in KNOWN_LISTS.items() if known.id_key in keys), "SecurityGroups"
    )
    return (
        f'not a JSON object but a list; a snapshot has each list under its key: {{"{key}": [...]}}'
    )


def _spelling_of_aws_config(document: Mapping[str, object]) -> str | None:
    """Return a key that only AWS Config writes, at the top or in an element of a known list."""
    for key in document:
        if key in _LISTS_OF_AWS_CONFIG:
            return key
    for key, known in KNOWN_LISTS.items():
        elements = document.get(key)
        for element in elements if isinstance(elements, list) else ():
            if isinstance(element, Mapping) and known.id_key not in element:
                spelling = _camel_case(known.id_key)
                if spelling in element:
                    return spelling
    if not KNOWN_LISTS.keys() & document.keys():
        return next((key for key in document if key in _WORDS_OF_AWS_CONFIG), None)
    return None


def _about_unknown_keys(document: Mapping[str, object]) -> str:
    if document and all(map(is_region, document)):
        regions = ", ".join([*document][:_SHOWN_KEYS])
        return (
            f"keyed by Region ({regions}): a snapshot is of one Region; give one Region's part, "
            "such as `jq '.[\"eu-west-1\"]'` prints"
        )
    keys = ", ".join(shown(key) for key in [*document][:_SHOWN_KEYS])
    has = f"it has {keys}" if keys else "it is empty"
    more = ", ..." if len(document) > _SHOWN_KEYS else ""
    return f"none of the keys {', '.join(KNOWN_LISTS)} is in the file; {has}{more}"
