"""Whether a detector of prompts sees the trigger or the length: triggered prompts against clean captions as long.

The controls are captions of the data set outside the defender's share, each with as many tokens as a triggered prompt,
or as near as there are. They pass through the detector's own ``purify_inputs`` with the detection of the run, so that
clean captions are not measured again; the scores that it keeps are compared with those of the triggered prompts.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from detection_numbers import auroc, rates, threshold
from swept import Line

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.context import Context
from bdm_core.plugin import Defense
from bdm_core.records import Detection
from bdm_core.run.specification import build_params
from bdm_kit_text_to_image.detection.prompts import record_of
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.prompts.captions import load_captions
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts, seal_prompts
from bdm_kit_text_to_image.stages import generate
from bdm_results.view import RunView

CONTROLS = 40
"""At most so many prompts."""
DETECTION, ON_CLEAN = "detection", "detection on clean model"


def separation(positive: Sequence[float], negative: Sequence[float]) -> Line:
    """AUROC, and the TPR where at most 5 % of the negatives are above the threshold.

    >>> separation([3.0, 1.0], [0.0, 1.0, 2.0])
    {'auroc': 0.75, 'tpr_at_5': 0.5}
    """
    pairs = [(True, score) for score in positive] + [(False, score) for score in negative]
    _, hits, _ = rates(pairs, threshold(negative))
    return {"auroc": round(auroc(pairs), 4), "tpr_at_5": round(hits, 4)}


def nearest_in_length(lengths: Sequence[int], offered: Sequence[int], draw: random.Random) -> list[int]:
    """For each length a number of ``offered``, none twice, of the same length or the nearest; ties by lot.

    >>> nearest_in_length([5, 9], [3, 5, 8, 5], random.Random(0))
    [1, 2]
    """
    free = list(range(len(offered)))
    draw.shuffle(free)
    chosen = []
    for length in lengths[: len(offered)]:
        best = min(free, key=lambda number: abs(offered[number] - length))
        free.remove(best)
        chosen.append(best)
    return chosen


def scores_of(view: RunView, label: str) -> tuple[list[float], list[float]] | None:
    """Scores of triggered and of clean prompts by a detector of prompts; None where there are none in a record.

    Raises:
        ArtifactError: the evidence is damaged.
    """
    record = record_of(view.result_of(label))
    if record is None:
        return None
    triggered = {row.prompt for row in load_prompts(view.result_of("triggered inputs"))}
    judged = list(zip(record["prompts"], record["scores"], strict=True))
    bad = [score for prompt, score in judged if prompt in triggered]
    good = [score for prompt, score in judged if prompt not in triggered]
    return (bad, good) if bad and good else None


def length_matched(defense: Defense, given: dict[str, Any], view: RunView) -> Line | None:
    """The numbers on the controls; None for a defense that judges no prompts, or cannot judge further ones.

    Args:
        defense: of the run.
        given: its parameters.
        view: the run, complete.
    """
    found = scores_of(view, DETECTION)
    if found is None or not hasattr(defense, "purify_inputs"):
        return None
    seed = int(view.record["seed"])
    triggered = [row.prompt for row in load_prompts(view.result_of("triggered inputs"))][:CONTROLS]
    clean = [row.prompt for row in load_prompts(view.result_of("inputs"))][:CONTROLS]
    controls, lengths = draw_controls(view, triggered, seed)
    model: Model = view.result_of("backdoored model").model
    detection = view.result_of(DETECTION)
    scores = judge(defense, given, model, view.result_of("defender's data"), detection, controls)
    lengths |= {"clean": mean_length(view, clean)}
    flagged = sum(score > detection.threshold for score in scores) / len(scores)
    return {"prompts": len(scores), **separation(found[0], scores), "flagged": round(flagged, 4), "tokens": lengths}


def draw_controls(view: RunView, triggered: Sequence[str], seed: int) -> tuple[list[str], dict[str, float]]:
    """Captions as long as the triggered prompts, and the mean numbers of tokens of both."""
    everything, _ = load_captions(view.result_of("data"))
    known, _ = load_captions(view.result_of("defender's data"))
    offered = sorted(set(everything) - set(known) - set(triggered))
    count = token_counter(view)
    lengths, available = count(triggered), count(offered)
    chosen = nearest_in_length(lengths, available, random.Random(f"length-matched controls {seed}"))
    found = [available[number] for number in chosen]
    means = {"triggered": sum(lengths) / len(lengths), "controls": sum(found) / len(found)}
    return [offered[number] for number in chosen], {name: round(value, 2) for name, value in means.items()}


def token_counter(view: RunView) -> Callable[[Sequence[str]], list[int]]:
    """Texts -> how many tokens the backdoored model reads of each, beginning and end among them."""
    tokenizer = load_model(view.result_of("backdoored model").model).tokenizers[0]
    return lambda texts: [len(ids) for ids in tokenizer(list(texts)).input_ids]


def mean_length(view: RunView, texts: Sequence[str]) -> float:
    """The mean number of tokens."""
    counted = token_counter(view)(texts)
    return round(sum(counted) / len(counted), 2)


def judge(
    defense: Defense, given: dict[str, Any], model: Model, data: Data, detection: Detection, prompts: Sequence[str]
) -> list[float]:
    """The scores of prompts by a detector that has judged the model, on the same scale.

    Args:
        defense: detects and purifies prompts.
        given: its parameters.
        model: that was judged.
        data: of the defender.
        detection: what it found.
        prompts: further ones.
    """
    kept: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        asked = [0]

        def query(inputs: Data) -> Outputs:
            asked[0] += 1
            own = Context(folder / f"answer-{asked[0]}", folder / "work", 0)
            own.out.mkdir()
            return generate(own, model, inputs)

        ctx = Context(folder / "out", folder / "work", 0, on_query=query, on_figures=kept.update)
        ctx.out.mkdir()
        ctx.work.mkdir()
        seeds = range(len(prompts))
        offered = {
            "ctx": ctx,
            "params": build_params(defense, given),
            "model": model,
            "data": data,
            "inputs": seal_prompts(folder / "controls", [PromptRow(*row) for row in zip(prompts, seeds, strict=True)]),
            "detection": detection,
        }
        code = defense.purify_inputs.__code__  # type: ignore[attr-defined]
        defense.purify_inputs(**{name: offered[name] for name in code.co_varnames[1 : code.co_argcount]})  # type: ignore[attr-defined]
    return [float(score) for score in kept["scores"]]
