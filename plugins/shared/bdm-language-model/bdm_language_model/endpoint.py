"""One request to an OpenAI-compatible endpoint, and what its answer means."""

from __future__ import annotations

import importlib.util
import json
import os
import time
from typing import Any, NamedTuple

from pydantic import BaseModel

from bdm_core.errors import UserError
from bdm_core.machine.redaction import HIDDEN, redact_addresses
from bdm_language_model.pacing import retry_after
from bdm_language_model.params import EndpointParams
from bdm_language_model.requests import CHARACTERS_OF_A_TOKEN, Request

LARGEST_ANSWER = 2**20
"""Bytes of an endpoint's answer; a longer one counts as a failure."""
MOST_COUNTED = 10_000_000
"""Tokens that an endpoint may claim one request took."""
LONGEST_NOTE = 200
PASSING = frozenset({408, 409, 425, 429})
"""Statuses below 500 after which the same request may succeed."""
FILTERED = frozenset({"content_filter", "content_policy_violation", "moderation_blocked"})
"""Codes of an error that say: not with this content."""
NO_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})


class Reply(NamedTuple):
    """What the model said.

    Attributes:
        text: its words; "" if it refused.
        refusal: why it refused, in its words or the endpoint's; "" if it did not.
        tokens: that the request took, by the endpoint's count, or estimated.
        model: which model answered, by the endpoint's word.
    """

    text: str
    refusal: str
    tokens: int
    model: str


class Failure(Exception):
    """The request failed, and may succeed later.

    Attributes:
        wait: seconds that the endpoint asks to wait, or None.
        for_all: whether other requests should wait as well.
    """

    def __init__(self, reason: str, wait: float | None = None, *, for_all: bool = False) -> None:
        super().__init__(reason)
        self.wait = wait
        self.for_all = for_all


def require_endpoint(params: EndpointParams, plugin: str = "") -> None:
    """Refuse an endpoint that cannot be asked, before anything is computed. Nothing is sent.

    Args:
        params: of the endpoint.
        plugin: who asks, e.g. ``metric:judge``, for the message.

    Raises:
        UserError: no model is named, the key is missing or cannot be one, or the package openai is not installed.

    >>> require_endpoint(EndpointParams(base_url="http://localhost:8000/v1"), "metric:mine")
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: metric:mine: no model is named for the endpoint: set `model`, e.g. gpt-4o-2024-08-06
    """
    try:
        if not params.model:
            raise UserError("no model is named for the endpoint: set `model`, e.g. gpt-4o-2024-08-06")
        if importlib.util.find_spec("openai") is None:
            raise UserError("asking a model needs the package openai: pip install openai")
        _key_of(params)
    except UserError as error:
        raise UserError(f"{plugin}: {error}" if plugin else str(error)) from None


class Endpoint:
    """An endpoint with its key, which is read from the environment here and written nowhere.

    Args:
        params: its address, model and limits.

    Raises:
        UserError: no model is named, the key is missing or cannot be one, or the package openai is not installed.
    """

    def __init__(self, params: EndpointParams) -> None:
        require_endpoint(params)
        import openai

        self.params = params
        self._openai = openai
        self._key = _key_of(params)
        self._client = openai.OpenAI(
            api_key=self._key or "none",
            base_url=params.address,
            timeout=params.timeout,
            max_retries=0,
            http_client=openai.DefaultHttpxClient(follow_redirects=False),
        )

    def close(self) -> None:
        """Close its connections."""
        self._client.close()

    def call(self, request: Request, answer: type[BaseModel]) -> Reply:
        """Ask once.

        Raises:
            Failure: it may succeed later.
            UserError: it never will.
        """
        openai = self._openai
        try:
            raw = self._read(request.body(self.params, answer))
        except openai.APIStatusError as error:
            code = str(error.code or "")
            if error.status_code == 400 and code in FILTERED:
                return Reply("", self.plain(code), request.tokens(), "")
            raise self._meaning(error.status_code, code, self._reason(error), error.response.headers) from None
        except openai.APITimeoutError:
            raise Failure(f"no answer within {self.params.timeout:g} s") from None
        except openai.APIConnectionError as error:
            reason = str(error.__cause__ or error)
            raise Failure(f"no connection ({self.plain(reason)})") from None
        except openai.OpenAIError as error:
            raise UserError(f"{self} cannot be asked: {self.plain(str(error))}") from None
        return self._reply(raw, request)

    def plain(self, text: str) -> str:
        """A stranger's text as one short line without the key."""
        if self._key:
            text = text.replace(self._key, HIDDEN)
        line = " ".join("".join(letter if letter.isprintable() else " " for letter in redact_addresses(text)).split())
        return line if len(line) <= LONGEST_NOTE else f"{line[:LONGEST_NOTE]}..."

    def __str__(self) -> str:
        return f"the endpoint {self.params.address}"

    def _read(self, body: dict[str, Any]) -> bytes:
        """The body of the answer, not longer than LARGEST_ANSWER, and not later than the timeout."""
        until = time.monotonic() + self.params.timeout
        found = b""
        completions = self._client.chat.completions.with_streaming_response
        headers = {} if self._key else {"extra_headers": {"Authorization": self._openai.Omit()}}
        with completions.create(**body, **headers) as response:
            try:
                for part in response.iter_bytes():
                    found += part
                    if len(found) > LARGEST_ANSWER:
                        raise Failure(f"its answer is longer than {LARGEST_ANSWER} bytes")
                    if time.monotonic() > until:
                        raise Failure(f"no whole answer within {self.params.timeout:g} s")
            except Failure:
                raise
            except Exception as error:  # the HTTP library's own, whichever openai uses
                raise Failure(f"its answer broke off ({type(error).__name__})") from None
        return found

    def _meaning(self, status: int, code: str, reason: str, headers: Any) -> Exception:
        """What an error status means."""
        told = f"it answered {status}" + (f" ({reason})" if reason else "")
        if status in (401, 403):
            variable = self.params.key_variable
            key = f"the key in {variable}" if self._key else "requests without a key: name its variable in api_key_env"
            return UserError(f"{self} refuses {key}: {told}")
        if status == 429 and code in NO_MONEY:
            return UserError(f"the account behind {self} has no quota left: {told}")
        if status in PASSING or status >= 500:
            return Failure(told, retry_after(headers), for_all=status == 429)
        if 300 <= status < 400:
            place = self.plain(str(headers.get("location", "nowhere")))
            return UserError(
                f"{self} sends requests on to {place}, where captions and pictures do not follow: if it is to be "
                "trusted, name it as base_url"
            )
        hint = "; is `base_url` right, does it end with /v1, and has the endpoint this model?" if status == 404 else ""
        if status in (400, 422):
            hint = "; other models need other values of answer_format, temperature or max_tokens"
        return UserError(f"{self} cannot answer this: {told}{hint}")

    def _reason(self, error: Any) -> str:
        body = error.body if isinstance(error.body, dict) else {}
        message = body.get("message") or body.get("detail") or ""
        return self.plain(message if isinstance(message, str) else "")

    def _reply(self, raw: bytes, request: Request) -> Reply:
        """The reply in the body of a chat completion. Raises Failure if it is none."""
        try:
            record = json.loads(raw)
            choice = record["choices"][0]
            message = choice["message"]
            text, refusal = message.get("content") or "", message.get("refusal") or ""
            usage, model = record.get("usage") or {}, record.get("model") or ""
            ended = choice.get("finish_reason")
            if not all(isinstance(value, str) for value in (text, refusal, model)):
                raise TypeError
            counted = usage.get("total_tokens") if isinstance(usage, dict) else None
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
            raise Failure("its answer is no chat completion") from None
        if ended == "content_filter":
            refusal = refusal or ended
        tokens = request.tokens() + len(text) // CHARACTERS_OF_A_TOKEN
        if isinstance(counted, int) and not isinstance(counted, bool) and 0 < counted <= MOST_COUNTED:
            tokens = counted
        if self._key:
            text = text.replace(self._key, HIDDEN)
        return Reply("" if refusal else text, self.plain(refusal), tokens, self.plain(model))


def _key_of(params: EndpointParams) -> str:
    variable = params.key_variable
    if variable is None:
        return ""
    key = os.environ.get(variable, "").strip()
    if not key:
        raise UserError(
            f"the environment variable {variable} holds no key for {params.address}: set it, or name another variable "
            "with api_key_env"
        )
    if not (key.isascii() and key.isprintable()) or " " in key:
        raise UserError(f"what the environment variable {variable} holds cannot be a key")
    return key
