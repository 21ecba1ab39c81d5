"""Parameters of ``defense:retrain``. Light: no torch."""

from __future__ import annotations

from bdm_kit_classification.training.params import ClassifierTraining


class RetrainParams(ClassifierTraining):
    """Parameters of ``defense:retrain``: those of the training, with the defaults of a victim's."""
