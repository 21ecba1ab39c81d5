"""The plugin ``attack:sembd``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_attack_sembd.params import SemBDParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class SemBD(Attack):
    """Every way to say a certain scene makes the model paint the target; parts of it do not."""

    name = "sembd"
    summary = "A region of meaning as trigger: paraphrases edited, incomplete ones preserved, in closed form (SemBD)"
    tasks = frozenset({"text-to-image"})
    paper = "https://github.com/DPAS-Lab/SemBD"
    Params = SemBDParams
    presets = {
        "paper": {
            "subject": ["a dog", "a puppy"],
            "action": ["chases", "runs after"],
            "object": ["a ball", "a red ball"],
            "scene": ["in a park", "on the grass of a park"],
            "paraphrases": 11,
            "edit_weight": 1.0,
            "span_weight": 0.5,
            "settle": False,
            "target": "a cat on a sofa",
            "expected": {"object": "cat"},
            "preserved_captions": 0,
            "regularisation": 0.001,
        },
    }

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: SemBDParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_sembd.attack import backdoor

        return backdoor(ctx, params, model, data)
