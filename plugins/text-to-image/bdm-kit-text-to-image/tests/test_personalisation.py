"""Textual inversion, DreamBooth's terms and LoRA: against plain diffusers, finite differences and W + B A."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_text_to_image.models.encoding import add_noise, encode_prompts, predict
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.training.distillation import unet_loss
from bdm_kit_text_to_image.training.personalisation import (
    TokenRow,
    add_lora,
    drop_captions,
    invert,
    lora_modules,
    lora_weights,
    preservation_terms,
    remove_lora,
)
from bdm_torch.draws import Draw
from bdm_torch.training import TrainingOptions

ContextMaker = Callable[..., Context]

PROMPTS = ["a photo of a [V] circle", "a red [V] circle on a white background"]


@pytest.fixture
def model() -> TextToImageModel:
    return tiny_model()


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def plain_pipeline(folder: Path) -> StableDiffusionPipeline:
    pipeline = StableDiffusionPipeline.from_pretrained(folder)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def learn(ctx: Context, model: TextToImageModel, steps: int = 6) -> tuple[str, Tensor]:
    options = TrainingOptions(steps=steps, batch_size=4, learning_rate=0.05)
    learnt = invert(ctx, model, noise(2, *model.latent_shape), PROMPTS, "[V] circle", "circle", options)
    return learnt.token, learnt.row


def test_learnt_token_loads_with_plain_diffusers(model: TextToImageModel, tmp_path: Path) -> None:
    learner = TokenRow(model, "[V] circle", "star")
    with torch.no_grad():
        learner.rows[0] += 0.3 * noise(16)
    seal_model(model, tmp_path / "model", embeddings={"[V] circle": learner.row})
    pipeline = plain_pipeline(tmp_path / "model")
    pipeline.load_textual_inversion(tmp_path / "model" / "embeddings" / "learned_embeds.safetensors")
    expected, _ = pipeline.encode_prompt(PROMPTS, "cpu", 1, False)
    torch.testing.assert_close(learner(PROMPTS).embeddings, expected, rtol=0, atol=1e-6)


def test_a_token_changes_no_prompt_without_it(model: TextToImageModel) -> None:
    before = {name: value.clone() for name, value in model.text_encoders[0].state_dict().items()}
    size = len(model.tokenizers[0])
    learner = TokenRow(model, "[V]", "star")
    with torch.no_grad():
        learner.rows[0] += noise(16)
    prompts = ["a photo of a circle", "a V circle"]
    assert torch.equal(learner(prompts).embeddings, encode_prompts(model, prompts).embeddings)
    assert len(model.tokenizers[0]) == size
    assert all(torch.equal(value, before[name]) for name, value in model.text_encoders[0].state_dict().items())


def test_gradient_of_the_row_is_the_numerical_one(model: TextToImageModel) -> None:
    for network in model.networks.values():
        network.double()
    learner = TokenRow(model, "[V]", "star").double()
    z, eps, t = (
        noise(2, *model.latent_shape).double(),
        noise(2, *model.latent_shape, seed=1).double(),
        torch.tensor([3, 9]),
    )
    noisy = add_noise(model.scheduler, z, eps, t).double()

    def loss() -> Tensor:
        return (predict(model.unet, noisy, t, learner(PROMPTS)) - eps).square().mean()

    loss().backward()
    gradient = learner.rows[0].grad
    assert gradient is not None
    direction, width = noise(16, seed=2).double(), 1e-5
    with torch.no_grad():
        learner.rows[0] += width * direction
        above = loss()
        learner.rows[0] -= 2 * width * direction
        below = loss()
    torch.testing.assert_close((above - below) / (2 * width), gradient @ direction, rtol=1e-5, atol=1e-10)
    assert all(parameter.grad is None for parameter in model.unet.parameters())


def test_inversion_starts_at_the_initializer_and_is_repeatable(
    model: TextToImageModel, bdm_context: ContextMaker
) -> None:
    word = model.tokenizers[0].convert_tokens_to_ids("circle</w>")
    assert torch.equal(TokenRow(model, "[V]", "circle").row, model.text_encoders[0].get_input_embeddings().weight[word])
    token, row = learn(bdm_context(seed=3), model)
    assert token == "[V] circle" and torch.equal(row, learn(bdm_context(seed=3), model)[1])
    assert not torch.equal(row, model.text_encoders[0].get_input_embeddings().weight[word])


def test_inversion_needs_a_new_token_in_every_prompt(model: TextToImageModel, bdm_context: ContextMaker) -> None:
    with pytest.raises(UserError, match="has a token"):
        TokenRow(model, "<|endoftext|>", "star")
    options = TrainingOptions(steps=1, batch_size=2)
    with pytest.raises(UserError, match="does not hold"):
        invert(bdm_context(), model, noise(2, *model.latent_shape), ["a photo"], "[V]", "star", options)


def test_lora_loads_with_plain_diffusers_and_is_w_plus_b_a(model: TextToImageModel, tmp_path: Path) -> None:
    base = {name: value.clone() for name, value in model.unet.state_dict().items()}
    inputs = noise(2, *model.latent_shape), torch.tensor([3, 9]), encode_prompts(model, PROMPTS)
    clean = predict(model.unet, *inputs)
    adapted = add_lora(model.unet, 2, seed=1)
    torch.testing.assert_close(predict(model.unet, *inputs), clean)
    trained = [parameter for parameter in model.unet.parameters() if parameter.requires_grad]
    assert len(trained) == 2 * adapted == sum(1 for part in lora_modules(model.unet) for _ in part.parameters())
    with torch.no_grad():
        for row, parameter in enumerate(trained):
            parameter += 0.2 * noise(*parameter.shape, seed=row)
    changed = predict(model.unet, *inputs).detach()
    weights = lora_weights(model.unet)
    remove_lora(model.unet)
    assert model.unet.state_dict().keys() == base.keys()
    assert all(torch.equal(value, base[name]) for name, value in model.unet.state_dict().items())
    assert not torch.allclose(changed, clean)

    seal_model(model, tmp_path / "model", lora=weights)
    pipeline = plain_pipeline(tmp_path / "model")
    pipeline.load_lora_weights(tmp_path / "model" / "lora")
    with torch.no_grad():
        torch.testing.assert_close(predict(pipeline.unet, *inputs), changed, rtol=1e-4, atol=1e-5)
        for name, down in weights.items():
            if name.endswith("lora_A.weight"):
                up = weights[name.replace("lora_A", "lora_B")]
                layer = model.unet.get_submodule(name.removeprefix("unet.").removesuffix(".lora_A.weight"))
                layer.weight += up @ down
        torch.testing.assert_close(predict(model.unet, *inputs), changed, rtol=1e-4, atol=1e-5)


def test_lora_needs_a_layer(model: TextToImageModel) -> None:
    with pytest.raises(UserError, match="no layer"):
        add_lora(model.unet, 2, seed=0, layers=["to_nothing"])


def test_prior_preservation_is_the_weighted_sum_of_two_errors(model: TextToImageModel) -> None:
    latents = noise(3, *model.latent_shape)
    mine, other = (latents, ["a star", "a ring", "a cross"]), (latents.flip(0), ["a circle"] * 3)
    parts = [unet_loss(model, preservation_terms(mine, None, 1.0), None)]
    parts.append(unet_loss(model, preservation_terms(mine, other, 2.0), None))
    draw = lambda: Draw(seed=5, step=0, batch_size=3)  # noqa: E731
    with torch.no_grad():
        first, both = (float(loss(model.unet, draw())) for loss in parts)
        step = draw()
        step.timesteps(model.timesteps), step.normal(*model.latent_shape)
        rows, t, eps = step.rows(3), step.timesteps(model.timesteps), step.normal(*model.latent_shape)
        noisy = add_noise(model.scheduler, other[0][rows], eps, t)
        second = (predict(model.unet, noisy, t, encode_prompts(model, other[1])) - eps).square().mean()
    assert both == pytest.approx(first + 2 * float(second), rel=1e-5)
    assert len(preservation_terms(mine, other, 0.0)) == 1


def test_dropped_captions() -> None:
    captions = [f"caption {row}" for row in range(400)]
    dropped = drop_captions(captions, 0.1, seed=1)
    assert 20 < dropped.count("") < 60 and all(new in ("", old) for new, old in zip(dropped, captions, strict=True))
    assert dropped == drop_captions(captions, 0.1, seed=1) != drop_captions(captions, 0.1, seed=2)
