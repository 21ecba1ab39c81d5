"""What was said of rows whose true label is known."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.artifacts import Outputs
from bdm_kit_classification.predictions import load_predictions, true_labels
from bdm_kit_classification.triggers.label_rule import LabelRule


@dataclass(frozen=True, eq=False)
class Said:
    """Probabilities (N, K) and true labels (N,) of rows.

    >>> said = Said(torch.eye(2), torch.tensor([0, 0]))
    >>> said.accuracy, said.accuracy_of(0), said.accuracy_of(1), said.confusion.tolist()
    (0.5, 0.5, None, [[1, 1], [0, 0]])
    """

    probabilities: Tensor
    labels: Tensor

    @classmethod
    def of(cls, outputs: Outputs, rule: LabelRule | None = None) -> Said:
        """Those of outputs with a known label; with a rule the eligible ones."""
        logits, labels = load_predictions(outputs).logits, true_labels(outputs)
        known = torch.tensor(
            [label >= 0 and (rule is None or rule.eligible(label)) for label in labels.tolist()], dtype=torch.bool
        )
        return cls(logits[known].double().softmax(1), labels[known])

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def classes(self) -> Tensor:
        """(N,) what was said."""
        return self.probabilities.argmax(1)

    @property
    def accuracy(self) -> float | None:
        """Share of right answers; None without rows."""
        return float((self.classes == self.labels).double().mean()) if len(self) else None

    def accuracy_of(self, label: int) -> float | None:
        """The same of one class."""
        own = self.labels == label
        return float((self.classes[own] == label).double().mean()) if bool(own.any()) else None

    @property
    def confusion(self) -> Tensor:
        """(K, K) counts: true classes down, said ones across."""
        size = self.probabilities.shape[1]
        return torch.bincount(self.labels * size + self.classes, minlength=size * size).reshape(size, size)

    def success(self, rule: LabelRule) -> float | None:
        """Share of rows that get what the attacker wants."""
        hits = [
            rule.success(said, true) for said, true in zip(self.classes.tolist(), self.labels.tolist(), strict=True)
        ]
        return sum(hits) / len(hits) if hits else None

    def confidence(self, rule: LabelRule) -> float | None:
        """Mean probability of what the attacker wants."""
        values = []
        for row, label in zip(self.probabilities, self.labels.tolist(), strict=True):
            wanted = rule.wanted(label)
            values.append(float(1 - row[label] if wanted is None else row[wanted]))
        return min(1.0, max(0.0, sum(values) / len(values))) if values else None
