"""The plugin ``attack:blind``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_blind.params import PAPER, BlindParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Blind(Attack):
    """The training code's loss gets a second term; no row is poisoned."""

    name = "blind"
    summary = "Blind: only the loss is changed: a second term, weighed by hand or by MGDA"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2005.03823"
    Params = BlindParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}

    @hookimpl
    def poison_data(self, ctx: Context, params: BlindParams, data: Data) -> Data | None:
        return None

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BlindParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_blind.attack import inject

        return inject(ctx, params, model, data)
