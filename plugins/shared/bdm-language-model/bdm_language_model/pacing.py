"""How fast and for how much: a budget of requests and tokens, a rate, and waits after failures."""

from __future__ import annotations

import email.utils
import threading
import time
from collections.abc import Mapping
from datetime import UTC, datetime


class Spent(Exception):
    """The budget does not allow a further request; the message says which limit."""


class Budget:
    """Counts requests and tokens of one stage, from any thread.

    Args:
        requests: at most so many are sent.
        tokens: no request is sent that would exceed so many, by what it takes at least.

    >>> budget = Budget(requests=2, tokens=100)
    >>> budget.take(10); budget.settle(10, 40)
    >>> budget.take(70)
    Traceback (most recent call last):
        ...
    bdm_language_model.pacing.Spent: 40 tokens of token_budget=100 are used, the next request takes about 70
    """

    def __init__(self, requests: int, tokens: int) -> None:
        self._most_requests, self._most_tokens = requests, tokens
        self._lock = threading.Lock()
        self._reserved = 0
        self.requests = 0
        self.tokens = 0

    def take(self, estimate: int) -> None:
        """Reserve one request of about ``estimate`` tokens. Raises Spent."""
        with self._lock:
            if self.requests >= self._most_requests:
                raise Spent(f"request_budget={self._most_requests} is used up")
            if self.tokens + self._reserved + estimate > self._most_tokens:
                raise Spent(
                    f"{self.tokens} tokens of token_budget={self._most_tokens} are used, the next request takes about "
                    f"{estimate}"
                )
            self.requests += 1
            self._reserved += estimate

    def settle(self, estimate: int, used: int) -> None:
        """The reserved request is over; it took ``used`` tokens."""
        with self._lock:
            self._reserved -= estimate
            self.tokens += used


class Pace:
    """When the next request may be sent: not faster than a rate, and not before a limit that the endpoint set.

    Args:
        per_minute: requests a minute, or None.
        stopping: set when nothing more is to be sent: every wait ends then.
    """

    def __init__(self, per_minute: float | None, stopping: threading.Event) -> None:
        self._gap = 60.0 / per_minute if per_minute else 0.0
        self._stopping = stopping
        self._lock = threading.Lock()
        self._next = 0.0
        self._held = 0.0

    def turn(self) -> None:
        """Wait for this request's turn."""
        with self._lock:
            at = max(self._next, time.monotonic())
            self._next = at + self._gap
        self.rest(at - time.monotonic())
        while not self._stopping.is_set() and (left := self._held - time.monotonic()) > 0:
            self.rest(left)

    def hold(self, seconds: float) -> None:
        """Send nothing for so long, from any thread."""
        with self._lock:
            self._held = max(self._held, time.monotonic() + seconds)

    def rest(self, seconds: float) -> None:
        """Wait, unless all is to stop."""
        if seconds > 0:
            self._stopping.wait(seconds)


def backoff(first: float, failures: int, longest: float) -> float:
    """Seconds to wait after so many failures in a row: ``first``, then twice as long after each.

    >>> [backoff(1.0, failures, 5.0) for failures in (1, 2, 3, 4)]
    [1.0, 2.0, 4.0, 5.0]
    """
    return min(longest, first * 2.0 ** min(failures - 1, 60))


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that an endpoint asks to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as a date.

    >>> retry_after({"retry-after": "3"}), retry_after({"retry-after-ms": "250"}), retry_after({"retry-after": "soon"})
    (3.0, 0.25, None)
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name, "").strip()
        try:
            seconds = float(text) * unit
        except ValueError:
            try:
                date = email.utils.parsedate_to_datetime(text)
                seconds = ((date if date.tzinfo else date.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
            except (ValueError, TypeError, IndexError):
                continue
        if seconds == seconds:
            return max(0.0, seconds)
    return None
