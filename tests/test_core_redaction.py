"""Credentials reach neither the command line's record nor any file."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bdm_cli.specification import load_specification, parse_set, read_mapping
from bdm_core import Field, Metric, Params
from bdm_core.errors import UserError
from bdm_core.machine.redaction import HIDDEN, names_credential, redact, without_credentials
from bdm_core.run.specification import build_params
from bdm_results.view import RunView


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
        "bdm run --model 'https://host/x?X-Amz-Signature=SESAME&b=1'",
        "bdm run --model https://host/x?password[]=SESAME",
        "bdm run --model https://host/x#access_token=SESAME",
        """bdm run --set 'metric:judge={"api_key": "open SESAME"}'""",
        "bdm run --data ghp_SESAMEABCDEFGHIJKLMNOPQRSTUVWXYZ123456",
        "bdm run --data glpat-SESAMEABCDEFGHIJ",
        "bdm run --data AKIASESAMEABCDEF1234",
        "bdm run --data eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJTRVNBTUUifQ.SESAMEABCDEF",
        "error: Authorization: Bearer SESAME",
        "error: password = SESAME",
        "bdm run --pass SESAME --seed 0",
        "bdm run --set metric:judge.db_pass=SESAME",
        "bdm run --config 'Server=x;Pwd=SESAME;Database=y'",
        "bdm run --model https://host/x?pwd=SESAME&b=1",
        "bdm run --data hf_SESAME123",
        "bdm run --model 'https://b.host/x?AWSAccessKeyId=SESAME&Signature=SESAME&b=1'",
        "error: aws_access_key_id = SESAME",
        "error: Cookie: session=SESAME; id=SESAME",
        "error: {'Set-Cookie': 'sid=SESAME; Path=/'}",
        'error: {"Authorization": "Token SESAME"}',
        "error: proxy-authorization: Digest SESAME",
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
        "bdm run --model hf:hf-internal-testing/tiny-stable-diffusion@0123abc --task text-to-image",
        "bdm run --model ./classifiers/of-ours --data ./hf_datasets --set attack:mine.bypass=1",
        "class 3 (cookie): 12 of 40; two-pass: yes",
    ],
)
def test_everything_else_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize(
    "text",
    [
        "https:/user:SESAME@host/x",  # as a path spells it
        "https://user:SES/AME@host/x",
        "https://user:SES@AME@host/x",
        "s3://KEY:SESAME@bucket/x",
        "ftp://SESAME@host",
        "HTTPS://user:SESAME@host/x",
        "https%3A//user:SESAME@host/x",
        "//user:SESAME@host/share",
        "git+ssh://user:SESAME@host/x",
    ],
)
def test_addresses_of_all_spellings_lose_their_credentials(text: str) -> None:
    hidden = redact(f"error: {text} does not exist")
    assert not any(part in hidden for part in ("SESAME", "SES", "AME")) and "does not exist" in hidden


@pytest.mark.parametrize(
    "text", ["hf:org/name@0123abc", "https://host:8080/x@v1", "https://host/org/name@main", "12:30 me@host", "a: /b@c"]
)
def test_addresses_without_credentials_stay(text: str) -> None:
    assert redact(text) == text


def test_nested_credentials_are_not_shown_by_a_complaint() -> None:
    plugin = _Needs()
    for value in ({"password": "SESAME"}, [{"headers": {"Authorization": "Bearer SESAME"}}], "https://u:SESAME@h"):
        with pytest.raises(UserError) as caught:
            build_params(plugin, {"steps": value})
        assert "SESAME" not in str(caught.value) and "steps" in str(caught.value)


class NeedsParams(Params):
    steps: int = Field(1, description="Steps.")


class _Needs(Metric):
    name = "needs"
    summary = "Needs steps"
    tasks = frozenset({"toy-task"})
    Params = NeedsParams


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


@pytest.mark.parametrize(
    "value",
    [
        {"password": 12345678},
        {"api_keys": ["12345678", "12345678"]},
        {"clientSecret": {"value": "12345678"}},
        {"headers": ["Authorization: Bearer 12345678"]},
        {"https://user:12345678@host/": 1},
        {"private_key_pem": "12345678"},
        {"cookies": {"session": "12345678"}},
        {"pwd": 12345678},
    ],
)
def test_credentials_are_hidden_in_lists_numbers_and_names(value: dict[str, object]) -> None:
    assert "12345678" not in str(without_credentials(value))


def test_what_only_sounds_like_a_credential_stays() -> None:
    """Names of artifacts and of parameters: hiding them would make two stages one."""
    given = {"secret": ["sha256:1"], "token": ["zx", "cf"], "key": 7, 3: "c", "attack:sig": {"strength": 0.1}}
    assert without_credentials(given) == given
    assert redact("unknown key: alpha; the token: zx") == "unknown key: alpha; the token: zx"


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


def test_pipes_and_deep_values_are_refused_at_once(tmp_path: Path) -> None:
    """Each would keep a command waiting: a pipe for ever, brackets within brackets for minutes."""
    os.mkfifo(tmp_path / "pipe.yaml")
    with pytest.raises(UserError, match="is no plain file"):
        read_mapping(tmp_path / "pipe.yaml")
    (tmp_path / "deep.yaml").write_text("a: " + "[" * 50_000)
    with pytest.raises(UserError, match="nested more than 100 deep"):
        read_mapping(tmp_path / "deep.yaml")
    text = "[{" * 50_000
    assert parse_set(f"attack:villan.trigger={text}") == ("attack:villan", "trigger", text)


@pytest.mark.parametrize("name", ["run.json", "results.jsonl", "stages.json"])
def test_a_pipe_in_a_run_folder_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)
    with pytest.raises(UserError, match=f"{name} is no file"):
        RunView(tmp_path)
