"""Statistics of batch normalisation made anew from given samples."""

from __future__ import annotations

import itertools

import torch
from torch.nn.modules.batchnorm import _NormBase

from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier


def refresh_statistics(classifier: Classifier, samples: LabelledSamples, batch_size: int = 256) -> None:
    """Replace the running statistics of all batch normalisations by those of ``samples``, in place.

    They are the plain means over batches of nearly equal size, at most ``batch_size``, so that each sample counts
    alike; nothing else changes. Batches of one sample, which have no variance, are left out.

    >>> from bdm_kit_classification.models.image_classifiers import ImageConfig, build
    >>> classifier = build(ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=["a", "b"]), seed=0)
    >>> rows = LabelledSamples(torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64),
    ...                        ["a", "b"], "image-classification")
    >>> refresh_statistics(classifier, rows)
    >>> first = classifier.norms()["network.norms.0"]
    >>> bool(first.running_var.max() < first.running_mean.abs().max()), classifier.training
    (True, False)
    """
    norms = [module for module in classifier.modules() if isinstance(module, _NormBase) and module.track_running_stats]
    kept = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over batches
    training = classifier.training
    classifier.train()
    with torch.no_grad():
        count = max(1, -(-len(samples) // batch_size))
        for start, end in itertools.pairwise(len(samples) * place // count for place in range(count + 1)):
            if end - start > 1:
                classifier(samples.modality.collate(samples.raw(list(range(start, end))), classifier))
    classifier.train(training)
    for norm, momentum in zip(norms, kept, strict=True):
        norm.momentum = momentum
