"""Remember what moto and the SDK compute anew for each client and call, though it never changes.

Half of the time of a test on moto goes into that. ``tests/conftest.py`` puts this in place where
the tests that were collected have imported moto.
"""

from __future__ import annotations

import copy
import sys
from functools import cache
from threading import Condition
from typing import TYPE_CHECKING, Any

import botocore.client
import botocore.hooks
import botocore.regions
import botocore.useragent
import moto.core.models
import moto.core.responses
import moto.core.utils
from botocore.auth import SigV4Auth
from botocore.endpoint_provider import EndpointProvider
from botocore.httpsession import create_urllib3_context
from moto.core.base_backend import BaseBackend
from moto.core.models import DEFAULT_ACCOUNT_ID, botocore_stubber
from moto.core.utils import camelcase_to_underscores
from moto.dynamodb.models import dynamodb_backends
from moto.ec2.models import ec2_backends
from moto.logs.models import logs_backends
from moto.moto_api._internal import mock_random
from moto.s3.models import s3_backends
from moto.sns.models import sns_backends
from moto.sqs.models import sqs_backends

from flowverdict_cli import local_aws
from flowverdict_cli.local_stack import EVIDENCE_BUCKET, make_stack
from flowverdict_cli.sample_world import make_sample_world

if TYPE_CHECKING:
    from collections.abc import Callable

    import pytest
    from botocore.model import ServiceModel
    from moto.ec2.models import EC2Backend
    from moto.logs.models import LogsBackend

    from flowverdict_cli.local_stack import LocalStack
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
    # Each client takes a copy of 400 nodes with the handlers of events, and changes 30.
    trie = botocore.hooks._PrefixTrie  # type: ignore[attr-defined]  # noqa: SLF001 - what is slow
    patch.setattr(trie, "__copy__", _share_nodes)
    patch.setattr(trie, "append_item", _append_to_copy)
    patch.setattr(trie, "remove_item", _remove_from_copy(trie.remove_item))
    # Each request names the SDK, letter by letter, and then once more with its own features.
    sanitize = "sanitize_user_agent_string_component"
    patch.setattr(botocore.useragent, sanitize, cache(getattr(botocore.useragent, sanitize)))
    agent = botocore.useragent.UserAgentString
    patch.setattr(agent, "rebuild_and_replace_user_agent_handler", lambda *_, **__: None)
    _remember_everywhere(patch, camelcase_to_underscores)
    patch.setattr(
        botocore.hooks, "accepts_kwargs", _remember_by_code(botocore.hooks.accepts_kwargs)
    )
    # Each client makes an SSL context, for connections that moto keeps it from making.
    patch.setattr(botocore.httpsession, "create_urllib3_context", cache(create_urllib3_context))
    # Each request is signed, which moto does not look at.
    patch.setattr(SigV4Auth, "canonical_request", _sign_nothing(SigV4Auth.canonical_request))
    # Each request computes the addresses of its service.
    patch.setattr(BaseBackend, "urls", _remember_urls(BaseBackend.urls))
    patch.setattr(local_aws, "make_sample_world", _remember_world(make_sample_world))
    patch.setattr(local_aws, "make_stack", _remember_stack(make_stack))
    # A queue of SQS has a lock, and its copy has a lock of its own.
    patch.setattr(Condition, "__deepcopy__", lambda *_: Condition(), raising=False)


# The nodes of a trie are shared with its copies, so a change of a key copies the nodes of that key.


def _share_nodes(trie: Any) -> object:  # noqa: ANN401 - botocore's
    twin = type(trie)()
    twin._root = trie._root  # noqa: SLF001 - what is slow
    return twin


def _append_to_copy(trie: Any, key: str, value: object, section: int = 1) -> None:  # noqa: ANN401 - botocore's
    node = _own_node(trie, key)
    if node["values"] is None:
        node["values"] = botocore.hooks.NodeList([], [], [])
    node["values"][section].append(value)


def _remove_from_copy(remove_item: Callable[[Any, str, object], None]) -> Callable[..., None]:
    def remove(trie: Any, key: str, value: object) -> None:  # noqa: ANN401 - botocore's
        _own_node(trie, key)
        remove_item(trie, key, value)  # and the nodes that hold nothing

    return remove


def _own_node(trie: Any, key: str) -> dict[str, Any]:  # noqa: ANN401 - botocore's
    """Return the node of a key, after copying all nodes on the way."""
    node = trie._root = _twin(trie._root)  # noqa: SLF001 - what is slow
    for part in key.split("."):
        child = node["children"].get(part, {"chunk": part, "children": {}, "values": None})
        node["children"][part] = child = _twin(child)
        node = child
    return node


def _twin(node: dict[str, Any]) -> dict[str, Any]:
    """Copy a node, with the same children."""
    values: Any = node["values"]
    return {
        "chunk": node["chunk"],
        "children": dict(node["children"]),
        "values": values and botocore.hooks.NodeList(*(list(section) for section in values)),
    }


def _sign_nothing(canonical_request: Callable[[Any, Any], str]) -> Callable[[Any, Any], str]:
    def canonical(auth: object, request: object) -> str:
        return "" if botocore_stubber.enabled else canonical_request(auth, request)

    return canonical


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


def _remember_stack(make: Callable[[], LocalStack]) -> Callable[[], LocalStack]:
    """Make the stack by seven calls once; then put copies of its resources into moto."""
    services: list[Any] = [dynamodb_backends, s3_backends, sns_backends, sqs_backends]
    made: list[tuple[LocalStack, list[dict[str, Any]], tuple[Any, ...]]] = []

    def remembered() -> LocalStack:
        accounts = [service[DEFAULT_ACCOUNT_ID] for service in services]
        if any(accounts):
            return make()  # it has more than the stack
        if not made:
            stack = make()
            copied = copy.deepcopy([dict(account) for account in accounts])
            made.append((stack, copied, mock_random.getstate()))
            return stack
        stack, backends, random = made[0]
        for account, regions in zip(accounts, copy.deepcopy(backends), strict=True):
            account.update(regions)
        s3_backends.bucket_accounts[EVIDENCE_BUCKET] = ("aws", DEFAULT_ACCOUNT_ID)
        mock_random.setstate(random)
        return stack

    return remembered


def _remember_urls(urls: Any) -> property:  # noqa: ANN401 - a property
    known: dict[type, object] = {}

    def remembered(backend: BaseBackend) -> object:
        if type(backend) not in known:
            known[type(backend)] = urls.fget(backend)
        return known[type(backend)]

    return property(remembered)
