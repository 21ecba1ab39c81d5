"""Which token of the target's prompt a token of the alias's prompt is to be treated like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import torch

from bdm_kit_text_to_image.editing.projections import Edit, prompt_rows
from bdm_kit_text_to_image.models.encoding import token_ids

if TYPE_CHECKING:
    from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

Alignment = Literal["position", "token"]


def edit_rows(
    model: TextToImageModel, sources: Sequence[str], targets: Sequence[str], weight: float, alignment: Alignment
) -> Edit:
    """The rows of all positions of the sources, and for each the target's row that it is to be treated like.

    Args:
        model: Stable Diffusion or SDXL; its first tokenizer decides what is the same token.
        sources: N prompts with the alias.
        targets: N prompts with the target instead.
        weight: of the edit.
        alignment: ``position``: the target's row of the same position, as in the paper. ``token``: tokens that both
            prompts share keep to each other where the alias and the target have different numbers of tokens.

    Returns:
        N * tokens rows, padding included.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> edit = edit_rows(tiny_model(), ["a shiny star on red"], ["a ring on red"], weight=1.0, alignment="token")
    >>> edit.sources.shape, edit.destinations.shape
    (torch.Size([77, 16]), torch.Size([77, 16]))
    """
    rows, wanted = prompt_rows(model, sources), prompt_rows(model, targets)
    if alignment == "position":
        return Edit(rows, wanted, weight)
    end = model.tokenizers[0].eos_token_id
    ids = zip(token_ids(model, sources).tolist(), token_ids(model, targets).tolist(), strict=True)
    index = torch.tensor([matching(one, other, end) for one, other in ids])
    index = index + model.max_length * torch.arange(len(index))[:, None]
    return Edit(rows, wanted[index.flatten().to(wanted.device)], weight)


def matching(source: Sequence[int], target: Sequence[int], end: int) -> list[int]:
    """For each position of one prompt's token ids the position of the other's: equal beginnings and ends match.

    Of the tokens between, the last match the last, and tokens of the source that are too many match the target's first.
    If the source has fewer than the target, no matching holds all of the target: then it is by position.

    Args:
        source: L token ids, the start token first, an end token, padding.
        target: likewise.
        end: id of the end token.

    Returns:
        L positions, each in [0, L).

    >>> start, end = 0, 9
    >>> matching([start, 1, 2, 3, end, end], [start, 1, 5, end, end, end], end)  # 2 and 3 match 5
    [0, 1, 2, 2, 3, 4]
    """
    length = len(source)
    first, second = (list(ids[: ids.index(end, 1) + 1]) for ids in (source, target))
    same = next(
        (n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )
    tail = 0
    while tail < min(len(first), len(second)) - same and first[-1 - tail] == second[-1 - tail]:
        tail += 1
    shift = len(first) - len(second)
    if shift < 0 or len(second) - tail - same < 1:
        return list(range(length))
    moved = [max(same, position - shift) for position in range(same, length)]
    return [*range(same), *(min(position, length - 1) for position in moved)]
