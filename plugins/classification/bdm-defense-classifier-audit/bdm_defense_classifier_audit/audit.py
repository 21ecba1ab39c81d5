"""What the audit measures of a classifier, class by class."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from bdm_core.errors import ArtifactError
from bdm_defense_classifier_audit.params import FEATURE_STEPS, ClassifierAuditParams
from bdm_defense_classifier_audit.probes import positive_mass, shares_of_strange, shifted_features
from bdm_defense_classifier_audit.searches import (
    GRID,
    Aims,
    added,
    largest_margins,
    smallest_norms,
    smallest_patches,
    warped,
)
from bdm_defense_classifier_audit.spectrum import smallest_spectra
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Audit:
    """The measures of one model.

    Attributes:
        values: measure, as in :mod:`bdm_defense_classifier_audit.measures` -> (K,), of each class, positive.
        patches: (K, C, H, W), the smallest patch of each class; None where no picture was looked at.
    """

    values: dict[str, list[float]]
    patches: Tensor | None = None


def pictures_for(samples: LabelledSamples, per_class: int) -> LabelledSamples:
    """The first rows of each class."""
    rows = [row for label in range(len(samples.classes)) for row in samples.rows_of_class(label)[:per_class]]
    return samples.pick(rows)


def audit(classifier: Classifier, samples: LabelledSamples, params: ClassifierAuditParams, seed: int) -> Audit:
    """Measure a classifier on a few clean pictures of every class.

    Raises:
        ArtifactError: what it answers is not finite.
    """
    few, more = (_given(classifier, samples, count) for count in (params.pictures, params.warp_pictures))
    shape = tuple(few[0].shape[1:])
    of_weights = audit_weights(classifier, shape, seed)
    sizes, patches = smallest_patches(classifier, *few, params.patch_steps, seed)
    with torch.no_grad():
        features = classifier.features(more[0])
    size = (features.shape[1],)
    found = {
        "patch": sizes,
        "added": smallest_norms(added(classifier), *few, shape, params.steps, seed),
        "warp": smallest_norms(warped(classifier, *shape[1:]), *more, (2, GRID, GRID), params.warp_steps, seed),
        "spectrum": smallest_spectra(classifier, *few, params.spectrum_steps, seed),
        "feature": smallest_norms(shifted_features(classifier), features, more[1], size, FEATURE_STEPS, seed, 0.5),
        **shares_of_strange(classifier, *few, seed),
    }
    return Audit({**_finite(found), **of_weights.values}, patches.cpu())


def audit_weights(classifier: Classifier, shape: tuple[int, ...], seed: int) -> Audit:
    """Measure a classifier without any picture.

    Args:
        classifier: put into evaluation mode, its weights get no gradients.
        shape: (C, H, W) of the pictures that it takes.
        seed: of the pictures that margins are searched from.

    Raises:
        ArtifactError: what it answers is not finite.
    """
    classifier.eval().requires_grad_(False)
    found = {"margin": largest_margins(classifier, shape, seed), "head": positive_mass(classifier)}
    return Audit(_finite(found))


def _finite(found: dict[str, Tensor]) -> dict[str, list[float]]:
    if not all(bool(values.isfinite().all()) for values in found.values()):
        raise ArtifactError("the model's answers are not finite: its weights are damaged")
    return {name: values.double().tolist() for name, values in found.items()}


def _given(classifier: Classifier, samples: LabelledSamples, per_class: int) -> tuple[Tensor, Aims]:
    chosen = pictures_for(samples, per_class)
    pictures = chosen.modality.collate(chosen.raw(), classifier)
    return pictures, Aims(chosen.labels.to(pictures.device), len(classifier.classes))
