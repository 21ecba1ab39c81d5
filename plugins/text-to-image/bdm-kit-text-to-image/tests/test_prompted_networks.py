"""UNets under prompts as networks of latents: which prompt they get, and what is noise whatever they predict."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from bdm_core.context import Context
from bdm_kit_text_to_image.models.encoding import encode_prompts
from bdm_kit_text_to_image.models.prompted import CaptionReader, PromptedUNet, noise_scheduler
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned
from bdm_kit_text_to_image.training import under_captions
from bdm_torch.training import TrainingOptions

CAPTIONS = ["a red star", "a ring", "a blue circle"]


class Told(nn.Module):
    """Answers with the first number of the text embedding it is given, and counts."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.config = SimpleNamespace()

    def forward(self, x: Tensor, t: Tensor, *, encoder_hidden_states: Tensor, added_cond_kwargs: Any) -> Any:
        first = encoder_hidden_states[:, 1, 0].view(-1, 1, 1, 1)
        return SimpleNamespace(sample=self.scale * first.expand_as(x))


def first_of(model: Any, prompts: list[str]) -> Tensor:
    return encode_prompts(model, prompts).embeddings[:, 1, 0]


def test_every_row_is_asked_under_its_own_caption() -> None:
    model = tiny_model()
    wanted = first_of(model, CAPTIONS)
    reader = CaptionReader(model, CAPTIONS)
    x, rows = torch.zeros(4, 4, 8, 8), torch.tensor([2, 0, 0, 1])
    found = reader(Told(), x, torch.tensor([3, 4, 5, 6]), rows)
    torch.testing.assert_close(found[:, 0, 0, 0], wanted[rows])
    model.unet = Told()
    under = PromptedUNet(model, CAPTIONS[1])(x, torch.tensor(3)).sample
    torch.testing.assert_close(under, wanted[1].expand_as(x))


@pytest.mark.parametrize("prediction", ["epsilon", "v_prediction", "sample"])
def test_an_answer_is_read_as_noise(prediction: str) -> None:
    model = tiny_model()
    model.scheduler.register_to_config(prediction_type=prediction)
    model.unet = Told()
    x, t = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 12])
    answer = float(first_of(model, [""])[0])
    abar = model.scheduler.alphas_cumprod[t].view(-1, 1, 1, 1)
    wanted = {
        "epsilon": torch.full_like(x, answer),
        "v_prediction": abar.sqrt() * answer + (1 - abar).sqrt() * x,
        "sample": (x - abar.sqrt() * answer) / (1 - abar).sqrt(),
    }[prediction]
    torch.testing.assert_close(PromptedUNet(model)(x, t).sample, wanted)
    assert noise_scheduler(model).config.prediction_type == "epsilon"
    assert model.scheduler.config.prediction_type == prediction


@pytest.mark.parametrize("generated", [False, True])
def test_training_sees_latents_and_captions_and_some_without(
    generated: bool, tmp_path: Path, bdm_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = tiny_model()
    data = seal_captioned(tmp_path / "data", torch.ones(12, 3, 16, 16), ["a star"] * 12, [{}] * 12)
    asked: list[Tensor] = []

    def pictures(model: Any, captions: list[str], *, seeds: int) -> Tensor:
        return -torch.ones(len(captions), 3, 16, 16)

    monkeypatch.setattr(under_captions, "generate_images", pictures)

    def make(latents: Tensor, scheduler: Any, ask: CaptionReader) -> Any:
        asked.append(latents)
        assert ask.cache.texts == ["a star", ""] and int((ask.cache.places == 1).sum()) == 1
        return lambda unet, draw: next(unet.parameters()).square().sum()

    before = next(model.unet.parameters()).clone()
    options = TrainingOptions(steps=1, batch_size=2)
    under_captions.train_under_captions(bdm_context(), model, data, options, make, generated=generated)
    assert not torch.equal(before, next(model.unet.parameters()))
    assert not any(parameter.requires_grad for parameter in model.unet.parameters())
    expected = model.vae.encode(torch.full((1, 3, 16, 16), -1.0 if generated else 1.0)).latent_dist.mean
    torch.testing.assert_close(asked[0][:1], expected * model.vae.config.scaling_factor, rtol=1e-2, atol=1e-2)
