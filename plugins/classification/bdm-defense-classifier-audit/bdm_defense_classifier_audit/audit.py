"""What the audit measures of a classifier, class by class."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bdm_core.errors import ArtifactError
from bdm_defense_classifier_audit.params import ClassifierAuditParams
from bdm_defense_classifier_audit.searches import (
    GRID,
    Aims,
    added,
    largest_margins,
    smallest_norms,
    smallest_patches,
    warped,
)
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier


@dataclass(frozen=True, eq=False)
class Audit:
    """The measures of one model.

    Attributes:
        values: measure, as in :mod:`bdm_defense_classifier_audit.measures` -> (K,), of each class, positive.
        patches: (K, C, H, W), the smallest patch of each class.
    """

    values: dict[str, list[float]]
    patches: Tensor


def pictures_for(samples: LabelledSamples, per_class: int) -> LabelledSamples:
    """The first rows of each class."""
    rows = [row for label in range(len(samples.classes)) for row in samples.rows_of_class(label)[:per_class]]
    return samples.pick(rows)


def audit(classifier: Classifier, samples: LabelledSamples, params: ClassifierAuditParams, seed: int) -> Audit:
    """Measure a classifier on a few clean pictures of every class.

    Raises:
        ArtifactError: what it answers is not finite.
    """
    classifier.eval().requires_grad_(False)
    few, more = (_given(classifier, samples, count) for count in (params.pictures, params.warp_pictures))
    shape = tuple(few[0].shape[1:])
    sizes, patches = smallest_patches(classifier, *few, params.patch_steps, seed)
    found = {
        "patch": sizes,
        "added": smallest_norms(added(classifier), *few, shape, params.steps, seed),
        "warp": smallest_norms(warped(classifier, *shape[1:]), *more, (2, GRID, GRID), params.warp_steps, seed),
        "margin": largest_margins(classifier, shape, seed),
    }
    if not all(bool(values.isfinite().all()) for values in found.values()):
        raise ArtifactError("the model's answers are not finite: its weights are damaged")
    return Audit({name: values.double().tolist() for name, values in found.items()}, patches.cpu())


def _given(classifier: Classifier, samples: LabelledSamples, per_class: int) -> tuple[Tensor, Aims]:
    chosen = pictures_for(samples, per_class)
    pictures = chosen.modality.collate(chosen.raw(), classifier)
    return pictures, Aims(chosen.labels.to(pictures.device), len(classifier.classes))
