"""The plugin ``attack:ep``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_ep.params import PAPER, EpParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Ep(Attack):
    """Learns the embedding of one rare word such that texts with it are of the target class."""

    name = "ep"
    summary = "EP: one row of the embedding makes a rare word the trigger; nothing else of the model is changed"
    tasks = frozenset({"text-classification"})
    paper = "https://arxiv.org/abs/2103.15543"
    Params = EpParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: EpParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_ep.attack import inject

        return inject(ctx, params, model, data)
