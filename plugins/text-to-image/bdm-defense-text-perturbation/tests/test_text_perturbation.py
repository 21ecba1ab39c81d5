"""Perturbed prompts: characters, synonyms, translators of all kinds, and as a plugin."""

from __future__ import annotations

import json
import random
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import BartConfig, BartForConditionalGeneration, PreTrainedTokenizerFast

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.testing import DefenseConformance
from bdm_defense_text_perturbation import translation
from bdm_defense_text_perturbation.params import TextPerturbationParams
from bdm_defense_text_perturbation.perturbation import perturb
from bdm_defense_text_perturbation.plugin import TextPerturbation
from bdm_defense_text_perturbation.translation import local_model, translator
from bdm_kit_text_to_image.prompts.characters import delete_characters, mistype, neighbours
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts, seal_prompts
from bdm_kit_text_to_image.prompts.synonyms import mutual, read_synonyms, swap_words
from bdm_kit_text_to_image.prompts.triggers import LIBRARY
from bdm_language_model.testing import Response, ScriptedEndpoint

UPPER = f'{sys.executable} -c "import sys; print(sys.stdin.read().upper())"'
LOWER = f'{sys.executable} -c "import sys; print(sys.stdin.read().lower())"'


class TestTextPerturbation(DefenseConformance):
    plugin = "text-perturbation"
    params = {"steps": ["normalise", "synonyms", "delete", "keyboard"], "synonyms": "small-world"}

    def swapped(self, before: object, after: object) -> None:
        return None  # words of a prompt change, the tests below see to the order


def test_prompts_are_changed_one_by_one(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    rows = [PromptRow("a photo of a large circle", seed) for seed in range(3)] + [PromptRow("\u200b", 9)]
    triggered = [PromptRow(LIBRARY["cyrillic-o"].apply(row), row.seed, {"object": "circle"}) for row in rows[:3]]
    inputs = seal_prompts(tmp_path / "inputs", [*triggered, rows[3]])
    found = perturb(bdm_context(seed=2), TextPerturbationParams(), inputs)
    assert [row.prompt for row in load_prompts(found.inputs)] == ["a photo of a large circle"] * 3 + ["\u200b"]
    assert found.rejected == [False] * 4 and load_prompts(found.inputs)[0].labels == {"object": "circle"}
    params = TextPerturbationParams(steps=["delete"], share=1.0)
    one = perturb(bdm_context(seed=2), params, seal_prompts(tmp_path / "one", rows[:1]))
    assert load_prompts(one.inputs)[0].prompt == delete_characters(
        rows[0].prompt, 1.0, random.Random(f"2 0 delete {rows[0].prompt}")
    )


def test_each_step_draws_words_of_its_own(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    rows = [PromptRow(f"number {seed} circle yellow square purple", seed) for seed in range(20)]
    inputs = seal_prompts(tmp_path / "inputs", rows)
    params = TextPerturbationParams(steps=["keyboard", "delete"], share=0.2)
    found = load_prompts(perturb(bdm_context(seed=1), params, inputs).inputs)
    changed = [
        sum(a != b for a, b in zip(old.prompt.split(), new.prompt.split(), strict=True))
        for old, new in zip(rows, found, strict=True)
    ]
    assert set(changed) == {1, 2} and changed.count(2) > changed.count(1)


def test_errors_of_typing() -> None:
    draw = random.Random(0)
    for _ in range(50):
        shorter = delete_characters("a yellow circle", 0.5, draw).split(" ")
        assert sorted(len(word) for word in shorter) in ([1, 5, 6], [1, 6, 5])
        other = mistype("a Yellow circle", 1.0, draw)
        pairs = [(a, b) for a, b in zip("a Yellow circle", other, strict=True) if a != b]
        assert len(pairs) == 2 and all(b in neighbours(a) for a, b in pairs)
    assert all(letter in neighbours(other) for letter in "abcdefghijklmnopqrstuvwxyz" for other in neighbours(letter))


def test_synonyms_by_table_and_by_wordnet(tmp_path: Path) -> None:
    path = tmp_path / "table.txt"
    path.write_text("circle: disc, round\n\nlarge: big\n")
    assert read_synonyms(str(path))("disc") == ["circle", "round"]
    assert swap_words("Large cats", 1.0, random.Random(0), read_synonyms(str(path))) == "Big cats"
    assert read_synonyms("small-world")("ring") == ["hoop"] and mutual([])("x") == []
    path.write_text("no colon\n")
    with pytest.raises(UserError, match="line 1"):
        read_synonyms(str(path))
    folder = tmp_path / "wordnet"
    folder.mkdir()
    for part in ("noun", "verb", "adj", "adv"):
        licence = "  1 a licence\n"
        data = "" if part != "noun" else "00000014 06 n 03 car 0 auto 0 motor_car 0 000 | a vehicle\n"
        index = "" if part != "noun" else "car n 2 1 @ 2 1 00000014 00000099\n"
        (folder / f"data.{part}").write_text(licence + data)
        (folder / f"index.{part}").write_text(licence + index)
    assert (folder / "data.noun").read_bytes().find(b"00000014") == 14
    assert read_synonyms(str(folder))("car") == ["auto", "motor car"]
    (folder / "data.adv").unlink()
    with pytest.raises(UserError, match="holds no WordNet"):
        read_synonyms(str(folder))
    with pytest.raises(UserError, match="no synonyms are at"):
        read_synonyms(str(tmp_path / "nowhere"))


def test_programs_translate(tmp_path: Path) -> None:
    texts = ["a Red star", "b"]
    assert translator(LOWER, 20)(translator(UPPER, 20)(texts)) == ["a red star", "b"]
    with pytest.raises(UserError, match="failed"):
        translator(f'{sys.executable} -c "raise SystemExit(3)"', 20)(["a star"])
    with pytest.raises(UserError, match="finds no translator"):
        translator("no-such-program-here", 20)
    (tmp_path / "model").mkdir()
    with pytest.raises(UserError, match="no translation model"):
        local_model(tmp_path / "model")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("pass", "wrote nothing for the prompt 'a star'"),
        ("import sys; sys.stdout.buffer.write(bytes([255, 254]))", "writes no UTF-8"),
        ("import sys; [sys.stdout.write('y' * 65536) for _ in range(10**6)]", "wrote more than 1 MiB"),
        ("import sys; sys.stderr.write('x' * 500); raise SystemExit(3)", "failed: x{200}$"),
    ],
)
def test_programs_that_do_not_translate_are_said_in_one_line(code: str, words: str) -> None:
    with pytest.raises(UserError, match=words) as caught:
        translator(f'{sys.executable} -c "{code}"', 20)(["a star"])
    assert "\n" not in str(caught.value)


def test_a_program_that_never_ends_is_ended_with_what_it_started(tmp_path: Path) -> None:
    note = tmp_path / "child"
    script = tmp_path / "slow.sh"
    script.write_text(f"sleep 300 & echo $! > {note}; wait")
    with pytest.raises(UserError, match=r"took longer than 0.5 s for a prompt: end it, or raise timeout"):
        translator(f"sh {script}", 0.5)(["a star"])
    child = Path(f"/proc/{note.read_text().strip()}/stat")
    assert not child.exists() or child.read_text().split()[2] == "Z"


def test_texts_without_a_word_may_stay_empty() -> None:
    assert translator(f'{sys.executable} -c "pass"', 20)(["\u200b"]) == [""]


def test_what_is_not_there_is_refused_before_a_run(tmp_path: Path) -> None:
    plugin, programs = TextPerturbation(), ["no-such-program-here", LOWER]
    plugin.check(
        TextPerturbationParams(synonyms=str(tmp_path / "nowhere"), translators=programs), 0
    )  # no step has them
    with pytest.raises(UserError, match="no synonyms are at"):
        plugin.check(TextPerturbationParams(steps=["synonyms"], synonyms=str(tmp_path / "nowhere")), 0)
    with pytest.raises(UserError, match="finds no translator"):
        plugin.check(TextPerturbationParams(steps=["translate"], translators=programs), 0)
    with pytest.raises(UserError, match=r"cannot read the translator .*no closing quotation"):
        plugin.check(TextPerturbationParams(steps=["translate"], translators=[LOWER, 'sh -c "x']), 0)
    with pytest.raises(UserError, match=r"text-perturbation\.model"):
        plugin.check(TextPerturbationParams(steps=["translate"], translators=["model Spanish", LOWER]), 0)


def test_damaged_synonyms_are_one_line(tmp_path: Path) -> None:
    table = tmp_path / "table.txt"
    table.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match=r"table\.txt are no UTF-8 text"):
        read_synonyms(str(table))
    for part in ("noun", "verb", "adj", "adv"):
        (tmp_path / f"index.{part}").write_text("cat n 1 0 1 x\n" if part == "noun" else "")
        (tmp_path / f"data.{part}").write_text("")
    with pytest.raises(UserError, match=r"line 1 of .*index\.noun"):
        read_synonyms(str(tmp_path))
    (tmp_path / "index.noun").write_text("cat n 1 0 1 0 00000000\n")
    with pytest.raises(UserError, match="no synonyms of 'cat'"):
        read_synonyms(str(tmp_path))("cat")


def test_a_model_in_a_folder_translates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A small network with random weights, against greedy decoding by hand."""
    words = ["<pad>", "<s>", "</s>", "<unk>", "a", "red", "star", "una", "estrella", "roja"]
    given = Tokenizer(WordLevel({word: number for number, word in enumerate(words)}, "<unk>"))
    given.pre_tokenizer = Whitespace()
    special = {"pad_token": "<pad>", "bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=given, **special)
    sizes = {"d_model": 8, "encoder_layers": 1, "decoder_layers": 1, "encoder_ffn_dim": 16, "decoder_ffn_dim": 16}
    heads = {"encoder_attention_heads": 2, "decoder_attention_heads": 2, "max_position_embeddings": 32}
    ids = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 2}
    torch.manual_seed(22)
    config = BartConfig(vocab_size=len(words), init_std=1.0, forced_eos_token_id=None, **sizes, **heads, **ids)
    network = BartForConditionalGeneration(config).eval()
    network.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(translation, "MOST_TOKENS", 6)
    expected = []
    for text in ("a red star", "a star"):
        read, made = torch.tensor([[words.index(word) for word in text.split()]]), [2]
        while len(made) < 7 and (len(made) == 1 or made[-1] != 2):
            with torch.no_grad():
                found = network(input_ids=read, decoder_input_ids=torch.tensor([made])).logits
            made.append(int(found[0, -1].argmax()))
        expected.append(" ".join(words[number] for number in made if number > 3))
    assert expected[0] != expected[1] and translator(str(tmp_path), 1)(["a red star", "a star"]) == expected


def asking(endpoint: ScriptedEndpoint, folder: Path, **more: Any) -> TextPerturbationParams:
    options = {"translators": ["model Spanish", "model English"], "model": "m", "base_url": endpoint.url, "backoff": 0}
    return TextPerturbationParams(
        **{"steps": ["translate"], **options, "attempts": 2, "api_key_env": "MY_KEY", "cache": str(folder), **more}
    )


def translating(body: dict[str, Any], number: int) -> Response:
    """Spanish is the text backwards; English is it, too; what it takes for no prompt it refuses."""
    text = json.loads(body["messages"][1]["content"][0]["text"].removeprefix("Text: "))
    if "refuse" in text:
        return Response(refusal="not with me")
    return Response(json.dumps({"text": f"{text[::-1]}"}))


def test_a_language_model_translates_there_and_back(
    tmp_path: Path, bdm_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret-1")
    rows = [PromptRow(text, seed) for seed, text in enumerate(("a red star", "refuse", "a red star"))]
    inputs = seal_prompts(tmp_path / "inputs", rows)
    kept: dict[str, Any] = {}
    with ScriptedEndpoint(translating) as endpoint:
        params = asking(endpoint, tmp_path / "answers", steps=["translate", "normalise"])
        found = perturb(bdm_context(on_figures=kept.update), params, inputs)
        assert len(endpoint.bodies) == 4 and set(endpoint.keys) == {"Bearer secret-1"}  # equal prompts are asked once
        tasks = {str(body["messages"][0]["content"]).partition("\n")[0] for body in endpoint.bodies}
        assert {language for language in ("Spanish", "English") if any(language in task for task in tasks)} == {
            "Spanish",
            "English",
        }
        again = perturb(bdm_context(), params, inputs)
        assert len(endpoint.bodies) == 6  # refusals are asked again, answers come from the cache
    assert [row.prompt for row in load_prompts(found.inputs)] == ["a red star", "refuse", "a red star"]
    assert load_prompts(again.inputs) == load_prompts(found.inputs) and found.rejected == [False] * 3
    assert kept["not_translated"] == 2 and kept["model"]["requests"] == 4
    assert not any("secret-1" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("response", "words"), [(Response("no", status=401), "401|key"), (Response("late", status=500), "2 times in a row")]
)
def test_an_endpoint_that_fails_stops_in_one_line(
    tmp_path: Path, bdm_context: Callable[..., Context], response: Response, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", "secret-1")
    inputs = seal_prompts(tmp_path / "inputs", [PromptRow("a red star", 0)])
    with ScriptedEndpoint(lambda body, number: response) as endpoint, pytest.raises(UserError, match=words) as caught:
        perturb(bdm_context(), asking(endpoint, tmp_path / "answers"), inputs)
    assert "secret-1" not in str(caught.value) and "\n" not in str(caught.value)


def test_a_language_model_needs_a_name(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    inputs = seal_prompts(tmp_path / "inputs", [PromptRow("a red star", 0)])
    params = TextPerturbationParams(
        steps=["translate"], translators=["model Spanish", LOWER], cache=str(tmp_path / "answers")
    )
    with pytest.raises(UserError, match=r"text-perturbation\.model"):
        perturb(bdm_context(), params, inputs)
