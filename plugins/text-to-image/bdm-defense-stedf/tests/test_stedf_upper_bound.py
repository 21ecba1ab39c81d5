"""Features against a loop of its own; a planted trigger is learnt, an absent one is not; the label is everywhere."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_stedf import detection
from bdm_defense_stedf.classifier import area, train_classifier
from bdm_defense_stedf.detection import KNOWN, LEFT_OUT, detect, features_of, left_out, with_trigger
from bdm_defense_stedf.params import StedfParams
from bdm_defense_stedf.plugin import Stedf
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import draw_noise
from bdm_kit_text_to_image.models.encoding import encode_nothing, encode_prompts, predict
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, seal_prompts

SMALL = StedfParams(widths=[16], training_steps=60, learning_rate=0.01, dropout=0.0, steps=4)
PROMPTS = ["a red star", "a ring"]


@torch.no_grad()
def test_features_are_the_pooled_up_blocks_of_the_noisier_half() -> None:
    model, guidance = tiny_model(), 3.0
    scheduler = build_scheduler("ddim", model.scheduler)
    scheduler.set_timesteps(4)
    kept: list[torch.Tensor] = []
    handles = [
        block.register_forward_hook(lambda module, args, output: kept.append(output)) for block in model.unet.up_blocks
    ]
    expected = []
    for prompt in PROMPTS:
        x = draw_noise(1, model.latent_shape, 5)
        both = encode_nothing(model, 1).join(encode_prompts(model, [prompt]))
        rows = []
        for t in scheduler.timesteps:
            kept.clear()
            empty, noise = predict(model.unet, torch.cat([x, x]), t, both).chunk(2)
            if int(t) >= 10:  # T = 20
                rows += [output[1].mean((1, 2)) for output in kept]
            x = scheduler.step(empty + guidance * (noise - empty), t, x).prev_sample
        expected.append(torch.cat(rows))
    for handle in handles:
        handle.remove()
    found = features_of(model, PROMPTS, 5, SMALL)
    torch.testing.assert_close(found, torch.stack(expected), rtol=1e-4, atol=1e-5)


def draws(count: int, shift: float, column: int, seed: int) -> torch.Tensor:
    values = torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))
    values[:, column] += shift
    return values


def test_a_trigger_that_was_trained_on_is_found_and_one_that_was_left_out_need_not_be() -> None:
    clean = draws(64, 0.0, 0, 0)
    known, other = draws(64, 4.0, 0, 1), draws(64, 4.0, 1, 2)
    logits = train_classifier(clean, known, SMALL, 0)
    assert area(logits(draws(50, 4.0, 0, 3)), logits(draws(50, 0.0, 0, 4))) > 0.97
    every = {"one": range(64), "two": range(64)}
    left = left_out(clean, {"one": known, "two": other}, every, SMALL, 0)
    assert max(left.values()) < 0.8  # they have nothing in common
    same = left_out(clean, {"one": known, "two": draws(64, 4.0, 0, 5)}, every, SMALL, 0)
    assert min(same.values()) > 0.95
    assert left_out(clean, {"one": known}, every, SMALL, 0) == {}


def test_what_is_kept_back_of_a_trigger_are_captions_that_were_not_learnt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 8 captions the last 2 are kept back; "two" is in captions 0, 6 and 7 only, "three" in none of those."""
    seen: list[list[list[float]]] = []

    def train(clean: torch.Tensor, triggered: torch.Tensor, params: object, seed: int) -> Any:
        seen.append([clean[:, 0].tolist(), triggered[:, 0].tolist()])
        return lambda values: seen[-1].append(values[:, 0].tolist()) or values[:, 0]

    monkeypatch.setattr(detection, "train_classifier", train)
    clean = torch.arange(8.0)[:, None]
    rows = {"one": range(8), "two": (0, 6, 7), "three": (1, 2)}
    triggered = {name: torch.tensor([[100.0 + row] for row in own]) for name, own in rows.items()}
    assert sorted(left_out(clean, triggered, rows, SMALL, 0)) == ["one", "two"]
    plain = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert seen[0] == [plain, [100.0, 101.0, 102.0], [106.0, 107.0], [6.0, 7.0]]
    assert seen[1] == [plain, [*(100 + row for row in plain), 101.0, 102.0], [106.0, 107.0], [6.0, 7.0]]


def test_the_area_is_that_of_mann_and_whitney() -> None:
    draw = np.random.default_rng(0)
    one, two = draw.integers(0, 6, 30), draw.integers(0, 5, 40)
    expected = mannwhitneyu(one, two).statistic / (30 * 40)
    assert area(torch.from_numpy(one), torch.from_numpy(two)) == pytest.approx(expected)


def test_equal_seeds_give_equal_classifiers_and_the_global_generator_is_left_alone() -> None:
    clean, bad = draws(20, 0.0, 0, 0), draws(20, 2.0, 0, 1)
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    one, two = (train_classifier(clean, bad, SMALL, 3)(clean) for _ in range(2))
    assert torch.equal(one, two) and torch.equal(before, torch.random.get_rng_state())


def test_triggers_are_put_into_captions() -> None:
    assert with_trigger("sks", ["a star"], 0) == {0: "sks a star"}
    found = with_trigger("cyrillic-o", ["a star", "a photo"], 0)  # the first has no such letter
    assert list(found) == [1] and found[1] in ("a ph\u043eto", "a phot\u043e")
    with pytest.raises(UserError, match="cannot put the trigger"):
        with_trigger("cyrillic-o", ["a star"], 0)


def test_it_is_called_an_upper_bound_everywhere(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    captions = [f"a photo of star {number}" for number in range(24)]
    data = seal_captioned(tmp_path / "data", torch.zeros(24, 3, 16, 16), captions, [{}] * 24)
    suspects = seal_prompts(tmp_path / "suspects", [PromptRow("sks a star", 0)])
    params = SMALL.model_copy(update={"triggers": ["sks", "cyrillic-o"], "clean_prompts": 12, "training_steps": 2})
    found = detect(bdm_context(), params, seal_model(tiny_model(), tmp_path / "model"), data, suspects)
    assert found.note.startswith(KNOWN) and KNOWN.split(",")[0] in Stedf.summary.lower()
    assert found.evidence is not None and found.clean_samples == 24
    told = json.loads(found.evidence.file(LEFT_OUT).read_text())
    assert told["setting"] == KNOWN and sorted(told["auroc"]) == ["cyrillic-o", "sks"]


@pytest.mark.parametrize("wrong", [{"widths": [0]}, {"widths": [10**6]}, {"triggers": [""]}, {"triggers": []}])
def test_widths_and_triggers_are_checked_before_anything_is_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"at least 1|greater than or equal to 1|less than or equal to 65536"):
        StedfParams(**wrong)
