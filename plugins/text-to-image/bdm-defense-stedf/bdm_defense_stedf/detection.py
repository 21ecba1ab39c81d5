"""STEDF (STEDiff, ICLR 2026) as what it is: an upper bound for detectors that are not told the trigger.

A prompt's features are the outputs of the UNet's up blocks, averaged over space, at the noisier half of the steps. A
classifier is trained on clean captions and the same captions with the triggers that it is to find. How much it owes to
that shows where one trigger is left out of the training.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Detection
from bdm_defense_stedf.classifier import area, train_classifier
from bdm_defense_stedf.params import StedfParams
from bdm_diffusers.samplers import build_scheduler
from bdm_kit_text_to_image.detection.prompts import PromptStatistics, detect_prompts, split_captions
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts
from bdm_kit_text_to_image.prompts.triggers import LIBRARY, PromptTrigger
from bdm_kit_text_to_image.recording.chain import ChainOptions, walk
from bdm_torch.recording import record_outputs, spatial_mean

UP_BLOCK = re.compile(r"up_blocks\.\d+")
LEFT_OUT = "leave-one-trigger-out.json"
KNOWN = "upper bound, triggers known"
HELD_BACK = 0.25
"""Share of the training captions on which a trigger that was left out is tried."""


def detect(ctx: Context, params: StedfParams, model: Model, data: Data, suspects: Data) -> Detection:
    """Judge every suspect by a classifier that was told the triggers; the note says so.

    Raises:
        UserError: no captions are left beside those that calibrate, or none of them can hold a trigger.
    """
    opened = load_model(model, ctx.device)
    prompts = [row.prompt for row in load_prompts(suspects)]
    _, spare = split_captions(params, data, prompts, ctx.seed)
    captions = spare[: params.training_captions]
    if len(captions) < 2:
        raise UserError(
            f"stedf trains on captions beside the {params.clean_prompts} that calibrate, and there are none: allow the "
            "defender more data (--data-share) or lower clean_prompts"
        )
    clean = features_of(opened, captions, ctx.seed, params)
    made = {name: with_trigger(name, captions, ctx.seed) for name in dict.fromkeys(params.triggers)}
    triggered = {name: features_of(opened, [*texts.values()], ctx.seed, params) for name, texts in made.items()}
    logits = train_classifier(clean, torch.cat(list(triggered.values())), params, ctx.seed)
    statistics = PromptStatistics(
        name=f"stedf ({KNOWN})",
        columns=["logit"],
        measure=lambda texts: logits(features_of(opened, texts, ctx.seed, params))[:, None],
    )
    left = left_out(clean, triggered, made, params, ctx.seed) if params.leave_one_out else {}
    ctx.figures(setting=KNOWN, leave_one_trigger_out=left)
    record = {LEFT_OUT: {"setting": KNOWN, "auroc": left}}
    found = detect_prompts(ctx, params, data, suspects, statistics, lambda flagged: record)
    used = found.clean_samples + len(captions)
    return found.model_copy(update={"note": f"{KNOWN}: {found.note}", "clean_samples": used})


def features_of(model: TextToImageModel, prompts: Sequence[str], seed: int, params: StedfParams) -> Tensor:
    """(N, F) on the CPU: for each step at t >= T / 2 and each up block its channels, averaged over space.

    The conditional half alone; all prompts start from the same noise.
    """
    guided = params.guidance != 1
    scheduler = build_scheduler("ddim", model.scheduler)
    scheduler.set_timesteps(params.steps)
    until = max(1, sum(int(t) >= model.timesteps // 2 for t in scheduler.timesteps))
    options = ChainOptions(params.steps, until, params.guidance, batch_size=params.batch_size)

    def pooled(output: Tensor) -> Tensor:
        return spatial_mean(output.chunk(2)[1] if guided else output).cpu()

    found = []
    for first in range(0, len(prompts), params.batch_size):
        batch = prompts[first : first + params.batch_size]
        with record_outputs(model.unet, lambda name, module: UP_BLOCK.fullmatch(name) is not None, pooled) as recorder:
            for _ in walk(model, batch, seed, options):
                pass
        found.append(torch.cat([value for call in recorder.calls for value in call.values()], dim=1))
    return torch.cat(found)


def with_trigger(name: str, captions: Sequence[str], seed: int) -> dict[int, str]:
    """Row -> caption with the trigger, of those that can hold it. Raises UserError if there are none."""
    trigger = LIBRARY.get(name) or PromptTrigger(kind="word", text=name, position="prefix")
    made = {}
    draw = random.Random(f"stedf {seed}")
    for row, caption in enumerate(captions):
        try:
            made[row] = trigger.apply(PromptRow(caption, draw.randrange(2**31)), seed)
        except UserError:
            continue
    if not made:
        raise UserError(f"stedf cannot put the trigger {name!r} into any of the captions: name one that fits them")
    return made


def left_out(
    clean: Tensor,
    triggered: Mapping[str, Tensor],
    rows: Mapping[str, Iterable[int]],
    params: StedfParams,
    seed: int,
) -> dict[str, Any]:
    """Trigger -> AUROC of a classifier that was trained on the others, on captions that it has not seen.

    Nothing for a single trigger: there is none to train on without it. Nor for one that no caption holds of those kept
    back, or where no other trigger is in the rest.

    Args:
        clean: (K, F), features of captions, the last of which are kept back.
        triggered: trigger -> (M, F), those of captions with it.
        rows: trigger -> which captions these M are.
        params: of the classifier.
        seed: of its training.
    """
    if len(triggered) < 2:
        return {}
    border = len(clean) - max(1, round(HELD_BACK * len(clean)))
    learnt = {name: torch.tensor([row < border for row in rows[name]]) for name in triggered}
    found = {}
    for name, values in triggered.items():
        others = torch.cat([other[learnt[key]] for key, other in triggered.items() if key != name])
        held = values[~learnt[name]]
        if len(held) and len(others):
            logits = train_classifier(clean[:border], others, params, seed)
            found[name] = area(logits(held), logits(clean[border:]))
    return found
