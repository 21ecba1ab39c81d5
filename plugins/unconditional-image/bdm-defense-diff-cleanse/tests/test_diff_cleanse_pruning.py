"""Importance against finite differences, removal against a channel that is cut by hand, rules, distillation."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers.models.resnet import ResnetBlock2D
from torch import Tensor, nn

from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_diff_cleanse.params import DiffCleanseParams
from bdm_defense_diff_cleanse.pruning import Block, choose, importance, importances, prunable, remove_channels
from bdm_defense_diff_cleanse.repair import distilled_loss, repair
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.data.opening import open_reference as open_data
from bdm_kit_diffusion.inversion.evidence import seal_trigger
from bdm_kit_diffusion.models.diffusion_model import load_model
from bdm_kit_diffusion.models.diffusion_model import open_reference as open_model
from bdm_kit_diffusion.noise.denoising import denoising_loss
from bdm_torch.draws import Draw


def small_block(seed: int = 0) -> ResnetBlock2D:
    torch.manual_seed(seed)
    return ResnetBlock2D(in_channels=2, out_channels=4, temb_channels=3, groups=2).double()


def block_input() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(2, 2, 4, 4, generator=generator, dtype=torch.float64),
        torch.randn(2, 3, generator=generator, dtype=torch.float64),
    )


def test_importance_is_that_of_finite_differences() -> None:
    block = small_block()
    value = lambda: block(*block_input()).square().mean()  # noqa: E731
    value().backward()
    found = importance(Block("b", block))
    expected = torch.zeros(4, dtype=torch.float64)
    width = 1e-6
    weights = [
        (block.conv1.weight, 0),
        (block.conv1.bias, 0),
        (block.time_emb_proj.weight, 0),
        (block.time_emb_proj.bias, 0),
        (block.norm2.weight, 0),
        (block.norm2.bias, 0),
        (block.conv2.weight, 1),
    ]
    for weight, dimension in weights:
        for index in product(*(range(size) for size in weight.shape)):
            expected[index[dimension]] += abs(float(weight[index]) * slope(value, weight.data, index, width))
    torch.testing.assert_close(found, expected / expected.mean(), rtol=1e-4, atol=1e-6)


def slope(value: Callable[[], Tensor], weight: Tensor, index: tuple[int, ...], width: float) -> float:
    """Central difference of ``value`` by one weight."""
    old, found = float(weight[index]), []
    for step in (width, -width):
        weight[index] = old + step
        found.append(float(value()))
    weight[index] = old
    return (found[0] - found[1]) / (2 * width)


def test_a_removed_channel_is_cut_and_no_training_brings_it_back() -> None:
    block, twin = small_block(), small_block()
    remove_channels(nn.ModuleDict({"b": block}), [("b", 2)])

    def cut(_: Any, inputs: tuple[Tensor]) -> tuple[Tensor]:
        hidden = inputs[0].clone()
        hidden[:, 2] = 0
        return (hidden,)

    twin.conv2.register_forward_pre_hook(cut)
    torch.testing.assert_close(block(*block_input()), twin(*block_input()))
    optimizer = torch.optim.AdamW(block.parameters(), lr=0.1, weight_decay=0.0)
    for _ in range(3):
        optimizer.zero_grad()
        (block(*block_input()) - 1).square().mean().backward()
        optimizer.step()
    assert not block.conv2.weight[:, 2].any() and block.norm2.weight[2] == 0 and block.norm2.bias[2] == 0
    assert block.conv2.weight[:, 1].any()


def test_rules_choose_what_they_say() -> None:
    clean = {"a": torch.tensor([5.0, 0.1, 1.0, 1.0]), "b": torch.tensor([1.0, 1.0, 1.0, 1.0])}
    triggered = {"a": torch.tensor([5.5, 2.0, 1.0, 1.0]), "b": torch.tensor([1.0, 1.2, 1.0, 1.0])}
    picked = {
        rule: choose(clean, triggered, DiffCleanseParams(pruning_rule=rule, pruned_share=0.25))
        for rule in ("sum", "difference")
    }
    assert picked == {"sum": [("a", 0), ("b", 1)], "difference": [("a", 1), ("a", 0)]}
    most = choose(clean, triggered, DiffCleanseParams(pruning_rule="sum", pruned_share=0.49))
    assert len([name for name, _ in most if name == "a"]) <= 2


def test_importances_of_a_network_tell_trigger_from_clean() -> None:
    model = load_model(BUILTIN / "digits-tiny")
    images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    params = DiffCleanseParams(importance_batches=1, batch_size=4)
    plain, again, triggered = (
        importances(model.unet, model.scheduler, images, tau, params, seed=1, device="cpu")
        for tau in (None, torch.zeros(1, 8, 8), torch.ones(1, 8, 8))
    )
    assert set(plain) == {block.name for block in prunable(model.unet)} and len(plain) > 3
    assert all(torch.equal(plain[name], again[name]) for name in plain)
    assert not all(torch.allclose(plain[name], triggered[name]) for name in plain)
    assert all(float(values.mean()) == pytest.approx(1) for values in plain.values())
    assert all(parameter.grad is None for parameter in model.unet.parameters())


def test_distillation_ties_to_the_model_as_it_was() -> None:
    class Scaled(nn.Module):
        def __init__(self, factor: float) -> None:
            super().__init__()
            self.factor = factor

        def forward(self, x: Tensor, t: Tensor) -> Any:
            return SimpleNamespace(sample=self.factor * x)

    scheduler = SimpleNamespace(alphas_cumprod=torch.tensor([0.9, 0.5, 0.1]), config={"prediction_type": "epsilon"})
    images = torch.zeros(4, 1, 2, 2)
    plain = denoising_loss(images, scheduler)(Scaled(0.5), Draw(2, 0, 4))
    same = distilled_loss(images, scheduler, Scaled(0.5), 3.0)(Scaled(0.5), Draw(2, 0, 4))
    torch.testing.assert_close(same, plain)
    draw = Draw(2, 0, 4)
    t, noise = draw.timesteps(3), draw.normal(1, 2, 2)
    noisy = (1 - scheduler.alphas_cumprod[t]).sqrt().view(-1, 1, 1, 1) * noise
    other = distilled_loss(images, scheduler, Scaled(0.0), 3.0)(Scaled(0.5), Draw(2, 0, 4))
    torch.testing.assert_close(other, plain + 3 * (0.5 * noisy).square().mean())


def test_a_latent_model_is_repaired_on_latents(tmp_path: Path) -> None:
    model = open_model("shapes-ldm", tmp_path / "model", tmp_path)
    data = open_data(None, model, tmp_path / "data", tmp_path, limit=8)
    opened = load_model(model)
    tensors = {"trigger": torch.ones(opened.shape)}
    evidence = seal_trigger(tmp_path / "evidence", model.task, tensors, torch.zeros(1, 3, 16, 16), {})
    found = Detection(level="model", scores=[1.0], threshold=0.5, evidence=evidence)
    params = DiffCleanseParams(steps=1, batch_size=4, importance_batches=1)
    for name in ("out", "work"):
        (tmp_path / name).mkdir()
    repaired = repair(Context(tmp_path / "out", tmp_path / "work", 0), params, model, data, found)
    assert load_model(repaired).shape == opened.shape == (4, 8, 8)
