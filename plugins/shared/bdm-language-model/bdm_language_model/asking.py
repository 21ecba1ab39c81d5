"""Ask a model many questions: each once, several at a time, within a budget, and nothing is lost on the way."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Generic, Literal, TypeVar

from pydantic import BaseModel, ValidationError

from bdm_core.errors import UserError
from bdm_language_model.answers import AnswerCache
from bdm_language_model.endpoint import Endpoint, Failure
from bdm_language_model.pacing import Budget, Pace, Spent, backoff
from bdm_language_model.params import EndpointParams
from bdm_language_model.requests import Request

Answer = TypeVar("Answer", bound=BaseModel)
MOST_MALFORMED = 3
"""So often a model is asked for an answer of the right form."""
_FENCE = re.compile(r"^\s*```(?:json)?\s*(.*?)\s*```\s*$", re.DOTALL | re.IGNORECASE)
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Unanswered:
    """A request to which the model has no usable answer. It is not kept: another stage asks again.

    Attributes:
        reason: ``refused``: the model or its endpoint will not; ``malformed``: answers of another form than was asked.
        note: what it said, in one short line.
    """

    reason: Literal["refused", "malformed"]
    note: str = ""


class _Stopped(Exception):
    """Nothing more is sent."""


@dataclass(frozen=True)
class _Asking(Generic[Answer]):
    """One request under way."""

    request: Request
    key: str
    answer: type[Answer]


class LanguageModel:
    """A model behind an endpoint, with the cache, the budget and the pace of one stage.

    Use it as a context manager. Only plain facts of it may be written down: ``usage()``.

    Args:
        params: the endpoint's parameters.

    Raises:
        UserError: no model is named, its key is missing, the package openai or the cache cannot be used.
    """

    def __init__(self, params: EndpointParams) -> None:
        self.params = params
        self.cache = AnswerCache(Path(params.cache) if params.cache else None)
        self.budget = Budget(params.request_budget, params.token_budget)
        self.from_cache = 0
        self._endpoint: Endpoint | None = None
        self._opening = threading.Lock()
        self._stopping = threading.Event()
        self._pace = Pace(params.requests_per_minute, self._stopping)

    def __enter__(self) -> LanguageModel:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._endpoint is not None:
            self._endpoint.close()

    def usage(self) -> dict[str, int]:
        """Requests that were sent, tokens they took, and answers that were there already."""
        return {"requests": self.budget.requests, "tokens": self.budget.tokens, "from_cache": self.from_cache}

    def ask(self, request: Request, answer: type[Answer]) -> Answer | Unanswered:
        """As :meth:`ask_all`, one request."""
        return self.ask_all([request], answer)[0]

    def ask_all(
        self,
        requests: Sequence[Request],
        answer: type[Answer],
        *,
        noun: str = "requests",
        on_progress: Progress = lambda done, total: None,
    ) -> list[Answer | Unanswered]:
        """The answers in order; equal requests are asked once, and those that are kept not at all.

        Args:
            requests: what is asked.
            answer: the class of the answers, a pydantic model; its validators see the request's ``context``.
            noun: what a request stands for, in the message of a stop: ``pictures``, ``captions``.
            on_progress: called with the number of requests that are answered and of all.

        Raises:
            UserError: the budget is spent, the endpoint refuses the key or keeps failing. Every answer so far is kept,
                and the message says how many are missing, so that the same call goes on where it stopped.
        """
        keys = [request.key(self.params, answer) for request in requests]
        found: dict[str, Answer | Unanswered] = {}
        open_ones: dict[str, _Asking[Answer]] = {}
        for request, key in zip(requests, keys, strict=True):
            if key in found or key in open_ones:
                continue
            kept = self.cache.get(key, answer, request.context)
            if kept is None:
                open_ones[key] = _Asking(request, key, answer)
            else:
                found[key] = kept
                self.from_cache += 1

        def report() -> None:
            on_progress(sum(key in found for key in keys), len(keys))

        report()
        reason = self._ask_open(list(open_ones.values()), found, report) if open_ones else None
        if reason is not None:
            left = sum(key not in found for key in keys)
            raise UserError(
                f"{reason}; {left} of {len(keys)} {noun} are left: answers so far are kept in {self.cache.folder}, so "
                "that the same command goes on from here"
            )
        return [found[key] for key in keys]

    def _ask_open(
        self,
        waiting: Sequence[_Asking[Answer]],
        found: dict[str, Answer | Unanswered],
        report: Callable[[], None],
    ) -> str | None:
        """Ask what is not kept; the reason if it had to stop before all was answered."""
        reason: str | None = None
        self._stopping.clear()
        with ThreadPoolExecutor(min(self.params.concurrency, len(waiting)), "language-model") as pool:
            running: dict[Future[Answer | Unanswered], str] = {
                pool.submit(self._one, asking): asking.key for asking in waiting
            }
            try:
                for done in as_completed(running):
                    try:
                        found[running[done]] = done.result()
                    except _Stopped:
                        continue
                    except (UserError, Spent) as error:
                        reason = reason or str(error)
                        continue
                    report()
            except BaseException:
                self._stopping.set()
                for future in running:
                    future.cancel()
                raise
        return reason

    def _one(self, asking: _Asking[Answer]) -> Answer | Unanswered:
        """Ask one thing; an error that concerns all stops them here, before the next thread can send."""
        try:
            return self._until_answered(asking)
        except BaseException:
            self._stopping.set()
            raise

    def _until_answered(self, asking: _Asking[Answer]) -> Answer | Unanswered:
        """Ask until there is an answer; keep it."""
        failures = malformed = 0
        request, estimate = asking.request, asking.request.tokens()
        endpoint = self._opened()
        while True:
            self._pace.turn()
            if self._stopping.is_set():
                raise _Stopped
            used = 0
            self.budget.take(estimate)
            try:
                reply = endpoint.call(request, asking.answer)
                used = reply.tokens
            except Failure as failure:
                failures += 1
                self._after(failure, failures, endpoint)
                continue
            finally:
                self.budget.settle(estimate, used)
            if reply.refusal:
                return Unanswered("refused", reply.refusal)
            try:
                answer = parsed(reply.text, request, asking.answer)
            except ValueError:
                malformed += 1
                if malformed < MOST_MALFORMED:
                    continue
                return Unanswered("malformed", endpoint.plain(reply.text))
            self.cache.put(asking.key, answer, model=reply.model, tokens=reply.tokens)
            return answer

    def _after(self, failure: Failure, failures: int, endpoint: Endpoint) -> None:
        """Wait after a failure. Raises UserError if there is no point in it."""
        params = self.params
        if failures >= params.attempts:
            raise UserError(f"{endpoint} failed {failures} times in a row: {failure}") from None
        wait = backoff(params.backoff, failures, params.longest_wait) if failure.wait is None else failure.wait
        if wait > params.longest_wait:
            raise UserError(
                f"{endpoint} asks to wait {wait:.0f} s, longer than longest_wait={params.longest_wait:g}: {failure}"
            ) from None
        if failure.for_all:
            self._pace.hold(wait)
        else:
            self._pace.rest(wait)

    def _opened(self) -> Endpoint:
        """The endpoint, opened when the first question needs it: answers that are all kept need no key."""
        with self._opening:
            if self._endpoint is None:
                self._endpoint = Endpoint(self.params)
            return self._endpoint


def parsed(text: str, request: Request, answer: type[Answer]) -> Answer:
    """A model's words as an answer. Raises ValueError if they are none.

    >>> class Found(BaseModel):
    ...     yes: bool
    >>> parsed('```json\\n{"yes": true}\\n```', Request(""), Found)
    Found(yes=True)
    """
    fenced = _FENCE.match(text)
    try:
        return answer.model_validate_json(fenced[1] if fenced else text, context=dict(request.context))
    except (ValidationError, RecursionError) as error:
        raise ValueError(str(error)) from None
