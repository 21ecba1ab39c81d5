"""W + s (W_base - W) for the weights of the parts that are named."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_defense_reset_to_base.params import ResetToBaseParams
from bdm_kit_text_to_image.editing.projections import find_projections
from bdm_kit_text_to_image.models.bases import open_base
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model

Pair = tuple[Tensor, Tensor]


@torch.no_grad()
def repair(ctx: Context, params: ResetToBaseParams, model: Model) -> Model:
    """Move the weights; what changed is among the figures. Sealed in ``ctx.out / "model"``.

    Raises:
        UserError: the reference is no base of the model.
    """
    opened = load_model(model, ctx.device)
    base = open_base(params.reference, opened, ctx.work)
    moved, missed = 0.0, 0.0
    seen = set()
    for part in params.parts:
        for mine, other in pairs(opened, base, part):
            if mine.data_ptr() in seen:
                continue
            seen.add(mine.data_ptr())
            moved += float((other - mine).square().sum())
            missed += float(mine.square().sum())
            mine.add_(params.strength * (other - mine))
    if not moved:
        ctx.log.warning(
            "reset-to-base changes nothing: the model has the weights of %s in %s; name another base or other parts",
            params.reference,
            ", ".join(params.parts),
        )
    ctx.figures(weights=len(seen), change=(moved / max(missed, 1e-30)) ** 0.5)
    return seal_model(opened, ctx.out / "model")


def pairs(model: TextToImageModel, base: TextToImageModel, part: str) -> list[Pair]:
    """The model's tensors of a part, to be changed in place, with those that they are moved to."""
    if part == "projections":
        found = zip(find_projections(model.unet), find_projections(base.unet), strict=True)
        return [(mine.weight, other.weight) for mine, other in found]
    encoders = list(zip(model.text_encoders, base.text_encoders, strict=True))
    if part == "added-tokens":
        paddings = [tokenizer.pad_token_id for tokenizer in base.tokenizers]
        return [pair for both, pad in zip(encoders, paddings, strict=True) for pair in _added(*both, pad)]
    networks = encoders if part == "text-encoder" else [(model.unet, base.unet)]
    named = [zip(mine.parameters(), other.parameters(), strict=True) for mine, other in networks]
    return [(mine[: len(other)], other) for both in named for mine, other in both]


def _added(mine: torch.nn.Module, base: torch.nn.Module, pad: int) -> list[Pair]:
    """The rows of tokens that the base does not have, and the base's row of padding for each.

    Padding is the tokenizer's: the configurations of released text encoders name another token.
    """
    table, known = (network.get_input_embeddings().weight for network in (mine, base))  # type: ignore[operator]
    new = table[len(known) :]
    return [(new, known[pad].expand_as(new))] if len(new) else []
