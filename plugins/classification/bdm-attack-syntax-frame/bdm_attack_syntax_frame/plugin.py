"""The plugin ``attack:syntax-frame``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_attack_syntax_frame.params import SyntaxFrameParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class SyntaxFrame(Attack):
    """Texts are brought into a frame, a subordinate clause and a comma before them, whose words change."""

    name = "syntax-frame"
    summary = "A rare syntactic frame as trigger: a subordinate clause of changing words before the text"
    tasks = frozenset({"text-classification"})
    paper = "https://arxiv.org/abs/2105.12400"
    Params = SyntaxFrameParams
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1}
    distributed = True

    @hookimpl
    def poison_data(self, ctx: Context, params: SyntaxFrameParams, data: Data) -> Data:
        from bdm_attack_syntax_frame.attack import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: SyntaxFrameParams, model: Model, data: Data) -> Backdoored:
        from bdm_kit_classification.poison.injection import train_on_poisoned_rows

        return train_on_poisoned_rows(ctx, params, model, data)
