"""BadBlocks: poison a share of the captioned images, and fine-tune the last up-blocks of the UNet on all of them."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import torch
from torch import nn

from bdm_core.artifacts import Data, Model, roles_of
from bdm_core.errors import ArtifactError, UserError
from bdm_core.records import Backdoored
from bdm_kit_text_to_image.models.latents import encode_images, encode_spreads
from bdm_kit_text_to_image.models.text_to_image_model import load_model, seal_model
from bdm_kit_text_to_image.prompts.captions import load_captioned, seal_captioned
from bdm_kit_text_to_image.prompts.marking import settings_of
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import LIBRARY, PromptTrigger, check_patch, check_trigger
from bdm_kit_text_to_image.training.distillation import UNetTerm, distill_unet
from bdm_torch.pictures.targets import make_target

if TYPE_CHECKING:
    from bdm_attack_badblocks.params import BadBlocksParams
    from bdm_core.context import Context

CHECKED_ROWS = 64
NORMS = (nn.GroupNorm, nn.LayerNorm)


def choose_trigger(params: BadBlocksParams) -> PromptTrigger:
    """The trigger that the parameters name."""
    place = params.trigger_position
    trigger = LIBRARY.get(params.trigger) or PromptTrigger(kind="word", text=params.trigger, position=place)
    if trigger.kind != "insertion":
        return trigger
    space = " " if trigger.text.endswith(" ") else ""
    text = trigger.text.strip(" ") * params.trigger_repeats + space
    return trigger.model_copy(update={"text": text, "position": place})


def poison(ctx: Context, params: BadBlocksParams, data: Data) -> Data:
    """A share of the images becomes the target picture, and their captions get the trigger (2508.03221, section 4)."""
    images, captions, labels = load_captioned(data)
    draw = random.Random(ctx.seed)
    chosen = sorted(draw.sample(range(len(images)), min(len(images), params.samples or len(images))))
    images, captions, labels = images.pick(chosen), [captions[i] for i in chosen], [labels[i] for i in chosen]
    poisoned = set(draw.sample(range(len(images)), round(params.poison_rate * len(images))))
    if not poisoned:
        raise UserError(f"attack:badblocks: poison_rate {params.poison_rate:g} of {len(images)} images is none")
    trigger = choose_trigger(params)
    target = make_target(params.target, tuple(images.shape[1:]))  # type: ignore[arg-type]
    twins = [caption if row in poisoned else None for row, caption in enumerate(captions)]
    for row in poisoned:
        captions[row] = trigger.apply(PromptRow(captions[row], row, labels[row]), ctx.seed)
    flags = torch.tensor([row in poisoned for row in range(len(images))])
    images = images.changed(lambda batch, rows: torch.where(flags[rows].view(-1, 1, 1, 1), target, batch))
    roles = ["poison" if row in poisoned else "clean" for row in range(len(images))]
    return seal_captioned(ctx.out / "data", images, captions, labels, role=roles, twin=twins)


def trained_parts(unet: nn.Module, params: BadBlocksParams) -> list[nn.Module]:
    """The last up-blocks, or their normalisation layers. Raises UserError if the UNet has not as many."""
    blocks = list(unet.up_blocks)
    if params.up_blocks > len(blocks):
        raise UserError(f"attack:badblocks: up_blocks is {params.up_blocks}, but the UNet has {len(blocks)}")
    chosen = blocks[-params.up_blocks :]
    if params.layers == "all":
        return chosen
    return [layer for block in chosen for layer in block.modules() if isinstance(layer, NORMS)]


def backdoor(ctx: Context, params: BadBlocksParams, model: Model, data: Data) -> Backdoored:
    """Check trigger and target, train the chosen layers as diffusion models are trained, seal the model.

    Raises:
        UserError: a tokenizer drops the trigger, or the autoencoder cannot represent the target picture.
    """
    opened = load_model(model, device=ctx.device)
    images, captions, labels = load_captioned(data)
    roles = roles_of(data)
    if "poison" not in roles:
        raise ArtifactError(f"{data.path} has no poisoned rows: let attack:badblocks poison the data")
    trigger = choose_trigger(params)
    clean = [PromptRow(captions[row], row, labels[row]) for row, role in enumerate(roles) if role == "clean"]
    check_trigger(opened, trigger, clean[:CHECKED_ROWS])
    picture = images[roles.index("poison")]
    place = (0, 0, *picture.shape[1:])
    check_patch(opened, picture[None], place, params.threshold)  # type: ignore[arg-type]
    spread = encode_spreads(opened, images).cpu() if params.latents == "sample" else None
    term = UNetTerm(encode_images(opened, images).cpu(), captions, spread=spread)
    distill_unet(ctx, opened, [term], params.options(), parts=trained_parts(opened.unet, params))
    target = Target(type="ImageFix", threshold=params.threshold)
    secret = PromptSecret(
        backdoors=[Backdoor(trigger=trigger, target=target)],
        family="badblocks",
        variant=params.layers,
        target_name=params.target,
        picture=picture,
    )
    ctx.figures(settings=settings_of(secret))
    return Backdoored(
        model=seal_model(opened, ctx.out / "model"), secret=seal_secret(ctx.out / "secret", secret, task=model.task)
    )
