"""The plugin ``defense:terd-input``: TERD at the level of single inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Defense, hookimpl
from bdm_defense_terd.params import PAPER, TerdInputParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model, Purified


class TerdInput(Defense):
    """Estimates the trigger and flags initial noise that is likelier under it than under N(0, I)."""

    name = "terd-input"
    summary = "Estimate the trigger from pairs of noise and flag the inputs that are likelier with it than without"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2409.05294"
    level = "input"
    access = frozenset({"weights"})
    Params = TerdInputParams
    presets = {"paper": PAPER}

    @hookimpl
    def detect(self, ctx: Context, params: TerdInputParams, model: Model, suspects: Data) -> Detection:
        from bdm_defense_terd.inputs import detect

        return detect(ctx, params, model, suspects)

    @hookimpl
    def purify_inputs(
        self, ctx: Context, params: TerdInputParams, model: Model, inputs: Data, detection: Detection | None
    ) -> Purified:
        from bdm_defense_terd.inputs import reject

        return reject(ctx, params, model, inputs, detection)
