"""What a classifier said of samples whose true label is known."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

from bdm_core.artifacts import Outputs
from bdm_kit_classification.predictions import ids, load_predictions, true_labels
from bdm_kit_classification.triggers.label_rule import LabelRule


@dataclass(frozen=True)
class Said:
    """Predicted and true class of each sample, and its number in the test part.

    >>> said = Said([(0, 0, 7), (0, 3, 8), (2, 2, 9)])
    >>> said.right, said.eligible(LabelRule(kind="all-to-one", classes=4, target=0)).rows
    (2, [(0, 3, 8), (2, 2, 9)])
    """

    rows: list[tuple[int, int, int]]

    @classmethod
    def of(cls, outputs: Outputs) -> Said:
        """Those of outputs; samples of unknown label are left out."""
        said, true = load_predictions(outputs).classes.tolist(), true_labels(outputs).tolist()
        return cls([row for row in zip(said, true, ids(outputs), strict=True) if row[1] >= 0])

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def right(self) -> int:
        """How many predictions are the true label."""
        return sum(said == true for said, true, _ in self.rows)

    def hits(self, rule: LabelRule) -> int:
        """How many predictions are what the attacker wants."""
        return sum(rule.success(said, true) for said, true, _ in self.rows)

    def dispersibility(self) -> float:
        """How scattered the predictions of a class are: the entropy of their shares in nats, averaged over true classes
        (Li et al. 2022, arXiv 2210.00875, definition 1); 0 where there are no samples.

        >>> round(Said([(0, 0, 1), (1, 0, 2), (1, 1, 3), (1, 1, 4)]).dispersibility(), 4)  # log(2) / 2
        0.3466
        """
        found = []
        for label in {true for _, true, _ in self.rows}:
            own = Counter(said for said, _, _ in self.of_class(label).rows)
            found.append(-sum(n / own.total() * math.log(n / own.total()) for n in own.values()))
        return sum(found) / len(found) if found else 0.0

    def eligible(self, rule: LabelRule) -> Said:
        """Those whose true label tells of success."""
        return Said([row for row in self.rows if rule.eligible(row[1])])

    def of_class(self, label: int) -> Said:
        """Those whose true label is this one."""
        return Said([row for row in self.rows if row[1] == label])

    def of_samples(self, other: Said) -> Said:
        """Those of the samples that ``other`` is of."""
        wanted = {number for _, _, number in other.rows}
        return Said([row for row in self.rows if row[2] in wanted])
