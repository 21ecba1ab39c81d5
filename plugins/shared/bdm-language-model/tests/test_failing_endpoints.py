"""The client against a real HTTP server that is slow, fails, refuses and breaks off: nothing is lost."""

from __future__ import annotations

import functools
import time
from pathlib import Path
from typing import Any

import pytest
from asked_numbers import KEY, VARIABLE, ask, honest, settings, text_of

from bdm_core.errors import UserError
from bdm_language_model.asking import Unanswered
from bdm_language_model.testing import Response, ScriptedEndpoint


@pytest.fixture
def params(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv(VARIABLE, KEY)
    return functools.partial(settings, tmp_path / "cache")


@pytest.mark.parametrize(
    "bad",
    [
        Response("busy", status=500),
        Response("busy", status=503, headers={"retry-after": "0"}),
        Response("slow down", status=429, headers={"retry-after": "0.05"}),
        Response(drop=True),
        Response('{"numbers": [1]}', drop=True),
        Response('{"numbers": [1]}', delay=1.0),
        Response(raw=b"<html>Bad gateway</html>"),
        Response(raw=b'{"choices": []}'),
        Response(raw=b'{"choices": [{"message": {"content": 3}}]}'),
    ],
    ids=["500", "503", "429", "dropped", "half", "slow", "no-json", "no-choice", "no-text"],
)
def test_a_request_that_fails_is_sent_again(params: Any, bad: Response) -> None:
    failed: set[str] = set()

    def respond(body: dict[str, Any], number: int) -> Response:
        if text_of(body) not in failed:
            failed.add(text_of(body))
            return bad
        return honest(body)

    with ScriptedEndpoint(respond) as endpoint:
        found, usage = ask(params(endpoint, timeout=0.5), [1, 2])
    assert found == [1, 2]
    assert usage["requests"] == len(endpoint.bodies) == 4 and usage["tokens"] == 20


def test_retry_after_holds_back_all_requests(params: Any) -> None:
    seen: list[float] = []

    def respond(body: dict[str, Any], number: int) -> Response:
        seen.append(time.monotonic())
        return Response("wait", status=429, headers={"retry-after-ms": "300"}) if number == 0 else honest(body)

    with ScriptedEndpoint(respond) as endpoint:
        found, _ = ask(params(endpoint, concurrency=1), [1, 2])
    assert found == [1, 2] and seen[1] - seen[0] >= 0.3


def test_a_rate_is_kept(params: Any) -> None:
    seen: list[float] = []

    def respond(body: dict[str, Any], number: int) -> Response:
        seen.append(time.monotonic())
        return honest(body)

    with ScriptedEndpoint(respond) as endpoint:
        began = time.monotonic()  # a request may arrive late: only what has passed since the beginning is certain
        ask(params(endpoint, concurrency=4, requests_per_minute=600), [1, 2, 3, 4])
    assert max(seen) - began >= 0.29


def test_a_wait_that_is_too_long_stops(params: Any) -> None:
    with (
        ScriptedEndpoint(lambda body, number: Response("no", status=429, headers={"retry-after": "900"})) as endpoint,
        pytest.raises(UserError, match=r"asks to wait 900 s, longer than longest_wait=120: it answered 429"),
    ):
        ask(params(endpoint), [1])
    assert len(endpoint.bodies) == 1


def test_it_gives_up_after_the_attempts_and_keeps_the_others(params: Any) -> None:
    def respond(body: dict[str, Any], number: int) -> Response:
        return Response("no", status=500) if text_of(body) == "3" else honest(body)

    with ScriptedEndpoint(respond) as endpoint:
        with pytest.raises(UserError, match=r"failed 2 times in a row: it answered 500 \(no\); 1 of 3 pictures are"):
            ask(params(endpoint, attempts=2, concurrency=3), [1, 2, 3], noun="pictures")
        before = len(endpoint.bodies)
        with pytest.raises(UserError, match="1 of 3"):
            ask(params(endpoint, attempts=1), [1, 2, 3])
    assert len(endpoint.bodies) == before + 1, "the answered ones are not asked again"


@pytest.mark.parametrize("text", ["no JSON", '{"numbers": [1, 2]}', '{"numbers": ["one"]}', '{"numbers"', "[" * 5000])
def test_answers_of_another_form_are_counted_apart(params: Any, text: str) -> None:
    with ScriptedEndpoint(lambda body, number: Response(text)) as endpoint:
        found, usage = ask(params(endpoint), [1])
    assert isinstance(found[0], Unanswered) and found[0].reason == "malformed"
    assert usage == {"requests": 3, "tokens": 30, "from_cache": 0}


def test_an_answer_may_be_right_the_second_time_and_fenced(params: Any) -> None:
    with ScriptedEndpoint(
        lambda body, number: Response('```json\n{"numbers": [1]}\n```' if number else "Sure! Here it is:")
    ) as endpoint:
        assert ask(params(endpoint), [1])[0] == [1]
    assert len(endpoint.bodies) == 2


@pytest.mark.parametrize(
    "refusal",
    [Response(refusal="I cannot help\nwith that."), Response("no", status=400, code="content_filter")],
    ids=["model", "endpoint"],
)
def test_refusals_are_counted_apart_and_not_repeated(params: Any, refusal: Response) -> None:
    with ScriptedEndpoint(lambda body, number: refusal) as endpoint:
        (found,), _ = ask(params(endpoint), [1])
    assert isinstance(found, Unanswered) and found.reason == "refused" and "\n" not in found.note
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (404, "model_not_found", "is `base_url` right"),
        (400, "", "other models need other values of answer_format"),
        (429, "insufficient_quota", "has no quota left"),
        (403, "", "refuses the key"),
    ],
)
def test_what_will_never_succeed_stops_at_once(params: Any, status: int, code: str, message: str) -> None:
    with (
        ScriptedEndpoint(lambda body, number: Response("no", status=status, code=code)) as endpoint,
        pytest.raises(UserError, match=message),
    ):
        ask(params(endpoint), [1])
    assert len(endpoint.bodies) == 1


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_requests_are_not_sent_on_to_another_place(params: Any, status: int) -> None:
    with ScriptedEndpoint(lambda body, number: honest(body)) as other:
        moved = Response("moved", status=status, headers={"location": f"{other.url}/chat/completions"})
        with (
            ScriptedEndpoint(lambda body, number: moved) as endpoint,
            pytest.raises(UserError, match=f"sends requests on to {other.url}/chat.* name it as base_url") as caught,
        ):
            ask(params(endpoint), [1])
    assert len(endpoint.bodies) == 1 and not other.bodies and KEY not in str(caught.value)


def test_nobody_listens(params: Any) -> None:
    with ScriptedEndpoint(honest) as endpoint:
        chosen = params(endpoint, attempts=2)
    with pytest.raises(UserError, match=r"failed 2 times in a row: no connection \(.+\); 1 of 1 requests are left"):
        ask(chosen, [1])


def test_an_endless_answer_is_a_failure(params: Any) -> None:
    with ScriptedEndpoint(lambda body, number: Response("x" * 2**21) if not number else honest(body)) as endpoint:
        assert ask(params(endpoint), [4])[0] == [4]
