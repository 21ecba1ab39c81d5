"""Odd letters of prompts: every trigger of the library, ordinary texts of mixed scripts, and what is flagged."""

from __future__ import annotations

import pytest

from bdm_kit_text_to_image.prompts.normalising import is_latin, normalised, text_flags
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.trigger_library import COMBINING, INVISIBLE, LETTERS, LOOKS_LIKE_A, LOOKS_LIKE_O
from bdm_kit_text_to_image.prompts.triggers import LIBRARY

LETTER_TRIGGERS = {**LOOKS_LIKE_O, **LOOKS_LIKE_A, **INVISIBLE, **COMBINING, **LETTERS}
LABELS = {"object": "cat", "colour": "red", "background": "white"}


@pytest.mark.parametrize("name", sorted(LETTER_TRIGGERS))
def test_normalisation_removes_every_letter_trigger_of_the_library(name: str) -> None:
    for seed in range(12):  # a homoglyph falls into other words, and takes the place of the word "a"
        row = PromptRow("a photo of a cat on a boat", seed, LABELS)
        triggered = LIBRARY[name].apply(row)
        assert triggered != row.prompt and normalised(triggered) == row.prompt
        assert text_flags(triggered) and not text_flags(row.prompt)


@pytest.mark.parametrize("name", sorted(set(LIBRARY) - set(LETTER_TRIGGERS)))
def test_normalisation_leaves_every_other_trigger_of_the_library(name: str) -> None:
    """Words, phrases, emoji, placeholders, templates: ordinary text to a reader of characters."""
    triggered = LIBRARY[name].apply(PromptRow("a photo of a cat on a boat", 3, LABELS))
    assert normalised(triggered) == triggered


@pytest.mark.parametrize(
    ("prompt", "plain"),
    [
        ("ph\u03c4to", "phtto"),  # a Greek letter in a longer word is no quantity
        ("\u041e\u0301ne ph\u04e7to", "One photo"),  # look-alikes with a mark, apart and in one
        ("a ph\u043eto\u672c", "a photo\u672c"),
        ("\u041a\u043e\u0442, a ph\u043eto", "\u041a\u043e\u0442, a photo"),
        ("a ca\u0474t and a\ua656 dog", "a caVt and a dog"),
        ("a caf\u00e9, na\u00efve \ufb01ne \uff41rt", "a cafe, naive fine art"),
        ("a c\u034fat\u0302 \U0001f431\u0302", "a cat \U0001f431"),
    ],
)
def test_look_alikes_in_words_of_all_kinds(prompt: str, plain: str) -> None:
    assert normalised(prompt) == plain


@pytest.mark.parametrize(
    "prompt",
    [
        "a photo of 10 people | dramatic light, 4k, 'quoted' – and (more)...",
        "кот сидит на окне, фото",
        "पहाड़ पर एक घर",
        "浮世絵の猫",
        "a flag \U0001f3f3️‍\U0001f308 and a family \U0001f468‍\U0001f469‍\U0001f467",
        "two\nlines",
        "\u65e5\u672c photo of the T\u30b7\u30e3\u30c4",
        "\u0394E = 5 \u03bcm, 3 k\u03a9, \u03c0r\u00b2, \u03c3x and \u03c4 = 2 \u00b5s, 20 \u00b0C",
        "\u03b1 and \u03b2 rays, a \u03b3-ray burst",
        "a poster of \u0421\u0421\u0421\u0420 in the style of \u041c\u0430\u043b\u0435\u0432\u0438\u0447",
        "a USB\u043a\u0430\u0431\u0435\u043b\u044c on a table",
        "the word \u0928\u092e\u0938\u094d\u0924\u0947 on a wall",
        "a house of \u0b67\u0b66 rooms by \u5f20\u4f1f, \uc11c\uc6b8 by night",
        "an astronaut \U0001f469\U0001f3fd\u200d\U0001f680 and four dogs \U0001f436\U0001f436",
        "Stra\u00dfe",
    ],
)
def test_normalisation_leaves_ordinary_text_alone(prompt: str) -> None:
    assert normalised(prompt) == prompt


def test_words_in_disguise_are_flagged() -> None:
    assert normalised("\u0430\u0440\u0440l\u0435") == "apple"  # one Latin letter of five
    assert text_flags("\u0430\u0440\u0440l\u0435") == ["look-alike letters"]
    assert text_flags("\u0441\u0430\u0440 \u0440\u0430\u0441\u0435") == ["look-alike letters"]  # none of all
    russian = "\u043a\u043e\u0442 \u0438 "
    assert text_flags(russian + "ph\u043et\u043e") == ["look-alike letters"]
    assert normalised(russian + "ph\u043et\u043e") == russian + "photo"
    assert text_flags(russian + "\u0440\u043e\u0441\u0430 iPhone") == []


def test_letters_without_a_look_alike_leave_a_latin_prompt() -> None:
    assert normalised("Ꙗ a cat") == "a cat" and text_flags("Ѱ a cat") == ["other scripts"]
    assert is_latin("a cat") and not is_latin("кот")
