"""The plugin ``defense:scale-up``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_scale_up.params import ScaleUpParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Purified


class ScaleUp(Defense):
    """Amplifies the pixels of every picture and flags those whose prediction stays, against clean ones of the class."""

    name = "scale-up"
    summary = "Flag pictures whose prediction survives amplified pixels, compared with clean pictures of the class"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2302.03251"
    level = "input"
    access = frozenset({"predictions", "clean-data"})
    Params = ScaleUpParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"factors": (3.0, 5.0, 7.0, 9.0, 11.0)}}

    def check(self, params: ScaleUpParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows)

    @hookimpl
    def detect(self, ctx: Context, params: ScaleUpParams, data: Data, suspects: Data) -> Detection:
        from bdm_defense_scale_up.detection import detect

        return detect(ctx, params, data, suspects)

    @hookimpl
    def purify_inputs(self, ctx: Context, params: ScaleUpParams, data: Data, inputs: Data) -> Purified:
        from bdm_defense_scale_up.detection import reject

        return reject(ctx, params, data, inputs)
