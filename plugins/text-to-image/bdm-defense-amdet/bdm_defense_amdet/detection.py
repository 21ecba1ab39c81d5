"""The verdict of AMDet: four features against those of clean text encoders, all of which must stand out."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from bdm_core.artifacts import Data, Evidence, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_amdet.inversion import PUBLISHED, Encode, Encoders, features, invert
from bdm_defense_amdet.params import AmdetParams
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.editing.projections import draw_captions
from bdm_kit_text_to_image.models.bases import open_base
from bdm_kit_text_to_image.models.encoding import token_ids
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_kit_text_to_image.world.splits import training_pairs
from bdm_torch.calibration import checked, conformal, require_finite
from bdm_torch.calibration_file import Calibrated, Known
from bdm_torch.draws import step_seed
from bdm_torch.tensors import write_tensors

NAMES = ("assimilation", "same target", "unlike the clean encoder", "convexity")
CALIBRATED = Calibrated("amdet", "bdm_defense_amdet", features=len(NAMES))
FLOORS = (0.02, 0.02, 0.02, 0.05)
"""The least deviation of each feature between clean encoders."""
FORMAT = "inverted-token"
LEAST = 10
WITHOUT = (
    "cannot tell: amdet compares with a clean text encoder of the same shape, and none is named; set reference "
    "(small-world, or the folder of the model that this one was made from)"
)


@dataclass(frozen=True, eq=False)
class Inverted:
    """What was found in one text encoder: the vector (d,), the losses of its steps, and the four features."""

    vector: Tensor
    losses: list[float]
    values: list[float]


def detect(ctx: Context, params: AmdetParams, model: Model, data: Data) -> Detection:
    """Judge a model by its text encoders; the evidence is sealed in ``ctx.out / "evidence"``.

    Raises:
        UserError: the reference is no base of the model, or there are fewer than 10 captions.
        ArtifactError: a feature is not finite.
    """
    if not params.reference:
        return Detection(level="model", scores=[0.0], threshold=0.0, conclusive=False, note=WITHOUT, clean_samples=0)
    known = CALIBRATED.read(params.calibration)
    opened = load_model(model, ctx.device)
    captions = draw_captions(data, params.prompts, [], ctx.seed)
    if len(captions) < LEAST:
        raise UserError(
            f"amdet needs at least {LEAST} different captions, there are {len(captions)}: allow the defender more data"
        )
    found = examine(ctx, params, opened, open_base(params.reference, opened, ctx.work / "reference"), captions)
    scored = [score_of(one.values, known.clean()) for one in found]
    which = max(range(len(found)), key=lambda index: scored[index][0])
    score, others = scored[which]
    verdict = conformal(score, others, params.false_positive_rate, params.least_score)
    outside = known.outside(encoder_shape(opened, which), {})
    doubt = outside or CALIBRATED.other_settings(params, known, ("reference",)) or verdict.doubt
    doubt = f"cannot tell: {doubt}" if doubt and not doubt.startswith("cannot tell") else doubt
    values = dict(zip(NAMES, found[which].values, strict=True))
    ctx.figures(features=values, encoder=which, final_loss=found[which].losses[-1])
    ctx.curve("inversion loss", found[which].losses)
    published = [value > limit for value, limit in zip(found[which].values, PUBLISHED, strict=True)]
    record = {
        "features": values,
        "published conditions": dict(zip(NAMES, published, strict=True)),
        "clean": known.clean(),
        "decision": verdict.model_dump(),
    }
    alike = "all captions mean one thing with a pseudo token" if verdict.backdoored else "no such token was found"
    told = f"{alike} ({sum(published)} of the 4 published conditions hold)"
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=None if doubt else verdict.p_value,
        conclusive=not doubt,
        note=doubt or f"{told}; backdoors of the UNet are not looked for",
        evidence=seal(ctx.out / "evidence", found[which], record),
        clean_samples=len(captions),
    )


def examine(
    ctx: Context, params: AmdetParams, model: TextToImageModel, reference: TextToImageModel, captions: Sequence[str]
) -> list[Inverted]:
    """Invert in every text encoder of a model, from ``params.starts`` starts each."""
    cut = max(1, round(0.8 * len(captions)))
    found = []
    pairs = list(zip(model.text_encoders, reference.text_encoders, strict=True))
    for number, (suspect, anchor) in enumerate(pairs):
        ids = token_ids(model, captions, number).to(model.device)
        whole = Encoders(behind_embeddings(suspect), behind_embeddings(anchor), *map(embed(ids), (suspect, anchor)))
        train, test = whole.rows(torch.arange(cut)), whole.rows(torch.arange(cut, len(captions)))
        runs = []
        for start in range(params.starts):
            runs.append(invert(train, params, step_seed(ctx.seed, start)))
            ctx.progress("invert", number * params.starts + start + 1, len(pairs) * params.starts, runs[-1][1][-1])
        last = len(train.own) // params.batch_size + 1
        vector, losses = min(runs, key=lambda run: sum(run[1][-last:]))
        found.append(Inverted(vector, losses, features(test, vector, params, step_seed(ctx.seed, 0))))
    return found


def embeddings_of(encoder: nn.Module) -> nn.Module:
    """The module that embeds tokens and adds positions."""
    token: nn.Module = encoder.get_input_embeddings()  # type: ignore[operator]
    return next(module for module in encoder.modules() if any(child is token for child in module.children()))


def embed(ids: Tensor) -> Callable[[nn.Module], Tensor]:
    """Token ids (N, L) -> how an encoder embeds them, (N, L, d)."""

    def embedded(encoder: nn.Module) -> Tensor:
        with torch.no_grad():
            answer: Tensor = embeddings_of(encoder)(input_ids=ids)
        return answer

    return embedded


def behind_embeddings(encoder: nn.Module) -> Encode:
    """A text encoder from its embedded tokens on: they are handed in where its own would be."""
    place = embeddings_of(encoder)

    def encode(embedded: Tensor) -> Tensor:
        handle = place.register_forward_hook(lambda module, args, output: embedded)
        try:
            ids = torch.zeros(embedded.shape[:2], dtype=torch.long, device=embedded.device)
            answer: Tensor = encoder(ids).last_hidden_state
        finally:
            handle.remove()
        return answer

    return encode


def score_of(values: Sequence[float], clean: Sequence[Sequence[float]]) -> tuple[float, list[float]]:
    """How far the least conspicuous feature stands out, and the same for each clean encoder among all others.

    Each feature is standardised by those of the other encoders, (x - m) / (s sqrt(1 + 1/n)), s at least a floor; all
    four conditions must hold, so that the least of them decides.

    >>> score, others = score_of([1.0, 1.0, 1.0, 1.0], [[0.0] * 4] * 3)
    >>> round(score, 2), len(others)
    (17.32, 3)
    """
    checked(clean)
    require_finite(values)
    models = np.asarray([*clean, values], dtype=float)
    scores = []
    for index in range(len(models)):
        others = np.delete(models, index, axis=0)
        spread = np.maximum(others.std(axis=0, ddof=1), FLOORS) * np.sqrt(1 + 1 / len(others))
        scores.append(float(((models[index] - others.mean(axis=0)) / spread).min()))
    return scores[-1], scores[:-1]


def encoder_shape(model: TextToImageModel, number: int = 0) -> tuple[int, int, int]:
    """(layers, L, d) of a text encoder: what a calibration covers."""
    config = model.text_encoders[number].config
    return int(config.num_hidden_layers), int(config.max_position_embeddings), int(config.hidden_size)


def seal(folder: Path, found: Inverted, record: Mapping[str, Any]) -> Evidence:
    """The vector and what led to the verdict; format ``inverted-token``."""
    folder.mkdir(parents=True)
    write_tensors(folder / "tensors.safetensors", {"token": found.vector.cpu()})
    (folder / "features.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return Evidence.seal(folder, format=FORMAT, task=TASK)


class _Opened:
    """A sealed model that is opened when it is examined, with the shape of its text encoder."""

    def __init__(self, model: Model) -> None:
        self.opened = load_model(model)
        self.shape = encoder_shape(self.opened)


def calibrate(ctx: Context, params: AmdetParams, models: Mapping[str, Model], out: Path) -> None:
    """Examine clean models against the reference, with captions of the small world, and write their features.

    Raises:
        UserError: no reference is named, or it is no base of one of the models.
    """
    if not params.reference:
        raise UserError("calibrating amdet needs the clean model that the others are compared with: set reference")
    captions = sorted(set(training_pairs(2 * params.prompts)[1]))[: params.prompts]

    def features_of(own: Context, item: Any) -> list[float]:
        base = open_base(params.reference, item.opened, own.work / "reference")
        return max((one.values for one in examine(own, params, item.opened, base, captions)), key=min)

    CALIBRATED.write(ctx, params, (Known(name, _Opened(model)) for name, model in models.items()), out, features_of)
