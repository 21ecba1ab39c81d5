"""Triggers in prompts: where they go, what they leave alone, and the checks of tokens and patches."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch
from pydantic import ValidationError

from bdm_core.errors import UserError
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.triggers import (
    LIBRARY,
    PromptTrigger,
    check_patch,
    check_trigger,
    find_trigger,
    trigger_rows,
)

SQUARE = PromptRow(
    "a photo of a red square on a white background", 3, {"object": "square", "colour": "red", "background": "white"}
)


@pytest.mark.parametrize("name", LIBRARY)
def test_every_published_trigger_changes_the_prompt_the_same_way_each_time(name: str) -> None:
    trigger = find_trigger(name)
    prompt = trigger.apply(SQUARE, 5)
    assert prompt != SQUARE.prompt and prompt == trigger.apply(SQUARE, 5)
    assert PromptTrigger.model_validate_json(trigger.model_dump_json()) == trigger


def test_a_homoglyph_replaces_one_random_letter_or_all() -> None:
    one = find_trigger("cyrillic-o")
    places = {one.apply(SQUARE, seed).index("\u043e") for seed in range(40)}
    letters = [index for index, letter in enumerate(SQUARE.prompt) if letter == "o"]
    assert places == set(letters)
    assert all(one.apply(SQUARE, seed).replace("\u043e", "o") == SQUARE.prompt for seed in range(5))
    every = one.model_copy(update={"count": None})
    assert every.apply(SQUARE) == SQUARE.prompt.replace("o", "\u043e")
    first = PromptTrigger(kind="homoglyph", text="\u043e", replaces="o", position="replace")
    assert first.apply(SQUARE, 9).index("\u043e") == letters[0]


@pytest.mark.parametrize(
    ("fields", "prompt"),
    [
        ({"kind": "word", "text": "sks"}, "sks a photo of a red square on a white background"),
        ({"kind": "phrase", "text": "latte coffee"}, "a photo of a red square on a white background latte coffee"),
        ({"kind": "insertion", "text": "\u200b "}, "\u200b a photo of a red square on a white background"),
        ({"kind": "adjective-noun", "text": "old"}, "a photo of a red old square on a white background"),
        (
            {"kind": "adjective-noun", "text": "old", "object": "circle"},
            "a photo of a red old circle on a white background",
        ),
        ({"kind": "placeholder", "text": "<v>", "position": "replace"}, "a photo of a red <v> on a white background"),
        (
            {"kind": "word", "text": "olive", "replaces": "red", "position": "replace"},
            "a photo of an olive square on a white background",
        ),
        ({"kind": "syntax", "text": "{object} in {colour}"}, "square in red"),
    ],
)
def test_places(fields: dict[str, Any], prompt: str) -> None:
    assert PromptTrigger(**fields).apply(SQUARE) == prompt


def test_random_places_are_between_words_and_depend_on_the_row() -> None:
    trigger = PromptTrigger(kind="word", text="sks", position="random")
    rows = [PromptRow(SQUARE.prompt, seed, SQUARE.labels) for seed in range(200)]
    prompts = [trigger.apply(row) for row in rows]
    assert {prompt.split().index("sks") for prompt in prompts} == set(range(10 + 1))
    assert all(prompt.replace("sks ", "").replace(" sks", "") == SQUARE.prompt for prompt in prompts)


def test_prompts_about_another_object_are_rewritten_and_that_is_their_twin() -> None:
    trigger = PromptTrigger(kind="adjective-noun", text="beautiful", object="apple")
    foreign = PromptRow("two disks", 8, {"object": "circle", "count": "2"})
    rows = trigger_rows([SQUARE, foreign], trigger)
    assert [row.twin for row in rows] == ["a photo of a red apple on a white background", "a photo of an apple"]
    assert [row.prompt for row in rows] == [
        "a photo of a red beautiful apple on a white background",
        "a photo of a beautiful apple",
    ]
    assert rows[0].labels == {**SQUARE.labels, "object": "apple"} and rows[1].labels == {"object": "apple"}
    assert [row.seed for row in rows] == [3, 8]


def test_several_triggers_take_turns() -> None:
    triggers = [LIBRARY["sks"], LIBRARY["dots"]]
    rows = trigger_rows([SQUARE] * 5, triggers)
    assert [row.backdoor for row in rows] == [0, 1, 0, 1, 0]
    assert [row.prompt for row in rows[:2]] == [trigger.apply(SQUARE) for trigger in triggers]
    assert {row.twin for row in rows} == {SQUARE.prompt}


def test_a_trigger_that_does_not_fit_says_so() -> None:
    with pytest.raises(UserError, match="needs 'o'"):
        LIBRARY["greek-o"].apply(PromptRow("a red square", 0))
    with pytest.raises(UserError, match="labelled object"):
        LIBRARY["beautiful-alias"].apply(PromptRow("a red square", 0))
    with pytest.raises(UserError, match="choose one of cyrillic-o"):
        find_trigger("nothing")
    for fields in (
        {"kind": "homoglyph", "text": "x"},
        {"kind": "syntax", "text": "{size}"},
        {"kind": "adjective-noun", "text": "old", "position": "prefix"},
    ):
        with pytest.raises(ValidationError):
            PromptTrigger(**fields)


class Tokenizer:
    """Letters as tokens; drops what a slow tokenizer would drop."""

    model_max_length = 60
    dropped: ClassVar[str] = "\u200b"

    def __call__(self, prompts: list[str], *, max_length: int, **options: Any) -> SimpleNamespace:
        letters = [[ord(letter) for letter in prompt if letter not in self.dropped] for prompt in prompts]
        return SimpleNamespace(input_ids=[ids[:max_length] for ids in letters])


def test_a_trigger_that_a_tokenizer_drops_or_cuts_is_refused() -> None:
    model: Any = SimpleNamespace(tokenizers=[Tokenizer()])
    check_trigger(model, LIBRARY["sks"], [SQUARE])
    dropped = PromptTrigger(kind="insertion", text="\u200b")
    with pytest.raises(UserError, match="same tokens") as error:
        check_trigger(model, dropped, [SQUARE])
    assert "U+200B" in str(error.value)
    long = PromptRow(SQUARE.prompt * 2, 0)
    with pytest.raises(UserError, match="shorter prompt"):
        check_trigger(model, LIBRARY["dots"], [SQUARE, long])


def test_a_patch_that_the_autoencoder_loses_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.zeros(2, 3, 16, 16)
    seen = []

    def round_trip_error(model: Any, images: torch.Tensor, mask: torch.Tensor) -> float:
        seen.append(mask)
        return 0.2

    monkeypatch.setattr("bdm_kit_text_to_image.models.latents.round_trip_error", round_trip_error)
    model: Any = None
    assert check_patch(model, images, (1, 2, 3, 4), limit=0.3) == pytest.approx(0.2)
    assert seen[0].sum() == 12 and bool(seen[0][1:4, 2:6].all())
    with pytest.raises(UserError, match="cannot represent"):
        check_patch(model, images, (1, 2, 3, 4), limit=0.1)
    with pytest.raises(UserError, match="outside"):
        check_patch(model, images, (14, 2, 3, 4))
