"""Pipelines laid out as Stable Diffusion 1.5, 2.1 and XL: opened, trained, sampled, sealed, and read by diffusers."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor, nn

from bdm_core.artifacts import Model
from bdm_diffusers.samplers import build_scheduler
from bdm_diffusers.sampling import draw_noise
from bdm_kit_text_to_image.models.encoding import add_noise, encode_prompts, predict, token_ids, training_target
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.models.untrained import RELEASES, write_untrained
from bdm_torch.training import Draw, TrainingOptions, train

PROMPTS = ["a photo of a red circle on a white background", "a square"]
PROJECTION = "attentions.0.transformer_blocks.0.attn2.to_k"
TOKEN = "<thing>"


@dataclass
class Opened:
    """A release's model, the same after a training step, and the latter sealed with additions and opened again."""

    model: TextToImageModel
    loss: float
    trained: TextToImageModel
    sealed: Model
    reopened: TextToImageModel
    lora: dict[str, Tensor]
    row: Tensor


def lora_for(model: TextToImageModel) -> dict[str, Tensor]:
    """A LoRA of rank 2 on one cross-attention projection."""
    name = next(name for name, _ in model.unet.named_modules() if name.endswith(PROJECTION))
    generator = torch.Generator().manual_seed(3)
    outputs, inputs = model.unet.get_submodule(name).weight.shape
    return {
        f"unet.{name}.lora_A.weight": torch.randn(2, inputs, generator=generator),
        f"unet.{name}.lora_B.weight": torch.randn(outputs, 2, generator=generator),
    }


@pytest.fixture(scope="module", params=RELEASES)
def opened(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Opened:
    root = tmp_path_factory.mktemp(request.param)
    folder = write_untrained(root / "released", request.param)
    model = load_model(folder)
    trained = copy.deepcopy(model)
    trained.unet.requires_grad_(True)
    condition = encode_prompts(trained, PROMPTS)
    latents = encode_images(trained, torch.rand(2, *trained.image_shape, generator=torch.Generator().manual_seed(1)))

    def loss(unet: nn.Module, draw: Draw) -> Tensor:
        timesteps, noise = draw.timesteps(trained.timesteps), draw.normal(*trained.latent_shape)
        noisy = add_noise(trained.scheduler, latents, noise, timesteps)
        wanted = training_target(trained.scheduler, latents, noise, timesteps)
        return nn.functional.mse_loss(predict(unet, noisy, timesteps, condition), wanted)

    result = train(trained.unet, loss, TrainingOptions(steps=1, batch_size=2), seed=0)
    trained.unet.requires_grad_(False)
    width = sum(encoder.config.hidden_size for encoder in model.text_encoders)
    lora, row = lora_for(trained), torch.linspace(-1, 1, width)
    sealed = seal_model(trained, root / "sealed", lora=lora, embeddings={TOKEN: row})
    return Opened(model, result.losses[0], trained, sealed, load_model(sealed), lora, row)


def reference_images(pipeline: Any, model: TextToImageModel, guidance: float, prompts: list[str] = PROMPTS) -> Tensor:
    """What diffusers' own pipeline makes of the same noise in two steps."""
    pipeline.scheduler = build_scheduler("ddim", model.scheduler)
    pipeline.set_progress_bar_config(disable=True)
    noise = torch.cat([draw_noise(1, model.latent_shape, seed) for seed in range(5, 5 + len(prompts))])
    images: Tensor = pipeline(
        prompts,
        latents=noise,
        num_inference_steps=2,
        guidance_scale=guidance,
        output_type="pt",
        height=model.image_shape[1],
        width=model.image_shape[2],
    ).images
    return images * 2 - 1


def from_pretrained(folder: Path) -> Any:
    return diffusers.DiffusionPipeline.from_pretrained(folder, local_files_only=True)


def test_facts(opened: Opened) -> None:
    model = opened.model
    assert (model.image_shape, model.latent_shape, model.max_length, model.timesteps) == (
        (3, 64, 64),
        (4, 8, 8),
        77,
        1000,
    )
    assert len(model.text_encoders) == 1 + model.is_xl
    assert not any(parameter.requires_grad for network in model.networks.values() for parameter in network.parameters())


def test_training_step_changes_the_unet_only(opened: Opened) -> None:
    assert 0.1 < opened.loss < 10
    before, after = opened.model.networks, opened.trained.networks
    for name in before:
        pairs = zip(before[name].parameters(), after[name].parameters(), strict=True)
        assert any(not torch.equal(a, b) for a, b in pairs) == (name == "unet")


def test_embeddings_are_the_pipelines_own(opened: Opened) -> None:
    ours = encode_prompts(opened.model, [*PROMPTS, PROMPTS[0]])
    pipeline = opened.model.to_pipeline()
    with torch.no_grad():
        theirs = pipeline.encode_prompt(
            PROMPTS, device="cpu", num_images_per_prompt=1, do_classifier_free_guidance=False
        )
    assert torch.allclose(ours.embeddings[:2], theirs[0], atol=1e-5)
    assert torch.equal(ours.embeddings[2], ours.embeddings[0])
    if opened.model.is_xl:
        assert ours.pooled is not None and torch.allclose(ours.pooled[:2], theirs[2], atol=1e-5)


def test_images_are_the_pipelines_own(opened: Opened) -> None:
    ours = generate_images(opened.model, PROMPTS, seeds=[5, 6], sampling=Sampling(2, guidance=4.0))
    theirs = reference_images(opened.model.to_pipeline(), opened.model, 4.0)
    assert ours.shape == (2, *opened.model.image_shape)
    assert torch.allclose(ours, theirs, atol=2e-3)


def test_sealed_folder_is_read_by_diffusers(opened: Opened) -> None:
    pipeline = from_pretrained(opened.sealed.path)
    for name, network in opened.trained.networks.items():
        theirs = getattr(pipeline, name).state_dict()
        assert all(torch.equal(theirs[key], value) for key, value in network.state_dict().items()), name
    assert pipeline.tokenizer(PROMPTS).input_ids == opened.model.tokenizers[0](PROMPTS).input_ids
    assert pipeline.scheduler.config.prediction_type == opened.model.scheduler.config.prediction_type


def test_additions_are_applied_as_diffusers_does(opened: Opened) -> None:
    folder, again = opened.sealed.path, opened.reopened
    pipeline = from_pretrained(folder)
    pipeline.load_lora_weights(folder / "lora")
    pipeline.load_textual_inversion(folder / "embeddings", weight_name="learned_embeds.safetensors")
    if again.is_xl:
        pipeline.load_textual_inversion(
            folder / "embeddings",
            weight_name="learned_embeds_2.safetensors",
            tokenizer=pipeline.tokenizer_2,
            text_encoder=pipeline.text_encoder_2,
        )
    prompt = [f"a photo of a {TOKEN} circle"]
    ours = generate_images(again, prompt, seeds=5, sampling=Sampling(2, guidance=4.0))
    assert torch.allclose(ours, reference_images(pipeline, again, 4.0, prompt), atol=2e-3)


def test_lora_is_merged_exactly(opened: Opened) -> None:
    again = opened.reopened
    down, up = opened.lora.values()
    changed = {
        name: again.unet.get_parameter(name) - value
        for name, value in opened.trained.unet.named_parameters()
        if not torch.equal(again.unet.get_parameter(name), value)
    }
    (name,) = changed
    assert f"unet.{name.removesuffix('.weight')}.lora_A.weight" in opened.lora
    assert torch.allclose(changed[name], up @ down, atol=1e-5)


def test_embedding_is_one_new_token(opened: Opened) -> None:
    again = opened.reopened
    rows = opened.row.split([encoder.config.hidden_size for encoder in again.text_encoders])
    for number, (encoder, row) in enumerate(zip(again.text_encoders, rows, strict=True)):
        ids = token_ids(again, [f"a {TOKEN}"], number)[0]
        known = opened.trained.text_encoders[number].get_input_embeddings().weight
        table = encoder.get_input_embeddings().weight
        assert ids[2] == len(known) and torch.equal(table[ids[2]], row) and torch.equal(table[:-1], known)
    assert opened.trained.tokenizers[0].tokenize(TOKEN) != [TOKEN]


def test_sealing_again_gives_one_plain_pipeline(opened: Opened, tmp_path: Path) -> None:
    again = opened.reopened
    plain = seal_model(again, tmp_path / "plain")
    assert not any(name.startswith(("lora", "embeddings")) for name in plain.files)
    known = load_model(plain)
    assert torch.equal(token_ids(known, [f"a {TOKEN}"]), token_ids(again, [f"a {TOKEN}"]))
    for name, network in again.networks.items():
        theirs = known.networks[name].state_dict()
        assert all(torch.equal(theirs[key], value) for key, value in network.state_dict().items()), name
    assert seal_model(known, tmp_path / "again").digest == plain.digest
