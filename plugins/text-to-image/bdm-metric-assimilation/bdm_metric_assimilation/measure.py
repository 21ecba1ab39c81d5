"""Attention maps of each token, averaged over the steps, and how alike they are."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_kit_text_to_image.analysis.pairs import Pairs, examine
from bdm_kit_text_to_image.attention.assimilation import mean_cosine, quantised, truncation_score
from bdm_kit_text_to_image.models.encoding import token_ids
from bdm_kit_text_to_image.recording.chain import ChainOptions, mean_maps, prompt_lengths, walk
from bdm_metric_assimilation.params import AssimilationParams
from bdm_torch.analysis import charts
from bdm_torch.analysis.showing import in_words, keep_arrays, keep_pictures, tile

SIDE = 72
"""Maps are drawn about so wide."""
MOST_SHOWN = 16
Side = Literal["clean", "triggered"]
SIDES: tuple[Side, Side] = ("clean", "triggered")
NAMED: dict[Side, str] = {"clean": "", "triggered": "_triggered"}
SHOWN: dict[Side, str] = {"clean": "", "triggered": ", under trigger"}
PAIR = [charts.COLOURS[0], charts.SIGNAL]


@dataclass(frozen=True, eq=False)
class Alikeness:
    """The prompts of one side.

    Attributes:
        maps: N times (n - 1, h, w), those of the words and of the end, quantised, each with the largest value 1.
        cosine: (N,) mean cosine similarity of two of them.
        truncation: (N,) T2IShield's F.
    """

    maps: list[Tensor]
    cosine: Tensor
    truncation: Tensor


def measure(ctx: Context, params: AssimilationParams, subject: Subject) -> list[Measurement]:
    """Mean cosine and F of both sides, and in how many pairs the trigger makes the maps more alike."""
    pairs = examine(ctx, subject, params.pairs)
    if pairs is None:
        return []
    sides = {side: look(pairs, side, params) for side in SIDES}
    show(ctx, params, pairs, sides)
    found = []
    for side, alike in sides.items():
        found.append(
            mean_of(
                f"cosine{NAMED[side]}",
                side,
                alike.cosine,
                f"Cosine of attention maps{SHOWN[side]}",
                "Mean cosine similarity of the attention maps of two tokens of a prompt, 0 to 1 (all alike).",
            )
        )
        found.append(
            mean_of(
                f"f{NAMED[side]}",
                side,
                alike.truncation,
                f"Distance to the mean map{SHOWN[side]} (F)",
                "T2IShield's F: mean Frobenius distance of the tokens' maps to their mean, from 0 (all alike).",
            )
        )
    closer = sides["triggered"].truncation < sides["clean"].truncation
    found.append(
        Measurement(
            metric="assimilated",
            value=float(closer.double().mean()),
            on="triggered",
            higher_is_better=False,
            n=len(closer),
            label="Maps more alike under the trigger",
            description="Share of pairs in which F is smaller with the trigger than without, 0 to 1; of a trigger that "
            "does nothing about a half.",
            share=True,
        )
    )
    return found


def look(pairs: Pairs, side: Side, params: AssimilationParams) -> Alikeness:
    """The maps of one side's prompts, all from one initial noise."""
    prompts = pairs.prompts[side]
    options = ChainOptions(steps=params.steps, guidance=params.guidance, maps=True, batch_size=params.batch_size)
    every = mean_maps(walk(pairs.model, prompts, pairs.seed, options, pairs.starts(1)[side]))
    lengths = prompt_lengths(pairs.model, prompts).tolist()
    own = [quantised(maps[1:]) for maps in every]
    words = [maps[: length - 1] for maps, length in zip(own, lengths, strict=True)]
    return Alikeness(
        maps=words,
        cosine=torch.tensor([mean_cosine(maps) if len(maps) > 1 else 1.0 for maps in words]),
        truncation=torch.tensor([truncation_score(maps, length) for maps, length in zip(own, lengths, strict=True)]),
    )


def mean_of(metric: str, side: Side, values: Tensor, label: str, description: str) -> Measurement:
    """A mean over prompts with its standard error."""
    count = len(values)
    return Measurement(
        metric=metric,
        value=float(values.mean()),
        on=side,
        n=count,
        stderr=float(values.std()) / math.sqrt(count) if count > 1 else None,
        label=label,
        description=description,
    )


def show(ctx: Context, params: AssimilationParams, pairs: Pairs, sides: dict[Side, Alikeness]) -> None:
    """The maps of some pairs, token by token, and the cosines and F of all."""
    for row in range(min(params.shown, len(pairs.rows))):
        for side, alike in sides.items():
            prompt, maps = pairs.prompts[side][row], alike.maps[row]
            drawn = [
                (word, tile(1 - shape[None].numpy(), SIDE))
                for word, shape in zip(pieces(pairs, prompt), maps[:MOST_SHOWN], strict=False)
            ]
            caption = "Where each token is attended to, dark is much; each map by its own largest value."
            title = f"Attention, {side} prompt {row + 1}: {in_words(prompt)}"
            keep_pictures(ctx, title, caption, drawn)
            keep_arrays(ctx, {f"attention maps, {side} prompt {row + 1}": maps})
    for name, key, label in (("cosines", "cosine", "mean cosine"), ("F", "truncation", "F")):
        values = {side: getattr(alike, key) for side, alike in sides.items()}
        keep_arrays(ctx, {f"{name}, {side}": each for side, each in values.items()})
        places = list(range(1, len(pairs.rows) + 1))
        if len(places) > 1:
            order = values["clean"].argsort()
            curves = {side: each[order].tolist() for side, each in values.items()}
            picture = charts.lines(places, curves, ("pair, ordered by the clean prompt", label), PAIR)
            caption = "A trigger that makes all tokens look at one thing separates the two lines."
            keep_pictures(ctx, f"Alikeness of attention maps: {label}", caption, [("", picture)])


def pieces(pairs: Pairs, prompt: str) -> list[str]:
    """What a person calls the tokens behind the start: words and parts of words, bytes of characters, and the end."""
    ids = token_ids(pairs.model, [prompt])[0].tolist()
    tokenizer = pairs.model.tokenizers[0]
    found = []
    for number in ids[1:]:
        if number == tokenizer.eos_token_id:
            return [*found, "(end)"]
        text = tokenizer.decode([number]).strip()
        whole = bool(text) and "\ufffd" not in text
        found.append(in_words(text) if whole else as_bytes(tokenizer.convert_ids_to_tokens(number)))
    return found


def as_bytes(piece: str) -> str:
    """The bytes of a piece of a byte-level vocabulary that is no character by itself.

    >>> as_bytes("\u00d0"), as_bytes("\u00be</w>")
    ('0xD0', '0xBE')
    """
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table = {chr(byte): byte for byte in plain}
    table |= {chr(256 + place): byte for place, byte in enumerate(byte for byte in range(256) if byte not in plain)}
    letters = piece.removesuffix("</w>")
    return " ".join(f"0x{table[letter]:02X}" if letter in table else letter for letter in letters)
