"""The plugin ``defense:decree``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_decree.params import PAPER, DecreeParams

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class Decree(Defense):
    """Inverts one trigger that makes the features of all pictures alike; a small one is a backdoor's."""

    name = "decree"
    summary = "DECREE: the smallest mask and pattern that make an encoder's features all alike, without any label"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2303.15180"
    level = "model"
    access = frozenset({"weights", "clean-data"})
    by_name_only = "calls most clean classifiers backdoored, so it is asked by name only (--detect decree)"
    Params = DecreeParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"steps": 8, "batch": 10}

    @hookimpl
    def detect(self, ctx: Context, params: DecreeParams, model: Model, data: Data) -> Detection:
        from bdm_defense_decree.detection import detect

        return detect(ctx, params, model, data)
