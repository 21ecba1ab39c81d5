"""Judge prompts by statistics of what the model does with them, calibrated on clean prompts of the same model.

Every detector of prompts names its statistics and how a score is learnt from those of clean prompts; what is the same
for all is here: which captions calibrate, the threshold, the evidence, and turning flagged prompts away.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Evidence
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection, Purified
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.detection.fewest_captions import LEAST
from bdm_kit_text_to_image.detection.one_class import Scorer, constant, single
from bdm_kit_text_to_image.detection.params import PromptDetectorParams
from bdm_kit_text_to_image.editing.projections import draw_captions
from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts, seal_prompts
from bdm_torch.calibration import clean_threshold, conformal_p_values, fewest_clean

FORMAT = "prompt-scores"
FACTS, SUMMARY = "scores.json", "features.json"


@dataclass(frozen=True)
class PromptStatistics:
    """What a detector measures of a prompt.

    Attributes:
        name: of the detector.
        columns: names of the F statistics.
        measure: N prompts -> (N, F). A prompt's row must not depend on the other prompts.
        fit: statistics (K, F) of clean prompts -> a scorer.
        fitted: whether ``fit`` learns anything: half of the clean prompts are then kept from it for the threshold.
        apart: names of columns that are only shown: they take no part in the score; the last of ``columns``.
        own_scale: names of columns whose scale is not learnt: they count although clean prompts do not differ in them.
    """

    name: str
    columns: Sequence[str]
    measure: Callable[[list[str]], Tensor]
    fit: Callable[[Tensor], Scorer] = single
    fitted: bool = False
    apart: Sequence[str] = field(default_factory=tuple)
    own_scale: Sequence[str] = field(default_factory=tuple)


@dataclass(frozen=True, eq=False)
class PromptScores:
    """What was found.

    Attributes:
        scores: (N,), of the suspects.
        clean: (K,), of the clean prompts that the scorer never saw.
        threshold: above it a prompt is flagged.
        statistics: (N, F) of the suspects.
        known: (M, F) of all clean prompts, those that were fitted on first.
        fitted_on: how many these are.
        left_out: names of statistics in which the clean prompts that were fitted on do not differ.
    """

    scores: Tensor
    clean: Tensor
    threshold: float
    statistics: Tensor
    known: Tensor
    fitted_on: int
    left_out: Sequence[str] = ()


Maker = Callable[[Context, Sequence[str]], PromptStatistics]
"""What a detector measures, by the context, which has the seed of noise and captions, and the prompts to judge."""
Explain = Callable[[list[str]], dict[str, Any]]
"""Flagged prompts -> what else is to be known of them: file names and their content as JSON."""


def score_prompts(
    statistics: PromptStatistics,
    prompts: Sequence[str],
    known: Tensor,
    fitted_on: int,
    false_positive_rate: float,
    seen: Mapping[str, Sequence[float]] | None = None,
) -> PromptScores:
    """Score prompts by what is known of clean ones; equal prompts are measured once, in an order of their own.

    Args:
        statistics: of the detector.
        prompts: N texts.
        known: (M, F), statistics of clean prompts.
        fitted_on: the scorer learns from so many of them, the threshold is set on the others.
        false_positive_rate: of the threshold.
        seen: statistics (F,) of prompts that were measured before, by the same statistics: they are not measured again.

    Raises:
        UserError: a statistic or a score is not finite.
    """
    rows = {prompt: torch.tensor(row, dtype=torch.float64) for prompt, row in (seen or {}).items()}
    distinct = sorted(set(prompts) - rows.keys())
    if distinct:
        rows |= dict(zip(distinct, measured(statistics, distinct), strict=True))
    values = torch.stack([rows[prompt] for prompt in prompts])
    used = len(statistics.columns) - len(statistics.apart)
    scorer = statistics.fit(known[: fitted_on or None, :used])
    clean = scorer(known[fitted_on:, :used])
    scores = scorer(values[:, :used])
    if not bool(torch.isfinite(scores).all() and torch.isfinite(clean).all()):
        raise UserError(f"{statistics.name}: the score of a prompt is not finite, so that it cannot be judged")
    threshold = clean_threshold(clean.tolist(), false_positive_rate)
    same = constant(known[:fitted_on, :used]).tolist() if statistics.fitted and fitted_on else []
    left_out = [
        name for name, one in zip(statistics.columns, same, strict=False) if one and name not in statistics.own_scale
    ]
    return PromptScores(scores, clean, threshold, values, known, fitted_on, left_out)


def measured(statistics: PromptStatistics, prompts: list[str]) -> Tensor:
    """(N, F) float64 on the CPU. Raises UserError where a statistic is not finite."""
    values = statistics.measure(prompts).double().cpu()
    if not bool(torch.isfinite(values).all()):
        row, column = (int(index[0]) for index in torch.where(~torch.isfinite(values)))
        raise UserError(
            f"{statistics.name}: {statistics.columns[column]} of the prompt {prompts[row]!r} is not finite: does the "
            "model generate?"
        )
    return values


def split_captions(
    params: PromptDetectorParams, data: Data, suspects: Sequence[str], seed: int
) -> tuple[list[str], list[str]]:
    """The captions that calibrate, and those that are left for other uses: neither has a suspect among them."""
    judged = set(suspects)
    captions = [caption for caption in draw_captions(data, None, [], seed) if caption not in judged]
    return captions[: params.clean_prompts], captions[params.clean_prompts :]


def clean_statistics(
    statistics: PromptStatistics, params: PromptDetectorParams, data: Data, suspects: Sequence[str], seed: int
) -> tuple[Tensor, int]:
    """Statistics (M, F) of captions of the defender's data that are no suspects, and how many of them to fit on.

    Raises:
        UserError: there are fewer than four such captions.
    """
    chosen, _ = split_captions(params, data, suspects, seed)
    if len(chosen) < LEAST:
        raise UserError(
            f"{statistics.name} needs at least {LEAST} clean captions that are no suspects, there are {len(chosen)}: "
            "allow the defender more data (--data-share)"
        )
    return measured(statistics, chosen), len(chosen) // 2 if statistics.fitted else 0


def detect_prompts(
    ctx: Context,
    params: PromptDetectorParams,
    data: Data,
    suspects: Data,
    statistics: PromptStatistics,
    explain: Explain | None = None,
) -> Detection:
    """Judge every suspect; the evidence is sealed in ``ctx.out / "evidence"``.

    Args:
        ctx: its seed draws the captions.
        params: how many clean prompts, which false positive rate.
        data: the defender's captioned images; only captions are used.
        suspects: prompts.
        statistics: what to measure.
        explain: looks closer at the flagged prompts; what it gives lies beside the scores.

    Raises:
        ArtifactError: the suspects are no prompts.
        UserError: there are too few captions, or a statistic is not finite.
    """
    prompts = [row.prompt for row in load_prompts(suspects)]
    known, fitted_on = clean_statistics(statistics, params, data, prompts, ctx.seed)
    found = score_prompts(statistics, prompts, known, fitted_on, params.false_positive_rate)
    named = [prompt for prompt, score in zip(prompts, found.scores.tolist(), strict=True) if score > found.threshold]
    flagged = len(named)
    ctx.figures(flagged=flagged / max(1, len(prompts)), calibration_prompts=len(found.clean))
    needed = fewest_clean(params.false_positive_rate)
    learnt = len(statistics.columns) - len(statistics.apart) - len(set(statistics.own_scale) & set(statistics.columns))
    enough = len(found.clean) >= needed and len(found.left_out) < learnt
    doubt = f"{len(found.clean)} clean prompts set the threshold, and this false positive rate needs {needed}"
    left_out = f"left out, as clean prompts do not differ in it: {', '.join(found.left_out)}" if found.left_out else ""
    if len(found.clean) >= needed and not enough:
        doubt = "clean prompts do not differ in anything that is measured"
    said = f"{flagged} of {len(prompts)} prompts are flagged" + (f"; {left_out}" if left_out else "")
    return Detection(
        level="input",
        scores=found.scores.tolist(),
        threshold=found.threshold,
        conclusive=enough,
        note=said if enough else doubt,
        evidence=seal_scores(ctx, statistics, prompts, found, {} if explain is None else explain(named)),
        clean_samples=len(known),
    )


def reject_prompts(
    ctx: Context,
    params: PromptDetectorParams,
    data: Data,
    inputs: Data,
    detection: Detection | None,
    make: Maker,
) -> Purified:
    """Turn away prompts whose score is above the threshold; the others pass unchanged.

    What this detector's own detection knows of clean prompts and of its suspects serves again, and other inputs are
    measured as it measured: by its seed, with the suspects that it kept apart. Without it clean prompts are measured
    anew, by the stage's seed.
    The scores are kept with the stage, as ``scores`` of its figures.
    """
    rows = load_prompts(inputs)
    prompts = [row.prompt for row in rows]
    record = record_of(detection)
    if record is not None:
        statistics = make(replace(ctx, seed=int(record["seed"])), record["prompts"])
        if record["detector"] != statistics.name or record["columns"] != list(statistics.columns):
            record = None
    seen: dict[str, list[float]] = {}
    if record is None:
        statistics = make(ctx, prompts)
        known, fitted_on = clean_statistics(statistics, params, data, prompts, ctx.seed)
    else:
        known, fitted_on = torch.tensor(record["known"], dtype=torch.float64), int(record["fitted_on"])
        seen = dict(zip(record["prompts"], record["statistics"], strict=True))
    found = score_prompts(statistics, prompts, known, fitted_on, params.false_positive_rate, seen) if rows else None
    rejected = [] if found is None else (found.scores > found.threshold).tolist()
    ctx.figures(scores=[] if found is None else found.scores.tolist())
    return Purified(inputs=seal_prompts(ctx.out / "data", rows), rejected=rejected)


def record_of(detection: Detection | None) -> dict[str, Any] | None:
    """The record of a detector's evidence, or None where there is none, or one without the seed of its noise."""
    if detection is None or detection.evidence is None or detection.evidence.format != FORMAT:
        return None
    record: dict[str, Any] = json.loads(detection.evidence.file(FACTS).read_text(encoding="utf-8"))
    return record if "seed" in record else None


def flagged_prompts(detection: Detection | None) -> list[str] | None:
    """The prompts that any detector of prompts flagged; None without the evidence of one."""
    record = record_of(detection)
    if record is None:
        return None
    return [
        text for text, score in zip(record["prompts"], record["scores"], strict=True) if score > record["threshold"]
    ]


def seal_scores(
    ctx: Context,
    statistics: PromptStatistics,
    prompts: Sequence[str],
    found: PromptScores,
    more: Mapping[str, Any] | None = None,
) -> Evidence:
    """The scores, p-values and statistics of suspects, and what is known of clean prompts; format ``prompt-scores``.

    ``more`` are further JSON files by name.
    """
    folder = ctx.out / "evidence"
    folder.mkdir(parents=True)
    record = {
        "detector": statistics.name,
        "columns": list(statistics.columns),
        "seed": ctx.seed,
        "left_out": list(found.left_out),
        "threshold": found.threshold,
        "prompts": list(prompts),
        "scores": found.scores.tolist(),
        "p_values": conformal_p_values(found.scores.tolist(), found.clean.tolist()),
        "statistics": found.statistics.tolist(),
        "clean_scores": found.clean.tolist(),
        "known": found.known.tolist(),
        "fitted_on": found.fitted_on,
    }
    columns = list(statistics.columns)
    summary = {
        "threshold": found.threshold,
        "flagged": int((found.scores > found.threshold).sum()),
        "median of clean prompts": dict(zip(columns, found.known.median(0).values.tolist(), strict=True)),
        "median of suspects": dict(zip(columns, found.statistics.median(0).values.tolist(), strict=True)),
    }
    for name, content in {FACTS: record, SUMMARY: summary, **(more or {})}.items():
        (folder / name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return Evidence.seal(folder, format=FORMAT, task=TASK)
