"""Credentials reach neither the command line's record nor any file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bdm_cli.specification import load_specification
from bdm_core.errors import UserError
from bdm_core.machine.redaction import HIDDEN, names_credential, redact, without_credentials


@pytest.mark.parametrize(
    "text",
    [
        "bdm run --set metric:judge.api_key=SESAME",
        "bdm run --data hf_SESAMEABCDEFGHIJKLMNOP",
        "bdm run --model https://user:SESAME@host/x",
        "bdm run --model 'https://host/x?b=1&api_key=SESAME'",
        "bdm run --set metric:judge.token='open SESAME'",
        'bdm run --set metric:judge.token="open SESAME"',
        "bdm run --set 'metric:judge.token=open SESAME' --seed 1",
        "bdm run --token SESAME --seed 0",
        "bdm run --api-key 'open SESAME'",
        "bdm run --password=SESAME",
    ],
)
def test_credentials_are_redacted(text: str) -> None:
    told = redact(text)
    assert HIDDEN in told and "SESAME" not in told
    assert redact(told) == told


@pytest.mark.parametrize(
    "text",
    [
        "bdm run --attack villan --set attack:villan.poison_rate=0.2 --seed 3",
        "bdm run --set metric:judge.api_key_env=OPENAI_API_KEY",
        "bdm run --set attack:mine.trigger_token=zx --set kit:text.max_tokens=77",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert redact(text) == text


def test_names_of_credentials() -> None:
    yes = ("key", "api_key", "apikey", "hf-token", "--password", "metric:judge.secret", "token", "judge_key2")
    no = ("api_key_env", "trigger_token", "placeholder_token", "monkey", "tokens", "keyboard", "secrets_file", "")
    assert all(map(names_credential, yes)) and not any(map(names_credential, no))


def test_values_are_hidden_by_name_at_any_depth() -> None:
    given = {"a": {"api_key": "x", "token": None, "password": "", "n": 1}, "list": [{"secret": "y"}, "plain"]}
    assert without_credentials(given) == {
        "a": {"api_key": HIDDEN, "token": None, "password": "", "n": 1},
        "list": [{"secret": HIDDEN}, "plain"],
    }


def test_addresses_lose_their_credentials_wherever_they_stand() -> None:
    given = {"model": "https://user:SESAME@host/x", "data": ["./hf_SESAMEABCDEFGHIJKLMNOP/m"]}
    given |= {"more": {"x": "https://h/x?a=1&token=SESAME#y"}}
    told = str(without_credentials(given))
    assert "SESAME" not in told and "a=1" in told and "host/x" in told
    assert without_credentials("say token=word to the model") == "say token=word to the model"


def test_a_credential_on_the_command_line_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"metric:judge\.api_key_env=VARIABLE") as caught:
        load_specification(None, {}, ["metric:judge.api_key=abc"])
    assert "=abc" not in str(caught.value) and "\n" not in str(caught.value)
    for fine in ("metric:judge.api_key_env=NAME", "attack:x.trigger_token=zx", "kit:x.max_token=7"):
        load_specification(None, {}, [fine])
    config = tmp_path / "run.yaml"
    config.write_text("params: {'metric:judge': {api_key: abc}}")
    assert load_specification(config, {}, []).params == {"metric:judge": {"api_key": "abc"}}
