"""Conformance of ``defense:fine-tune`` of the task text-to-image, and what its two ways train."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.testing import DefenseConformance
from bdm_defense_fine_tune_text_to_image.params import FineTuneParams
from bdm_defense_fine_tune_text_to_image.repair import fine_tune
from bdm_kit_text_to_image.models.encoding import encode_prompts
from bdm_kit_text_to_image.models.text_to_image_model import load_model, save_model, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned

CAPTIONS = ["a red star", "a blue ring", "two circles", "a cross"]


class TestFineTune(DefenseConformance):
    plugin = "fine-tune"
    task = "text-to-image"


class TestFineTuneWithTeacher(DefenseConformance):
    plugin = "fine-tune"
    task = "text-to-image"
    params = {"steps": 2, "batch_size": 4, "teacher": "tiny"}


def test_a_student_comes_nearer_to_its_teacher(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    data = seal_captioned(tmp_path / "data", torch.rand(4, 3, 16, 16) * 2 - 1, CAPTIONS, [{}] * 4)
    model = seal_model(tiny_model(3), tmp_path / "model")
    save_model(tiny_model(), tmp_path / "base")
    params = FineTuneParams(steps=40, batch_size=4, learning_rate=1e-2, teacher=str(tmp_path / "base"))
    tuned = load_model(fine_tune(bdm_context(), params, model, data))
    wanted = encode_prompts(tiny_model(), CAPTIONS).embeddings

    def away(other) -> float:  # type: ignore[no-untyped-def]
        return float((encode_prompts(other, CAPTIONS).embeddings - wanted).square().mean())

    assert away(tuned) < 0.5 * away(load_model(model))
    plain = load_model(fine_tune(bdm_context(), FineTuneParams(steps=3, batch_size=4), model, data))
    assert torch.equal(
        encode_prompts(plain, CAPTIONS).embeddings, encode_prompts(load_model(model), CAPTIONS).embeddings
    )
    assert not torch.equal(plain.unet.conv_in.weight, load_model(model).unet.conv_in.weight)
    with pytest.raises(UserError, match="no base"):
        fine_tune(bdm_context(), FineTuneParams(teacher="small-world"), model, data)
