"""The parameters of an endpoint, for every plugin that asks one. Light: no openai."""

from __future__ import annotations

from typing import Literal
from urllib.parse import urlsplit

from pydantic import field_validator

from bdm_core.plugin import Field, Params

OPENAI = "https://api.openai.com/v1"
OPENAI_KEY = "OPENAI_API_KEY"


class EndpointParams(Params):
    """Which model is asked, how fast, and for how much; a plugin sets its own defaults.

    >>> params = EndpointParams(model="qwen2.5vl:7b", base_url="http://localhost:11434/v1")
    >>> params.address, params.key_variable
    ('http://localhost:11434/v1', None)
    >>> EndpointParams(model="gpt-4o-2024-08-06").key_variable
    'OPENAI_API_KEY'
    """

    model: str | None = Field(None, description="The model's name at the endpoint, e.g. gpt-4o-2024-08-06.")
    base_url: str | None = Field(
        None,
        description="Address of an OpenAI-compatible endpoint up to /v1, e.g. http://localhost:11434/v1 for Ollama or "
        "http://localhost:8000/v1 for vLLM; null: OpenAI's own.",
    )
    api_key_env: str | None = Field(
        None,
        description="Environment variable that holds the endpoint's key; null: OPENAI_API_KEY for OpenAI's own "
        "endpoint, no key for every other.",
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
    )
    answer_format: Literal["json_schema", "json_object", "text"] = Field(
        "json_schema",
        description="How the endpoint is asked for a structured answer: by a JSON schema that it enforces, by JSON "
        "without one, or in words alone. Answers are checked in any case.",
    )
    temperature: float | None = Field(
        0.0, ge=0, le=2, description="Sampling temperature; null where a model takes none."
    )
    max_tokens: int | None = Field(
        1024, ge=1, le=1_000_000, description="Longest answer in tokens; null where a model takes no such limit."
    )
    concurrency: int = Field(4, ge=1, le=256, description="Requests under way at once.")
    requests_per_minute: float | None = Field(
        None, gt=0, le=1_000_000, description="At most so many requests a minute; null: as fast as they are answered."
    )
    timeout: float = Field(120.0, gt=0, le=86_400, description="Seconds until a request counts as failed.")
    attempts: int = Field(
        6,
        ge=1,
        le=100,
        description="How often in a row one request may fail (rate limit, server error, no connection).",
    )
    backoff: float = Field(
        1.0, ge=0, le=3600, description="Seconds to wait after the first failure, then twice as long after each."
    )
    longest_wait: float = Field(
        120.0, ge=0, le=86_400, description="Longest wait in seconds, also where the endpoint asks for a longer one."
    )
    request_budget: int = Field(
        10_000, ge=0, description="At most so many requests for one stage, e.g. one row of the result table."
    )
    token_budget: int = Field(
        20_000_000, ge=0, description="At most so many tokens for one stage, of requests and answers together."
    )
    cache: str | None = Field(
        None,
        description="Folder of the answers that are kept, shared by all runs; null: bdm/language-model in the user's "
        "cache.",
    )

    @field_validator("base_url")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            parts = urlsplit(value)
            known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            known = False
        if not known:
            raise ValueError("an endpoint's address begins with http:// or https://, e.g. http://localhost:8000/v1")
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise ValueError(
                "an endpoint's address holds no name, password or query: put the key into an environment variable and "
                "name that one with api_key_env"
            )
        return value.rstrip("/")

    @property
    def address(self) -> str:
        """The endpoint's address."""
        return self.base_url or OPENAI

    @property
    def key_variable(self) -> str | None:
        """The environment variable that holds the key, or None. OpenAI's key goes to no other endpoint by itself."""
        return self.api_key_env or (OPENAI_KEY if self.address == OPENAI else None)
