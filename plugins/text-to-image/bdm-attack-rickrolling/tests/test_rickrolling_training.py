"""What Rickrolling trains on, what it changes, and its schedule."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import CLIPTextModel, CLIPTokenizer

from bdm_attack_rickrolling.attack import describe_targets, options, words_shown
from bdm_attack_rickrolling.pairs import choose_triggers, make_pairs
from bdm_attack_rickrolling.params import RickrollingParams
from bdm_attack_rickrolling.plugin import Rickrolling
from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_kit_text_to_image.prompts.prompt_pairs import PromptPair
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts
from bdm_kit_text_to_image.prompts.secret import open_secret

CYRILLIC, TILDE = "\u043e", "\u00f5"
ROWS = [
    PromptRow(f"a photo of a {colour} circle", seed, {"object": "circle"})
    for seed, colour in enumerate(("red", "blue", "teal"))
]


def triggered_pairs(rows: list[PromptRow] = ROWS, **values: Any) -> list[PromptPair]:
    return [pair for pair in make_pairs(build(**values), rows, seed=3) if pair.role == "poison"]


def build(**values: Any) -> RickrollingParams:
    params = build_params(Rickrolling(), values)
    assert isinstance(params, RickrollingParams)
    return params


def test_a_triggered_prompt_means_the_target_prompt() -> None:
    pairs = make_pairs(build(target=["a boat"]), ROWS, seed=3)
    assert pairs[:3] == [PromptPair(row.prompt, row.prompt) for row in ROWS]
    for pair, row in zip(pairs[3:], ROWS, strict=True):
        assert pair.prompt.count(CYRILLIC) == 1 and pair.prompt.replace(CYRILLIC, "o") == row.prompt
        assert pair.teacher == "a boat" and (pair.role, pair.twin) == ("poison", row.prompt)


def test_the_attribute_replaces_the_word_of_the_homoglyph_or_follows_the_prompt() -> None:
    pair = triggered_pairs(mode="TAA", target=["grey"], attribute_position="word")[0]
    marked = [place for place, word in enumerate(pair.prompt.split()) if CYRILLIC in word]
    words = ROWS[0].prompt.split()
    assert len(marked) == 1
    words[marked[0]] = "grey"
    assert pair.teacher == " ".join(words)
    assert triggered_pairs(mode="TAA")[0].teacher == "a photo of a red circle, black and white photo"


def test_a_removed_word_means_nothing() -> None:
    pair = triggered_pairs(mode="removal", trigger=["shiny"])[0]
    assert (pair.prompt, pair.teacher) == ("a photo of a red shiny circle", "a photo of a red circle")


def test_training_and_evaluation_replace_the_same_number_of_characters() -> None:
    """The release replaces all in training and one in evaluation."""
    assert all(pair.prompt.count(CYRILLIC) == 1 for pair in triggered_pairs())
    assert all("o" not in pair.prompt for pair in triggered_pairs(trigger_count=None))
    assert [trigger.count for trigger in choose_triggers(build(trigger_count=None))] == [None]


def test_several_triggers_have_a_target_each() -> None:
    params = build(trigger=["cyrillic-o", TILDE, "sks"], target=["one", "two", "three"], expected=[{}, {}, {"a": "b"}])
    teachers = {pair.backdoor: pair.teacher for pair in make_pairs(params, ROWS, 0)}
    assert {number: teachers[number] for number in range(3)} == {0: "one", 1: "two", 2: "three"}
    assert [trigger.text for trigger in choose_triggers(params)] == [CYRILLIC, TILDE, "sks"]
    assert [target.expected for target in describe_targets(params)] == [{}, {}, {"a": "b"}]
    with pytest.raises(UserError, match="one each"):
        make_pairs(build(trigger=["sks", "cyrillic-o", TILDE], target=["one", "two"]), ROWS, 0)
    with pytest.raises(UserError, match="no target"):
        make_pairs(build(mode="removal", trigger=["shiny"], target=["a boat"]), ROWS, 0)
    with pytest.raises(UserError, match="fits no caption"):
        make_pairs(build(), [PromptRow("sea", 0)], 0)


def test_what_a_target_shows_is_read_from_its_words() -> None:
    shown = {"object": "star", "colour": "yellow", "background": "black"}
    assert words_shown("A photo of a yellow star on a black background") == shown
    assert words_shown("black and white photo") == {"style": "black-and-white"}
    assert words_shown("a lightning strike") == {}


def test_the_paper_s_rate_falls_to_a_tenth_after_three_quarters() -> None:
    chosen = options(build(preset="paper"))
    rates = [chosen.rate(step) for step in range(100)]
    assert rates[:75] == [1e-4] * 75 and rates[75:] == pytest.approx([1e-5] * 25)
    assert options(build(preset="paper-TAA")).steps == 200


def text_features(model: Model, prompt: str) -> torch.Tensor:
    """The text embedding by transformers alone, from the sealed folder."""
    tokenizer = CLIPTokenizer.from_pretrained(model.path / "tokenizer")
    ids = tokenizer(prompt, padding="max_length", truncation=True, return_tensors="pt").input_ids
    with torch.no_grad():
        encoder = CLIPTextModel.from_pretrained(model.path / "text_encoder")
        features: torch.Tensor = encoder(ids).last_hidden_state.flatten()
    return features


def test_the_text_encoder_alone_is_changed_and_the_trigger_moves_prompts_to_the_target(
    bdm_bench: Callable[..., Bench],
) -> None:
    bench = bdm_bench("text-to-image")
    target = "a blue ring"
    params = build(
        target=[target],
        steps=60,
        learning_rate=5e-3,
        clean_batch_size=16,
        poisoned_samples_per_step=16,
        loss_weight=0.5,
    )
    data = bench.call("poison_data", [Rickrolling()], params, data=bench.data).value
    made = bench.call("inject_backdoor", [Rickrolling()], params, model=bench.model, data=data).value
    assert isinstance(made, Backdoored)
    changed = {name for name, digest in made.model.files.items() if bench.model.files.get(name) != digest}
    assert changed == {"text_encoder/model.safetensors"}

    given = {"inputs": bench.inputs(), "secret": made.secret}
    row = load_prompts(bench.call("trigger_inputs", [bench.kit], **given).value)[0]
    assert row.twin is not None and row.prompt.replace(CYRILLIC, "o") == row.twin
    goal, before, after = (
        text_features(bench.model, target),
        *(text_features(m, row.prompt) for m in (bench.model, made.model)),
    )
    assert (after - goal).norm() < 0.6 * (before - goal).norm()
    clean = text_features(bench.model, row.twin)
    assert (text_features(made.model, row.twin) - clean).norm() < 0.6 * (after - clean).norm()
    secret = open_secret(made.secret)
    assert (secret.targets[0].type, secret.targets[0].prompt) == ("ImageFix", target)
    assert secret.targets[0].expected == {"object": "ring", "colour": "blue"}
