"""The plugin ``attack:bad-encoder``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_bad_encoder.params import PAPER, BadEncoderParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class BadEncoder(Attack):
    """An encoder that gives triggered pictures a reference's features; a probe trained on it inherits the backdoor."""

    name = "bad-encoder"
    summary = "BadEncoder: a contrastive encoder with a backdoor, and a linear probe trained on it with clean labels"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2108.00352"
    Params = BadEncoderParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 1,
        "batch_size": 16,
        "contrastive_epochs": 1,
        "backdoor_epochs": 1,
        "size": 3,
    }

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BadEncoderParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_bad_encoder.attack import inject

        return inject(ctx, params, model, data)
