"""The plugin ``defense:shrink-pad``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_shrink_pad.params import ShrinkPadParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Purified


class ShrinkPad(Defense):
    """Shrinks every picture and pads it at a random place before the model sees it."""

    name = "shrink-pad"
    summary = "Shrink every picture and pad it at random, so that a trigger loses its place"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2104.02361"
    level = "input"
    access = frozenset()
    Params = ShrinkPadParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"shrink": 0.125, "fill": 0.0}}

    @hookimpl
    def purify_inputs(self, ctx: Context, params: ShrinkPadParams, inputs: Data) -> Purified:
        from bdm_defense_shrink_pad.purification import purify

        return purify(ctx, params, inputs)
