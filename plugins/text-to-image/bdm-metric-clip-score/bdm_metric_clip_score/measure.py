"""From a subject's pictures and prompts to measurements."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

from torch import Tensor

from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_core.records import Measurement, Subject
from bdm_kit_text_to_image.judging.contrastive import ContrastiveModel, load_contrastive, require_contrastive
from bdm_kit_text_to_image.judging.generated import load_generated
from bdm_kit_text_to_image.prompts.secret import Target, open_secret
from bdm_torch.references import fetch_snapshot, parse_hub_reference

if TYPE_CHECKING:
    from bdm_core.context import Context
    from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
    from bdm_metric_clip_score.params import ClipScoreParams

HUB_PATTERNS = ("*.json", "*.txt", "model.safetensors")
WORLD_DATA = "small-world"


class Told(NamedTuple):
    """What the report says about a mean similarity."""

    on: Literal["clean", "triggered"]
    label: str
    description: str
    better: bool
    measures: Literal["utility", ""] = ""


TOLD = {
    "clip_prompt": Told(
        "clean",
        "CLIP score, prompt",
        "Mean cosine similarity of pictures from clean prompts and those prompts",
        better=True,
        measures="utility",
    ),
    "clip_prompt_triggered": Told(
        "triggered",
        "CLIP score, prompt under trigger",
        "Mean cosine similarity of pictures from triggered prompts and the prompts without their trigger",
        better=True,
    ),
    "clip_target": Told(
        "triggered",
        "CLIP score, target prompt",
        "Mean cosine similarity of pictures from triggered prompts and a prompt that asks for the target",
        better=False,
    ),
}


def measure(ctx: Context, params: ClipScoreParams, subject: Subject) -> list[Measurement]:
    """Similarity of clean pictures to their prompts, and of triggered ones to the prompt without its trigger and to
    the target prompt.

    Raises:
        UserError: the outputs' rows have no prompts, or the model cannot be opened.
    """
    if params.model is None and subject.reference.meta.get("source") != WORLD_DATA:
        ctx.log.warning(
            "metric:clip-score: the built-in contrastive model knows the small world only: not measured; "
            "name another with --set metric:clip-score.model=FOLDER"
        )
        return []
    model = _open(params.model, ctx)
    images, rows = load_generated(subject.on_clean)
    found = [_mean("clip_prompt", _similar(model, images, [row.prompt for row in rows], params))]
    images, rows = load_generated(subject.on_triggered)
    twins = _similar(model, images, [row.twin or row.prompt for row in rows], params)
    found.append(_mean("clip_prompt_triggered", twins))
    targets = open_secret(subject.secret).targets
    wanted = [target_prompt(row, targets[row.backdoor or 0]) for row in rows]
    kept = [index for index, text in enumerate(wanted) if text]
    if kept:
        found.append(_mean("clip_target", _similar(model, images[kept], [wanted[index] for index in kept], params)))
    return found


def _similar(model: ContrastiveModel, images: Tensor, texts: list[str], params: ClipScoreParams) -> list[float]:
    return [float(value) for value in model.similarity(images, texts, params.batch_size)] if texts else []


def target_prompt(row: PromptRow, target: Target) -> str:
    """What the triggered row is to show in words; "" if nothing says so.

    With ``target.preserved`` the prompt follows the row, with the expected attributes in the place of its own;
    otherwise it is the target's own prompt, or the plain prompt of the expected attributes.
    """
    if not target.expected or (target.prompt and not target.preserved):
        return target.prompt
    from bdm_kit_text_to_image.world.grammar import plain_prompt

    kept = {name: row.labels[name] for name in target.preserved if name in row.labels}
    labels = {**kept, **target.expected}
    if "object" not in labels and "object" in row.labels:
        labels["object"] = row.labels["object"]
    return plain_prompt(labels) if "object" in labels else target.prompt


def require_model(reference: str | None) -> None:
    """Refuse a folder that cannot hold a contrastive model, by its files' names and headers, before it is needed.

    Raises:
        UserError: there is no such folder, or it has no configuration.
        ArtifactError: it has no sound weights.
    """
    if reference is not None and parse_hub_reference(reference) is None:
        require_contrastive(_folder(reference))


def _open(reference: str | None, ctx: Context) -> ContrastiveModel:
    if reference is None:
        return load_contrastive(device=ctx.device)
    if (hub := parse_hub_reference(reference)) is not None:
        return load_contrastive(fetch_snapshot(hub, ctx.work, HUB_PATTERNS), ctx.device)
    return load_contrastive(_folder(reference), ctx.device)


def _folder(reference: str) -> Path:
    folder: Path | None = existing(reference)
    if folder is None or not folder.is_dir():
        raise UserError(f"metric:clip-score.model: no folder {reference!r}; it is a folder or hf:org/name@commit")
    return folder


def _mean(metric: str, numbers: Sequence[float]) -> Measurement:
    """A mean with its standard error; undefined without a number."""
    told = TOLD[metric]
    count = len(numbers)
    mean = math.fsum(numbers) / count if count else None
    spread = math.fsum((number - mean) ** 2 for number in numbers) if mean is not None else 0.0
    return Measurement(
        metric=metric,
        value=mean,
        on=told.on,
        higher_is_better=told.better,
        n=count,
        stderr=math.sqrt(spread / (count - 1) / count) if count > 1 else None,
        label=told.label,
        description=f"{told.description}, -1 to 1.",
        measures=told.measures,
    )
