"""Whether a stranger's classifier computes anything, found by one small pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_core.errors import ArtifactError
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.models.text_classifier import TextClassifier
from bdm_torch.foreign_models import first_line

TEXTS = ["one", "another, which is a little longer"]


def examples_for(classifier: Classifier) -> Tensor:
    """Two inputs as the classifier takes them: two texts, or noise of its shape."""
    if isinstance(classifier, TextClassifier):
        return classifier.tokens(TEXTS)
    shape: Any = classifier.facts()["shape"]
    return torch.rand(2, *shape, generator=torch.Generator().manual_seed(0)).to(classifier.device)


def try_out(classifier: Classifier, folder: Path) -> None:
    """One pass over two inputs: what fails or is not finite here would fail in every later stage.

    Args:
        classifier: in evaluation mode.
        folder: it comes from, for the message.

    Raises:
        ArtifactError: so it is, or it gives something other than a number for each class, or has one class alone.
    """
    if len(classifier.classes) < 2:
        raise ArtifactError(
            f"{folder} has fewer than two classes: it gives a score, as for regression or ranking, and no class; "
            "choose a classifier of two or more"
        )
    try:
        with torch.no_grad():
            logits = classifier(examples_for(classifier))
    except Exception as error:  # an odd configuration leads to errors of all kinds
        raise ArtifactError(f"{folder} cannot be used as a classifier: {first_line(error)}") from None
    if logits.shape != (2, len(classifier.classes)):
        raise ArtifactError(
            f"{folder}: of two inputs it makes numbers of shape {list(logits.shape)}, "
            f"for {len(classifier.classes)} classes"
        )
    if not bool(logits.isfinite().all()):
        raise ArtifactError(f"{folder}: what it computes from noise is not finite")
