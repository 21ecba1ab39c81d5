"""SentiNet (Chou, Tramer and Pellegrino, IEEE S&P workshops 2020, arXiv 1812.00292).

The region that decides a prediction is cut out and pasted on clean pictures: a trigger takes them over. Pasted with an
inert pattern in its place the same region tells a trigger from a part that is merely large: it hides as much, and the
clean pictures keep their confidence only where what is hidden matters little (section 4.3).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bdm_defense_sentinet.boundary import Array
from bdm_defense_sentinet.gradcam import class_maps, map_layer, regions
from bdm_defense_sentinet.params import SentiNetParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.asking import AT_ONCE, Known
from bdm_kit_classification.models.classifier import Classifier, batches


@dataclass(frozen=True, eq=False)
class Points:
    """Pictures in SentiNet's plane.

    Attributes:
        confidence: (N,) in [0, 1]: mean confidence of the clean pictures with the inert pattern in the region.
        fooled: (N,) in [0, 1]: share of the clean pictures that the region makes the suspect's class.
    """

    confidence: Array
    fooled: Array


def pasted(clean: Tensor, region: Tensor, patch: Tensor) -> Tensor:
    """Each clean picture with the region of a patch: (M, C, H, W).

    Args:
        clean: (M, C, H, W).
        region: (H, W) bool.
        patch: (C, H, W).
    """
    return torch.where(region, patch, clean)


class SentiNet:
    """Measures pictures.

    Args:
        classifier: the model.
        clean: M clean pictures to paste on; none of them is judged.
        params: of the defense.
        seed: of the inert pattern, which is uniform noise.
    """

    def __init__(self, classifier: Classifier, clean: LabelledSamples, params: SentiNetParams, seed: int) -> None:
        self.classifier, self.clean, self.params = classifier, clean, params
        self.oracle = Known(classifier)
        self._raw = clean.raw()
        self._layer = map_layer(classifier, clean.modality.collate(clean.raw([0]), classifier), params.map_share)
        self._inert = torch.rand(self._raw.shape[1:], generator=torch.Generator().manual_seed(seed))
        self.maps = 0

    def regions_of(self, samples: LabelledSamples, rows: list[int]) -> tuple[Tensor, Tensor]:
        """The region that decides each prediction, (n, H, W), and the predicted classes, (n,)."""
        inputs = samples.modality.collate(samples.raw(rows), self.classifier)
        with torch.no_grad():
            classes = self.classifier(inputs).argmax(1)
        self.maps += 2 * len(rows)
        found = class_maps(self.classifier, self._layer, inputs, classes)
        return regions(found, self.params.mask_threshold).cpu(), classes.cpu()

    def points(self, samples: LabelledSamples) -> Points:
        """Where pictures lie."""
        count, confidence, fooled = len(self.clean), [], []
        for rows in batches(len(samples), max(1, AT_ONCE // (2 * count))):
            raw = samples.raw(list(rows))
            masks, classes = self.regions_of(samples, list(rows))
            changed = [
                pasted(self._raw, mask, patch)
                for picture, mask in zip(raw, masks, strict=True)
                for patch in (picture, self._inert)
            ]
            answers = self.oracle.logits(samples, torch.cat(changed)).double().softmax(1)
            answers = answers.reshape(len(rows), 2, count, -1)
            fooled.append((answers[:, 0].argmax(2) == classes[:, None]).double().mean(1))
            confidence.append(answers[:, 1].amax(2).mean(1))
        if not fooled:
            return Points(np.zeros(0), np.zeros(0))
        return Points(torch.cat(confidence).numpy(), torch.cat(fooled).numpy())
