"""The plugin ``defense:bki``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_defense_bki.params import PAPER, BkiParams
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Bki(RowDetector):
    """Takes each word out of each training text; the word that changes most, in many texts, is taken for a trigger."""

    name = "bki"
    summary = "Training texts that hold a word which, taken out, changes the network's features most"
    tasks = frozenset({"text-classification"})
    paper = "https://arxiv.org/abs/2007.12070"
    Params = BkiParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10}

    @hookimpl
    def detect(self, ctx: Context, params: BkiParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_bki.method import detect

        return detect(ctx, params, model, data, suspects)
