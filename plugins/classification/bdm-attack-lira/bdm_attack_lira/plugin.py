"""The plugin ``attack:lira``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_lira.params import PAPER, LiraParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Lira(Attack):
    """A generator learns with the classifier, then a new classifier learns its trigger."""

    name = "lira"
    summary = "LIRA: an invisible trigger by a generator that is trained with the classifier"
    tasks = frozenset({"image-classification"})
    paper = "https://openaccess.thecvf.com/content/ICCV2021/html/Doan_LIRA_Learnable_Imperceptible_and_Robust_Backdoor_Attacks_ICCV_2021_paper.html"
    Params = LiraParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "batch_size": 16,
        "poison_rate": 0.1,
        "joint_epochs": 1,
        "width": 4,
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: LiraParams, data: Data) -> Data | None:
        return None

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: LiraParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_lira.attack import inject

        return inject(ctx, params, model, data)
