"""On sound: for each class the faintest waveform d that leads recordings to it when it is added, x' = clip(x + d).

A patch of samples would miss tones and effects that last, so that the size of a trigger is its effective value instead
of a mask's area. The search adapts the weight of the size as it does for pictures (equations 2 and 3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.artifacts import Data, Evidence, Model
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, UserError
from bdm_core.records import Detection
from bdm_defense_neural_cleanse.params import NeuralCleanseParams
from bdm_defense_neural_cleanse.thresholds import threshold_of
from bdm_kit_classification.data.opening import open_reference
from bdm_kit_classification.data.samples import RESERVE, LabelledSamples, open_samples
from bdm_kit_classification.inversion.anomaly import anomaly, calibration_of, judged, led_nowhere, unfit
from bdm_kit_classification.inversion.search import adapted, require_classes
from bdm_kit_classification.models.classifier import Classifier, load_classifier, seal_classifier
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_torch.calibration_file import Calibrated, Known
from bdm_torch.draws import Draw
from bdm_torch.tensors import read_tensors, write_tensors

FORMAT, TENSORS = "inverted-sound", "sound.safetensors"
STEEPNESS = 0.1
"""d = tanh(STEEPNESS u) of what is searched, u: a step of the search is about a hundredth of full scale."""
UNIT = 1000.0
"""Sizes are in thousandths of full scale, so that their weight is of the order of that of pictures."""


@dataclass(frozen=True, eq=False)
class Waveforms:
    """The triggers found, on the CPU.

    Attributes:
        sounds: (K, S) in [-1, 1].
        success: (K,) share of clean rows that each sends to its class.
    """

    sounds: Tensor
    success: Tensor

    def sizes(self, wanted: float) -> Tensor:
        """The effective value of each, (K,), in thousandths of full scale; full scale where ``wanted`` success was not
        reached.

        >>> Waveforms(torch.tensor([[0.5, -0.5], [0.1, 0.1]]), torch.tensor([1.0, 0.2])).sizes(0.9)
        tensor([ 500., 1000.])
        """
        return torch.where(self.success >= wanted, UNIT * self.sounds.square().mean(1).sqrt(), UNIT)


def search(ctx: Context, classifier: Classifier, samples: LabelledSamples, params: NeuralCleanseParams) -> Waveforms:
    """Find the faintest waveform of each class that succeeds; where none did it is the last one.

    Raises:
        UserError: too few classes to compare.
    """
    require_classes(classifier, "neural-cleanse")
    classifier.eval().requires_grad_(False)
    device, count = classifier.device, len(classifier.classes)
    length = samples.modality.shape(samples.stored)[0]
    generator = torch.Generator().manual_seed(ctx.seed % 2**63)
    free = (0.1 * torch.randn(count, length, generator=generator)).to(device).requires_grad_(True)
    optimiser = torch.optim.Adam([free], lr=params.inversion_rate, betas=(0.5, 0.9))
    weight = torch.full((count,), params.size_weight, device=device)
    streak = torch.zeros(2, count, dtype=torch.int64, device=device)
    kept, reached = free.detach().clone(), torch.zeros(count, device=device)
    least, hits = torch.full((count,), float("inf"), device=device), torch.zeros(count, device=device)
    aims = torch.arange(count, device=device)
    for step in range(params.inversion_steps):
        rows = Draw(ctx.seed, step, min(params.inversion_batch, len(samples))).rows(len(samples))
        inputs = samples.modality.collate(samples.raw(rows), classifier)
        sounds = (STEEPNESS * free).tanh()
        logits = classifier((inputs + sounds[:, None]).clamp(-1, 1).flatten(0, 1)).view(count, len(rows), -1)
        wanted = aims[:, None].expand(-1, len(rows))
        error = functional.cross_entropy(logits.transpose(1, 2), wanted, reduction="none").mean(1)
        size = UNIT * sounds.square().mean(1).add(1e-12).sqrt()
        (error + weight * size).sum().backward()
        hits += (logits.argmax(2) == wanted).float().mean(1)
        if (step + 1) % params.check_every == 0 or step + 1 == params.inversion_steps:
            rate, now = hits / (step % params.check_every + 1), size.detach()
            enough = rate >= params.success
            better = enough & (now < least) | (least.isinf() & ~enough)
            kept[better], reached[better] = free.detach()[better], rate[better]
            least = torch.where(better & enough, now, least)
            weight = adapted(weight, streak, enough, params)
            hits.zero_()
            ctx.progress("trigger inversion", step + 1, params.inversion_steps, float(error.mean().detach()))
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
    classifier.requires_grad_(True)
    return Waveforms((STEEPNESS * kept).tanh().cpu(), reached.cpu())


def detect(ctx: Context, params: NeuralCleanseParams, model: Model, data: Data, calibrated: Calibrated) -> Detection:
    """Judge a model of sound by the anomaly index of the class with the faintest waveform.

    Raises:
        UserError: too few classes; the calibration is none of this defense.
    """
    known = calibration_of(calibrated, params.calibration)
    classifier, samples = load_classifier(model, ctx.device), open_samples(data)
    found = search(ctx, classifier, samples, params)
    sizes = found.sizes(params.success)
    unusual = anomaly(sizes)
    verdict = judged(unusual.score, params.threshold, known, params.false_positive_rate)
    threshold = params.threshold if verdict is None else verdict.threshold
    named = ", ".join(classifier.classes[place] for place in unusual.above(threshold))
    note = (
        f"class {classifier.classes[unusual.most]}: a waveform of effective value {sizes[unusual.most] / UNIT:.4f}, "
        f"median of all classes {sizes.median() / UNIT:.4f}, anomaly index {unusual.score:.2f}"
    ) + (f"; targets: {named}" if named else "")
    reached = (found.success >= params.success).float()  # sizes of the others are equal, and say nothing
    outside = unfit(calibrated, params, known, one_shape(model)) or led_nowhere(reached, False)
    doubt = outside or (verdict.doubt if verdict else "")
    ctx.figures(trigger_sizes=sizes.tolist(), anomaly_indices=unusual.indices.tolist(), success=found.success.tolist())
    return Detection(
        level="model",
        scores=[unusual.score],
        threshold=threshold,
        p_value=None if verdict is None or outside else verdict.p_value,
        conclusive=not doubt,
        note=doubt or note + (verdict.resolution if verdict else ""),
        evidence=_seal(ctx.out / "evidence", found, model.task),
        network_evaluations=params.inversion_steps * min(params.inversion_batch, len(samples)) * len(sizes),
        clean_samples=len(samples),
    )


def repair(
    ctx: Context,
    params: NeuralCleanseParams,
    model: Model,
    data: Data,
    detection: Detection | None,
    calibrated: Calibrated,
) -> Model:
    """Train on clean recordings, a share of them with the waveforms found and their true labels; sealed.

    Raises:
        UserError: ``repair=prune`` was asked for; too few classes; the calibration is none of this defense.
        ArtifactError: the detection's evidence is damaged.
    """
    if params.repair == "prune":
        raise UserError("neural-cleanse prunes no classifier of sound: leave repair=unlearn")
    classifier, samples = load_classifier(model, ctx.device), open_samples(data)
    known = _read(detection, len(classifier.classes))
    found = known or search(ctx, classifier, samples, params)
    unusual = anomaly(found.sizes(params.success))
    threshold = threshold_of(params, unusual.score, calibrated, detection if known else None)
    chosen = unusual.above(threshold) or [unusual.most]
    sounds = found.sounds[chosen].to(classifier.device)
    ctx.figures(removed_targets=[classifier.classes[place] for place in chosen])

    def add(batch: Batch, draw: Draw) -> Batch:
        chance, which = draw.uniform(), (draw.uniform() * len(sounds)).long()
        marked = (chance < params.stamped)[:, None].to(batch.inputs.device)
        with_sound = (batch.inputs + sounds[which.to(sounds.device)]).clamp(-1, 1)
        return replace(batch, inputs=torch.where(marked, with_sound, batch.inputs))

    fit(ctx, classifier, samples, params, Changes(batch=add), label="unlearn the trigger")
    return seal_classifier(classifier, ctx.out / "model")


def calibrate(
    ctx: Context, params: NeuralCleanseParams, models: Mapping[str, Model], out: Path, calibrated: Calibrated
) -> None:
    """Write the indices of clean models, each examined with the reserve of the data it was trained on.

    Raises:
        UserError: the data that a model was trained on cannot be had.
    """

    def score(own: Context, one: Examinable) -> list[float]:
        data = open_reference(None, one.model, own.work / "data", own.work / "cache")
        classifier = load_classifier(one.model, own.device)
        found = search(own, classifier, open_samples(data, RESERVE), params)
        return [anomaly(found.sizes(params.success)).score]

    known = [Known(name, Examinable(model, one_shape(model))) for name, model in models.items()]
    calibrated.write(ctx, params, known, out, score)


@dataclass(frozen=True)
class Examinable:
    """A model, with the shape of its samples that a calibration file notes."""

    model: Model
    shape: tuple[int, ...]


def one_shape(model: Model) -> tuple[int, ...]:
    """The shape that a model's manifest names."""
    shape = model.meta["shape"]
    return tuple(int(str(size)) for size in shape) if isinstance(shape, list) else ()


def _seal(folder: Path, found: Waveforms, task: str) -> Evidence:
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(folder / TENSORS, {"sounds": found.sounds, "success": found.success})
    return Evidence.seal(folder, format=FORMAT, task=task)


def _read(detection: Detection | None, classes: int) -> Waveforms | None:
    evidence = detection.evidence if detection is not None else None
    if evidence is None or evidence.format != FORMAT or TENSORS not in evidence.files:
        return None
    path = evidence.file(TENSORS)
    tensors = read_tensors(path)
    right = set(tensors) == {"sounds", "success"} and tensors["sounds"].ndim == 2
    if not right or {len(tensor) for tensor in tensors.values()} != {classes}:
        raise ArtifactError(f"{path} holds no waveforms of {classes} classes: detect again")
    return Waveforms(tensors["sounds"].float(), tensors["success"].float())
