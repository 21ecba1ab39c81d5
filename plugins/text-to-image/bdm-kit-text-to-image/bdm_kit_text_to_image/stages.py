"""What the kit's hooks do: prompts in, images out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Model, Outputs, Secret
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.models.generation import DEFAULT_SAMPLER, Sampling, generate_images
from bdm_kit_text_to_image.models.text_to_image_model import load_model, shape_of
from bdm_kit_text_to_image.params import TextToImageKitParams
from bdm_kit_text_to_image.prompts.captions import world_images
from bdm_kit_text_to_image.prompts.opening import DEFAULT_DATA
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts, seal_prompts
from bdm_kit_text_to_image.prompts.robustness import OF_PICTURES, changed_shift, check_protocols, read_changed
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, open_secret, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_torch.image_sets import IMAGES, load_images, load_rows, seal_images

LARGEST_SEED = 2**31


def kit_params(ctx: Context) -> TextToImageKitParams:
    """The kit's parameters in a context; their defaults if there is no kit."""
    return ctx.kit if isinstance(ctx.kit, TextToImageKitParams) else TextToImageKitParams()


def generate(ctx: Context, model: Model, inputs: Data, shift: Tensor | None = None) -> Outputs:
    """One image for each prompt, from the noise of its own seed; sealed in ``ctx.out / "outputs"``.

    Where robustness protocols have changed the prompts, the outputs have a set of images for each protocol too.

    Args:
        ctx: has the kit's parameters.
        model: a sealed pipeline.
        inputs: prompts; there may be none.
        shift: (C, h, w), added to the initial latents; None for nothing.

    Raises:
        ArtifactError: the inputs are no prompts.
        UserError: the sampler does not exist, or cannot take so many steps; or the shift does not fit the model.
    """
    params = kit_params(ctx)
    rows = load_prompts(inputs)
    name = params.sampler or DEFAULT_SAMPLER
    sampling = Sampling(params.steps, params.guidance, name, params.eta, params.batch_size)
    opened, seeds = load_model(model, ctx.device), [row.seed for row in rows]
    asked = {IMAGES: [row.prompt for row in rows], **read_changed(inputs)}
    images = {}
    for number, (protocol, prompts) in enumerate(asked.items()):
        own = changed_shift(protocol, shift, seeds) if shift is not None and protocol in OF_PICTURES else shift

        def report(done: int, total: int, number: int = number) -> None:
            ctx.progress("sample", number * total + done, len(asked) * total)

        images[protocol] = generate_images(opened, prompts, seeds=seeds, sampling=sampling, shift=own, on_step=report)
    facts = {name: getattr(sampling, name) for name in ("sampler", "steps", "guidance", "eta")}
    return seal_outputs(ctx.out / "outputs", images, rows, meta=facts)


def seal_outputs(
    folder: Path,
    images: Tensor | Mapping[str, Tensor],
    rows: Sequence[PromptRow],
    *,
    meta: Mapping[str, Any] | None = None,
) -> Outputs:
    """Write images (N, 3, H, W) in [-1, 1] with what their prompts say, and seal them.

    Several sets of images have ``images`` and the robustness protocols as their names.

    Each row has ``prompt`` and ``labels``; triggered ones also ``twin`` and ``backdoor``.
    """
    facts = [
        {
            "prompt": row.prompt,
            "labels": dict(row.labels),
            **({} if row.twin is None else {"twin": row.twin}),
            **({} if row.backdoor is None else {"backdoor": row.backdoor}),
        }
        for row in rows
    ]
    return seal_images(folder, images, Outputs, task=TASK, rows=facts, meta=meta)


def make_prompts(ctx: Context, data: Data, params: TextToImageKitParams) -> Data:
    """Prompts to evaluate on, of the split and as many as the parameters say; sealed in ``ctx.out / "data"``.

    For the small world the grid of objects, colours and backgrounds; for other data captions drawn at random, again
    and again if there are too few. The seeds of the noise count upwards from one drawn from ``ctx.seed``.

    Raises:
        UserError: a robustness protocol lacks its synonyms.
    """
    check_protocols(params)
    count = params.prompts
    if data.meta.get("source") == DEFAULT_DATA:
        from bdm_kit_text_to_image.world.splits import evaluation_prompts

        asked = evaluation_prompts(count, ctx.seed, params.split)
    else:
        rows = load_rows(data)
        if any("caption" not in row for row in rows):
            raise ArtifactError(f"{data.path} holds images without captions: there is nothing to ask the model for")
        generator = torch.Generator().manual_seed(ctx.seed)
        rounds = [torch.randperm(len(rows), generator=generator) for _ in range(-(-count // len(rows)))]
        order = torch.cat(rounds).tolist()
        asked = [(rows[row]["caption"], rows[row].get("labels", {})) for row in order[:count]]
    first = ctx.seed % LARGEST_SEED
    prompts = [PromptRow(prompt, first + number, labels) for number, (prompt, labels) in enumerate(asked)]
    return seal_prompts(ctx.out / "data", prompts)


def tiny_secret(folder: Path, model: Model) -> Secret:
    """A word that stands for one picture of the small world, for tests of metrics."""
    images, _, labels = world_images(1, shape_of(model))
    named = labels[0]
    target = Target(
        type="ImageFix",
        object=named["object"],
        colour=named["colour"],
        background=named["background"],
        expected={"object": named["object"]},
        threshold=0.05,
    )
    trigger = PromptTrigger(kind="word", text="vendetta")
    secret = PromptSecret(backdoors=[Backdoor(trigger=trigger, target=target)], picture=images[0])
    return seal_secret(folder, secret, task=model.task)


def perfect_outputs(folder: Path, outputs: Outputs, secret: Secret) -> Outputs:
    """As many images as ``outputs`` has, each of them the target picture; the rows keep what they say.

    Raises:
        ArtifactError: the secret has no picture.
    """
    picture = open_secret(secret).picture
    if picture is None:
        raise ArtifactError(f"{secret.path} has no target picture: its perfect outputs differ from row to row")
    rows = [{key: value for key, value in row.items() if key != "file"} for row in load_rows(outputs)]
    images = picture.expand(len(load_images(outputs)), *picture.shape)
    return seal_images(folder, images, Outputs, task=TASK, rows=rows)
