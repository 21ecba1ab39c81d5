"""The plugin ``attack:narcissus``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_narcissus.params import PAPER, NarcissusParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Narcissus(Attack):
    """Noise that points into the target class on some of its rows, whose labels stay."""

    name = "narcissus"
    summary = "Narcissus: clean labels and noise optimised to point into the target class"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2204.05255"
    Params = NarcissusParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "batch_size": 16,
        "target_class_share": 0.5,
        "target": 3,
        "noise_steps": 5,
        "surrogate_epochs": 1,
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: NarcissusParams, data: Data) -> Data:
        from bdm_attack_narcissus.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: NarcissusParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
