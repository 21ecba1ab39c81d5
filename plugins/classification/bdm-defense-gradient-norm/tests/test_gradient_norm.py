"""Fine-tuning with a penalty on the norm of the gradient."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_defense_gradient_norm.penalty import penalised
from bdm_kit_classification.testing import ClassifierDefenseConformance
from bdm_torch.objective import Objective, StepRule
from bdm_torch.training import TrainingOptions, train

RATE = 0.01
PLAIN: Any = {"schedule": "constant", "optimizer": "sgd", "momentum": 0.0, "max_gradient_norm": None}


def problem(classes: int) -> tuple[nn.Linear, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    model = nn.Linear(3, classes).double()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=generator))
    targets = torch.randn(6, 1, generator=generator).double() if classes == 1 else torch.tensor([0, 1, 2, 2, 1, 0])
    return model, torch.randn(6, 3, generator=generator).double(), targets


def direction(model: nn.Module, loss, rule: StepRule | None) -> np.ndarray:
    """Minus what one plain step of gradient descent changed, over the rate."""
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    options = TrainingOptions(steps=1, learning_rate=RATE, **PLAIN)
    train(model, Objective(lambda model, draw: loss(model), step=rule), options, seed=0)
    return ((before - nn.utils.parameters_to_vector(model.parameters()).detach()) / RATE).numpy()


def test_a_step_is_the_numerical_gradient_of_the_penalised_loss() -> None:
    """Squared errors of a linear map: a constant Hessian, so that two gradients give the penalty's own exactly."""
    model, x, y = problem(classes=1)
    start = nn.utils.parameters_to_vector(model.parameters()).detach().numpy().copy()
    design = np.hstack([x.numpy(), np.ones((6, 1))])

    def penalised_loss(weights: np.ndarray) -> float:
        error = design @ weights - y.numpy()[:, 0]
        return float(np.mean(error**2) + 0.3 * np.linalg.norm(2 * design.T @ error / len(error)))

    steps = 1e-6 * np.eye(4)
    wanted = [(penalised_loss(start + step) - penalised_loss(start - step)) / 2e-6 for step in steps]
    found = direction(model, lambda model: (model(x) - y).square().mean(), penalised(model, penalty=0.3, radius=0.05))
    assert found == pytest.approx(np.array(wanted), rel=1e-6)


def test_the_error_falls_with_the_radius() -> None:
    """Cross entropy, against the gradient of the penalty by differentiating twice: of the first order in the radius."""
    model, x, y = problem(classes=3)
    loss = functional.cross_entropy(model(x), y)
    gradients = torch.autograd.grad(loss, list(model.parameters()), create_graph=True)
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    exact = torch.autograd.grad(loss + 0.2 * norm, list(model.parameters()))
    wanted = torch.cat([gradient.flatten() for gradient in exact]).numpy()

    def error(radius: float) -> float:
        own = problem(classes=3)[0]
        found = direction(own, lambda model: functional.cross_entropy(model(x), y), penalised(own, 0.2, radius))
        return float(np.linalg.norm(found - wanted))

    assert error(1e-4) < 1e-3 * float(np.linalg.norm(wanted))
    assert error(1e-2) / error(5e-3) == pytest.approx(2.0, rel=0.05)


def test_no_penalty_is_a_plain_step() -> None:
    one, x, y = problem(classes=3)
    other = problem(classes=3)[0]
    found = direction(one, lambda model: functional.cross_entropy(model(x), y), penalised(one, 0.0, 0.05))
    assert found == pytest.approx(direction(other, lambda model: functional.cross_entropy(model(x), y), None))


def test_a_weight_of_the_radius_is_a_sharpness_aware_step() -> None:
    model, x, y = problem(classes=3)
    moved = problem(classes=3)[0]
    functional.cross_entropy(moved(x), y).backward()
    norm = torch.cat([value.grad.flatten() for value in moved.parameters()]).norm()
    with torch.no_grad():
        for value in moved.parameters():
            value.add_(0.05 * value.grad / norm)
            value.grad = None
    functional.cross_entropy(moved(x), y).backward()
    wanted = torch.cat([value.grad.flatten() for value in moved.parameters()]).numpy()
    found = direction(model, lambda model: functional.cross_entropy(model(x), y), penalised(model, 0.05, 0.05))
    assert found == pytest.approx(wanted)


def test_where_there_is_no_gradient_nothing_breaks() -> None:
    model, x, _ = problem(classes=1)
    found = direction(model, lambda model: 0 * model(x).sum(), penalised(model, 0.5, 0.05))
    assert found.tolist() == [0.0] * 4


def test_statistics_follow_the_first_pass_only() -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    made = [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1)) for _ in range(2)]
    made[1].load_state_dict(made[0].state_dict())
    made[1].train()(x)
    direction(made[0], lambda model: model(x).square().mean(), penalised(made[0], 0.5, 1.0))
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        assert torch.equal(getattr(made[0][1], name), getattr(made[1][1], name)), name


class Product(nn.Module):
    """a b x with a = 4 and b = 1/4: what a neuron of one large weight does: the gradient by the other is large."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Parameter(torch.tensor(4.0)), nn.Parameter(torch.tensor(0.25))

    def forward(self, x: Tensor) -> Tensor:
        return self.a * self.b * x


def test_a_planted_steep_neuron_is_weakened() -> None:
    """On noisy batches the gradient is never 0, and a^2 + b^2, its squared size, falls; the function stays a b = 1."""

    def trained(penalty: float) -> tuple[float, float]:
        model = Product()

        def loss(model: nn.Module, draw) -> Tensor:
            x, noise = draw.normal(2).unbind(1)
            return (model(x) - x - noise).square().mean()

        options = TrainingOptions(steps=300, batch_size=4, learning_rate=0.01, **PLAIN)
        train(model, Objective(loss, step=penalised(model, penalty, 0.05)), options, seed=0)
        return model.a.item(), model.b.item()

    (plain, _), (weak, other) = trained(0.0), trained(0.3)
    assert plain == pytest.approx(4.0, abs=0.2)
    assert weak < 3.0 and weak * other == pytest.approx(1.0, abs=0.3)


class TestGradientNorm(ClassifierDefenseConformance):
    plugin = "gradient-norm"
    task = "audio-classification"
