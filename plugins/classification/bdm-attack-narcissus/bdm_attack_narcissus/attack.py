"""Narcissus (Zeng et al. 2023, arXiv 2204.05255): clean labels, and noise that points into the target class.

delta = argmin over |delta| <= epsilon of the sum of CE(g(x + delta), t) over rows x of the target class t, with a
surrogate g; test pictures get k delta.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_narcissus.params import NarcissusParams
from bdm_attack_narcissus.surrogate import train_on_other_data
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.poison.injection import train_surrogate
from bdm_kit_classification.poison.poisoning import poison_training_rows, rule_of
from bdm_kit_classification.triggers.blend import Added
from bdm_torch.draws import Draw
from bdm_torch.objective import Objective
from bdm_torch.training import TrainingOptions, train_in_stage


class Noise(nn.Module):
    """One noise for all pictures, (C, H, W).

    >>> Noise((1, 2, 2))(torch.full((3, 1, 2, 2), 0.5)).shape
    torch.Size([3, 1, 2, 2])
    """

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.delta = nn.Parameter(torch.zeros(shape))

    def forward(self, x: Tensor) -> Tensor:
        """clip(x + delta)."""
        return (x + self.delta).clamp(0, 1)


def inward_noise(
    ctx: Context, params: NarcissusParams, surrogate: Classifier, samples: LabelledSamples, number: int
) -> tuple[Tensor, list[float]]:
    """The noise, and the loss of its first and last steps.

    Args:
        ctx: of the stage.
        params: bound and optimisation.
        surrogate: g, fixed.
        samples: training rows, of which those of the target class are used.
        number: of the target class in the surrogate.
    """
    own = samples.pick(samples.rows_of_class(params.target))
    surrogate.requires_grad_(False).eval()
    noise = Noise(tuple(own.stored.shape[1:]))

    def loss(model: nn.Module, draw: Draw) -> Tensor:
        x = samples.modality.collate(own.raw(draw.rows(len(own))), surrogate)
        target = torch.full((len(x),), number, device=x.device)
        return functional.cross_entropy(surrogate(model(x)), target)

    def project(step: int) -> None:
        noise.delta.data.clamp_(-params.bound, params.bound)

    options = TrainingOptions(params.noise_steps, params.batch_size, params.noise_rate, optimizer="adam")
    objective = Objective(loss, after_step=project)
    losses = train_in_stage(ctx, noise, objective, options, label="noise", curve="noise loss").losses
    return noise.delta.detach().cpu(), [round(losses[0], 5), round(losses[-1], 5)]


def poison(ctx: Context, params: NarcissusParams, data: Data) -> Data:
    """Optimise the noise on a surrogate and poison rows of the target class; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the rate or the target is impossible, or there are no such auxiliary data.
    """
    samples = open_samples(data)
    rule_of(params, samples)
    if params.auxiliary:
        surrogate, number = train_on_other_data(ctx, params, samples)
    else:
        own = params.model_copy(update={"epochs": params.surrogate_epochs})
        surrogate, number = train_surrogate(ctx, samples, own), params.target
    delta, losses = inward_noise(ctx, params, surrogate, samples, number)
    trigger = Added(delta, 1.0, params.test_strength)
    return poison_training_rows(ctx, params, data, trigger, facts={"noise_loss": losses})
