"""The plugin ``attack:trojannet``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_trojannet.params import PAPER, TrojanNetParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class TrojanNet(Attack):
    """A tiny network that knows codes of 4x4 pixels is joined to the clean model, which stays as it is."""

    name = "trojannet"
    summary = "TrojanNet: a tiny network that knows 4x4 binary codes, joined to an unchanged clean model; no poison"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2006.08131"
    Params = TrojanNetParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 512, "hidden": [8], "codes": None}

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: TrojanNetParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_trojannet.attack import inject

        return inject(ctx, params, model, data)
