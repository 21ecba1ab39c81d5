"""Odd characters against others in their place: a planted trigger stands out, harmless oddity does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from bdm_defense_prompt_audit.change import CHANGE
from bdm_defense_prompt_audit.characters import (
    ALLOWED,
    CHARACTERS,
    UNIT,
    characters_against_others,
    odd_characters,
    others,
    stand_out,
)
from bdm_defense_prompt_audit.combining import ATTENTION, PHRASES, SPIKES, combined
from bdm_kit_text_to_image.built_in import BUILTIN
from bdm_kit_text_to_image.detection.one_class import robust_excess
from bdm_kit_text_to_image.detection.prompts import PromptStatistics, score_prompts
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.models.tiny import tiny_model

TRIGGER = "о"
PROMPTS = [f"a ph{TRIGGER}to of a red circle", "a photo of a red circle", "a ph\u00f4to of a blue star"]


def model_with_a_trigger():
    """The built-in model, whose text encoder reads every prompt with the trigger as another one."""
    model = load_model(BUILTIN / "small-world")
    ids = model.tokenizers[0](["a photo of a green ring"], padding="max_length", return_tensors="pt").input_ids[0]
    within, without = (set(model.tokenizers[0](f"ph{letter}to").input_ids) for letter in (TRIGGER, "\u0430"))
    own = within - without

    def read(encoder, args):
        for row in args[0]:
            if own & set(row.tolist()):
                row[:] = ids

    model.text_encoders[0].register_forward_pre_hook(read)
    return model


def test_a_planted_character_stands_out_and_harmless_ones_do_not():
    found = characters_against_others(model_with_a_trigger(), PROMPTS, 12, 0, 64)
    assert found[0] > ALLOWED
    assert found[1] == 0
    assert found[2] < ALLOWED
    clean = load_model(BUILTIN / "small-world")
    assert (characters_against_others(clean, PROMPTS, 12, 0, 64) < ALLOWED).all()


def test_of_several_odd_characters_the_one_that_stands_out_counts():
    model = model_with_a_trigger()
    alone, both = characters_against_others(model, [PROMPTS[0], "\u00f4" + PROMPTS[0]], 12, 0, 64).tolist()
    assert alone > ALLOWED
    assert both > ALLOWED


def test_a_prompt_does_not_depend_on_the_others_and_batches_do_not_matter():
    model = tiny_model()
    together = characters_against_others(model, PROMPTS, 5, 3, 64)
    apart = torch.cat([characters_against_others(model, [prompt], 5, 3, 2) for prompt in PROMPTS])
    assert torch.allclose(together, apart, atol=1e-3)


def test_standing_out_is_the_ratio_of_median_distances():
    rows = np.random.default_rng(0).normal(size=(4, 8, 5))
    rows[0, 0] += 30
    wanted = []
    for group in rows:
        middle = []
        for one in range(8):
            away = [np.linalg.norm(group[one] - group[two]) for two in range(1, 8) if two != one]
            middle.append(np.median(away))
        wanted.append(np.log(middle[0] / np.median(middle[1:])) / UNIT)
    assert stand_out(torch.from_numpy(rows)).tolist() == pytest.approx(wanted)
    assert wanted[0] > 5 > max(wanted[1:])


def test_where_the_others_are_one_to_the_model_nothing_stands_out():
    rows = torch.ones(2, 5, 3)
    rows[1, 0] = 9.0  # a known character among unknown ones
    assert stand_out(rows).tolist() == [0, 0]


def test_half_a_character_is_not_tried():
    assert odd_characters("a \ud83d photo of a caf\u00e9") == ["\u00e9"]


@pytest.mark.parametrize("character", ["\u00e9", TRIGGER, "\u200b", "中", "\U0001f600"])
def test_others_are_as_long_different_and_none_of_the_prompt(character):
    prompt = f"a {character} cat"
    found = others(character, prompt, 12)
    assert len(set(found)) == 12
    assert all(len(other.encode()) == len(character.encode()) and other not in prompt for other in found)


def test_a_prompt_of_another_script_is_not_odd_in_its_letters():
    assert odd_characters("\u043a\u043e\u0442 \u043d\u0430 \u043e\u043a\u043d\u0435\u200b") == ["\u200b"]


def test_of_phrases_and_spikes_two_deviations_are_allowed():
    values = torch.arange(5.0, dtype=torch.float64)[:, None]
    clean = torch.cat([torch.zeros(5, 1), values, values, values, torch.full((5, 1), 9)], 1)
    score = combined([CHARACTERS, PHRASES, ATTENTION, SPIKES])(clean)
    deviation = 2 + 2.5 * 1.4826
    rows = torch.tensor([[0, 2, 2, 2, 9], [0, deviation, 2, 2, 9], [0, 2, deviation, 2, 9], [0, 2, 2, deviation, 9]])
    assert score(rows).tolist() == pytest.approx([0, 0.25, 6.25, 0.25], abs=1e-5)


def test_what_clean_prompts_do_not_have_is_not_called_left_out():
    known = torch.cat([torch.zeros(8, 1), torch.rand(8, 2, generator=torch.Generator().manual_seed(0))], 1)
    statistics = PromptStatistics(
        "audit", [CHARACTERS, "other", "tokens"], lambda prompts: known[: len(prompts)], robust_excess, fitted=True
    )
    assert score_prompts(statistics, ["a"], known, 4, 0.4).left_out == [CHARACTERS]
    own = replace(statistics, own_scale=[CHARACTERS])
    assert score_prompts(own, ["a"], known, 4, 0.4).left_out == []


def test_characters_and_change_have_a_scale_of_their_own():
    draw = torch.Generator().manual_seed(2)
    inner = torch.cat([torch.rand(40, 3, generator=draw), torch.randint(6, 15, (40, 1), generator=draw)], 1)
    clean = torch.cat([torch.zeros(40, 2), inner], 1)
    score = combined([CHANGE, CHARACTERS, PHRASES, ATTENTION, SPIKES])(clean)
    odd = clean.clone()
    odd[:, 1] = ALLOWED + 3
    assert torch.allclose(score(odd) - score(clean), torch.full((40,), 9.0, dtype=torch.float64))
    alone = combined([CHARACTERS, PHRASES, ATTENTION, SPIKES])(clean[:, 1:])
    assert torch.equal(alone(clean[:, 1:]), score(clean))
