"""What defenses need of a model and of clean rows, known before anything is trained. Light: no torch."""

from __future__ import annotations

from bdm_core.artifacts import Model
from bdm_core.errors import UserError
from bdm_core.plugin import Defense, identifier
from bdm_kit_classification.models.folders import ARCHITECTURE, STEM, read_config
from bdm_kit_classification.tasks.audio import AUDIO_TASK
from bdm_kit_classification.tasks.text import TEXT_TASK
from bdm_torch.foreign_models import find_weights

STATISTICS = ".running_mean"
"""The end of the name of a tensor that only batch normalisations have."""
LEAST_ROWS = 2
"""Clean rows of which one can be held out."""


def require_norms(defense: Defense, model: Model, least: int = 1) -> None:
    """Refuse a sealed model with fewer batch normalisations than a defense needs, by the headers of its weights.

    The defenses work on those of two-dimensional maps (:meth:`Classifier.norms`). Networks of sound may have others, of
    sequences or vectors, which the headers do not tell apart: a model of sound is loaded for it.

    Args:
        defense: who asks.
        model: a classifier.
        least: how many the defense needs.

    Raises:
        UserError: it has fewer.
        ArtifactError: as :func:`bdm_torch.foreign_models.find_weights`.
    """
    count = count_norms(model)
    if count < least:
        needed = "one" if least == 1 else f"{least} of them"
        raise UserError(
            f"{identifier(defense)} works on batch normalisations and needs at least {needed}, and this model has "
            f"{count or 'none'}: choose a model that has (bdm models), or another defense"
        )
    if model.task == AUDIO_TASK:
        from bdm_kit_classification.models.classifier import load_classifier

        if len(load_classifier(model).norms()) < least:
            raise UserError(
                f"{identifier(defense)} is written for batch normalisations of two-dimensional maps (BatchNorm2d), and "
                "this model's are of sequences or vectors (BatchNorm1d): choose another model (bdm models) or defense"
            )


def count_norms(model: Model) -> int:
    """How many batch normalisations a sealed model has, by the headers of its weights."""
    return sum(name.endswith(STATISTICS) for name in find_weights(model.path, STEM).tensors)


def require_units(defense: Defense, model: Model) -> None:
    """Refuse a sealed model without units to prune: those of batch normalisations; of texts without any, of layers.

    See :func:`bdm_kit_classification.defending.pruning.prunable_units`. A model of texts is loaded for it.

    Raises:
        UserError: it has none.
        ArtifactError: as :func:`require_norms`.
    """
    if model.task != TEXT_TASK or count_norms(model):
        require_norms(defense, model)
        return
    from bdm_kit_classification.models.classifier import load_classifier

    if not load_classifier(model).prunable_layers():
        raise UserError(
            f"{identifier(defense)} prunes units of batch normalisations, convolutions or linear maps, and this model "
            "has none but its head: choose a model that has (bdm models), or another defense"
        )


def require_classes(defense: Defense, model: Model, least: int) -> None:
    """Refuse a sealed model with fewer classes than a defense needs to compare them.

    Raises:
        UserError: it has fewer.
    """
    classes = model.meta.get("classes")
    if isinstance(classes, list) and len(classes) < least:
        raise UserError(
            f"{identifier(defense)} compares classes and needs at least {least} of them, and this model has "
            f"{len(classes)}: choose another defense"
        )


def require_own_network(defense: Defense, model: Model, what: str) -> None:
    """Refuse a sealed model that is none of the kit's own networks.

    Args:
        defense: who asks.
        model: a classifier.
        what: the defense does that only the kit's own networks can keep.

    Raises:
        UserError: it is none.
        ArtifactError: as :func:`bdm_kit_classification.models.folders.read_config`.
    """
    if ARCHITECTURE not in read_config(model.path)[1]:
        raise UserError(f"{identifier(defense)} {what}, which only the kit's own networks can keep (bdm models)")


def require_rows(defense: Defense, clean_rows: int, least: int = LEAST_ROWS) -> None:
    """Refuse so few clean rows that none can be held out, or that too few are left to work with.

    Args:
        defense: who asks.
        clean_rows: how many the defender has.
        least: how many the defense needs, those that are held out among them.

    Raises:
        UserError: there are fewer.

    >>> require_rows(Defense(), 2)
    """
    if clean_rows < least:
        raise UserError(
            f"{identifier(defense)} needs at least {least} clean rows, of which it holds a part out, and the defender "
            f"has {clean_rows}: allow more data (--data-share), or name other data (--data)"
        )
