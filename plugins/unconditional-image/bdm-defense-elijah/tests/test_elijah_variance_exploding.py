"""Both hooks on a tiny variance-exploding model, and the published removal's loss in its units."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import ScoreSdeVeScheduler, UNet2DModel
from torch import nn

from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_defense_elijah.params import ElijahParams
from bdm_defense_elijah.plugin import Elijah
from bdm_diffusers.score_network import ScoreNetwork
from bdm_kit_diffusion.inversion.removal import published_loss
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel, load_model, save_model
from bdm_kit_diffusion.noise.noise_levels import initial_scale
from bdm_torch.draws import Draw

FEW: dict[str, Any] = {
    "starts": "published",
    "inversion_steps": [3, 2],
    "screening_steps": 1,
    "screening_batch": 2,
    "noise_batch": 2,
    "samples": 8,
    "steps": 2,
    "batch_size": 8,
    "trigger_batch": 4,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A tiny untrained score model of 20 noise levels from 0.01 to 10."""
    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8, 16),
        layers_per_block=1,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D"),
        add_attention=False,
        time_embedding_type="fourier",
    )
    scheduler = ScoreSdeVeScheduler(20, sigma_min=0.01, sigma_max=10.0, correct_steps=1)
    save_model(DiffusionModel(ScoreNetwork(unet, scheduler), scheduler, "ScoreSdeVePipeline"), tmp_path / "ve")
    return tmp_path / "ve"


@pytest.mark.parametrize("anchors", ["spread", "published"])
@pytest.mark.parametrize("removal_data", ["given", "generated"])
def test_detect_and_repair(bdm_bench: Callable[..., Bench], folder: Path, anchors: str, removal_data: str) -> None:
    bench = bdm_bench("unconditional-image-generation")
    model = bench.call("open_model", [bench.kit], bench.kit_params, reference=str(folder)).value
    params = build_params(Elijah(), {**FEW, "anchors": anchors, "removal_data": removal_data})
    given = {"model": model, "data": bench.shared}
    detection = bench.call("detect", [Elijah()], params, **given, suspects=bench.inputs()).value
    assert detection.evidence is not None and detection.network_evaluations > 0
    repaired = bench.call("repair", [Elijah()], params, **given, detection=detection, training_data=None).value
    assert repaired.meta == model.meta and repaired.digest != model.digest
    assert load_model(repaired).variance_exploding


def test_published_ties_are_at_the_initial_state() -> None:
    """x_T = s_T (eps + tau): with M(x) = x / s_T and F = 0 the ties are |eps + tau|^2 and |eps|^2."""
    start = initial_scale(ScoreSdeVeScheduler(20, sigma_min=0.01, sigma_max=10.0))
    assert start == pytest.approx(20.0), "in the kit's range, twice as wide"
    trigger = torch.full((1, 8, 8), 0.5)

    class Straight(nn.Module):
        def forward(self, x, t):
            return SimpleNamespace(sample=x / start)

    class Nothing(nn.Module):
        def forward(self, x, t):
            return SimpleNamespace(sample=torch.zeros_like(x))

    params = ElijahParams(denoising_weight=0, clean_weight=1, trigger_weight=1)
    loss = published_loss(lambda model, draw: torch.zeros(()), trigger, Nothing(), 19, params, start=start)
    noise = Draw(3, 0, 6).normal(1, 8, 8)
    expected = (noise + trigger).square().mean() + noise.square().mean()
    torch.testing.assert_close(loss(Straight(), Draw(3, 0, 6)), expected)
