"""The plugin ``defense:scale-up-data-free``: SCALE-UP without any data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_scale_up.params import ScaleUpDataFreeParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Purified


class ScaleUpDataFree(Defense):
    """Amplifies the pixels of every picture and flags those whose prediction mostly stays; needs no data."""

    name = "scale-up-data-free"
    summary = "Flag pictures whose prediction survives amplified pixels, by a fixed threshold and without data"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2302.03251"
    level = "input"
    access = frozenset({"predictions"})
    Params = ScaleUpDataFreeParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"factors": (3.0, 5.0, 7.0, 9.0, 11.0), "threshold": 0.5}}
    tiny_params: ClassVar[dict[str, Any]] = {"threshold": 0.9}

    @hookimpl
    def detect(self, ctx: Context, params: ScaleUpDataFreeParams, suspects: Data) -> Detection:
        from bdm_defense_scale_up.detection import detect_without_data

        return detect_without_data(ctx, params, suspects)

    @hookimpl
    def purify_inputs(self, ctx: Context, params: ScaleUpDataFreeParams, inputs: Data) -> Purified:
        from bdm_defense_scale_up.detection import reject_without_data

        return reject_without_data(ctx, params, inputs)
