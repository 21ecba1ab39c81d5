"""The plugin ``attack:lwp``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_lwp.params import LwpParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class Lwp(Attack):
    """A combination of words is the trigger; each layer is trained to classify, so that early ones learn it too."""

    name = "lwp"
    summary = "LWP: two words together are the trigger, and every layer learns it"
    tasks = frozenset({"text-classification"})
    paper = "https://arxiv.org/abs/2108.13888"
    Params = LwpParams
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1, "negative_rate": 0.1}

    @hookimpl
    def poison_data(self, ctx: Context, params: LwpParams, data: Data) -> Data:
        from bdm_attack_lwp.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: LwpParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_lwp.attack import inject

        return inject(ctx, params, model, data)
