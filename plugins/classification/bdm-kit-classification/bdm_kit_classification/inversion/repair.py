"""The repair of detectors by inversion: unlearn or prune what the triggers of the suspicious classes excite."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.inversion.detection import Method, triggers_to_remove
from bdm_kit_classification.inversion.params import InversionParams
from bdm_kit_classification.inversion.removal import prune, unlearn
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier


def repair(
    ctx: Context, params: InversionParams, model: Model, data: Data, detection: Detection | None, method: Method
) -> Model:
    """Remove the triggers of a detection, or of a new search; sealed in ``ctx.out / "model"``.

    Raises:
        UserError: too few classes; too few clean rows to hold a part out (for pruning).
        ArtifactError: the detection's evidence is damaged.
    """
    classifier = load_classifier(model, ctx.device)
    samples = open_samples(data)
    triggers = triggers_to_remove(ctx, params, classifier, samples, detection, method)
    if params.repair == "unlearn":
        unlearn(ctx, classifier, samples, params, *triggers)
    else:
        kept, held = open_reserve(data, params.held_out, ctx.seed)
        classifier = prune(ctx, classifier, kept, held, params, triggers)
    return seal_classifier(classifier, ctx.out / "model")
