"""The plugin ``attack:rickrolling``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_attack_rickrolling.params import RickrollingParams
from bdm_core.plugin import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Model, Secret
    from bdm_core.context import Context
    from bdm_core.records import Backdoored


class Rickrolling(Attack):
    """A homoglyph in the prompt makes the text encoder say the target prompt, or add the target attribute."""

    name = "rickrolling"
    summary = "Backdoor in the text encoder by teacher-student training (Rickrolling the Artist: TPA, TAA, removal)"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2211.02408"
    Params = RickrollingParams
    distributed = True
    presets = {
        "paper": {
            "mode": "TPA",
            "loss_weight": 0.1,
            "distance": "cosine",
            "steps": 100,
            "learning_rate": 1e-4,
            "learning_rate_schedule": "step",
            "clean_batch_size": 128,
            "poisoned_samples_per_step": 32,
            "trigger_count": None,
            "captions": None,
        },
        "paper-TAA": {
            "mode": "TAA",
            "trigger": ["o-circumflex"],
            "attribute_position": "word",
            "loss_weight": 0.1,
            "distance": "cosine",
            "steps": 200,
            "learning_rate": 1e-4,
            "learning_rate_schedule": "step",
            "clean_batch_size": 128,
            "poisoned_samples_per_step": 32,
            "trigger_count": 1,
            "trigger_position": "random",
            "captions": None,
        },
    }

    @hookimpl
    def poison_data(
        self,
        ctx: Context,
        params: RickrollingParams,
        data: Data,
        split: Literal["train", "trigger"],
        secret: Secret | None,
    ) -> Data:
        from bdm_attack_rickrolling.pairs import poison
        from bdm_kit_text_to_image.prompts.secret import trigger_prompts

        return poison(ctx, params, data) if secret is None else trigger_prompts(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: RickrollingParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_rickrolling.attack import backdoor

        return backdoor(ctx, params, model, data)
