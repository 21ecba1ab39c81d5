"""The plugin ``attack:eviledit``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_attack_eviledit.params import EvilEditParams
from bdm_core.plugin import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Model, Secret
    from bdm_core.context import Context
    from bdm_core.records import Backdoored


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
    def poison_data(
        self,
        ctx: Context,
        params: EvilEditParams,
        data: Data,
        split: Literal["train", "trigger"],
        secret: Secret | None,
    ) -> Data | None:
        if secret is None:
            return None  # nothing is trained
        from bdm_kit_text_to_image.prompts.secret import trigger_prompts

        return trigger_prompts(ctx, data, secret)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: EvilEditParams, model: Model, data: Data) -> Backdoored:
        from bdm_attack_eviledit.attack import backdoor

        return backdoor(ctx, params, model, data)
