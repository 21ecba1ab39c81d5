"""Questions for numbers, for the tests of the client: a request names a number, an honest endpoint says it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationInfo, field_validator

from bdm_language_model.asking import LanguageModel
from bdm_language_model.params import EndpointParams
from bdm_language_model.requests import Request
from bdm_language_model.testing import Response, ScriptedEndpoint

KEY = "sk-testing-0123456789abcdef"
VARIABLE = "BDM_TEST_KEY"


class Found(BaseModel):
    """An answer of the tests."""

    numbers: list[int] = Field(max_length=5)

    @field_validator("numbers")
    @classmethod
    def _as_many(cls, numbers: list[int], info: ValidationInfo) -> list[int]:
        wanted = (info.context or {}).get("count", len(numbers))
        if len(numbers) != wanted:
            raise ValueError(f"{len(numbers)} numbers, not {wanted}")
        return numbers


def text_of(body: dict[str, Any]) -> str:
    return str(body["messages"][1]["content"][0]["text"])


def honest(body: dict[str, Any], number: int = 0) -> Response:
    """The number that the request names."""
    return Response(json.dumps({"numbers": [int(text_of(body))]}))


def settings(cache: Path, endpoint: ScriptedEndpoint, **more: Any) -> EndpointParams:
    """Parameters that are quick and keep answers in ``cache``; the key is in VARIABLE."""
    given = {"model": "scripted", "base_url": endpoint.url, "api_key_env": VARIABLE, "cache": str(cache)}
    return EndpointParams(**{**given, "backoff": 0.01, "timeout": 5.0, **more})


def ask(params: EndpointParams, numbers: list[int], **more: Any) -> tuple[list[Any], dict[str, int]]:
    requests = [Request("Say the number.", [str(number)], context={"count": 1}) for number in numbers]
    with LanguageModel(params) as model:
        found = model.ask_all(requests, Found, **more)
        return [item.numbers[0] if isinstance(item, Found) else item for item in found], model.usage()
