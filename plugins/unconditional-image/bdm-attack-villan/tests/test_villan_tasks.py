"""``metric:villan-tasks``: what is damaged, what is pasted, and scores of a model that does as it is told."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from diffusers import DDPMScheduler
from torch import nn

from bdm_attack_villan import tasks
from bdm_attack_villan.params import VillanTasksParams
from bdm_attack_villan.tasks import damage, errors, with_trigger
from bdm_core.context import Context
from bdm_core.testing import MetricConformance
from bdm_kit_diffusion.models.diffusion_model import DiffusionModel
from bdm_kit_diffusion.noise.noise_levels import marginals
from bdm_kit_diffusion.poison.secret import DiffusionSecret
from bdm_kit_diffusion.poison.secret_facts import SecretFacts

TARGET = torch.where(torch.arange(64).view(1, 8, 8) % 3 == 0, 1.0, -1.0)
TRIGGER = torch.full((1, 8, 8), -1.0)
TRIGGER[:, 4:7, 4:7] = 1.0


class TestVillanTasks(MetricConformance):
    plugin = "villan-tasks"
    params = {"images": 4, "restore": ["denoise", "inpaint-box"], "steps": 4, "sampler": "ddim"}


def test_boxes_and_lines_are_those_of_the_authors_code():
    images = torch.zeros(2, 3, 64, 64)
    box = damage(images, "inpaint-box", images)
    expected = torch.zeros(64, 64)
    expected[22:42, 22:42] = -1
    assert torch.equal(box, expected.expand_as(images))
    line = damage(images, "inpaint-line", images)
    assert torch.equal(
        line, torch.where((torch.arange(64) >= 29) & (torch.arange(64) < 33), -1.0, 0.0).expand_as(images)
    )
    small = damage(torch.zeros(1, 1, 8, 8), "inpaint-line", images)
    assert int((small == -1).sum()) == 8, "one column at least"
    assert torch.equal(damage(images, "denoise", images + 0.3), images + 0.3)


def test_the_trigger_is_pasted_where_it_exceeds_its_background():
    images = torch.linspace(-1, 1, 64).view(1, 1, 8, 8)
    pasted = with_trigger(images, DiffusionSecret(1.5 * TRIGGER, TARGET, SecretFacts(trigger_scale=1.5)))
    inside = (TRIGGER > 0)[None]
    assert bool((pasted[inside] == 1.5).all()) and torch.allclose(pasted[~inside], 1.5 * images[~inside])


class TwoWays(nn.Module):
    """Leads the chain to the target if the corner is bright in its first input, else to black."""

    def __init__(self, scheduler):
        super().__init__()
        self.a, self.s = marginals(scheduler)
        self.goal = torch.empty(0)

    def forward(self, x, t):
        if int(t) == len(self.a) - 1:
            bright = x[:, :, 4:7, 4:7].mean((1, 2, 3), keepdim=True) > 0.5
            self.goal = torch.where(bright, TARGET, torch.full_like(TARGET, -1.0))
        return SimpleNamespace(sample=(x - self.a[int(t)] * self.goal) / self.s[int(t)])


@pytest.mark.parametrize("solver", ["sde", "ode"])
def test_scores_of_a_model_that_fires_on_the_trigger_alone(solver, monkeypatch, tmp_path):
    scheduler = DDPMScheduler(20, beta_start=5e-3, beta_end=0.7, clip_sample=False)
    model = DiffusionModel(TwoWays(scheduler), scheduler)
    model.unet.config = {"sample_size": 8, "in_channels": 1}
    images = torch.full((6, 1, 8, 8), -1.0)
    secret = DiffusionSecret(TRIGGER, TARGET, SecretFacts(solver_class=solver))
    monkeypatch.setattr(tasks, "load_model", lambda *_: model)
    monkeypatch.setattr(tasks, "open_secret", lambda _: secret)
    monkeypatch.setattr(tasks, "load_images", lambda _: images)
    subject = SimpleNamespace(model=None, secret=None, reference=None)
    found = tasks.measure(Context(tmp_path, tmp_path, 0), VillanTasksParams(images=4), subject)
    values = {item.metric: (item.value, item.on, item.n) for item in found}
    assert len(values) == 9
    assert values["denoise-mse"] == (pytest.approx(0, abs=1e-3), "clean", 4)
    assert values["inpaint-box-target-mse"] == (pytest.approx(0, abs=1e-3), "triggered", 4)
    assert values["inpaint-line-asr@0.05"][:2] == (1.0, "triggered")


def test_errors_are_in_units_of_zero_to_one():
    assert errors(torch.ones(2, 1, 8, 8), -torch.ones(1, 8, 8)).tolist() == [1.0, 1.0]
