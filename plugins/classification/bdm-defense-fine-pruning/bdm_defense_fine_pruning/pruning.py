"""Fine-pruning (Liu, Dolan-Gavitt, Garg 2018): what clean data never use may be the backdoor's."""

from __future__ import annotations

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_defense_fine_pruning.params import FinePruningParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.pruning import Sweep, in_order, kept_at_zero, prune_within
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.training.fitting import Changes, accuracy, fit, predict


def prune(ctx: Context, params: FinePruningParams, model: Model, data: Data) -> Model:
    """Prune features from the most silent on, as many as the bound allows, and fine-tune the rest.

    Args:
        ctx: the model is sealed in ``ctx.out / "model"``.
        params: of pruning and fine-tuning.
        model: to repair.
        data: clean rows; a part of each class is held out for the choice.

    Raises:
        UserError: too few rows.
    """
    rows, held = open_reserve(data, params.held_out, ctx.seed)
    classifier = load_classifier(model, ctx.device)
    sweep = silent_first(classifier, rows, params.points)
    choice = prune_within(ctx, classifier, sweep, held, params.accuracy_loss)
    if params.fine_tune:
        again = kept_at_zero(classifier, sweep, choice.place)
        fit(ctx, classifier, rows, params, Changes(after_step=again), label="fine-tune")
        ctx.figures(held_out_accuracy={"before": choice.before, "fine-tuned": accuracy(classifier, held)})
    return seal_classifier(classifier, ctx.out / "model")


def silent_first(classifier: Classifier, rows: LabelledSamples, points: int) -> Sweep:
    """Features (what the head sees: the last layer's channels) by their mean absolute activation on clean rows."""
    mean = predict(classifier, rows).features.abs().mean(0)
    (head,) = (name for name, module in classifier.named_modules() if module is classifier.head)
    order = [(head, int(unit)) for unit in mean.argsort(stable=True)]
    step = max(1, round(len(order) / points))
    return in_order(order, range(step, len(order) + 1, step))
