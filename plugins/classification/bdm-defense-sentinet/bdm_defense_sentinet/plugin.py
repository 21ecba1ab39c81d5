"""The plugin ``defense:sentinet``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Defense, hookimpl
from bdm_defense_sentinet.params import FEWEST_BESIDE, PAPER, SentiNetParams
from bdm_kit_classification.defending.requirements import require_rows

if TYPE_CHECKING:
    from bdm_core import Context, Data, Detection, Model, Purified


class SentiNet(Defense):
    """Pastes the region that decides a prediction on clean pictures, and flags those whose region takes these over."""

    name = "sentinet"
    summary = "Flag pictures whose salient region, pasted on clean pictures, takes those over"
    tasks = frozenset({"image-classification"})
    paper = "https://arxiv.org/abs/1812.00292"
    level = "input"
    access = frozenset({"weights", "clean-data"})
    Params = SentiNetParams
    presets: ClassVar[dict[str, dict[str, Any]]] = {"paper": PAPER}
    tiny_params: ClassVar[dict[str, Any]] = {"copies": 4, "degree": 1, "bins": 3}

    def check(self, params: SentiNetParams, clean_rows: int) -> None:
        """Refuse too few clean rows."""
        require_rows(self, clean_rows, params.degree + FEWEST_BESIDE)

    def check_model(self, params: SentiNetParams, model: Model) -> None:
        """Refuse a model without a convolution whose output is wide enough."""
        from bdm_defense_sentinet.gradcam import map_layer
        from bdm_kit_classification.models.classifier import load_classifier
        from bdm_kit_classification.models.trial import examples_for

        classifier = load_classifier(model)
        map_layer(classifier, examples_for(classifier)[:1], params.map_share)

    @hookimpl
    def detect(self, ctx: Context, params: SentiNetParams, model: Model, data: Data, suspects: Data) -> Detection:
        from bdm_defense_sentinet.detection import detect

        return detect(ctx, params, model, data, suspects)

    @hookimpl
    def purify_inputs(self, ctx: Context, params: SentiNetParams, model: Model, data: Data, inputs: Data) -> Purified:
        from bdm_defense_sentinet.detection import reject

        return reject(ctx, params, model, data, inputs)
