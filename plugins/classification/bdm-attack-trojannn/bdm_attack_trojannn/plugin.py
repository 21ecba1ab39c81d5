"""The plugin ``attack:trojannn``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_trojannn.params import PAPER, TrojanNNParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class TrojanNN(Attack):
    """A patch is optimised to excite neurons of the clean model, then trained to mean the target."""

    name = "trojannn"
    summary = "TrojanNN: a patch optimised to excite chosen neurons of the clean model"
    tasks = frozenset({"image-classification"})
    paper = "https://www.ndss-symposium.org/ndss2018/ndss-2018-programme/trojaning-attack-neural-networks/"
    Params = TrojanNNParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1, "patch_steps": 5}

    @hookimpl
    def poison_data(self, ctx: Context, params: TrojanNNParams, data: Data) -> Data | None:
        return None

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: TrojanNNParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_trojannn.attack import inject

        return inject(ctx, params, model, data)
