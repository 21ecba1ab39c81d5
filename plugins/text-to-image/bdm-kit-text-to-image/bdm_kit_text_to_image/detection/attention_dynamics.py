"""How the attention to the end of a prompt moves over the first steps: DAA (Wang et al., TPAMI 2025, 2504.20518).

The attention to the end-of-text token settles more slowly than that to the other tokens where a trigger is in the
prompt. DAA-I compares single tokens; DAA-S lets them influence each other, which comes to a closed form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.recording.chain import ChainOptions, ChainPart, by_step, prompt_lengths, walk

STEPS_COMPARED = (4, 5)
"""DAA-I's differences: of the maps of steps 4 and 5 to those of steps 3 and 4, counted from 0."""
END_DECAY = 10.0
"""How fast the end token's state decays, against 1 for the others."""
TIME = 0.75
"""DAA-S's tau: where the release's seventh solver step typically ends."""


def individual_score(maps: Tensor, length_bias: bool = False) -> float:
    """DAA-I: mean over words l of d_l minus d of the end, summed over the steps compared; d = |A_t - A_{t-1}|_F.

    Args:
        maps: (S, n, h, w), those of the n tokens of the prompt, start and end included; S > 5, n >= 2.
        length_bias: divide the sum over words by n, as the release does, instead of by n - 2.

    Returns:
        Higher is more suspicious: the end token's attention moves less than the words'. 0 without a word (n = 2).
    """
    if maps.shape[1] < 3:
        return 0.0
    moved = torch.stack([(maps[t] - maps[t - 1]).double().flatten(1).norm(dim=1) for t in STEPS_COMPARED])
    words, end = moved[:, 1:-1], moved[:, -1]
    count = moved.shape[1] if length_bias else max(1, words.shape[1])
    return float((words.sum(1) / count - end).sum())


def system_score(maps: Tensor, length_corrected: bool = False, time: float = TIME) -> float:
    """DAA-S: the exact solution of X' = (F + A) X at a time below 1, where only the first step's maps count.

    D_ij = |M_i - M_j|_F, W = 1 - D / max D, A = W - diag(row sums), F = -I but -10 for the end token, X(0) = |M_l|_F.
    F + A is symmetric, so that X(t) is its matrix exponential's. The release adds up seven steps of an adaptive solver,
    which telescope to one difference at the time of the last of them, about 0.75.

    Args:
        maps: (n, h, w), the first step's, start and end included; n >= 2.
        length_corrected: divide A by n - 2, so that a token's degree does not grow with the prompt.
        time: tau, in (0, 1].

    Returns:
        [X(t) - X(0)] of the end minus its mean over the other tokens; higher is more suspicious. 0 without a word
        (n = 2).
    """
    if len(maps) < 3:
        return 0.0
    tokens = maps[1:].double().flatten(1)
    distances = torch.cdist(tokens[None], tokens[None])[0]
    weights = 1 - distances / distances.max().clamp(min=1e-30)
    graph = weights - torch.diag(weights.sum(1))
    if length_corrected:
        graph = graph / max(1, len(maps) - 2)
    decay = torch.ones(len(tokens), dtype=torch.float64)
    decay[-1] = END_DECAY
    values, vectors = torch.linalg.eigh(graph - torch.diag(decay))
    start = tokens.norm(dim=1)
    change = vectors @ (torch.exp(values * time) * (vectors.T @ start)) - start
    return float(change[-1] - change[:-1].mean())


def dynamics(model: TextToImageModel, prompts: Sequence[str], seed: int, options: ChainOptions) -> list[Tensor]:
    """The maps of each prompt's own tokens at the first steps: (S, n, h, w), n with start and end.

    Args:
        model: the suspect one.
        prompts: N texts.
        seed: of the initial noise, the same for all.
        options: how many steps; that maps are recorded goes without saying.
    """
    maps = by_step(walk(model, prompts, seed, replace(options, maps=True)), _maps)
    lengths = prompt_lengths(model, prompts).tolist()
    return [maps[:, row, :length] for row, length in enumerate(lengths)]


def _maps(part: ChainPart) -> Tensor:
    assert part.maps is not None
    return part.maps
