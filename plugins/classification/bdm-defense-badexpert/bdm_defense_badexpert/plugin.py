"""The plugin ``defense:badexpert``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_badexpert.params import PAPER, BadExpertParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model, Purified


class BadExpert(Defense):
    """Lets a copy of the model unlearn its clean task, and flags inputs on which the copy still agrees with it."""

    name = "badexpert"
    summary = "Flag inputs on which a copy of the model that unlearnt its clean task still agrees"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2308.12439"
    level = "input"
    access = frozenset({"weights", "clean-data"})
    Params = BadExpertParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "expert_epochs": 1, "batch_size": 10}

    def check(self, params: BadExpertParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: BadExpertParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_badexpert.detection import detect

        return detect(ctx, params, model, data, suspects)

    @hookimpl
    def purify_inputs(self, ctx: Context, params: BadExpertParams, model: Model, data: Data, inputs: Data) -> Purified:
        from bdm_defense_badexpert.detection import reject

        return reject(ctx, params, model, data, inputs)
