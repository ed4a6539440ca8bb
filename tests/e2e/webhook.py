"""A chat tool's webhook on 127.0.0.1 that records requests and returns scripted answers."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from tests.e2e.emulator import LOOPBACK
from tests.helpers.webhook_server import SECRET_PATH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer to one request, ``delay`` seconds late."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    delay: float = 0.0


# The success of a Teams workflow.
ACCEPTED = Answer(status=202, body=b"")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request that arrived; only differences of ``at`` (seconds) have a meaning."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


class Webhook:
    """The webhook that ``webhook`` runs; ``otherwise`` is its answer when no other is set."""

    def __init__(self, url: str, otherwise: Answer) -> None:
        self.url = url
        self._requests: list[Request] = []
        self._answers: list[Answer] = []
        self._default = otherwise
        self._otherwise = otherwise
        self._changed = threading.Condition()

    @property
    def address(self) -> str:
        """A secret address: anyone who knows its path may post."""
        return f"{self.url}{SECRET_PATH}"

    def script(self, *answers: Answer, otherwise: Answer | None = None) -> None:
        """Set the answers to the next requests, in this order, and the answer to later ones."""
        with self._changed:
            self._answers = [*answers]
            self._otherwise = otherwise or self._default

    def forget(self) -> None:
        """Drop the recorded requests and the scripted answers."""
        with self._changed:
            self._requests.clear()
        self.script()

    @property
    def requests(self) -> tuple[Request, ...]:
        """All requests recorded so far."""
        with self._changed:
            return tuple(self._requests)

    def wait_for(self, matches: Callable[[Request], bool], seconds: float = 10.0) -> Request:
        """Return the first request that matches.

        Raises
        ------
        TimeoutError
            No such request arrived in time; the text shows the requests that did.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for request in self._requests:
                    if matches(request):
                        return request
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(
                        f"no such request after {seconds:g} s, only {self._requests}"
                    )

    def take(self, request: Request) -> Answer:
        """Record a request and return its answer."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            return self._answers.pop(0) if self._answers else self._otherwise


@contextmanager
def webhook(otherwise: Answer | None = None) -> Iterator[Webhook]:
    """Listen on a free port of 127.0.0.1 until the block ends."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("Content-Length", "0"))
            request = Request(
                path=self.path,
                headers=dict(self.headers),
                body=self.rfile.read(length),
                at=time.monotonic(),
            )
            answer = hook.take(request)
            time.sleep(answer.delay)
            try:
                self.send_response(answer.status)
                for name, value in answer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(answer.body)))
                self.end_headers()
                self.wfile.write(answer.body)
            except (BrokenPipeError, ConnectionResetError):
                self.close_connection = True  # the client did not wait for a slow answer

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
            """Log nothing: requests are recorded."""

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        hook = Webhook(f"http://{LOOPBACK}:{server.server_port}", otherwise or Answer())
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()
