"""BaDExpert (Xie et al., ICLR 2024, arXiv 2308.12439): a model that keeps the backdoor and loses everything else.

The expert is the backdoored model after it unlearnt its clean task from clean rows with wrong labels. Where it still
says what the model says, a trigger does (section 3). A model fine-tuned on clean rows, which has the clean task and
perhaps less of the backdoor, sharpens this: a decision on both confidences (section 3.3).
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_defense_badexpert.params import BadExpertParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.training.fitting import fit, predict


def wrong_labels(samples: LabelledSamples) -> LabelledSamples:
    """The rows with the label (y + 1) mod K each."""
    return replace(samples, labels=(samples.labels + 1) % len(samples.classes))


def train_expert(ctx: Context, classifier: Classifier, clean: LabelledSamples, params: BadExpertParams) -> None:
    """Let ``classifier`` unlearn its clean task, in place; batch normalisation as in training."""
    unlearning = params.model_copy(
        update={
            "epochs": params.expert_epochs,
            "learning_rate": params.expert_learning_rate,
            "optimizer": params.expert_optimizer,
            "weight_decay": params.expert_weight_decay,
            "schedule": "constant",
            "warmup": 0.0,
        }
    )
    fit(ctx, classifier, wrong_labels(clean), unlearning, label="expert")


def rule(expert: Tensor, auxiliary: Tensor) -> Tensor:
    """The paper's score of the two confidences in the class that the model predicts, low where a trigger is.

    ``min(2 y / x, (1 - x) / max(1/2 - y, 0+))`` with x of the expert and y of the auxiliary model: how far (x, y) is
    from (1, 0) towards (0, 0) or (1, 1/2), whichever is nearer in ratio.

    Args:
        expert: (N,) float64 in [0, 1].
        auxiliary: (N,) likewise.

    Returns:
        (N,), from 0 to infinity.

    >>> x, y = torch.tensor([1.0, 0.0, 0.8]).double(), torch.tensor([0.0, 1.0, 0.25]).double()
    >>> rule(x, y).tolist()[0], round(rule(x, y).tolist()[2], 4)
    (0.0, 0.625)
    """
    tiny = 1e-12
    return torch.minimum(2 * auxiliary / expert.clamp_min(tiny), (1 - expert) / (0.5 - auxiliary).clamp_min(tiny))


def suspicion(expert: Tensor, auxiliary: Tensor) -> Tensor:
    """The same as a finite score (N,) in [0, 1], higher where a trigger is: 1 / (1 + rule)."""
    return 1 / (1 + rule(expert, auxiliary))


class Experts:
    """The score of samples.

    Args:
        model: the classifier to defend.
        expert: the one that unlearnt its clean task.
        auxiliary: the one fine-tuned on clean rows.
        batch_size: samples run at once.
    """

    def __init__(self, model: Classifier, expert: Classifier, auxiliary: Classifier, batch_size: int) -> None:
        self.model, self.others, self.batch_size = model, (expert, auxiliary), batch_size

    def __call__(self, samples: LabelledSamples) -> Tensor:
        """(N,) in [0, 1]."""
        classes = predict(self.model, samples, self.batch_size).classes[:, None]
        confidences = [
            predict(other, samples, self.batch_size).logits.double().softmax(1).gather(1, classes)[:, 0]
            for other in self.others
        ]
        return suspicion(confidences[0], confidences[1])
