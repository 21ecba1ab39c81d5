"""The plugin ``attack:jingleback``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_jingleback.params import PAPER, JingleBackParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class JingleBack(Attack):
    """A chain of sound effects on a share of the training recordings, which get the attacker's label."""

    name = "jingleback"
    summary = (
        "JingleBack: a style as trigger, six chains of pitch, distortion, chorus, reverb, ladder filter and phaser"
    )
    tasks = frozenset({"audio-classification"})
    paper = "https://arxiv.org/abs/2211.03117"
    Params = JingleBackParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: JingleBackParams, data: Data) -> Data:
        from bdm_attack_jingleback.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: JingleBackParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
