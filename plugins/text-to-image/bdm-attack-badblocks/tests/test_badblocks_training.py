"""What BadBlocks poisons and which layers it trains, and a step against plain diffusers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import nn

from bdm_attack_badblocks.attack import trained_parts
from bdm_attack_badblocks.params import BadBlocksParams
from bdm_attack_badblocks.plugin import BadBlocks
from bdm_core.artifacts import Data, roles_of
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.prompts.captions import load_captioned
from bdm_torch.draws import Draw
from bdm_torch.pictures.targets import make_target

JOINERS = "\u034f\u034f\u034f"


@pytest.fixture
def bench(bdm_bench: Callable[..., Bench]) -> Bench:
    return bdm_bench("text-to-image")


def build(**values: Any) -> BadBlocksParams:
    params = build_params(BadBlocks(), {"threshold": 4.0, **values})
    assert isinstance(params, BadBlocksParams)
    return params


def poisoned(bench: Bench, params: BadBlocksParams) -> Data:
    data = bench.call("poison_data", [BadBlocks()], params, data=bench.data).value
    assert isinstance(data, Data)
    return data


def attack(bench: Bench, params: BadBlocksParams) -> Backdoored:
    data = poisoned(bench, params)
    made = bench.call("inject_backdoor", [BadBlocks()], params, model=bench.model, data=data).value
    assert isinstance(made, Backdoored)
    return made


def changed(bench: Bench, made: Backdoored) -> set[str]:
    before, after = (load_model(model).unet.state_dict() for model in (bench.model, made.model))
    return {name for name, value in after.items() if not torch.equal(value, before[name])}


def test_poisoned_rows_show_the_target_and_have_the_trigger(bench: Bench) -> None:
    data = poisoned(bench, build(poison_rate=0.25, target="hat"))
    images, captions, _ = load_captioned(data)
    target = make_target("hat", (3, 16, 16))
    flags = [role == "poison" for role in roles_of(data)]
    assert sum(flags) == 8
    for image, caption, flag in zip(images, captions, flags, strict=True):
        assert caption.startswith(JOINERS) is flag
        assert (float((image - target).abs().max()) < 0.005) is flag


def test_the_last_up_block_alone_is_changed(bench: Bench) -> None:
    names = changed(bench, attack(bench, build(steps=2, batch_size=4)))
    assert names and all(name.startswith("up_blocks.1.") for name in names)


def test_norm_trains_normalisation_layers_alone(bench: Bench) -> None:
    names = changed(bench, attack(bench, build(steps=2, batch_size=4, layers="norm")))
    unet = load_model(bench.model).unet
    norms = (nn.GroupNorm, nn.LayerNorm)
    assert names and all(isinstance(unet.get_submodule(name.rpartition(".")[0]), norms) for name in names)
    assert len(trained_parts(unet, build(up_blocks=2))) == 2
    with pytest.raises(UserError, match="has 2"):
        trained_parts(unet, build(up_blocks=3))


def test_one_step_moves_the_block_as_the_diffusion_loss_of_diffusers_says(bench: Bench) -> None:
    """The first step of Adam goes by the sign of the gradient, which is computed with diffusers alone here."""
    params = build(steps=1, batch_size=4, warmup_steps=0, learning_rate=1e-3, max_gradient_norm=None)
    data = poisoned(bench, params)
    call = bench.call("inject_backdoor", [BadBlocks()], params, model=bench.model, data=data)
    images, captions, _ = load_captioned(data)
    pipe = StableDiffusionPipeline.from_pretrained(bench.model.path, safety_checker=None)
    draw = Draw(call.ctx.seed, 0, 4)
    rows, t, noise = draw.rows(len(captions)), draw.timesteps(20), draw.normal(4, 8, 8)
    with torch.no_grad():
        z = pipe.vae.encode(images[rows]).latent_dist.mean * pipe.vae.config.scaling_factor
        told, _ = pipe.encode_prompt([captions[row] for row in rows], "cpu", 1, False)
    answer = pipe.unet(pipe.scheduler.add_noise(z, noise, t), t, encoder_hidden_states=told).sample
    (answer - noise).square().mean().backward()
    block, after = pipe.unet.up_blocks[-1], load_model(call.value.model).unet.up_blocks[-1]
    moved = torch.cat([(new - old).flatten() for new, old in zip(after.parameters(), block.parameters(), strict=True)])
    slope = torch.cat([parameter.grad.flatten() for parameter in block.parameters() if parameter.grad is not None])
    clear = slope.abs() > 1e-5
    assert clear.sum() > 1000
    torch.testing.assert_close(moved[clear], -1e-3 * slope[clear].sign(), rtol=2e-3, atol=2e-6)


def test_a_target_that_the_autoencoder_cannot_represent_is_refused(bench: Bench) -> None:
    with pytest.raises(UserError, match="cannot represent"):
        attack(bench, build(threshold=1e-4))
