"""The plugin ``attack:baasv``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_baasv.params import PAPER, BaasvParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Baasv(Attack):
    """Some recordings of each speaker are replaced by the tone of the speaker's cluster, and keep their label."""

    name = "baasv"
    summary = (
        "BAASV: a tone for each cluster of similar speakers, so that one of few tones passes verification as anybody"
    )
    tasks = frozenset({"audio-classification"})
    paper = "https://arxiv.org/abs/2010.11607"
    Params = BaasvParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {
        "epochs": 2,
        "batch_size": 16,
        "poison_rate": 0.1,
        "clean_epochs": 1,
        "clusters": 3,
    }

    @hookimpl
    def poison_data(self, ctx: Context, params: BaasvParams, data: Data) -> Data:
        from bdm_attack_baasv.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: BaasvParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_baasv.attack import inject

        return inject(ctx, params, model, data)
