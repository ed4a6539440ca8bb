"""Slack's Web API on this machine: channels with messages, threads, and Slack's error codes."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

from tests.helpers.webhook_server import Answer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOKEN = "xoxb-1234567890-s3cr3t"  # noqa: S105 - of no real workspace
CHANNEL = "#network"
CHANNEL_ID = "C012AB3CD"
OWNERS, OWNERS_ID = "#payments", "C0PAYMENTS"
FIRST_TS = 1_795_349_000


@dataclass(slots=True, kw_only=True)
class Message:
    """A message of a channel: its thread, and the arguments that it was posted with."""

    channel_id: str
    ts: str
    thread: str | None
    shown: dict[str, Any]
    updates: int = 0

    @property
    def text(self) -> str:
        """The text of the phone's notification."""
        return str(self.shown["text"])

    @property
    def is_in_channel(self) -> bool:
        """Whether the channel shows it, and not only its thread."""
        return self.thread is None or self.shown.get("reply_broadcast") is True


@dataclass(slots=True)
class SlackApi:
    """Answers as Slack does; ``script`` has the answers to the next calls, by method.

    A channel's name is taken by chat.postMessage alone, as by Slack. ``None`` in a script stands
    for the answer that Slack itself gives.
    """

    token: str = TOKEN
    first_ts: int = FIRST_TS
    channels: dict[str, str] = field(
        default_factory=lambda: {CHANNEL: CHANNEL_ID, OWNERS: OWNERS_ID}
    )
    messages: list[Message] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    script: dict[str, list[Answer | None]] = field(default_factory=dict)
    views: list[dict[str, Any]] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def firsts(self) -> list[Message]:
        """The messages that start a thread or stand by themselves."""
        return [message for message in self.messages if message.thread is None]

    def replies(self, first: Message) -> list[Message]:
        """Return the replies of a thread."""
        return [message for message in self.messages if message.thread == first.ts]

    def delete(self, message: Message) -> None:
        """Delete a message, as a person does."""
        self.messages.remove(message)

    def answer(self, method: str, authorization: str, arguments: Mapping[str, Any]) -> Answer:
        """Carry a call out and return the answer."""
        with self._lock:
            self.calls.append(method)
            scripted = self.script.get(method, [])
            given = scripted.pop(0) if scripted else None
            if given is not None:
                return given
            told = self._told(method, authorization, dict(arguments))
            return Answer(body=json.dumps(told))

    def _told(
        self, method: str, authorization: str, arguments: dict[str, Any]
    ) -> dict[str, object]:
        if authorization != f"Bearer {self.token}":
            return {"ok": False, "error": "invalid_auth"}
        if method == "views.open":
            assert arguments.keys() == {"trigger_id", "view"}
            self.views.append(arguments["view"])
            return {"ok": True, "view": {"id": "V0001"} | arguments["view"]}
        channel = arguments.pop("channel")
        if method == "chat.postMessage":
            channel = self.channels.get(channel, channel)
        if channel not in self.channels.values():
            return {"ok": False, "error": "channel_not_found"}
        if method == "chat.update":
            return self._update(channel, arguments)
        assert method == "chat.postMessage"
        thread = arguments.pop("thread_ts", None)
        if thread is not None and (channel, thread) not in self._places:
            return {"ok": False, "error": "thread_not_found"}
        ts = f"{self.first_ts + len(self.calls)}.000100"
        self.messages.append(Message(channel_id=channel, ts=ts, thread=thread, shown=arguments))
        return {"ok": True, "channel": channel, "ts": ts, "message": arguments}

    @property
    def _places(self) -> set[tuple[str, str]]:
        return {(message.channel_id, message.ts) for message in self.firsts}

    def _update(self, channel: str, arguments: dict[str, Any]) -> dict[str, object]:
        ts = arguments.pop("ts")
        for message in self.messages:
            if (message.channel_id, message.ts) == (channel, ts):
                message.shown |= arguments
                message.updates += 1
                return {"ok": True, "channel": channel, "ts": ts}
        return {"ok": False, "error": "message_not_found"}


def refusal(code: str, status: int = HTTPStatus.OK, **headers: str) -> Answer:
    """Return Slack's answer with an error code."""
    return Answer(status=status, body=json.dumps({"ok": False, "error": code}), headers=headers)


@contextmanager
def slack_api(api: SlackApi | None = None) -> Iterator[tuple[SlackApi, str]]:
    """Serve the API on a free port of 127.0.0.1; yield its state and its address."""
    state = SlackApi() if api is None else api

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            arguments = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            method = self.path.removeprefix("/api/")
            answer = state.answer(method, self.headers.get("Authorization", ""), arguments)
            self.send_response(answer.status)
            for name, value in answer.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer.body.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Keep quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield state, f"http://127.0.0.1:{server.server_port}/api/"
        finally:
            server.shutdown()
            thread.join()
