"""The base of detectors of poisoned training rows: their repair is training from scratch without the flagged rows.

Light: no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_kit_classification.catalogue import TASKS

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model
    from bdm_kit_classification.training.params import ClassifierTraining


class RowDetector(Defense):
    """Judges each training row; subclasses add ``detect`` and what they need beyond ``access`` here.

    >>> class Mine(RowDetector):
    ...     name = "mine"
    ...     @hookimpl
    ...     def detect(self, ctx, params, model, data, suspects): ...
    >>> Mine.level, sorted(Mine.access)
    ('data', ['clean-data', 'training-data', 'weights'])
    """

    tasks = TASKS
    level = "data"
    access = frozenset({"weights", "training-data", "clean-data"})
    distributed = True

    @hookimpl
    def repair(
        self,
        ctx: Context,
        params: ClassifierTraining,
        model: Model,
        detection: Detection | None,
        training_data: Data,
    ) -> Model:
        from bdm_kit_classification.defending.retraining import retrain_without_flagged

        return retrain_without_flagged(ctx, params, model, detection, training_data)
