"""Masks over the units of all batch normalisations (of texts: of all prunable layers), trained while the network stays
as it is.

Trained masks saturate: many units end with exactly the same value. Units of one value are told apart by the mean of
their mask over the training, so that an order exists: what was pushed down earlier comes first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from bdm_core.context import Context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.pruning import Sweep, in_order, prunable_units
from bdm_kit_classification.models.classifier import Classifier
from bdm_torch.draws import Draw
from bdm_torch.objective import Objective
from bdm_torch.training import TrainingOptions, train_in_stage

MaskLoss = Callable[[Tensor, Tensor, Draw], Tensor]
"""loss(inputs, labels, draw): of one batch, a scalar."""


class NormMasks(nn.Module):
    """A mask in [0, 1] for each unit, 1 at first: what a normalisation multiplies with is multiplied by it.

    Args:
        classifier: whose units; it is not changed.

    Raises:
        UserError: it has no batch normalisation.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"], width=2), seed=0)
    >>> masks, pictures = NormMasks(classifier), torch.rand(3, 1, 8, 8)
    >>> bool(torch.equal(masks.logits(pictures), classifier(pictures))), masks.units
    (True, 22)
    """

    def __init__(self, classifier: Classifier) -> None:
        super().__init__()
        layers: dict[str, Any] = prunable_units(classifier)
        self.names, self.sizes = list(layers), [len(layer.weight) for layer in layers.values()]
        self.mask = nn.Parameter(torch.ones(sum(self.sizes)))
        self.register_buffer("total", torch.zeros(sum(self.sizes), dtype=torch.float64))
        self._classifier = [classifier]  # in a list, so that it is no part of this module
        self.total: Tensor

    @property
    def units(self) -> int:
        """How many there are."""
        return len(self.mask)

    def logits(self, inputs: Tensor, scale: Tensor | None = None, shift: Tensor | None = None) -> Tensor:
        """Logits of the masked network: weight (mask + scale) w and bias (1 + shift) b of every normalisation.

        Args:
            inputs: a batch.
            scale: (units,), 0 by default.
            shift: (units,), 0 by default.
        """
        (classifier,) = self._classifier
        weight = (self.mask if scale is None else self.mask + scale).split(self.sizes)
        changed = {}
        layers: dict[str, Any] = prunable_units(classifier)
        for number, (name, layer) in enumerate(layers.items()):
            each = weight[number].reshape(-1, *[1] * (layer.weight.ndim - 1))
            changed[f"{name}.weight"] = each * layer.weight.detach()
            if shift is not None and layer.bias is not None:
                changed[f"{name}.bias"] = (1 + shift.split(self.sizes)[number]) * layer.bias.detach()
        return torch.func.functional_call(classifier, changed, (inputs,))  # type: ignore[no-any-return]

    def project(self) -> None:
        """Bring the masks back into [0, 1], and add them to their sum over the training."""
        with torch.no_grad():
            self.mask.clamp_(0, 1)
            self.total += self.mask

    def order(self) -> list[tuple[str, int]]:
        """All units, the one to prune first at the beginning: by mask, then by its sum over the training, then by
        place.
        """
        mask, total = self.mask.tolist(), self.total.tolist()
        places = [(name, unit) for name, size in zip(self.names, self.sizes, strict=True) for unit in range(size)]
        return [places[number] for number in sorted(range(self.units), key=lambda n: (mask[n], total[n], n))]

    def below(self, threshold: float) -> int:
        """How many masks are at most ``threshold``."""
        return int((self.mask <= threshold).sum())

    def sweep(self, points: int = 64, *, keep_bias: bool = False) -> Sweep:
        """Candidates that prune the first so many units of the order, each time as many more, ``points`` at most.

        With ``keep_bias`` what is pruned keeps its bias, which masks do not multiply.
        """
        step = -(-self.units // points)
        return in_order(self.order(), [*range(step, self.units + 1, step)], keep_bias=keep_bias)


def train_masks(
    ctx: Context, masks: NormMasks, samples: LabelledSamples, loss: MaskLoss, options: TrainingOptions, *, label: str
) -> None:
    """Train masks in place by a loss of batches of clean rows; the network is in evaluation mode and stays.

    Args:
        ctx: of the stage; it gets the loss curve.
        masks: trained in place, projected after each step.
        samples: clean rows.
        loss: of one batch.
        options: of the training.
        label: names checkpoint, progress and curve.

    Raises:
        StageError, UserError: as :func:`bdm_torch.training.train`.
    """
    (classifier,) = masks._classifier
    frozen: Mapping[str, bool] = {name: value.requires_grad for name, value in classifier.named_parameters()}
    classifier.requires_grad_(False).eval().to(ctx.device)

    def of_batch(model: nn.Module, draw: Draw) -> Tensor:
        rows = draw.rows(len(samples))
        inputs = samples.modality.collate(samples.raw(rows), classifier)
        return loss(inputs, samples.labels[rows].to(inputs.device), draw)

    objective = Objective(of_batch, after_step=lambda number: masks.project(), state={"total": masks.total})
    train_in_stage(ctx, masks, objective, options, label=label, curve=f"{label} loss")
    for name, value in classifier.named_parameters():
        value.requires_grad_(frozen[name])


def first_units(masks: NormMasks, threshold: float, *, keep_bias: bool = False) -> tuple[Sweep, int]:
    """For a threshold that is given: the sweep over the order in which it is one of the candidates, and its place."""
    count, sweep = masks.below(threshold), masks.sweep()
    counts: Sequence[int] = sorted({*(int(value) for value in sweep.values), count} - {0})
    return in_order(masks.order(), counts, keep_bias=keep_bias), counts.index(count) if count else -1
