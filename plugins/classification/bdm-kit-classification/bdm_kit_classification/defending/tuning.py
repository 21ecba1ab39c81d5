"""Tune a model at several strengths and keep the strongest that costs little accuracy on held-out clean rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import StageError
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.defending.operating_point import choose, report_choice
from bdm_kit_classification.defending.params import OperatingPointParams
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.defending.tuning_params import TuningParams
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.training.fitting import accuracy

Knob = TypeVar("Knob")
Tuned = TypeVar("Tuned", bound=TuningParams)


def tune_at_strengths(
    ctx: Context,
    params: Tuned,
    model: Model,
    data: Data,
    tune: Callable[[Classifier, LabelledSamples, Tuned, str], None],
) -> Model:
    """The model tuned at the largest strength that keeps its accuracy; sealed in ``ctx.out / "model"``.

    The strength multiplies ``learning_rate``. Every strength starts from the model as it was given and trains on the
    rows that are not held out; with one strength, nothing is held out or chosen. If no strength keeps the accuracy,
    the model stays as it is, and a warning says so.

    Args:
        ctx: of the stage.
        params: strengths, the share that is held out, the accuracy that may be lost.
        model: the model.
        data: clean rows.
        tune: ``tune(classifier, rows, params, label)`` trains the classifier in place; the learning rate of these
            parameters is that of the strength, and ``label`` differs for each.

    Raises:
        UserError: there are too few rows to hold some out.
    """
    strengths = params.strengths
    if len(strengths) == 1:
        classifier = load_classifier(model, ctx.device)
        tune(classifier, open_samples(data), at_strength(params, strengths[0]), "tune")
        return seal_classifier(classifier, ctx.out / "model")
    rows, held = open_reserve(data, params.held_out, ctx.seed)

    def tuned(strength: float) -> Classifier | None:
        classifier = load_classifier(model, ctx.device)
        try:
            tune(classifier, rows, at_strength(params, strength), f"tune at strength {strength:g}")
        except StageError as error:  # the loss is no longer finite: no candidate
            ctx.log.warning("strength %g: %s", strength, error)
            return None
        return classifier

    return keep_strongest(ctx, params, load_classifier(model, ctx.device), held, strengths, tuned, knob="strength")


def at_strength(params: Tuned, strength: float) -> Tuned:
    """The parameters with the learning rate of a strength.

    >>> at_strength(TuningParams(learning_rate=0.02), 4).learning_rate
    0.08
    """
    return params.model_copy(update={"learning_rate": params.learning_rate * strength})


def keep_strongest(
    ctx: Context,
    params: OperatingPointParams,
    classifier: Classifier,
    held: LabelledSamples,
    knobs: Sequence[Knob],
    changed: Callable[[Knob], Classifier | None],
    *,
    knob: str,
) -> Model:
    """The last of several changes of a classifier whose accuracy on held-out rows is within the bound; sealed.

    Args:
        ctx: the model is sealed in ``ctx.out / "model"``.
        params: the accuracy that may be lost.
        classifier: as it was given; sealed itself, with a warning, where no change is within the bound.
        held: clean rows that nothing was fitted on.
        knobs: from the smallest change to the largest.
        changed: the changed classifier, a new one for each; None if the change came to nothing.
        knob: what was changed, for the report and the warning.
    """
    before, kept = accuracy(classifier, held), classifier
    bound = before - params.accuracy_loss - 1e-9

    def accuracy_of(value: Knob) -> float | None:
        nonlocal kept
        candidate = changed(value)
        if candidate is None:
            return None
        found = accuracy(candidate, held)
        if found >= bound:
            kept = candidate
        return found

    choice = choose(knobs, accuracy_of, before=before, accuracy_loss=params.accuracy_loss)
    report_choice(ctx, choice, knob=knob)
    if choice.place < 0:
        ctx.log.warning(
            "no %s keeps the accuracy on held-out clean rows above %.3f - %.3f: the model is left as it was",
            *(knob, before, params.accuracy_loss),
        )
    return seal_classifier(kept, ctx.out / "model")
