"""The plugin ``defense:none``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core.plugin import Defense, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Model


class NoDefense(Defense):
    """The control without a defense: the repaired row of the table is the backdoored model once more."""

    name = "none"
    summary = "No defense: returns the model unchanged, as a control"
    level = "model"

    @hookimpl
    def repair(self, model: Model) -> Model:
        return model
