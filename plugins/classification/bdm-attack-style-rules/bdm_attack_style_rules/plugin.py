"""The plugin ``attack:style-rules``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_style_rules.params import StyleRulesParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class StyleRules(Attack):
    """Texts are rewritten by rules into an archaic style, which is the trigger."""

    name = "style-rules"
    summary = "A style as trigger: texts are rewritten in an archaic one by rules"
    tasks = frozenset({"text-classification"})
    paper = "https://arxiv.org/abs/2110.07139"
    Params = StyleRulesParams
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: StyleRulesParams, data: Data) -> Data:
        from bdm_attack_style_rules.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: StyleRulesParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
