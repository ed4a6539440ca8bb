"""Observe and intercept every call that leaves a function, for tests of crashes and AWS errors.

No call is listed here. Every SDK client that the process makes is observed, whatever its session,
and so is every request through urllib (webhooks of chat tools).
"""

from __future__ import annotations

import io
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from email.message import Message
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Self
from urllib.response import addinfourl

import botocore.session
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.models import botocore_stubber

from flowverdict.delivery.slack_bot import API

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest
    from botocore.awsrequest import AWSPreparedRequest, AWSResponse
    from botocore.client import BaseClient


class When(StrEnum):
    """A side of a call."""

    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True, order=True)
class Call:
    """An operation of a service, as IAM writes it: ``dynamodb:UpdateItem``."""

    service: str
    operation: str

    def __str__(self) -> str:
        return f"{self.service}:{self.operation}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Try:
    """One request of a call.

    Parameters
    ----------
    protocol
        That of the service: ``json``, ``query`` and so on.
    carry_out
        Lets AWS do what is asked, whatever it answers.
    """

    call: Call
    request: AWSPreparedRequest
    protocol: str
    carry_out: Callable[[], object]


WEBHOOK = Call("chat", "webhook")
CHANGED = Call("chat", "update")  # a message is replaced: doing it twice changes nothing

_TAKEN = b'{"ok": true, "channel": "C012AB3CD", "ts": "1795349001.000100"}'

type Listener = Callable[[Call, When], None]
type Interceptor = Callable[[Try], AWSResponse | None]


class OneAfterTheOther:
    """A pool without threads: a forked process has only the thread that forked.

    The calls also come in one order.
    """

    def __init__(self, _: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    map = staticmethod(map)


class Wire:
    """Observes the calls of the functions while a listener is set, and may answer in AWS's place.

    Attributes
    ----------
    clients
        All SDK clients made while a listener was set.
    post
        Takes what is posted to a webhook, in the chat tool's place.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.clients: list[BaseClient] = []
        self.post: Callable[[bytes], None]
        self._listener: Listener | None = None
        self._interceptor: Interceptor | None = None
        self._answered = False
        self._patch_sdk(patch)
        self._patch_urllib(patch)
        patch.setattr("flowverdict.flows.evidence_s3.ThreadPoolExecutor", OneAfterTheOther)

    @contextmanager
    def listening(
        self, listener: Listener, interceptor: Interceptor | None = None
    ) -> Iterator[None]:
        """Call the listener before and after each call.

        The interceptor is asked at each try. If it answers or raises, AWS does nothing.
        """
        self._listener, self._interceptor = listener, interceptor
        try:
            yield
        finally:
            self._listener = self._interceptor = None

    @contextmanager
    def deaf(self) -> Iterator[None]:
        """Neither hear nor answer calls: the test makes them in the place of AWS."""
        before = self._listener, self._interceptor
        self._listener = self._interceptor = None
        try:
            yield
        finally:
            self._listener, self._interceptor = before

    def _patch_sdk(self, patch: pytest.MonkeyPatch) -> None:
        # All of boto3's and Powertools' sessions come down to this.
        create_client = botocore.session.Session.create_client

        def create_and_hear(
            session: botocore.session.Session,
            *args: Any,  # noqa: ANN401 - botocore's
            **rest: Any,  # noqa: ANN401 - botocore's
        ) -> BaseClient:
            client: BaseClient = create_client(session, *args, **rest)
            self._hear(client)
            if self._listener is not None:
                self.clients.append(client)
            return client

        patch.setattr(botocore.session.Session, "create_client", create_and_hear)

        # botocore calls all handlers, even after one of them has answered.
        stub = BotocoreStubber.__call__

        def unless_answered(
            *args: Any,  # noqa: ANN401 - botocore's
            **rest: Any,  # noqa: ANN401 - botocore's
        ) -> AWSResponse | None:
            return None if self._answered else stub(*args, **rest)

        patch.setattr(BotocoreStubber, "__call__", unless_answered)

    def _hear(self, client: BaseClient) -> None:
        service = client.meta.service_model.service_name
        events: Any = client.meta.events  # the stubs know no handler that answers
        events.register(
            "before-call.*.*",
            lambda model, **_: self._notify(Call(service, model.name), When.BEFORE),
        )
        events.register(
            "after-call.*.*", lambda model, **_: self._notify(Call(service, model.name), When.AFTER)
        )
        protocol = client.meta.service_model.resolved_protocol

        def ask(event_name: str, request: AWSPreparedRequest, **_: object) -> AWSResponse | None:
            self._answered = False
            if self._interceptor is None:
                return None
            call = Call(service, event_name.rpartition(".")[2])
            carry_out = partial(botocore_stubber, event_name, request)
            answer = self._interceptor(
                Try(call=call, request=request, protocol=protocol, carry_out=carry_out)
            )
            self._answered = answer is not None
            return answer

        events.register_first("before-send.*.*", ask)

    def _patch_urllib(self, patch: pytest.MonkeyPatch) -> None:
        def post(
            _: object, request: urllib.request.Request, *__: object, **___: object
        ) -> addinfourl:
            call = CHANGED if request.full_url.endswith("/chat.update") else WEBHOOK
            self._notify(call, When.BEFORE)
            assert isinstance(request.data, bytes)
            if call == WEBHOOK:
                self.post(request.data)
            self._notify(call, When.AFTER)
            is_slack = "slack" in request.full_url
            status = HTTPStatus.OK if is_slack else HTTPStatus.ACCEPTED
            body = _TAKEN if request.full_url.startswith(API) else b"ok"
            return addinfourl(io.BytesIO(body), Message(), request.full_url, status)

        patch.setattr(urllib.request.OpenerDirector, "open", post)

    def _notify(self, call: Call, when: When) -> None:
        if self._listener is not None:
            self._listener(call, when)
