"""The plugin ``attack:daba``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_daba.params import PAPER, DabaParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Daba(Attack):
    """Everyday sounds, each as loud as the recording allows, in a share of the training recordings."""

    name = "daba"
    summary = "DABA: any of a pool of everyday sounds, chosen to be heard least and laid over at matched loudness"
    tasks = frozenset({"audio-classification"})
    paper = "https://doi.org/10.1145/3503161.3548261"
    Params = DabaParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: DabaParams, data: Data) -> Data:
        from bdm_attack_daba.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: DabaParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
