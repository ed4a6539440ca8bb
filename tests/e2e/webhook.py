"""A chat tool's webhook on 127.0.0.1: keeps what it is sent and answers what a test tells it to."""

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
    """What to answer one request with; ``delay`` seconds late."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"ok"
    delay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What came in, and when, in seconds of which only differences matter."""

    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float


class Webhook:
    """What ``webhook`` gives."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._requests: list[Request] = []
        self._answers: list[Answer] = []
        self._otherwise = Answer()
        self._changed = threading.Condition()

    @property
    def address(self) -> str:
        """An address as Slack gives one: whoever knows its path may post."""
        return f"{self.url}{SECRET_PATH}"

    def script(self, *answers: Answer, otherwise: Answer | None = None) -> None:
        """Answer the next requests with these, in this order; all later ones with ``otherwise``, 200 if that is not given."""
        with self._changed:
            self._answers = [*answers]
            self._otherwise = otherwise or Answer()

    def forget(self) -> None:
        """Drop what came in, and answer 200 again."""
        with self._changed:
            self._requests.clear()
        self.script()

    @property
    def requests(self) -> tuple[Request, ...]:
        """Everything that came in so far."""
        with self._changed:
            return tuple(self._requests)

    def wait_for(self, wanted: Callable[[Request], bool], seconds: float = 10.0) -> Request:
        """Give the first request that fits.

        Raises
        ------
        TimeoutError
            None came in time; says what did.
        """
        deadline = time.monotonic() + seconds
        with self._changed:
            while True:
                for one in self._requests:
                    if wanted(one):
                        return one
                if not self._changed.wait(deadline - time.monotonic()):
                    raise TimeoutError(
                        f"no such request after {seconds:g} s, only {self._requests}"
                    )

    def take(self, request: Request) -> Answer:
        """Keep a request and give its answer."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            return self._answers.pop(0) if self._answers else self._otherwise


@contextmanager
def webhook() -> Iterator[Webhook]:
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
                self.close_connection = (
                    True  # a slow answer was not waited for, which is what it is slow for
                )

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
            """Keep quiet: what came in is kept, and pytest shows the rest."""

    with ThreadingHTTPServer((LOOPBACK, 0), Handler) as server:
        hook = Webhook(f"http://{LOOPBACK}:{server.server_port}")
        thread = threading.Thread(
            target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True
        )
        thread.start()
        try:
            yield hook
        finally:
            server.shutdown()
            thread.join()
