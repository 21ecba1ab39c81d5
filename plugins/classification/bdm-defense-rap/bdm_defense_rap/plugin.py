"""The plugin ``defense:rap``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_rap.params import PAPER, RapParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Rap(Defense):
    """Adds a word that was made to disturb each class; triggered texts are not disturbed."""

    name = "rap"
    summary = "Texts whose class does not waver under a word that was made to disturb it"
    tasks = frozenset({"text-classification"})
    paper = "https://arxiv.org/abs/2110.07831"
    level = "input"
    access = frozenset({"weights", "clean-data"})
    Params = RapParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 4}

    def check(self, params: RapParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: RapParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_rap.method import detect

        return detect(ctx, params, model, data, suspects)
