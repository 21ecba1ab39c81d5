"""The plugin ``defense:terd-input``: TERD at the level of single inputs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from bdm_core.plugin import Field, Plugin, hookimpl
from bdm_defense_terd.plugin import PAPER, TerdParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Detection, Model
    from bdm_core.context import Context


class TerdInputParams(TerdParams):
    """Parameters of ``defense:terd-input``: those of ``defense:terd``'s estimation, and what an input is judged by."""

    judge: Literal["estimate", "start", "mean-pixel"] = Field(
        "estimate",
        description="estimate: the likelihood under the estimated trigger; start: under the start points alone, not "
        "optimised; mean-pixel: the mean of the input's values. The last two are baselines.",
    )


class TerdInput(Plugin):
    """Estimates the trigger and flags initial noise that is likelier under it than under N(0, I)."""

    kind, name = "defense", "terd-input"
    summary = "Estimate the trigger from pairs of noise and flag the inputs that are likelier with it than without"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2409.05294"
    level = "input"
    Params = TerdInputParams
    presets = {"paper": PAPER}

    @hookimpl
    def detect(self, ctx: Context, params: TerdInputParams, model: Model, suspects: Data) -> Detection:
        from bdm_defense_terd.inputs import detect

        return detect(ctx, params, model, suspects)
