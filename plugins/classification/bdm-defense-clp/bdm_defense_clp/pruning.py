"""Channel-Lipschitzness-based pruning (Zheng et al. 2022): channels that a trigger excites are steep ones."""

from __future__ import annotations

from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_clp.params import ClpParams, SweptClpParams
from bdm_kit_classification.defending.preactivations import falling_cuts, standardised
from bdm_kit_classification.defending.pruning import by_score, prunable_units, prune_to, prune_within
from bdm_kit_classification.defending.reserve import open_reserve
from bdm_kit_classification.models.channel_bounds import channel_bounds
from bdm_kit_classification.models.classifier import Classifier, PrunableLayer, load_classifier, seal_classifier

KNOB = "deviations above the layer's mean"


def prune(ctx: Context, params: ClpParams, model: Model) -> Model:
    """Prune every channel whose bound is more than u standard deviations above the mean of its layer.

    Args:
        ctx: the model is sealed in ``ctx.out / "model"``.
        params: u.
        model: to repair.

    Raises:
        UserError: no convolution of the model is followed by a batch normalisation of its own.
    """
    classifier = load_classifier(model, ctx.device)
    cuts = sorted({*falling_cuts(), params.deviations}, reverse=True)
    prune_to(ctx, classifier, by_score(steepness(classifier), cuts, knob=KNOB), cuts.index(params.deviations))
    return seal_classifier(classifier, ctx.out / "model")


def prune_swept(ctx: Context, params: SweptClpParams, model: Model, data: Data) -> Model:
    """The same with the smallest u that held-out clean rows allow.

    Args:
        ctx: the model is sealed in ``ctx.out / "model"``.
        params: of the choice.
        model: to repair.
        data: clean rows; a part of each class is held out for the choice, the others are not used.

    Raises:
        UserError: as :func:`prune`; or there are too few rows.
    """
    classifier = load_classifier(model, ctx.device)
    scores = steepness(classifier)
    _, held = open_reserve(data, params.held_out, ctx.seed)
    prune_within(ctx, classifier, by_score(scores, falling_cuts(), knob=KNOB), held, params.accuracy_loss)
    return seal_classifier(classifier, ctx.out / "model")


def steepness(classifier: Classifier) -> dict[str, Tensor]:
    """The standardised bound of every channel, by the name of the normalisation behind it; of texts without any,
    by that of the layer.

    Raises:
        UserError: see :func:`prune`.
    """
    return {name: standardised(channel_bounds(layer)) for name, layer in bounded_layers(classifier).items()}


def bounded_layers(classifier: Classifier) -> dict[str, PrunableLayer]:
    """The layers whose channels are bounded, by the name of the normalisation behind each or, of texts, its own.

    Raises:
        UserError: there is none.
    """
    names = {id(module): name for name, module in prunable_units(classifier).items()}
    pairs = [layer for layer in classifier.prunable_layers() if id(layer.norm or layer.layer) in names]
    if not pairs:
        raise UserError(
            "no layer of this model has a batch normalisation of its own, whose scale the bound on a channel needs: "
            "choose a model that has (bdm models), or another defense"
        )
    return {names[id(layer.norm or layer.layer)]: layer for layer in pairs}
