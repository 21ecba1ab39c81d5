"""How much a word moves the UNet's activations for what it means: NaviT2I (Zhai et al., ICCV 2025).

Each word of a prompt is masked in turn. A trigger moves the activations of the first denoising step far more than its
place in the text space would have it, all other words about as much as they mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bdm_kit_text_to_image.models.encoding import Conditioning, encode_ids, token_ids
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.recording.chain import ChainOptions, walk
from bdm_torch.recording import record_outputs, spatial_mean

LOWEST = 0.75
"""The share of the words, those that move least for what they mean, to which the one that moves most is compared."""
PUNCTUATION = frozenset(".,?!:;")
FUNCTION_WORDS = frozenset(
    re.findall(
        r"\w+",
        """a about above after again against all am an and any are as at be because been before being below between both
        but by can did do does doing don down during each few for from further had has have having he her here hers him
        his how i if in into is it its itself just me more most my no nor not now of off on once only or other our out
        over own s same she should so some such t than that the their them then there these they this those through to
        too under until up very was we were what when where which while who whom why will with you your""",
    )
)
"""English words without a meaning of their own; they are not masked."""
Distance = Callable[[Sequence[Tensor], Sequence[Tensor]], Tensor]
"""Ids of one prompt (1, L) and of its masked copies (k, L), for each tokenizer -> how far each of these moved (k,)."""


def ratio_score(activations: Tensor, distances: Tensor) -> float:
    """max m / mean of the lowest floor(.75 k) of m, with m = activations / distances; 1 for fewer than two words.

    Args:
        activations: (k,), how far each masked word moves the activations.
        distances: (k,), how far it moves the text embedding.

    >>> round(ratio_score(torch.tensor([1.0, 2.0, 1.0, 9.0]), torch.tensor([1.0, 2.0, 1.0, 1.0])), 6)
    9.0
    >>> ratio_score(torch.tensor([3.0]), torch.tensor([1.0]))
    1.0
    """
    few = int(LOWEST * len(activations))
    if not few:
        return 1.0
    ratios = (activations.double() / distances.double().clamp(min=1e-9)).sort().values
    return float(ratios[-1] / ratios[:few].mean().clamp(min=1e-12))


def masked_positions(model: TextToImageModel, ids: Tensor) -> list[int]:
    """The positions that are masked: all before the end but function words of one piece and punctuation.

    Args:
        model: has the tokenizer.
        ids: (L,) of one prompt, by the first tokenizer.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> model = tiny_model()
    >>> masked_positions(model, token_ids(model, ["a photo of a red circle."])[0])
    [2, 5, 6]
    """
    tokenizer = model.tokenizers[0]
    pieces = tokenizer.convert_ids_to_tokens(ids.tolist())
    found = []
    for position in range(1, len(pieces)):
        if int(ids[position]) == tokenizer.eos_token_id:
            break
        word = pieces[position].removesuffix("</w>")
        whole = pieces[position].endswith("</w>") and (position == 1 or pieces[position - 1].endswith("</w>"))
        if not (word in PUNCTUATION or (whole and word in FUNCTION_WORDS)):
            found.append(position)
    return found


def variation_scores(model: TextToImageModel, prompts: Sequence[str], seed: int, distance: Distance) -> Tensor:
    """The score of each prompt (N,), float64: see :func:`ratio_score`.

    Args:
        model: the suspect one.
        prompts: N texts; they are read in lower case.
        seed: of the initial noise, the same for all.
        distance: in a text space that the attacker has no hand in, see :func:`embedding_distance` and
            :func:`token_distance`.
    """
    return torch.tensor([_score(model, prompt.lower(), seed, distance) for prompt in prompts], dtype=torch.float64)


def activation_variation(model: TextToImageModel, conditions: Conditioning, seed: int) -> Tensor:
    """(k,): for all rows but the first, the sum over layers of the mean difference of their activations to the first's.

    Every linear layer and convolution of the UNet counts, at the first step, without guidance; what convolutions give
    is averaged over space.

    Args:
        model: has the UNet.
        conditions: k + 1 rows.
        seed: of the initial noise.
    """

    def moved(output: Tensor) -> Tensor:
        kept = spatial_mean(output)
        if len(kept) == 1:
            return torch.zeros(len(conditions.embeddings) - 1, device=kept.device)
        return (kept[1:] - kept[:1]).abs().flatten(1).mean(1)

    options = ChainOptions(steps=1, guidance=1.0, batch_size=len(conditions.embeddings))
    with record_outputs(model.unet, reduce=moved) as recorder:
        list(walk(model, conditions, seed, options))
    return torch.stack([value.cpu() for value in recorder.calls[0].values()]).sum(0)


def embedding_distance(trusted: TextToImageModel) -> Distance:
    """The distance of the flattened text embeddings of a model whose text encoders are trusted.

    A token that was added to the suspect's vocabulary means nothing to them: it is read as padding, and masking it
    counts as much as masking the other words does on average.
    """
    sizes = [encoder.get_input_embeddings().num_embeddings for encoder in trusted.text_encoders]
    pads = [tokenizer.pad_token_id for tokenizer in trusted.tokenizers]

    def distance(base: Sequence[Tensor], masked: Sequence[Tensor]) -> Tensor:
        read = [
            torch.where(ids < size, ids, pad)
            for ids, size, pad in zip(map(torch.cat, zip(base, masked, strict=True)), sizes, pads, strict=True)
        ]
        with torch.inference_mode():
            rows = encode_ids(trusted, read).embeddings
        moved = (rows[1:] - rows[:1]).flatten(1).norm(dim=1).cpu()
        unknown = ((base[0] >= sizes[0]) & (masked[0] != base[0])).any(1)
        known = moved[~unknown]
        return torch.where(unknown, known.mean() if len(known) else torch.ones(()), moved)

    return distance


def token_distance(model: TextToImageModel) -> Distance:
    """The distance of a token's own embedding to the mask's, before any layer."""
    table = model.text_encoders[0].get_input_embeddings().weight

    def distance(base: Sequence[Tensor], masked: Sequence[Tensor]) -> Tensor:
        moved = table[masked[0].to(table.device)] - table[base[0].to(table.device)]
        return moved.flatten(1).norm(dim=1).cpu()

    return distance


def _score(model: TextToImageModel, prompt: str, seed: int, distance: Distance) -> float:
    base = [token_ids(model, [prompt], number) for number in range(len(model.tokenizers))]
    positions = masked_positions(model, base[0][0])
    if int(LOWEST * len(positions)) == 0:
        return 1.0
    masked = [
        _masked(ids, positions, tokenizer.pad_token_id) for ids, tokenizer in zip(base, model.tokenizers, strict=True)
    ]
    with torch.inference_mode():
        conditions = encode_ids(model, [torch.cat(pair) for pair in zip(base, masked, strict=True)])
    return ratio_score(activation_variation(model, conditions, seed), distance(base, masked))


def _masked(ids: Tensor, positions: Sequence[int], pad: int) -> Tensor:
    """(k, L): copies of ids (1, L), in each of which one position holds the padding token."""
    copies = ids.repeat(len(positions), 1)
    copies[torch.arange(len(positions)), torch.tensor(positions)] = pad
    return copies
