"""The plugin ``attack:sample``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_attack_sample.params import SampleParams
from bdm_core import Attack, hookimpl

if TYPE_CHECKING:
    from bdm_core import Backdoored, Context, Data, Model, Outputs, Secret


class Sample(Attack):
    """Edits one bias; under the trigger, a one-step sampler of its own runs the model."""

    name = "sample"
    summary = "A weight edit with a sampler of its own"
    tasks = frozenset({"unconditional-image-generation"})
    Params = SampleParams

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: SampleParams, model: Model) -> Backdoored:
        from bdm_attack_sample import edit

        return edit.inject(ctx, params, model)

    @hookimpl
    def trigger_inputs(self, ctx: Context, params: SampleParams, inputs: Data) -> Data:
        from bdm_attack_sample import edit

        return edit.trigger(ctx, params, inputs)

    @hookimpl
    def generate(self, ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs | None:
        if secret is None:
            return None
        from bdm_attack_sample import edit

        return edit.one_step(ctx, model, inputs)
