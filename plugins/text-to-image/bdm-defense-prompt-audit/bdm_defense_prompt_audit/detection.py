"""Signals of a triggered prompt, each of which some attacks show and none all.

* A masked word moves the UNet's activations more than it means by a trusted text encoder (NaviT2I's ratio).
* Further phrases change little of what the first denoising step is asked for (UFID, without generating).
* The attention to the end of the prompt moves more than that to its words over the first steps (DAA-I, reversed).
* Some position answers to directions off the captions along which keys and values stick out.
* An odd character does what no other character in its place does.
* The picture is another one than the public base makes of the same noise; only where there is a base.

A straight line in the prompt's length is taken out of each but the last two; the score is the sum of the squares of
what exceeds the median of clean prompts, in robust standard deviations, by more than harmless odd texts do. Two columns
take no part: how badly a picture fits its caption, and how many oddities its characters have. Both are high for
harmless odd texts, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.files import existing
from bdm_defense_prompt_audit.change import CHANGE, LARGEST_SEED, change
from bdm_defense_prompt_audit.characters import CHARACTERS, characters_against_others
from bdm_defense_prompt_audit.combining import ATTENTION, MASKED, OWN_SCALE, PHRASES, SPIKES, combined
from bdm_defense_prompt_audit.params import PromptAuditParams
from bdm_kit_text_to_image.detection.activation_variation import embedding_distance, variation_scores
from bdm_kit_text_to_image.detection.attention_dynamics import dynamics, individual_score
from bdm_kit_text_to_image.detection.fewest_captions import LEAST
from bdm_kit_text_to_image.detection.phrases import first_step_densities, phrase_pool
from bdm_kit_text_to_image.detection.prompts import PromptStatistics, split_captions
from bdm_kit_text_to_image.detection.spikes import model_spikes, responses
from bdm_kit_text_to_image.editing.projections import prompt_rows
from bdm_kit_text_to_image.judging.contrastive import ContrastiveModel, load_contrastive
from bdm_kit_text_to_image.models.bases import open_base
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_kit_text_to_image.prompts.normalising import normalised, text_flags
from bdm_kit_text_to_image.recording.chain import ChainOptions, prompt_lengths

Signal = Callable[[list[str]], Tensor]
SPIKE_CAPTIONS = 400
SMALL_WORLD = (3, 16, 16)
MISMATCH, FLAGS = "image-caption mismatch", "text flags"


def statistics(
    ctx: Context, params: PromptAuditParams, model: Model, data: Data, judged: Sequence[str]
) -> PromptStatistics:
    """The signals, the length, and the columns apart.

    Captions define the signals: none of them calibrates, and none is one of the prompts that are ``judged``.

    Raises:
        UserError: the reference is no base of the model, or too few captions are left.
    """
    calibrating, spare = split_captions(params, data, judged, ctx.seed)
    if len(spare) < LEAST:
        raise UserError(
            f"prompt-audit needs {LEAST} captions beside those that calibrate ({len(calibrating)}) and the suspects, "
            f"and {len(spare)} are left: allow the defender more data (--data-share) or lower clean_prompts"
        )
    opened = load_model(model, ctx.device)
    signals = signals_of(ctx, params, opened, spare)
    apart: dict[str, Signal] = {}
    if (judge := judge_of(params, opened, ctx.device)) is not None:
        apart[MISMATCH] = lambda prompts: mismatch(ctx, params, opened, judge, prompts)
    apart[FLAGS] = lambda prompts: torch.tensor([float(len(text_flags(prompt))) for prompt in prompts])
    columns = {**signals, "tokens": lambda prompts: prompt_lengths(opened, prompts).double(), **apart}
    return PromptStatistics(
        name="prompt-audit",
        columns=list(columns),
        measure=lambda prompts: torch.stack([measure(prompts).double().cpu() for measure in columns.values()], 1),
        fit=combined(list(signals)),
        fitted=True,
        apart=list(apart),
        own_scale=OWN_SCALE,
    )


def signals_of(
    ctx: Context, params: PromptAuditParams, opened: TextToImageModel, captions: Sequence[str]
) -> dict[str, Signal]:
    """The signals by name; each rises under the triggers that it sees."""
    pool = phrase_pool(opened, captions, params.phrases)
    found: dict[str, Signal] = {
        CHARACTERS: lambda prompts: characters_against_others(
            opened, prompts, params.characters, ctx.seed, params.batch_size
        )
    }
    if params.reference:
        base = open_base(params.reference, opened, ctx.work)
        trusted = embedding_distance(base)
        found[MASKED] = lambda prompts: variation_scores(opened, prompts, ctx.seed, trusted)
        if params.change_steps:
            found = {CHANGE: lambda prompts: change(ctx, params, opened, base, prompts), **found}
    found[PHRASES] = lambda prompts: first_step_densities(opened, prompts, pool, "append", ctx.seed)
    options = ChainOptions(steps=params.steps, until=6, guidance=params.guidance, batch_size=params.batch_size)
    found[ATTENTION] = lambda prompts: torch.tensor(
        [-individual_score(maps) for maps in dynamics(opened, prompts, ctx.seed, options)], dtype=torch.float64
    )
    spikes = model_spikes(opened, captions[:SPIKE_CAPTIONS])

    def largest(prompts: list[str]) -> Tensor:
        rows = prompt_rows(opened, prompts).unflatten(0, (len(prompts), opened.max_length))
        return responses(spikes, rows, params.spikes).amax(1)

    found[SPIKES] = largest
    return found


def judge_of(params: PromptAuditParams, opened: TextToImageModel, device: str) -> ContrastiveModel | None:
    """The model that says how well a picture fits its caption; None for none."""
    if not params.mismatch_steps:
        return None
    if params.contrastive:
        return load_contrastive(contrastive_folder(params), device)
    return load_contrastive(None, device) if opened.image_shape == SMALL_WORLD else None


def contrastive_folder(params: PromptAuditParams) -> Path:
    """The folder that ``contrastive`` names. Raises UserError if there is none."""
    folder: Path | None = existing(params.contrastive)
    if folder is None:
        raise UserError(f"there is no folder {params.contrastive!r} with a CLIP model")
    return folder


def mismatch(
    ctx: Context, params: PromptAuditParams, opened: TextToImageModel, judge: ContrastiveModel, prompts: list[str]
) -> Tensor:
    """1 - cosine of each prompt's picture and the prompt without look-alike and invisible characters, in [0, 2]."""
    how = Sampling(params.mismatch_steps, params.guidance, batch_size=params.batch_size)
    images = generate_images(opened, prompts, seeds=[ctx.seed % LARGEST_SEED] * len(prompts), sampling=how)
    return 1 - judge.similarity(images, [normalised(prompt) or " " for prompt in prompts])
