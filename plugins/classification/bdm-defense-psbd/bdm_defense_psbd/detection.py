"""Which training rows keep their prediction under dropout."""

from __future__ import annotations

from torch import nn

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_psbd.dropout import Shift, chosen_rate, probabilities, uncertainties
from bdm_defense_psbd.params import PsbdParams
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.judging import judged_rows
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.training.fitting import Changes, fit, predict


def detect(ctx: Context, params: PsbdParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Score every training row by minus its prediction shift uncertainty.

    Raises:
        UserError: the classifier has no layers to drop activations of.
    """
    classifier = load_classifier(model, ctx.device)
    rows, clean = open_samples(suspects), open_samples(data)
    if params.checkpoint_epochs:
        classifier = checkpoint(ctx, params, classifier, rows)
    layers = layers_of(classifier, params.layers)

    def shifts(samples: LabelledSamples, rate: float) -> Shift:
        plain = predict(classifier, samples).logits.softmax(1)
        passes = [
            probabilities(classifier, samples, layers, rate, ctx.seed + number) for number in range(params.passes)
        ]
        return uncertainties(plain, passes)

    found = [(shifts(rows, rate), shifts(clean, rate)) for rate in params.rates]
    changed = [[pair[which].changed for pair in found] for which in (1, 0)]
    place = chosen_rate(params.rates, *changed, params.wanted_shift)
    ctx.figures(rate=params.rates[place], rates=params.rates, clean_changed=changed[0], suspects_changed=changed[1])
    of_rows, of_clean = found[place]
    evaluations = len(params.rates) * (params.passes + 1) * (len(rows) + len(clean))
    evaluations += params.checkpoint_epochs * len(rows)
    return judged_rows(
        "data",
        -of_rows.uncertainty,
        -of_clean.uncertainty,
        params.false_positive_rate,
        network_evaluations=evaluations,
    )


def checkpoint(ctx: Context, params: PsbdParams, known: Classifier, rows: LabelledSamples) -> Classifier:
    """A new network of the architecture of ``known`` on its way: trained on the rows, at the rates of a training of
    ``epochs``, and left after ``checkpoint_epochs`` of them.
    """
    made = known.fresh(ctx.seed)
    steps = params.checkpoint_epochs * params.steps(len(rows)) // params.epochs
    fit(ctx, made, rows, params, Changes(until=steps), label="checkpoint")
    return made


def layers_of(classifier: Classifier, which: str) -> list[nn.Module]:
    """Behind what activations are dropped: all convolutions and linear maps, or normalisations behind them; or the
    ``last-half`` of these.

    Raises:
        UserError: the classifier has none.
    """
    layers: list[nn.Module] = [pair.norm or pair.layer for pair in classifier.prunable_layers()]
    if not layers:
        raise UserError(
            "psbd drops activations behind convolutions and linear maps, and this model has none but its head: choose "
            "another model, or another defense"
        )
    return layers if which == "all" else layers[len(layers) // 2 :]
