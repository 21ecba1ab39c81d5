"""Sharpness-aware fine-tuning."""

import numpy as np
import torch
from torch import nn

from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_kit_classification.training.sharpness import sharpness_aware
from bdm_torch.objective import Objective
from bdm_torch.training import TrainingOptions, train


class TestFtSam(ClassifierDefenseConformance):
    plugin = "ft-sam"
    task = "image-classification"


class TestFtSamOnTexts(TestFtSam):
    task = "text-classification"


class TestSelection(ClassifierDefenseConformance):
    plugin = "ft-sam"
    task = "image-classification"
    params = {"strengths": [1.0]}


def test_a_step_against_numpy():
    """Mean squared error of a linear map, whose gradient NumPy has in closed form."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(6, 3, generator=generator).double(), torch.randn(6, 1, generator=generator).double()
    model = nn.Linear(3, 1).double()
    start = {name: value.detach().clone().numpy() for name, value in model.named_parameters()}
    options = TrainingOptions(steps=1, learning_rate=0.1, schedule="constant", optimizer="sgd", momentum=0.0)
    rule = sharpness_aware(model, rho=0.5)
    plain = Objective(lambda model, draw: (model(x) - y).square().mean(), step=rule)
    train(model, plain, TrainingOptions(**{**options.__dict__, "max_gradient_norm": None}), seed=0)

    def gradient(weight, bias):
        error = 2 * (x.numpy() @ weight.T + bias - y.numpy()) / len(y)
        return error.T @ x.numpy(), error.sum(0)

    weight, bias = start["weight"], start["bias"]
    slopes = gradient(weight, bias)
    norm = np.sqrt(sum(np.square(abs(w) * g).sum() for w, g in zip((weight, bias), slopes, strict=True)))
    moved = [w + 0.5 * w**2 * g / norm for w, g in zip((weight, bias), slopes, strict=True)]
    wanted = [w - 0.1 * g for w, g in zip((weight, bias), gradient(*moved), strict=True)]
    for found, right in zip(model.parameters(), wanted, strict=True):
        assert np.allclose(found.detach().numpy(), right)


def test_statistics_follow_the_first_pass_only():
    """Running statistics after a step are those of one pass at the weights as they were."""
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    made = [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)) for _ in range(2)]
    made[1].load_state_dict(made[0].state_dict())
    made[1].train()(x)
    options = TrainingOptions(steps=1, learning_rate=0.1, optimizer="sgd")
    objective = Objective(lambda model, draw: model(x).square().mean(), step=sharpness_aware(made[0], rho=1.0))
    train(made[0], objective, options, seed=0)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(made[0][1], name), getattr(made[1][1], name)), name
    assert made[0][1].momentum == 0.1
