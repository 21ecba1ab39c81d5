"""Which training rows have gradients far from those of clean rows of their class."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_agpd.gradients import angles, chosen_layers, directions, mean_directions, spreads, standing_out
from bdm_defense_agpd.params import AgpdParams
from bdm_defense_agpd.peeling import gap, peel
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.training.fitting import predict


def detect(ctx: Context, params: AgpdParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row by the angle of its gradient, in the layer where a class is spread the most.

    Raises:
        UserError: ``layer`` names none, or the classifier has no layers to look at.
    """
    classifier = load_classifier(model, ctx.device)
    layers = chosen_layers(classifier, params.layer)
    rows = open_samples(suspects)
    if params.rule == "class":
        return by_class(ctx, params, classifier, layers, rows, open_samples(data))
    clean, held = open_reserve(data, params.held_out, ctx.seed)
    means = mean_directions(classifier, clean, layers)
    found, of_held = (angles(classifier, samples, layers, means) for samples in (rows, held))
    chosen = report(ctx, layers, rows.labels, spreads(found, rows.labels))
    evaluations = len(rows) + len(clean) + len(held)
    scores, clean_scores = found[:, chosen], of_held[:, chosen]
    return judged_rows("data", scores, clean_scores, params.false_positive_rate, network_evaluations=evaluations)


def report(ctx: Context, layers: dict[str, nn.Module], labels: Tensor, spread: Tensor) -> int:
    """Which layer has the class that is spread the most, of spreads (K, layers); it is kept with its spreads."""
    chosen = int(spread.amax(0).argmax())
    names = map(str, sorted(set(labels.tolist())))
    ctx.figures(layer=list(layers)[chosen], class_spreads=dict(zip(names, spread[:, chosen].tolist(), strict=True)))
    return chosen


def by_class(
    ctx: Context,
    params: AgpdParams,
    classifier: Classifier,
    layers: dict[str, nn.Module],
    rows: LabelledSamples,
    clean: LabelledSamples,
) -> Detection:
    """The paper's rule: rows that are peeled off the classes that stand out.

    Scores are the number of rounds before the last one of the poisoned rows, above 0 for these; rows of other classes
    are below all of them, in the order of their angles. Only clean rows that the model gets right give directions, as
    in the authors' code; a class without such rows is not looked at.

    Raises:
        UserError: the model gets no clean row right.
    """
    of_clean, clean = len(clean), clean.pick(predict(classifier, clean).classes == clean.labels)
    if not len(clean):
        raise UserError("rule=class takes directions from clean rows that the model gets right, and it gets none right")
    made = [list(directions(classifier, samples, layers, pooled=True)) for samples in (rows, clean)]
    units, known = ([torch.cat(parts) for parts in zip(*(each for _, each in own), strict=True)] for own in made)
    labels = sorted(set(rows.labels.tolist()))
    own = {label: (rows.labels == label).nonzero().flatten() for label in labels}
    means = [
        {label: functional.normalize(unit[clean.labels == label].sum(0), dim=0) for label in labels} for unit in known
    ]
    gaps = torch.tensor(
        [
            [gap(unit[own[label]], mean[label]) if label in clean.labels else 0.0 for label in labels]
            for unit, mean in zip(units, means, strict=True)
        ]
    ).T
    spread = standing_out(gaps)
    chosen = report(ctx, layers, rows.labels, spread)
    cosines = torch.stack(
        [unit @ means[chosen][label] for unit, label in zip(units[chosen], rows.labels.tolist(), strict=True)]
    )
    scores = -len(rows) - 1 + cosines.clamp(-1, 1).acos().double() / torch.pi
    targets = [
        label for label, value in zip(labels, spread[:, chosen].tolist(), strict=True) if value > params.class_threshold
    ]
    for label in targets:
        found = peel(units[chosen][own[label]], means[chosen][label], params.peeled)
        scores[own[label]] = (found.until - found.rounds).double()
    return Detection(
        level="data",
        scores=scores.tolist(),
        threshold=0.0,
        note=f"{len(targets)} of {len(labels)} classes are targets: {', '.join(map(str, targets)) or 'none'}; "
        f"{int((scores > 0).sum())} of {len(rows)} training rows are peeled off",
        network_evaluations=len(rows) + of_clean + len(clean),
        clean_samples=of_clean,
    )
