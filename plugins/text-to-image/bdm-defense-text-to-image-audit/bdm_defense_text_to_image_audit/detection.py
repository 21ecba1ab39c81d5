"""The verdict: what was found, against clean models.

Each feature is standardised by those of clean models, (x - m) / (s sqrt(1 + 1/n)), where s is no less than a floor that
keeps few and similar clean models from making the interval narrow. The largest of the searches decides, four of them,
and with a public base five. The threshold takes clean features for normal (Student's t with n - 1 degrees of freedom,
Bonferroni over the searches); the p-value takes nothing for granted: it is the rank among clean models, each one
standardised by all others. An edit alone, of keys and values, is no trigger: benign concept edits show it, too.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import stdtrit

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_text_to_image_audit.against_base import ENERGY
from bdm_defense_text_to_image_audit.audit import (
    EDITS,
    FEATURES,
    OF_BASE,
    UNDERSTOOD,
    Audit,
    Given,
    audit,
    clean_captions,
)
from bdm_defense_text_to_image_audit.evidence import seal_evidence, triggers_of
from bdm_defense_text_to_image_audit.params import TextToImageAuditParams
from bdm_kit_text_to_image.models.bases import open_base, same_weights
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, shape_of
from bdm_kit_text_to_image.prompts.captions import load_captioned
from bdm_torch.calibration import checked, require_finite
from bdm_torch.calibration_file import Calibrated, Calibration, Known

ALL_FEATURES = (*FEATURES, *OF_BASE)
SEARCHES = [row for row, name in enumerate(ALL_FEATURES) if name not in EDITS]
CALIBRATED = Calibrated("text-to-image-audit", "bdm_defense_text_to_image_audit", features=len(FEATURES))
AGAINST_BASE = replace(CALIBRATED, features=len(ALL_FEATURES), file="calibration-base.json")
"""The calibrations without and with a public base."""
FLOORS = (0.1, 0.15, 0.15, 0.5, 0.1, 0.1, 0.15, 0.15)
"""The least deviation of each feature between clean models: one changed object alone is no backdoor yet, two are, or
one of an added token."""
WORDS_SHOWN = 3
NOT_SEARCHED = "not searched: sentences and triggers of several words, other languages, triggers in the initial noise"

NOT_COMPARED = "; the reference has the model's own weights: nothing was compared with it"


def standardised(values: Sequence[float], clean: Sequence[Sequence[float]]) -> list[float]:
    """Each feature against those of clean models.

    Raises:
        UserError: fewer than three clean models, or one whose features are not finite.
        ArtifactError: a feature is not finite.

    >>> [round(value, 3) for value in standardised([0.0, 0.0, 0.0, 3.0, 0.0], [[0.0] * 5] * 3)]
    [0.0, 0.0, 0.0, 5.196, 0.0]
    """
    known = checked(clean)
    require_finite(values)
    spread = np.maximum(known.std(axis=0, ddof=1), FLOORS[: len(values)]) * math.sqrt(1 + 1 / len(known))
    return [float(value) for value in (np.asarray(values) - known.mean(axis=0)) / spread]


def searched_score(stands: Sequence[float]) -> float:
    """The largest of the standardised features that show a trigger; edits do not.

    >>> searched_score([9.0, 0.5, 1.0, 0.0, 0.0]), searched_score([9.0, 0.5, 1.0, 0.0, 0.0, 9.0, 2.0, 1.0])
    (1.0, 2.0)
    """
    return max(stands[row] for row in SEARCHES if row < len(stands))


def threshold_of(models: int, features: int, rate: float) -> float:
    """Above which one of the searches exceeds those of so many clean models with a probability of at most ``rate``."""
    searches = sum(row < features for row in SEARCHES)
    return -float(stdtrit(models - 1, rate / searches))


def p_value_of(values: Sequence[float], clean: Sequence[Sequence[float]]) -> float:
    """The rank of a model's largest search among those of clean models, (1 + k) / (1 + n), in [1 / (1 + n), 1].

    All n + 1 models are standardised in the same way, each one by all others (full conformal prediction), so that the
    rank is exact if a clean model is exchangeable with the known ones.

    >>> p_value_of([0.0, 9.0, 0.0, 0.0, 0.0], [[0.0] * 5, [0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.5, 0.0, 0.0, 0.0]])
    0.25
    """
    models = [*clean, values]
    others = [[*models[:index], *models[index + 1 :]] for index in range(len(models))]
    scores = [searched_score(standardised(one, rest)) for one, rest in zip(models, others, strict=True)]
    return (1 + sum(score >= scores[-1] for score in scores[:-1])) / len(models)


def detect(ctx: Context, params: TextToImageAuditParams, model: Model, data: Data) -> Detection:
    """Judge a model; the evidence, with pictures of a trigger that was found, is sealed in ``ctx.out / "evidence"``.

    Raises:
        UserError: there are too few captions, the calibration cannot be read, or the reference is no base of the model.
        ArtifactError: what the model answers is not finite, or the same for all captions.
    """
    calibrated, known = known_models(params)
    opened = load_model(model, ctx.device)
    given = what_is_given(ctx, params, opened, data)
    itself = NOT_COMPARED if given.base is not None and same_weights(opened, given.base) else ""
    found = audit(opened, params, given, ctx.seed, ctx.progress)
    stands = standardised(found.features, known.clean())
    threshold = threshold_of(len(known.clean()), len(stands), params.false_positive_rate)
    p_value = p_value_of(found.features, known.clean())
    score = searched_score(stands)
    standing = dict(zip(found.names, stands, strict=True))
    ctx.figures(features=dict(zip(found.names, found.features, strict=True)), standardised=stands, **beside(found))
    facts = {"standardised": standing, "threshold": threshold}
    outside = known.outside(shape_of(model), {}) or calibrated.other_settings(params, known, ("reference",))
    doubt = outside or doubt_of(found, standing, threshold)
    if not doubt and score <= threshold and p_value <= params.false_positive_rate:
        doubt = "cannot tell: more was found than in clean models, but not as much as a backdoor needs"
    return Detection(
        level="model",
        scores=[score],
        threshold=threshold,
        p_value=None if doubt else p_value,
        conclusive=not doubt,
        note=doubt or (in_words(found, stands, threshold) if score > threshold else not_searched(found) + itself),
        evidence=seal_evidence(ctx, params, opened, found, given.captions, facts),
        clean_samples=found.captions,
    )


def known_models(params: TextToImageAuditParams) -> tuple[Calibrated, Calibration]:
    """The calibration without or with a base. Raises UserError if it cannot be read, or has too few clean models."""
    calibrated = AGAINST_BASE if params.reference else CALIBRATED
    known = calibrated.read(params.calibration)
    checked(known.clean())
    return calibrated, known


def what_is_given(ctx: Context, params: TextToImageAuditParams, model: TextToImageModel, data: Data) -> Given:
    """The defender's captions, some with their pictures, and the base that is named.

    Raises:
        UserError: there are too few captions, or the reference is no base of the model.
    """
    images, said, _ = load_captioned(data)
    rows = list(range(min(UNDERSTOOD, len(said))))
    base = open_base(params.reference, model, ctx.work) if params.reference else None
    return Given(clean_captions(data, ctx.seed), images.pick(rows)[:], [said[row] for row in rows], base)


def doubt_of(found: Audit, standing: Mapping[str, float], threshold: float) -> str:
    """Why what was found is no verdict; "" if it is one.

    Args:
        found: by the audit.
        standing: feature -> how it stands to clean models.
        threshold: of a backdoor.
    """
    if found.unseen:
        return f"cannot tell: {found.unseen}"
    if searched_score(list(standing.values())) > threshold:
        return ""
    if any(standing.get(name, 0.0) > threshold for name in EDITS):
        return (
            f"edited, no trigger shown: keys and values stick out {found.spikes.ratio:.1f} times the median off the "
            "captions, or changed along the same directions in all layers, or answers changed for some prompts, as "
            f"after a backdoor's edit or a benign one{spectrum_in_words(found)}"
        )
    if found.learnt:
        flip = found.learnt[0]
        return (
            f"cannot tell: with the added token {flip.candidate.text} a {flip.noun} is painted as a {flip.becomes}, as "
            "after a harmless token was learnt or a harmful one"
        )
    return ""


def beside(found: Audit) -> dict[str, Any]:
    """What is reported and takes no part in the verdict: words by the text encoder, and the spectrum of the change."""
    low_rank = None if found.comparison is None else found.comparison.low_rank
    words = {candidate.spelled(): value for candidate, value in found.words.ranking[:WORDS_SHOWN]}
    return {"words": words, **({} if low_rank is None else {"low_rank": asdict(low_rank)})}


def spectrum_in_words(found: Audit) -> str:
    """How the change of keys and values against the base is made up; "" without a base, or where nothing changed."""
    change = None if found.comparison is None else found.comparison.low_rank
    if change is None or not change.rank:
        return ""
    return (
        f"; the change of keys and values has {ENERGY:.0%} of its energy in {change.rank} directions, "
        f"{change.first:.0%} in the first, and {change.changed} of {change.tensors} tensors of the UNet changed"
    )


def not_searched(found: Audit) -> str:
    """What a clean verdict says nothing about."""
    return NOT_SEARCHED if found.searched else f"{NOT_SEARCHED}, changed objects: nothing tells what pictures show"


def in_words(found: Audit, stands: Sequence[float], threshold: float) -> str:
    """What makes the model a backdoored one, in a sentence."""
    named = [name for name, value in zip(found.names, stands, strict=True) if value > threshold]
    triggers = triggers_of(found)
    shown = f"; try {triggers[0].spelled()}" if triggers else ""
    return f"unlike clean models in {', '.join(named)}{shown}"


def calibrate(ctx: Context, params: TextToImageAuditParams, models: Mapping[str, Model], out: Path) -> None:
    """Audit clean models, each with captions of the built-in small world in an order of its own, and write their
    features to ``out``.

    With ``reference`` all models are held against that base, and the file serves audits that have one.
    """

    def features_of(own: Context, model: Any) -> list[float]:
        opened = load_model(model, own.device)
        base = open_base(params.reference, opened, own.work) if params.reference else None
        return audit(opened, params, Given(world_captions(own.seed), base=base), own.seed, own.progress).features

    known = [Known(name, _WithShape(model)) for name, model in models.items()]
    calibrated = AGAINST_BASE if params.reference else CALIBRATED
    calibrated.write(ctx, params, known, out, lambda own, item: features_of(own, item.model))


class _WithShape:
    """A sealed model with the shape of its images."""

    def __init__(self, model: Model) -> None:
        self.model, self.shape = model, shape_of(model)


def world_captions(seed: int) -> list[str]:
    """Captions of the small world, in an order of chance: a scan has another draw of them with each seed, too."""
    import random

    from bdm_kit_text_to_image.world.splits import training_pairs

    captions = sorted(set(training_pairs(2048)[1]))
    random.Random(seed).shuffle(captions)
    return captions
