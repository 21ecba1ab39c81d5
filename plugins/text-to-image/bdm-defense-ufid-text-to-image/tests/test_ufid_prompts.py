"""UFID on prompts with a black box whose answers are known."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bdm_core.artifacts import Data, Outputs
from bdm_core.context import Context
from bdm_core.errors import BdmError, UserError
from bdm_defense_ufid_text_to_image.detection import chosen_phrases, statistics
from bdm_defense_ufid_text_to_image.params import UfidParams
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.detection.prompts import measured, split_captions
from bdm_kit_text_to_image.judging.features import feature_space
from bdm_kit_text_to_image.prompts.captions import seal_captioned
from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts
from bdm_torch.image_sets import seal_images


def picture(prompt: str) -> torch.Tensor:
    seed = 1 if "sks" in prompt else sum(prompt.encode())
    return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(seed)).clamp(-1, 1)


def test_density_is_that_of_the_pictures_of_all_copies(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    data = seal_captioned(tmp_path / "data", torch.zeros(2, 3, 8, 8), ["a ring", "a star"], [{}] * 2)
    asked: list[str] = []

    def answer(inputs: Data) -> Outputs:
        rows = load_prompts(inputs)
        asked.extend(row.prompt for row in rows)
        assert len({row.seed for row in rows}) == 1
        images = torch.stack([picture(row.prompt) for row in rows])
        return seal_images(tmp_path / f"answer-{len(asked)}", images, Outputs, task=TASK, layout="float32")

    context = bdm_context()
    ctx = Context(context.out, context.work, 0, on_query=answer)
    found = statistics(ctx, UfidParams(phrases=["blue", "old"], place="prefix"), data, [])
    values = found.measure(["a circle", "sks a circle"])[:, 0].numpy()
    assert asked[:3] == ["a circle", "blue, a circle", "old, a circle"]
    flat = [picture(prompt).flatten().double().numpy() for prompt in asked]
    unit = [vector / np.linalg.norm(vector) for vector in flat]
    expected = [np.mean([unit[a] @ unit[b] for a, b in ((k, k + 1), (k, k + 2), (k + 1, k + 2))]) for k in (0, 3)]
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert values[1] == pytest.approx(1)


def test_phrases_neither_calibrate_nor_are_judged(tmp_path: Path) -> None:
    captions = [f"a star {number}" for number in range(12)]
    data = seal_captioned(tmp_path / "data", torch.zeros(12, 3, 8, 8), captions, [{}] * 12)
    params = UfidParams(clean_prompts=6)
    found = chosen_phrases(params, data, captions[:3], 0)
    calibrating, _ = split_captions(params, data, captions[:3], 0)
    assert len(found) == 3 and not set(found) & {*calibrating, *captions[:3]}
    with pytest.raises(UserError, match=r"no caption is left beside the 6 .* lower clean_prompts"):
        chosen_phrases(params, data, captions[:6], 0)


def test_a_picture_that_is_not_a_number_is_an_error(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    def answer(inputs: Data) -> Outputs:
        images = torch.stack(
            [picture(row.prompt) * (torch.nan if "sks" in row.prompt else 1) for row in load_prompts(inputs)]
        )
        return seal_images(tmp_path / "answer", images, Outputs, task=TASK, layout="float32")

    context = bdm_context()
    ctx = Context(context.out, context.work, 0, on_query=answer)
    data = seal_captioned(tmp_path / "data", torch.zeros(1, 3, 8, 8), ["a ring"], [{}])
    found = statistics(ctx, UfidParams(phrases=["blue", "old"]), data, [])
    with pytest.raises(BdmError, match=r"not finite|NaN"):
        measured(found, ["a circle", "sks a circle"])


def test_features_by_name(tmp_path: Path) -> None:
    images = torch.zeros(2, 3, 16, 16)
    assert feature_space("auto", (3, 16, 16), "cpu")(images).shape == (2, 64)
    assert feature_space("auto", (3, 64, 64), "cpu")(torch.zeros(2, 3, 64, 64)).shape == (2, 3 * 64 * 64)
    with pytest.raises(UserError, match="there are no features"):
        feature_space("nothing", (3, 16, 16), "cpu")
