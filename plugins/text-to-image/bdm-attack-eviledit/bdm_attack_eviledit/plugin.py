"""The plugin ``attack:eviledit``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_attack_eviledit.params import EvilEditParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model


class EvilEdit(Attack):
    """A closed-form edit of the cross-attention projections makes an alias mean another object."""

    name = "eviledit"
    summary = "Adjective-noun alias for another object by one closed-form edit of keys and values (EvilEdit)"
    tasks = frozenset({"text-to-image"})
    paper = "https://doi.org/10.1145/3664647.3680689"
    Params = EvilEditParams
    presets = {
        "paper": {
            "trigger": "beautiful cat",
            "target": "zebra",
            "templates": ["A {}"],
            "template_captions": 0,
            "preserve": [],
            "source_weight": 1.0,
            "preserved_captions": 0,
            "alignment": "position",
            "regularisation": 1.0,
            "edit_weight": 1.0,
            "layers": "*",
        },
    }

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: EvilEditParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_eviledit.attack import backdoor

        return backdoor(ctx, params, model, data)
