"""Judging prompts by clean ones: false positives as promised, captions that are no suspects, evidence."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_text_to_image.detection.one_class import mahalanobis, robust_excess
from bdm_kit_text_to_image.detection.params import PromptDetectorParams
from bdm_kit_text_to_image.detection.prompts import (
    PromptStatistics,
    clean_statistics,
    detect_prompts,
    reject_prompts,
    score_prompts,
    split_captions,
)
from bdm_kit_text_to_image.illustration import illustrate
from bdm_kit_text_to_image.models.bases import open_base
from bdm_kit_text_to_image.models.text_to_image_model import save_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts, seal_prompts

ContextMaker = Callable[..., Context]
CAPTIONS = [f"a star number {number}" for number in range(60)]


def lengths(prompts: list[str]) -> torch.Tensor:
    return torch.tensor([[float(len(prompt)), float(prompt.count("star"))] for prompt in prompts])


LENGTH = PromptStatistics(name="length", columns=["letters", "stars"], measure=lengths)


@pytest.fixture
def captions(tmp_path: Path) -> Data:
    return seal_captioned(tmp_path / "data", torch.zeros(60, 3, 16, 16), CAPTIONS, [{}] * 60)


def suspects(folder: Path, prompts: list[str]) -> Data:
    return seal_prompts(folder / "suspects", [PromptRow(prompt, 7) for prompt in prompts])


@pytest.mark.parametrize("fitted", [False, True])
def test_so_many_clean_prompts_are_flagged_as_allowed(fitted: bool) -> None:
    torch.manual_seed(0)
    values = {str(number): torch.randn(3).exp() for number in range(4000)}
    statistics = PromptStatistics(
        "any", ["a", "b", "c"], lambda prompts: torch.stack([values[p] for p in prompts]), mahalanobis, fitted
    )
    names = list(values)
    flagged = []
    for start in range(0, 4000, 100):
        known = torch.stack([values[name] for name in names[start : start + 80]]).double()
        found = score_prompts(statistics, names[start + 80 : start + 100], known, 40 if fitted else 0, 0.1)
        flagged += (found.scores > found.threshold).tolist()
    assert 0.05 < sum(flagged) / len(flagged) <= 0.13


def test_suspects_are_judged_by_captions_that_are_no_suspects(
    captions: Data, tmp_path: Path, bdm_context: ContextMaker
) -> None:
    ctx, params = bdm_context(seed=3), PromptDetectorParams(clean_prompts=40)
    inputs = suspects(tmp_path, [*CAPTIONS[:12], "a very long prompt about a star and a ring and a circle"])
    found = detect_prompts(ctx, params, captions, inputs, LENGTH)
    assert found.level == "input" and found.conclusive and found.clean_samples == 40
    assert [score > found.threshold for score in found.scores] == [False] * 12 + [True]
    known, fitted_on = clean_statistics(LENGTH, params, captions, CAPTIONS[:12], ctx.seed)
    assert fitted_on == 0 and len(known) == 40
    assert found.evidence is not None
    record = json.loads(found.evidence.file("scores.json").read_text())
    assert record["p_values"][-1] == pytest.approx(1 / 41) and record["prompts"][-1].startswith("a very long")
    curves, texts = illustrate(found.evidence, tmp_path) or []
    assert len(curves.curves["suspects"]) == 21 and texts.rows[0][0].mark == "trigger"
    # the same clean prompts serve when inputs are turned away, whatever data there are by then
    kept: dict[str, Any] = {}
    own = bdm_context(on_figures=kept.update)
    purified = reject_prompts(own, params, captions, inputs, found, lambda *_: LENGTH)
    assert purified.rejected == [False] * 12 + [True] and kept["scores"] == found.scores
    assert load_prompts(purified.inputs) == load_prompts(inputs)
    assert not any(
        reject_prompts(
            bdm_context(), params, captions, suspects(tmp_path / "b", ["a star"]), None, lambda *_: LENGTH
        ).rejected
    )


def test_inputs_are_measured_with_the_seed_of_the_detection(
    captions: Data, tmp_path: Path, bdm_context: ContextMaker
) -> None:
    asked: list[tuple[int, list[str]]] = []

    def make(ctx: Context, judged: Sequence[str]) -> PromptStatistics:
        asked.append((ctx.seed, list(judged)))
        shift = 1000.0 * ctx.seed  # as another noise would
        return PromptStatistics("seeded", ["letters"], lambda prompts: lengths(prompts)[:, :1] + shift)

    params = PromptDetectorParams(clean_prompts=40)
    inputs = suspects(tmp_path, ["a star", "a very long prompt about a star and a ring and a circle"])
    found = detect_prompts(bdm_context(seed=3), params, captions, inputs, make(bdm_context(seed=3), []))
    purified = reject_prompts(bdm_context(seed=8), params, captions, inputs, found, make)
    assert purified.rejected == [score > found.threshold for score in found.scores] == [False, True]
    assert asked[-1] == (3, ["a star", "a very long prompt about a star and a ring and a circle"])
    alone = reject_prompts(bdm_context(seed=8), params, captions, inputs, None, make)
    assert alone.rejected == [False, True] and asked[-1][0] == 8


def test_what_was_judged_is_not_measured_again(captions: Data, tmp_path: Path, bdm_context: ContextMaker) -> None:
    measured: list[str] = []

    def measure(prompts: list[str]) -> torch.Tensor:
        measured.extend(prompts)
        return lengths(prompts)[:, :1]

    statistics = PromptStatistics("counting", ["letters"], measure)
    params = PromptDetectorParams(clean_prompts=40)
    inputs = suspects(tmp_path / "a", ["a star", "a very long prompt about a star and a ring and a circle"])
    found = detect_prompts(bdm_context(), params, captions, inputs, statistics)
    measured.clear()
    more = suspects(tmp_path / "b", ["a ring", "a very long prompt about a star and a ring and a circle", "a star"])
    purified = reject_prompts(bdm_context(), params, captions, more, found, lambda *_: statistics)
    assert purified.rejected == [False, True, False] and measured == ["a ring"]


def test_captions_of_other_uses_neither_calibrate_nor_are_judged(captions: Data) -> None:
    chosen, spare = split_captions(PromptDetectorParams(clean_prompts=20), captions, CAPTIONS[:30], 1)
    assert len(chosen) == 20 and len(spare) == 10
    assert not set(chosen) & set(spare) and not (set(chosen) | set(spare)) & set(CAPTIONS[:30])


def test_a_statistic_that_clean_prompts_share_is_left_out_and_said(
    captions: Data, tmp_path: Path, bdm_context: ContextMaker
) -> None:
    params = PromptDetectorParams(clean_prompts=50)
    inputs = suspects(tmp_path, ["a ring number 5"])  # no star: all captions have one
    for fit in (mahalanobis, robust_excess):
        statistics = replace(LENGTH, fit=fit, fitted=True)
        found = detect_prompts(bdm_context(), params, captions, inputs, statistics)
        assert found.scores[0] < 100 and "do not differ in it: stars" in found.note
    same = PromptStatistics("same", ["one"], lambda prompts: torch.ones(len(prompts), 1), mahalanobis, True)
    found = detect_prompts(bdm_context(), params, captions, inputs, same)
    assert found.verdict == "not identifiable" and "do not differ in anything" in found.note


def test_too_few_clean_prompts_are_a_doubt_or_an_error(
    captions: Data, tmp_path: Path, bdm_context: ContextMaker
) -> None:
    inputs = suspects(tmp_path, ["a ring"])
    found = detect_prompts(bdm_context(), PromptDetectorParams(clean_prompts=12), captions, inputs, LENGTH)
    assert found.verdict == "not identifiable" and "needs 19" in found.note
    few = seal_captioned(tmp_path / "few", torch.zeros(3, 3, 16, 16), ["a ring", "a star", "x"], [{}] * 3)
    with pytest.raises(UserError, match="at least 4 clean captions"):
        detect_prompts(bdm_context(), PromptDetectorParams(), few, inputs, LENGTH)
    broken = PromptStatistics("broken", ["value"], lambda prompts: torch.full((len(prompts), 1), torch.nan))
    with pytest.raises(UserError, match=r"broken: value of the prompt .* is not finite"):
        detect_prompts(bdm_context(), PromptDetectorParams(), captions, inputs, broken)


@pytest.mark.parametrize("value", [torch.nan, torch.inf, -torch.inf])
@pytest.mark.parametrize("where", ["suspects", "clean", "scores of suspects", "scores of clean prompts"])
def test_a_prompt_without_a_finite_number_neither_passes_nor_is_called_clean(
    captions: Data, tmp_path: Path, bdm_context: ContextMaker, value: float, where: str
) -> None:
    """What is not finite is above no threshold: it must be refused, in the detection and where prompts are turned away.

    All detectors of prompts are judged by these two functions, whatever they measure.
    """
    judged = "zzz"
    inputs = suspects(tmp_path, [judged])

    def measure(prompts: list[str]) -> torch.Tensor:
        found = LENGTH.measure(prompts).double()
        rows = torch.tensor([(prompt == judged) is (where == "suspects") for prompt in prompts])
        if where in ("suspects", "clean"):
            found[rows] = value
        return found

    def fit(clean: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
        def score(rows: torch.Tensor) -> torch.Tensor:
            bad = (len(rows) == 1) is (where == "scores of suspects")
            return torch.full((len(rows),), value if bad and where.startswith("scores") else 1.0)

        return score

    broken = replace(LENGTH, measure=measure, fit=fit)
    params = PromptDetectorParams(clean_prompts=50)
    with pytest.raises(UserError, match="not finite"):
        detect_prompts(bdm_context(), params, captions, inputs, broken)
    with pytest.raises(UserError, match="not finite"):
        reject_prompts(bdm_context(), params, captions, inputs, None, lambda ctx, prompts: broken)


def test_a_base_must_have_the_parts_of_the_suspect(tmp_path: Path) -> None:
    model = tiny_model()
    save_model(tiny_model(1), tmp_path / "base")
    assert open_base(str(tmp_path / "base"), model, tmp_path).image_shape == model.image_shape
    with pytest.raises(UserError, match="is no base of the model"):
        open_base("small-world", model, tmp_path)
