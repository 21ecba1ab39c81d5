"""The plugin ``metric:nab-filter``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_defense_nab.filter_params import NabFilterParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Subject


class NabFilter(Metric):
    """Turns inputs away whose class changes with the stamp of a model that ``nab`` repaired, and counts them."""

    name = "nab-filter"
    summary = "NAB's filter of inputs on the repaired model: what it turns away, what passes and is right"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/2307.15539"
    Params = NabFilterParams

    @hookimpl
    def score(self, ctx: Context, params: NabFilterParams, subject: Subject) -> list[Measurement]:
        from bdm_defense_nab.filtering import measure

        return measure(ctx, params, subject)
