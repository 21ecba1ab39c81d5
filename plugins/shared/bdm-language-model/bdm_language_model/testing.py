"""An endpoint on this machine that says what a test tells it to, for the tests of plugins that ask a model."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any


@dataclass(frozen=True)
class Response:
    """What the endpoint does with one request.

    Attributes:
        text: the model's words.
        refusal: or why it refuses.
        status: HTTP status; from 400 on ``text`` is the error's message and ``code`` its code.
        code: of an error.
        headers: further ones, e.g. ``retry-after``.
        tokens: that it says it took; None: it says nothing.
        raw: the whole body, in the place of all that.
        delay: seconds until it answers.
        drop: it closes the connection, with or without half of its answer.
    """

    text: str = ""
    refusal: str = ""
    status: int = 200
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    tokens: int | None = 10
    raw: bytes | None = None
    delay: float = 0.0
    drop: bool = False

    def body(self) -> bytes:
        """The bytes of the answer."""
        if self.raw is not None:
            return self.raw
        if self.status >= 400:
            return json.dumps({"error": {"message": self.text, "code": self.code or None}}).encode()
        message = {"role": "assistant", "content": self.text or None, "refusal": self.refusal or None}
        record: dict[str, Any] = {"model": "scripted-1", "choices": [{"message": message, "finish_reason": "stop"}]}
        if self.tokens is not None:
            record["usage"] = {"total_tokens": self.tokens}
        return json.dumps(record).encode()


class ScriptedEndpoint:
    """A real HTTP server in a thread; use it as a context manager.

    Args:
        respond: gives the response to a request's body and its number, from 0; it is called by one thread at a time.

    Attributes:
        url: the address for ``base_url``.
        bodies: of the requests so far.
        keys: what stood in their header ``Authorization``, "" for none.

    >>> with ScriptedEndpoint(lambda body, number: Response("hello")) as endpoint:
    ...     endpoint.url.startswith("http://127.0.0.1:")
    True
    """

    def __init__(self, respond: Callable[[dict[str, Any], int], Response]) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self._lock = threading.Lock()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                with outer._lock:
                    number = len(outer.bodies)
                    outer.bodies.append(body)
                    outer.keys.append(self.headers.get("authorization", ""))
                    response = respond(body, number)
                time.sleep(response.delay)
                content = response.body()
                if response.drop:
                    self.close_connection = True
                    if not response.text:
                        return
                try:
                    self.send_response(response.status)
                    for name, value in response.headers.items():
                        self.send_header(name, value)
                    self.send_header("content-type", "application/json")
                    self.send_header("content-length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content[: len(content) // 2] if response.drop else content)
                except OSError:  # the other side did not wait
                    self.close_connection = True

            def log_message(self, format: str, *arguments: Any) -> None:
                """Write nothing to the terminal."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> ScriptedEndpoint:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(timeout=5)
