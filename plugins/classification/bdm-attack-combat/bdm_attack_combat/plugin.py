"""The plugin ``attack:combat``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_combat.params import PAPER, CombatParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Combat(Attack):
    """A generator that is trained with a surrogate changes rows of the target class, whose labels stay."""

    name = "combat"
    summary = "COMBAT: clean labels and a low-pass generator trained with a surrogate"
    tasks = frozenset({"image-classification"})
    paper = "https://doi.org/10.1609/aaai.v38i3.28019"
    Params = CombatParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "batch_size": 16,
        "poison_rate": 0.05,
        "target_class_share": None,
        "target": 3,
        "joint_epochs": 1,
        "clean_epochs": 1,
        "detector_steps": 3,
        "width": 4,
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: CombatParams, data: Data) -> Data:
        from bdm_attack_combat.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: CombatParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
