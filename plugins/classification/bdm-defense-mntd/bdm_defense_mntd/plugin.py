"""The plugin ``defense:mntd``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_mntd.params import PAPER, MntdParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Mntd(Defense):
    """Trains clean and backdoored shadow models, and learns to tell them apart by their answers to learnt queries."""

    name = "mntd"
    summary = "Judge a model by a meta classifier that learnt from clean and backdoored shadow models"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/1910.03137"
    level = "model"
    access = frozenset({"weights", "clean-data"})
    by_name_only = "trains dozens of shadow models, so it is asked by name only (--detect mntd)"
    Params = MntdParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 1,
        "batch_size": 10,
        "clean_shadows": 2,
        "backdoored_shadows": 2,
        "calibration_shadows": 3,
        "queries": 2,
        "meta_steps": 3,
        "meta_batch": 2,
    }

    def check(self, params: MntdParams, clean_rows: int) -> None:
        """Refuse a folder without a meta classifier."""
        from bdm_defense_mntd.meta import require_meta

        if params.meta_classifier:
            require_meta(params.meta_classifier)

    @hookimpl
    def detect(self, ctx: Context, params: MntdParams, model: Model, data: Data) -> Detection:
        from bdm_defense_mntd.detection import detect

        return detect(ctx, params, model, data)
