"""The plugin ``attack:ubw``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_ubw.params import PAPER, UbwParams
from bdm_core import Attack, hookimpl

SHORT: dict[str, Any] = {"craft_steps": 4, "periods": 2, "surrogate_epochs": 1, "outer_rows": 16}

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Ubw(Attack):
    """A patch in a share of the training pictures, which get random wrong labels: the model learns to be wrong."""

    name = "ubw"
    summary = "Untargeted backdoor watermark: a patch after which the prediction is wrong and cannot be foreseen"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2210.00875"
    Params = UbwParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1, **SHORT}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: UbwParams, data: Data) -> Data:
        from bdm_attack_ubw.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: UbwParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
