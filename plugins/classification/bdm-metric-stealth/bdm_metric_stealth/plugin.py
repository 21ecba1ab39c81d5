"""The plugin ``metric:stealth``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_stealth.params import StealthParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class StealthMetric(Metric):
    """How much the trigger changes a sample, measured on test samples; of the backdoored model's row alone."""

    name = "stealth"
    summary = "How much the trigger changes a sample: PSNR, SSIM, L-infinity of pictures, edits of texts, SNR of sound"
    tasks = frozenset({"image-classification", "text-classification", "audio-classification"})
    Params = StealthParams

    @hookimpl
    def score(self, ctx: Context, params: StealthParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_stealth.measure import measure

        return measure(ctx, params, subject)
