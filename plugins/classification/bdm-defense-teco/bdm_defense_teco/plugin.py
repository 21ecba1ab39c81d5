"""The plugin ``defense:teco``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_teco.params import TecoParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Purified


class Teco(Defense):
    """Corrupts every picture in fifteen ways and flags those that resist some and not others."""

    name = "teco"
    summary = "Flag pictures by how unevenly their prediction resists fifteen corruptions"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2303.18191"
    level = "input"
    access = frozenset({"predictions", "clean-data"})
    Params = TecoParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"strengths": "imagenet-c"}}
    tiny_params: ClassVar[dict[str, Any]] = {"corruptions": ("gaussian-noise", "fog", "pixelate")}

    @hookimpl
    def detect(self, ctx: Context, params: TecoParams, data: Data, suspects: Data) -> Detection:
        from bdm_defense_teco.robustness import detect

        return detect(ctx, params, data, suspects)

    @hookimpl
    def purify_inputs(self, ctx: Context, params: TecoParams, data: Data, inputs: Data) -> Purified:
        from bdm_defense_teco.robustness import reject

        return reject(ctx, params, data, inputs)
