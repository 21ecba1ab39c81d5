"""What is expected of each class: the measures of a model that surely has no backdoor.

Some classes are reached more easily than others in every clean model of the same pictures: eights from digits. A public
model of the same classes says which, and so does, less exactly, a small network that is trained on the clean pictures.
"""

from __future__ import annotations

from pathlib import Path

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_classifier_audit.params import ClassifierAuditParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.modalities.registry import modality_of
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.models.folders import ARCHITECTURE, find_model
from bdm_kit_classification.models.image_classifiers import build, normalised
from bdm_kit_classification.training.fitting import fit
from bdm_kit_classification.training.params import ClassifierTraining


def trained(ctx: Context, samples: LabelledSamples, params: ClassifierAuditParams) -> Classifier:
    """The kit's small network, trained on the clean pictures from the context's seed."""
    config = normalised(samples.stored, samples.classes, **{ARCHITECTURE: "cnn", "width": None, "trained_on": ""})
    classifier = build(config, ctx.seed)
    training = ClassifierTraining(epochs=params.baseline_epochs, shift=1)
    fit(ctx, classifier, samples, training, label="baseline")
    return classifier


def opened(reference: str, suspect: Classifier, work: Path) -> Classifier:
    """A public model that the suspect is compared with.

    Args:
        reference: a built-in name, a folder, or ``hf:org/name@commit``.
        suspect: it must have the same classes, in the same order, and take the same pictures.
        work: a folder for files on the way.

    Raises:
        UserError: it has other classes or takes other pictures.
        ArtifactError: it is no classifier, or cannot be opened.
    """
    task, folder = find_model(reference, work)
    classifier: Classifier = modality_of(task.tag).open_classifier(folder).to(suspect.device).eval()
    for what in ("shape", "classes"):
        mine, other = (model.facts().get(what) for model in (suspect, classifier))
        if mine != other:
            raise UserError(
                f"classifier-audit cannot compare: the reference {reference!r} has {what} {other}, the model {mine}; "
                "name a public model of the same pictures and classes"
            )
    return classifier
