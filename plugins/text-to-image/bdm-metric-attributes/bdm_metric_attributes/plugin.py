"""The plugin ``metric:attributes``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core import Metric, hookimpl
from bdm_metric_attributes.params import AttributesParams

if TYPE_CHECKING:
    from bdm_core import Context, Measurement, Model, Subject


class AttributesMetric(Metric):
    """Accuracy on clean prompts, attack success rate, leak and preservation, by a classifier of attributes."""

    name = "attributes"
    summary = "What generated pictures show: accuracy, attack success rate, leak, preserved attributes"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2502.11798"
    Params = AttributesParams

    def check_model(self, params: AttributesParams, model: Model) -> None:
        """Refuse a folder without a classifier."""
        from bdm_kit_text_to_image.judging.attributes import require_attribute_classifier

        require_attribute_classifier(params.classifier)

    @hookimpl
    def score(self, ctx: Context, params: AttributesParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_attributes.measure import measure

        return measure(ctx, params, subject)
