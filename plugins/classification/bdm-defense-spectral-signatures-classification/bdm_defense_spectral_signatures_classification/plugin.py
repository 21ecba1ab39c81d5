"""The plugin ``defense:spectral-signatures``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import hookimpl
from bdm_defense_spectral_signatures_classification.params import SpectralSignaturesParams
from bdm_kit_classification.defending.row_detector import RowDetector

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model


class SpectralSignatures(RowDetector):
    """Flags training rows that stand out along the first principal direction of their class's features."""

    name = "spectral-signatures"
    summary = "Flag training rows by the first singular direction of their class's features, train without them"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    paper = "https://arxiv.org/abs/1811.00636"
    Params = SpectralSignaturesParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": {"rule": "share"}}
    tiny_params: ClassVar[dict[str, Any]] = {"epochs": 1, "batch_size": 10}

    @hookimpl
    def detect(
        self, ctx: Context, params: SpectralSignaturesParams, model: Model, data: Data, suspects: Data
    ) -> Detection:
        from bdm_defense_spectral_signatures_classification.detection import detect

        return detect(ctx, params, model, data, suspects)
