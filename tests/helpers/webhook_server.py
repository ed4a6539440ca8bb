"""A server on this machine in place of a chat tool: gives scripted answers, records requests."""

from __future__ import annotations

import json
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

SECRET_PATH = "/services/T000/B000/s3cr3t"  # noqa: S105 - of no real webhook


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer; with ``drip_seconds`` 50 more bytes follow, one at a time."""

    status: int = 200
    body: str = "ok"
    headers: dict[str, str] = field(default_factory=dict)
    after_seconds: float = 0
    drip_seconds: float = 0

    @property
    def is_cut_short(self) -> bool:
        """Whether the client may disconnect before the whole answer is written."""
        return bool(self.after_seconds or self.drip_seconds) or len(self.body) > 1_000_000


@dataclass(slots=True, kw_only=True)
class WebhookServer:
    """The server's address, its next answers, and the requests that arrived.

    Parameters
    ----------
    answers
        The next answers, in order; afterwards ``otherwise``.
    visits
        Paths of the requests that are not POST.
    """

    port: int
    answers: list[Answer] = field(default_factory=list)
    otherwise: Answer = field(default_factory=Answer)
    received: list[dict[str, Any]] = field(default_factory=list)
    paths: list[str] = field(default_factory=list)
    visits: list[str] = field(default_factory=list)

    @property
    def address(self) -> str:
        """The address to post to."""
        return f"http://127.0.0.1:{self.port}{SECRET_PATH}"


@contextmanager
def webhook_server(otherwise: Answer | None = None) -> Iterator[WebhookServer]:
    """Run a server until the block ends; ``otherwise`` is its answer when no other is set."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            state.received.append(json.loads(body))
            state.paths.append(self.path)
            answer = state.answers.pop(0) if state.answers else state.otherwise
            time.sleep(answer.after_seconds)
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(answer.body.encode())
                for _ in range(50 if answer.drip_seconds else 0):
                    time.sleep(answer.drip_seconds)
                    self.wfile.write(b"x")
            except (BrokenPipeError, ConnectionResetError):
                assert answer.is_cut_short

        def do_GET(self) -> None:
            state.visits.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
            """Keep quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state = WebhookServer(port=server.server_port, otherwise=otherwise or Answer())
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
