"""The plugin ``metric:feature-analysis``."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from bdm_core import Metric, UserError, hookimpl
from bdm_metric_feature_analysis.params import MISSING_UMAP, FeatureAnalysisParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Model, Subject


class FeatureAnalysisMetric(Metric):
    """Where triggered samples lie among the features of the classes: t-SNE, UMAP, log-spectrum, silhouette."""

    name = "feature-analysis"
    summary = "Where triggered samples lie among the features of the classes: t-SNE, UMAP, log-spectrum, silhouette"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/1811.03728"
    Params = FeatureAnalysisParams

    def check_model(self, params: FeatureAnalysisParams, model: Model) -> None:
        """Refuse UMAP where it is not installed."""
        if params.projection == "umap" and importlib.util.find_spec("umap") is None:
            raise UserError(MISSING_UMAP)

    @hookimpl
    def score(self, ctx: Context, params: FeatureAnalysisParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_feature_analysis.measure import measure

        return measure(ctx, params, subject)
