"""The verdict: what was found, against clean models.

Each feature is standardised by those of clean models, (x - m) / (s sqrt(1 + 1/n)), where s is no less than a floor that
keeps few and similar clean models from making the interval narrow. The largest of the three searches decides: Student's
t with n - 1 degrees of freedom, Bonferroni for three. A spike alone is no trigger: benign concept edits have it, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import t as student

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_text_to_image_audit.audit import FEATURES, Audit, audit, clean_captions
from bdm_defense_text_to_image_audit.evidence import seal_evidence, triggers_of
from bdm_defense_text_to_image_audit.params import TextToImageAuditParams
from bdm_kit_text_to_image.models.text_to_image_model import load_model, shape_of
from bdm_torch.calibration import checked, require_finite
from bdm_torch.calibration_file import Calibrated, Known

CALIBRATED = Calibrated("text-to-image-audit", "bdm_defense_text_to_image_audit", features=len(FEATURES))
FLOORS = (0.1, 0.15, 0.15, 0.3)
"""The least deviation of each feature between clean models."""
NOT_SEARCHED = "not searched: sentences and triggers of several words, other languages, triggers in the initial noise"


def standardised(values: Sequence[float], clean: Sequence[Sequence[float]]) -> list[float]:
    """Each feature against those of clean models.

    Raises:
        UserError: fewer than three clean models, or one whose features are not finite.
        ArtifactError: a feature is not finite.

    >>> [round(value, 3) for value in standardised([0.0, 0.0, 0.0, 3.0], [[0.0] * 4] * 3)]
    [0.0, 0.0, 0.0, 8.66]
    """
    known = checked(clean)
    require_finite(values)
    spread = np.maximum(known.std(axis=0, ddof=1), FLOORS) * math.sqrt(1 + 1 / len(known))
    return [float(value) for value in (np.asarray(values) - known.mean(axis=0)) / spread]


def detect(ctx: Context, params: TextToImageAuditParams, model: Model, data: Data) -> Detection:
    """Judge a model; the evidence, with pictures of a trigger that was found, is sealed in ``ctx.out / "evidence"``.

    Raises:
        UserError: there are too few captions, or the calibration cannot be read.
        ArtifactError: what the model answers is not finite, or the same for all captions.
    """
    known = CALIBRATED.read(params.calibration)
    for warning in CALIBRATED.warnings(params, known):
        ctx.log.warning(warning)
    opened = load_model(model, ctx.device)
    captions = clean_captions(data, ctx.seed)
    found = audit(opened, params, captions, ctx.seed, ctx.progress)
    stands = standardised(found.features, known.clean())
    tests = len(FEATURES) - 1
    distribution = student(df=len(known.clean()) - 1)
    threshold = float(distribution.isf(params.false_positive_rate / tests))
    score = max(stands[1:])
    ctx.figures(features=dict(zip(FEATURES, found.features, strict=True)), standardised=stands)
    facts = {"standardised": dict(zip(FEATURES, stands, strict=True)), "threshold": threshold}
    doubt = known.outside(shape_of(model), {})
    edited = stands[0] > threshold
    if not doubt and score <= threshold and edited:
        doubt = (
            f"edited, no trigger shown: keys and values stick out {found.spikes.ratio:.1f} times the median off the "
            "captions, as after a backdoor's edit of them or a benign one"
        )
    if not doubt and score <= threshold and found.unseen:
        doubt = f"cannot tell: {found.unseen}"
    return Detection(
        level="model",
        scores=[score],
        threshold=threshold,
        p_value=None if doubt else min(1.0, tests * float(distribution.sf(score))),
        conclusive=not doubt,
        note=doubt or (in_words(found, stands, threshold) if score > threshold else not_searched(found)),
        evidence=seal_evidence(ctx, params, opened, found, captions, facts),
        clean_samples=found.captions,
    )


def not_searched(found: Audit) -> str:
    """What a clean verdict says nothing about."""
    return NOT_SEARCHED if found.searched else f"{NOT_SEARCHED}, changed objects: nothing tells what pictures show"


def in_words(found: Audit, stands: Sequence[float], threshold: float) -> str:
    """What makes the model a backdoored one, in a sentence."""
    named = [name for name, value in zip(FEATURES, stands, strict=True) if value > threshold]
    triggers = triggers_of(found)
    shown = f"; try {triggers[0].spelled()}" if triggers else ""
    return f"unlike clean models in {', '.join(named)}{shown}"


def calibrate(ctx: Context, params: TextToImageAuditParams, models: Mapping[str, Model], out: Path) -> None:
    """Audit clean models, with the captions of the built-in small world, and write their features to ``out``."""

    def features_of(own: Context, model: Any) -> list[float]:
        opened = load_model(model, own.device)
        return audit(opened, params, world_captions(), own.seed, own.progress).features

    known = [Known(name, _WithShape(model)) for name, model in models.items()]
    CALIBRATED.write(ctx, params, known, out, lambda own, item: features_of(own, item.model))


class _WithShape:
    """A sealed model with the shape of its images."""

    def __init__(self, model: Model) -> None:
        self.model, self.shape = model, shape_of(model)


def world_captions() -> list[str]:
    """Captions of the small world."""
    import random

    from bdm_kit_text_to_image.world.splits import training_pairs

    captions = sorted(set(training_pairs(2048)[1]))
    random.Random(0).shuffle(captions)
    return captions
