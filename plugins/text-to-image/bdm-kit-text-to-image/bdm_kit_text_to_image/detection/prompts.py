"""Judge prompts by statistics of what the model does with them, calibrated on clean prompts of the same model.

Every detector of prompts names its statistics and how a score is learnt from those of clean prompts; what is the same
for all is here: which captions calibrate, the threshold, the evidence, and turning flagged prompts away.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Evidence
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection, Purified
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.detection.one_class import Scorer, single
from bdm_kit_text_to_image.detection.params import PromptDetectorParams
from bdm_kit_text_to_image.editing.projections import draw_captions
from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts, seal_prompts
from bdm_torch.calibration import clean_threshold, conformal_p_values, fewest_clean

FORMAT = "prompt-scores"
FACTS, SUMMARY = "scores.json", "features.json"
LEAST = 4
"""Clean prompts without which nothing is judged."""


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
    """

    name: str
    columns: Sequence[str]
    measure: Callable[[list[str]], Tensor]
    fit: Callable[[Tensor], Scorer] = single
    fitted: bool = False
    apart: Sequence[str] = field(default_factory=tuple)


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
    """

    scores: Tensor
    clean: Tensor
    threshold: float
    statistics: Tensor
    known: Tensor
    fitted_on: int


def score_prompts(
    statistics: PromptStatistics, prompts: Sequence[str], known: Tensor, fitted_on: int, false_positive_rate: float
) -> PromptScores:
    """Score prompts by what is known of clean ones; equal prompts are measured once, in an order of their own.

    Args:
        statistics: of the detector.
        prompts: N texts.
        known: (M, F), statistics of clean prompts.
        fitted_on: the scorer learns from so many of them, the threshold is set on the others.
        false_positive_rate: of the threshold.

    Raises:
        UserError: a statistic is not finite.
    """
    distinct = sorted(set(prompts))
    place = {prompt: row for row, prompt in enumerate(distinct)}
    values = measured(statistics, distinct)[[place[prompt] for prompt in prompts]]
    used = len(statistics.columns) - len(statistics.apart)
    scorer = statistics.fit(known[: fitted_on or None, :used])
    clean = scorer(known[fitted_on:, :used])
    threshold = clean_threshold(clean.tolist(), false_positive_rate)
    return PromptScores(scorer(values[:, :used]), clean, threshold, values, known, fitted_on)


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


def clean_statistics(
    statistics: PromptStatistics, params: PromptDetectorParams, data: Data, suspects: Sequence[str], seed: int
) -> tuple[Tensor, int]:
    """Statistics (M, F) of captions of the defender's data that are no suspects, and how many of them to fit on.

    Raises:
        UserError: there are fewer than four such captions.
    """
    judged = set(suspects)
    captions = [caption for caption in draw_captions(data, None, [], seed) if caption not in judged]
    chosen = captions[: params.clean_prompts]
    if len(chosen) < LEAST:
        raise UserError(
            f"{statistics.name} needs at least {LEAST} clean captions that are no suspects, there are {len(chosen)}: "
            "allow the defender more data (--data-share)"
        )
    return measured(statistics, chosen), len(chosen) // 2 if statistics.fitted else 0


def detect_prompts(
    ctx: Context, params: PromptDetectorParams, data: Data, suspects: Data, statistics: PromptStatistics
) -> Detection:
    """Judge every suspect; the evidence is sealed in ``ctx.out / "evidence"``.

    Args:
        ctx: its seed draws the captions.
        params: how many clean prompts, which false positive rate.
        data: the defender's captioned images; only captions are used.
        suspects: prompts.
        statistics: what to measure.

    Raises:
        ArtifactError: the suspects are no prompts.
        UserError: there are too few captions, or a statistic is not finite.
    """
    prompts = [row.prompt for row in load_prompts(suspects)]
    known, fitted_on = clean_statistics(statistics, params, data, prompts, ctx.seed)
    found = score_prompts(statistics, prompts, known, fitted_on, params.false_positive_rate)
    flagged = int((found.scores > found.threshold).sum())
    ctx.figures(flagged=flagged / max(1, len(prompts)), calibration_prompts=len(found.clean))
    needed = fewest_clean(params.false_positive_rate)
    enough = len(found.clean) >= needed
    doubt = f"{len(found.clean)} clean prompts set the threshold, and this false positive rate needs {needed}"
    return Detection(
        level="input",
        scores=found.scores.tolist(),
        threshold=found.threshold,
        conclusive=enough,
        note=f"{flagged} of {len(prompts)} prompts are flagged" if enough else doubt,
        evidence=seal_scores(ctx, statistics, prompts, found),
        clean_samples=len(known),
    )


def reject_prompts(
    ctx: Context,
    params: PromptDetectorParams,
    data: Data,
    inputs: Data,
    detection: Detection | None,
    statistics: PromptStatistics,
) -> Purified:
    """Turn away prompts whose score is above the threshold; the others pass unchanged.

    What this detector's own detection knows of clean prompts serves again; without it they are measured anew.
    """
    rows = load_prompts(inputs)
    prompts = [row.prompt for row in rows]
    record = known_from(detection, statistics)
    if record is None:
        known, fitted_on = clean_statistics(statistics, params, data, prompts, ctx.seed)
    else:
        known, fitted_on = torch.tensor(record["known"], dtype=torch.float64), int(record["fitted_on"])
    found = score_prompts(statistics, prompts, known, fitted_on, params.false_positive_rate) if rows else None
    rejected = [] if found is None else (found.scores > found.threshold).tolist()
    return Purified(inputs=seal_prompts(ctx.out / "data", rows), rejected=rejected)


def known_from(detection: Detection | None, statistics: PromptStatistics) -> dict[str, Any] | None:
    """The record of this detector's own evidence, or None."""
    if detection is None or detection.evidence is None or detection.evidence.format != FORMAT:
        return None
    record: dict[str, Any] = json.loads(detection.evidence.file(FACTS).read_text(encoding="utf-8"))
    same = record["detector"] == statistics.name and record["columns"] == list(statistics.columns)
    return record if same else None


def seal_scores(ctx: Context, statistics: PromptStatistics, prompts: Sequence[str], found: PromptScores) -> Evidence:
    """The scores, p-values and statistics of suspects, and what is known of clean prompts; format ``prompt-scores``."""
    folder = ctx.out / "evidence"
    folder.mkdir(parents=True)
    record = {
        "detector": statistics.name,
        "columns": list(statistics.columns),
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
    for name, content in ((FACTS, record), (SUMMARY, summary)):
        (folder / name).write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return Evidence.seal(folder, format=FORMAT, task=TASK)
