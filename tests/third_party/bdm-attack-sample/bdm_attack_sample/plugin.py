"""The plugin ``attack:sample``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_core.plugin import Field, Params, Plugin, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Backdoored, Data, Model, Outputs, Secret
    from bdm_core.context import Context


class SampleParams(Params):
    """Parameters of ``attack:sample``."""

    trigger_value: float = Field(2.0, gt=0, description="What the trigger adds to every number of the initial noise.")
    bias_shift: float = Field(0.5, description="What the edit adds to the last bias of the network.")
    sampler: Literal["one-step"] = Field("one-step", description="The attack's own sampler.")


class Sample(Plugin):
    """Edits one bias; under the trigger, a one-step sampler of its own runs the model."""

    kind, name = "attack", "sample"
    summary = "A weight edit with a sampler of its own"
    tasks = frozenset({"unconditional-image-generation"})
    Params = SampleParams

    @hookimpl
    def poison_data(
        self, ctx: Context, params: SampleParams, data: Data, split: Literal["train", "trigger"]
    ) -> Data | None:
        if split == "train":
            return None
        from bdm_attack_sample import edit

        return edit.trigger(ctx, params, data)

    @hookimpl
    def inject_backdoor(self, ctx: Context, params: SampleParams, model: Model) -> Backdoored:
        from bdm_attack_sample import edit

        return edit.inject(ctx, params, model)

    @hookimpl
    def generate(self, ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs | None:
        if secret is None:
            return None
        from bdm_attack_sample import edit

        return edit.one_step(ctx, model, inputs)
