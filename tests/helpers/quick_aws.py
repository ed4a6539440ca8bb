"""Remember what moto and the SDK compute anew for each client and call, though it never changes.

Half of the time of a test on moto goes into that. ``tests/conftest.py`` puts this in place where
the tests that were collected have imported moto.
"""

from __future__ import annotations

import copy
import sys
from functools import cache
from typing import TYPE_CHECKING, Any

import botocore.client
import botocore.hooks
import botocore.regions
import botocore.useragent
import moto.core.models
import moto.core.responses
import moto.core.utils
from botocore.endpoint_provider import EndpointProvider
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.utils import camelcase_to_underscores
from moto.ec2.models import ec2_backends
from moto.logs.models import logs_backends
from moto.moto_api._internal import mock_random

from flowverdict_cli import local_aws
from flowverdict_cli.sample_world import make_sample_world

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from botocore.model import ServiceModel
    from moto.ec2.models import EC2Backend
    from moto.logs.models import LogsBackend

    from flowverdict_cli.sample_world import SampleWorld


def quick_aws(patch: pytest.MonkeyPatch) -> None:
    """Put in place what remembers."""
    # moto prepares 1,300 answers to the package requests at each start; nothing here uses that.
    patch.setattr(moto.core.models, "RESPONSES_METHODS", [])
    # The methods of moto's handler of a service are looked through at each call.
    patch.setattr(
        moto.core.responses,
        "method_names_from_class",
        cache(moto.core.utils.method_names_from_class),
    )
    # Each client renames the events of the SDK, and makes the methods of its service.
    aliaser, creator = botocore.hooks.EventAliaser, botocore.client.ClientCreator
    patch.setattr(aliaser, "_alias_event_name", _remember_names(aliaser._alias_event_name))  # type: ignore[attr-defined]  # noqa: SLF001 - what is slow
    patch.setattr(creator, "_create_methods", _remember_methods(creator._create_methods))  # type: ignore[attr-defined]  # noqa: SLF001 - what is slow
    # Each client parses the description of its service, and the rules for its endpoint.
    patch.setattr(creator, "_load_service_model", _remember_models(creator._load_service_model))  # type: ignore[attr-defined]  # noqa: SLF001 - what is slow
    patch.setattr(botocore.regions, "EndpointProvider", _remember_endpoints())
    # Each client takes a copy of 400 nodes with the handlers of events, and each request names the
    # SDK, letter by letter.
    patch.setattr("botocore.hooks._PrefixTrie._recursive_copy", _copy_nodes)
    sanitize = "sanitize_user_agent_string_component"
    patch.setattr(botocore.useragent, sanitize, cache(getattr(botocore.useragent, sanitize)))
    _remember_everywhere(patch, camelcase_to_underscores)
    patch.setattr(
        botocore.hooks, "accepts_kwargs", _remember_by_code(botocore.hooks.accepts_kwargs)
    )
    patch.setattr(local_aws, "make_sample_world", _remember_world(make_sample_world))


def _copy_nodes(trie: object, node: dict[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, botocore.hooks.NodeList):
            copied[key] = botocore.hooks.NodeList(value.first[:], value.middle[:], value.last[:])
        else:
            copied[key] = _copy_nodes(trie, value) if isinstance(value, dict) else value
    return copied


def _remember_names(alias_event_name: Callable[[Any, str], str]) -> Callable[[Any, str], str]:
    names: dict[str, str] = {}

    def remembered(aliaser: object, name: str) -> str:
        if name not in names:
            names[name] = alias_event_name(aliaser, name)
        return names[name]

    return remembered


def _remember_methods(
    create_methods: Callable[[Any, ServiceModel], dict[str, object]],
) -> Callable[[Any, ServiceModel], dict[str, object]]:
    methods: dict[str, dict[str, object]] = {}

    def remembered(creator: object, service: ServiceModel) -> dict[str, object]:
        if service.service_name not in methods:
            methods[service.service_name] = create_methods(creator, service)
        return dict(methods[service.service_name])  # the caller adds to it

    return remembered


def _remember_everywhere(patch: pytest.MonkeyPatch, function: Callable[[str], str]) -> None:
    """Replace a function of moto in each module that has imported it."""
    remembered = cache(function)
    for name, module in list(sys.modules.items()):
        if name.startswith("moto.") and vars(module).get(function.__name__) is function:
            patch.setattr(module, function.__name__, remembered)


def _remember_by_code(accepts_kwargs: Callable[[Any], object]) -> Callable[[Any], object]:
    answers: dict[object, object] = {}

    def remembered(function: Any) -> object:  # noqa: ANN401 - a handler of any kind
        code = getattr(function, "__code__", None)
        if code is None:
            return accepts_kwargs(function)
        if code not in answers:
            answers[code] = accepts_kwargs(function)
        return answers[code]

    return remembered


def _remember_models(
    load: Callable[..., ServiceModel],
) -> Callable[..., ServiceModel]:
    models: dict[tuple[str, str | None], ServiceModel] = {}

    def remembered(creator: object, name: str, api_version: str | None = None) -> ServiceModel:
        if (name, api_version) not in models:
            models[name, api_version] = load(creator, name, api_version=api_version)
        return models[name, api_version]

    return remembered


def _remember_endpoints() -> Callable[..., EndpointProvider]:
    made: dict[tuple[int, ...], tuple[EndpointProvider, object]] = {}

    def remembered(**data: Any) -> EndpointProvider:  # noqa: ANN401 - botocore's
        key = tuple(id(part) for part in data.values())
        if key not in made:  # kept beside the data, so that no other data get the same ids
            made[key] = (EndpointProvider(**data), data)
        return made[key][0]

    return remembered


def _remember_world(make: Callable[[], SampleWorld]) -> Callable[[], SampleWorld]:
    """Make the sample VPC by 40 calls of EC2 once; then put copies of what they made into moto."""
    made: list[tuple[SampleWorld, tuple[EC2Backend, LogsBackend], tuple[Any, ...]]] = []

    def remembered() -> SampleWorld:
        ec2, logs = ec2_backends[DEFAULT_ACCOUNT_ID], logs_backends[DEFAULT_ACCOUNT_ID]
        if {*ec2, *logs}:
            return make()  # it has more than the sample VPC
        region = local_aws.REGION
        if not made:
            world = make()
            made.append((world, copy.deepcopy((ec2[region], logs[region])), mock_random.getstate()))
            return world
        world, backends, random = made[0]
        ec2[region], logs[region] = copy.deepcopy(backends)
        mock_random.setstate(random)
        return world

    return remembered
