"""The plugin ``attack:rickrolling``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_attack_rickrolling.params import RickrollingParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


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
    def poison_data(self, ctx: Context, params: RickrollingParams, data: Data) -> Data:
        from bdm_attack_rickrolling.pairs import poison

        return poison(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: RickrollingParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_rickrolling.attack import backdoor

        return backdoor(ctx, params, model, data)
