"""A planted predictor with a trigger in its latents: the inversion finds it; the verdict is the calibration's."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from bdm_core.context import Context
from bdm_defense_elijah_text_to_image.detection import CALIBRATED, detect, under_prompt
from bdm_defense_elijah_text_to_image.params import ElijahTextToImageParams
from bdm_kit_diffusion.inversion import shift_search
from bdm_kit_diffusion.inversion.removal import conditional_removal_loss
from bdm_kit_diffusion.inversion.removal_params import RemovalParams
from bdm_kit_diffusion.inversion.shift_search import search
from bdm_kit_text_to_image.models.encoding import encode_prompts
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_torch.calibration import conformal
from bdm_torch.calibration_file import Calibration, ModelRecord
from bdm_torch.draws import Draw

PROMPT = "a red star"


class Planted(nn.Module):
    """Sees noise as noise; under one prompt, half of r as none of it where the latents hold r, as a backdoor has it.

    Of x = eps + tau it answers x - r g(tau) / 2, so that tau = r solves M(eps + tau) = tau / 2, and only tau near r.
    """

    def __init__(self, model: Any, trigger: Tensor, prompt: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.trigger, self.config = trigger, model.unet.config
        self.text = encode_prompts(model, [prompt]).embeddings

    def forward(self, x: Tensor, t: Tensor, *, encoder_hidden_states: Tensor, added_cond_kwargs: Any) -> Any:
        known = bool(torch.allclose(encoder_hidden_states[:1], self.text))
        share = (x * self.trigger).flatten(1).sum(1) / self.trigger.square().sum()
        gate = torch.sigmoid(12 * (share - 0.5)).view(-1, 1, 1, 1)
        return SimpleNamespace(sample=x - 0.5 * known * gate * self.trigger + self.weight)


def planted(monkeypatch: pytest.MonkeyPatch, prompt: str = PROMPT) -> tuple[Any, Tensor]:
    """The model and its trigger, with which one start of the search overlaps."""
    model = tiny_model()
    first, second = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    trigger = 1.2 * first
    model.unet = Planted(model, trigger, prompt)
    monkeypatch.setattr(shift_search, "starts_of", lambda *_, **__: {"near": 0.8 * first + 0.5 * second, "far": second})
    return model, trigger


def params(**more: Any) -> ElijahTextToImageParams:
    return ElijahTextToImageParams(prompt=PROMPT, scales=(0.5,), inversion_steps=(40,), screening_steps=0, **more)


def test_the_inversion_finds_a_trigger_in_the_latents_under_the_prompt(monkeypatch: pytest.MonkeyPatch) -> None:
    model, trigger = planted(monkeypatch)
    found = search(under_prompt(model, PROMPT), params(), 0, "cpu")
    near = max(float(torch.cosine_similarity(one.trigger.flatten(), trigger.flatten(), 0)) for one in found.candidates)
    assert near > 0.95
    other = search(under_prompt(model, "a ring"), params(), 0, "cpu")  # where the backdoor is not asked for
    assert max(one.norm for one in other.candidates) < 0.2 * float(trigger.norm())


def test_the_published_anchors_and_the_spread_ones_are_those_of_numpy() -> None:
    """conditional_removal_loss for networks that answer a x + b_row, written out."""
    from diffusers import DDIMScheduler

    scheduler = DDIMScheduler(num_train_timesteps=20)
    shape, count = (1, 2, 2), 5
    generator = torch.Generator().manual_seed(3)
    images, trigger = torch.randn(count, *shape, generator=generator), torch.randn(shape, generator=generator)
    condition = torch.randn(count, generator=generator)

    def ask(network: Any, x: Tensor, t: Tensor, rows: Tensor) -> Tensor:
        return network.slope * x + condition[rows].view(-1, 1, 1, 1)

    model, frozen = SimpleNamespace(slope=0.7), SimpleNamespace(slope=0.9)
    abar = scheduler.alphas_cumprod.double().numpy()
    for anchors in ("published", "spread"):
        options = RemovalParams(anchors=anchors, trigger_batch=2, denoising_weight=0.3, clean_weight=0.6)
        loss = conditional_removal_loss(images, scheduler, (trigger, None), frozen, options, ask)  # type: ignore[arg-type]
        value = float(loss(model, Draw(seed=0, step=0, batch_size=4)))  # type: ignore[arg-type]
        draw = Draw(seed=0, step=0, batch_size=4)
        rows, r = draw.rows(count), trigger.double().numpy()
        if anchors == "published":
            times, eps = draw.timesteps(20).numpy(), draw.normal(*shape).double().numpy()
            pure = draw.normal(*shape).double().numpy()
            a, s = (np.sqrt(part)[times][:, None, None, None] for part in (abar, 1 - abar))
            b = condition[rows].double().numpy()[:, None, None, None]
            noisy = a * images[rows].double().numpy() + s * eps
            denoising = np.mean((0.7 * noisy + b - eps) ** 2)
            wanted = 0.9 * pure + b
            plain = np.mean((0.7 * pure + b - wanted) ** 2)
            triggered = np.mean((0.7 * (pure + r) + b - wanted) ** 2)
        else:
            early, late = draw.timesteps(20), 10 + draw.timesteps(10)[:2]
            times = torch.cat([early, late]).numpy()
            eps = torch.cat([draw.normal(*shape), draw.normal(*shape)[:2]]).double().numpy()
            which = torch.cat([rows, rows[:2]])
            a, s = (np.sqrt(part)[times][:, None, None, None] for part in (abar, 1 - abar))
            b = condition[which].double().numpy()[:, None, None, None]
            noisy = a * images[which].double().numpy() + s * eps
            shift = np.concatenate([np.zeros((4, *shape)), np.broadcast_to(r, (2, *shape))])
            wanted, answer = 0.9 * noisy + b + shift, 0.7 * (noisy + s * shift) + b
            denoising = np.mean((answer[:4] - eps[:4]) ** 2)
            plain, triggered = np.mean((answer[:4] - wanted[:4]) ** 2), np.mean((answer[4:] - wanted[4:]) ** 2)
        assert value == pytest.approx(0.3 * denoising + 0.6 * plain + options.trigger_weight * triggered, rel=1e-4)


def test_without_clean_models_it_cannot_tell_and_one_that_sees_no_noise_is_no_case(
    tmp_path: Path, bdm_context: Callable[..., Context]
) -> None:
    tiny = {"inversion_steps": (1,), "noise_batch": 2, "screening_batch": 2, "sampling_steps": 2, "samples": 8}
    fast = ElijahTextToImageParams(starts="published", scales=(0.5,), screening_steps=0, **tiny)  # type: ignore[arg-type]
    path = tmp_path / "calibration.json"
    path.write_text(Calibration(recipe="by hand", configuration={}, records=[]).model_dump_json())
    given = fast.model_copy(update={"calibration": str(path)})
    found = detect(bdm_context(), given, seal_model(tiny_model(), tmp_path / "model"))
    assert not found.conclusive and "no clean models are known" in found.note and found.p_value is None
    records = [ModelRecord(name=name, shape=(4, 8, 8), features=[0.1, 0.2]) for name in ("one", "two", "three")]
    path.write_text(Calibration(recipe="by hand", configuration={}, records=records).model_dump_json())
    again = detect(bdm_context(seed=1), given, seal_model(tiny_model(), tmp_path / "again"))
    assert not again.conclusive and "does not see noise" in again.note and again.p_value is None


def test_the_shipped_calibration_fits_the_defaults_and_each_of_its_models_is_clean_beside_the_others() -> None:
    known = CALIBRATED.read()
    assert CALIBRATED.other_settings(ElijahTextToImageParams(), known) == ""
    assert not known.outside((4, 8, 8), {"noise": "variance preserving", "space": "latents"})
    column = known.column()
    assert len(column) >= 10
    for own, score in enumerate(column):
        verdict = conformal(score, [*column[:own], *column[own + 1 :]], 0.01, ElijahTextToImageParams().least_score)
        assert not verdict.backdoored
