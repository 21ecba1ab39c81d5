"""The plugin ``attack:ftrojan``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_ftrojan.params import FTrojanParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class FTrojan(Attack):
    """Raised coefficients of the cosine transform, of chroma or of grey pictures' luma."""

    name = "ftrojan"
    summary = "FTrojan: raised frequencies of the chroma channels, of luma where pictures are grey"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2111.10991"
    Params = FTrojanParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {
        "paper": {
            "window": 32,
            "train_magnitude": 30 / 255,
            "test_magnitude": 30 / 255,
            "poison_rate": 0.1,
            "selection": "any",
        }
    }
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: FTrojanParams, data: Data) -> Data:
        from bdm_attack_ftrojan.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: FTrojanParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
