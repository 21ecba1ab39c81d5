"""The plugin ``defense:ft-sam``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_ft_sam.params import FtSamParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Model


class FtSam(Defense):
    """FT-SAM (Zhu et al. 2023): fine-tuning that looks for a flat region, which lets backdoored neurons shrink."""

    name = "ft-sam"
    summary = "Sharpness-aware fine-tuning on clean data"
    paper = "https://arxiv.org/abs/2304.11823"
    tasks = frozenset({"image-classification", "text-classification"})
    level = "model"
    access = frozenset({"weights", "clean-data"})
    Params = FtSamParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {"epochs": 100, "batch_size": 256, "learning_rate": 0.01, "warmup": 0.0, "shift": 4, "flip": True}
        | {"strengths": [1.0]}
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10, "learning_rate": 1e-3, "rho": 0.1}
    distributed = True

    def check(self, params: FtSamParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        if len(params.strengths) > 1:  # with one, nothing is held out
            require_rows(self, clean_rows)

    @hookimpl
    def repair(self, ctx: Context, params: FtSamParams, model: Model, data: Data) -> Model:
        from bdm_defense_ft_sam.repair import tune_sharpness_aware

        return tune_sharpness_aware(ctx, params, model, data)
