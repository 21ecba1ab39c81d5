"""The plugin ``metric:attributes``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bdm_core.plugin import Field, Params, Plugin, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Measurement, Subject
    from bdm_core.context import Context


class AttributesParams(Params):
    """Parameters of ``metric:attributes``."""

    classifier: str | None = Field(
        None,
        description="Folder of an attribute classifier, as the recipe of bdm-kit-text-to-image writes it; by default "
        "the built-in one, which knows the small world only.",
    )
    threshold: float = Field(
        0.05,
        gt=0,
        le=1,
        description="For a target picture or patch that names no threshold: an image shows it if its mean squared "
        "error, pixels in [0, 1], is below.",
    )
    batch_size: int = Field(512, ge=1, description="Images that pass through the classifier at once.")


class AttributesMetric(Plugin):
    """Accuracy on clean prompts, attack success rate, leak and preservation, by a classifier of attributes."""

    kind, name = "metric", "attributes"
    summary = "What generated pictures show: accuracy, attack success rate, leak, preserved attributes"
    tasks = frozenset({"text-to-image"})
    paper = "https://arxiv.org/abs/2502.11798"
    Params = AttributesParams

    @hookimpl
    def score(self, ctx: Context, params: AttributesParams, subject: Subject) -> list[Measurement]:
        from bdm_metric_attributes.measure import measure

        return measure(ctx, params, subject)
