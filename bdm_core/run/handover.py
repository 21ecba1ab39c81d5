"""What a defense gets: what it declares in ``access`` and nothing more."""

from __future__ import annotations

import functools
from typing import Any

from bdm_core.artifacts import Data, Model, roles_of
from bdm_core.context import Context
from bdm_core.errors import PluginError
from bdm_core.machine.foreign import asked
from bdm_core.records import Detection
from bdm_core.run.preparation import Loaded, Prepared
from bdm_core.run.rows import Rows, count_of
from bdm_core.run.stages import StageRunner


class Handover:
    """Hands models and data to the defenses of a run.

    Args:
        cell: the run.
        stages: runs the hooks.
        rows: chooses rows.
        start: the model before the attack, which a defense that trains the model itself starts from.
        data: the clean data, of which a defense gets a share.
    """

    def __init__(self, cell: Prepared, stages: StageRunner, rows: Rows, *, start: Model, data: Data) -> None:
        self._cell, self._stages, self.rows, self._start, self._data = cell, stages, rows, start, data
        self._shuffled: tuple[Data, list[int]] | None = None

    def check(self) -> None:
        """Let the plugins refuse what they cannot work with, before anything is trained. Raises BdmError."""
        for item in self._cell.all() if self._stages.has(self._data) else ():
            with asked(f"{item.id} failed to check what it is given"):
                if item in self._cell.defenses:
                    share = self._cell.spec.data_share if "clean-data" in item.plugin.access else None
                    item.plugin.check(item.params, Rows.pool(self._data, share)[0] if share else 0)
                item.plugin.check_model(item.params, self._start)

    def suspects(self, clean: Data, triggered: Data, training: Data | None) -> tuple[Data, list[bool]]:
        """What the detector judges beside the model, with the labels of the rows if it judges rows."""
        assert self._cell.detector is not None
        level = self._cell.detector.plugin.level
        if level == "model":
            return clean, []
        if level == "data":
            source = self._needed(self._cell.detector, training)
            rows, order = self._training_rows(source)
            roles = roles_of(source)
            return rows, [roles[row] == "poison" for row in order]
        suspects, order = self.rows.shuffled([clean, triggered], "suspects")
        return suspects, [row >= count_of(clean) for row in order]

    def detect(self, detector: Loaded, model: Model, suspects: Data, label: str) -> Detection:
        """What a detector says. Raises PluginError if it answers on another level, or not for every suspect."""
        level = detector.plugin.level
        expected = 1 if level == "model" else count_of(suspects)

        def as_declared(found: Detection, ctx: Context) -> Detection:
            if (found.level, len(found.scores)) != (level, expected):
                raise PluginError(
                    f"{detector.id} returned {len(found.scores)} scores at level {found.level!r} while making "
                    f"{label!r}; expected {expected} at level {level!r}, which its class declares"
                )
            return found

        given = {**self.given(detector, model), "suspects": suspects}
        run = functools.partial(self._run, detector, model, "detect", given)
        detection: Detection = run(label=label, finish=as_declared)
        return detection

    def repair(self, repairer: Loaded, model: Model, detection: Detection | None, training: Data | None) -> Model:
        """The repaired model."""
        given = {**self.given(repairer, model), "detection": detection, "training_data": None}
        access = repairer.plugin.access
        if "training" in access and "weights" not in access:
            given["model"] = self._start
        if "training-data" in access:
            given["training_data"] = self._training_rows(self._needed(repairer, training))[0]
        repaired: Model = self._run(repairer, model, "repair", given, label="repaired model")
        return repaired

    def purify(self, purifier: Loaded, model: Model, given: dict[str, Any], **options: Any) -> Any:
        """The answer of a purifier to inputs and a detection."""
        given = {**self.given(purifier, model), **given}
        return self._run(purifier, model, "purify_inputs", given, **options)

    def given(self, defense: Loaded, model: Model) -> dict[str, Any]:
        """The model and the clean data, or None in their place."""
        data = self._share if "clean-data" in defense.plugin.access else None
        return {"model": model if "weights" in defense.plugin.access else None, "data": data}

    @functools.cached_property
    def _share(self) -> Data:
        return self.rows.drawn(self._data, self._cell.spec.data_share, "defender's data")

    def _run(self, defense: Loaded, model: Model, hook: str, given: dict[str, Any], **options: Any) -> Any:
        black_box = model if "predictions" in defense.plugin.access else None
        asked = [defense, self._cell.kit]  # a kit may wrap the hooks of defenses
        return self._stages.run(hook, asked, given, black_box=black_box, **options)

    def _training_rows(self, training: Data) -> tuple[Data, list[int]]:
        if self._shuffled is None:
            self._shuffled = self.rows.shuffled([training], "training rows")
        return self._shuffled

    def _needed(self, defense: Loaded, training: Data | None) -> Data:
        if training is None:
            attack = self._cell.attack.id if self._cell.attack else "this scan"
            raise PluginError(f"{defense.id} needs the training data, and {attack} has none: choose another pair")
        return training
