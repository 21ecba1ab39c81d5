"""Which training rows have gradients far from those of clean rows of their class."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_agpd.gradients import angles, layers_of, mean_directions, spreads
from bdm_defense_agpd.params import AgpdParams
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import load_classifier


def detect(ctx: Context, params: AgpdParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row by the angle of its gradient, in the layer where a class is spread the most.

    Raises:
        UserError: ``layer`` names none, or the classifier has no layers to look at.
    """
    classifier = load_classifier(model, ctx.device)
    layers = layers_of(classifier)
    if params.layer != "widest":
        layers = {name: layer for name, layer in layers.items() if name == params.layer}
    if not layers:
        raise UserError(f"this classifier has no layer {params.layer!r}: known are {', '.join(layers_of(classifier))}")
    clean, held = open_reserve(data, params.held_out, ctx.seed)
    rows = open_samples(suspects)
    means = mean_directions(classifier, clean, layers)
    found, of_held = (angles(classifier, samples, layers, means) for samples in (rows, held))
    spread = spreads(found, rows.labels)
    chosen = int(spread.amax(0).argmax())
    ctx.figures(
        layer=list(layers)[chosen],
        class_spreads=dict(zip(map(str, sorted(set(rows.labels.tolist()))), spread[:, chosen].tolist(), strict=True)),
    )
    evaluations = len(rows) + len(clean) + len(held)
    scores, clean_scores = found[:, chosen], of_held[:, chosen]
    return judged_rows("data", scores, clean_scores, params.false_positive_rate, network_evaluations=evaluations)
