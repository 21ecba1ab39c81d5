"""Localisation of the trigger in flagged prompts (T2IShield, ECCV 2024, section 3.4).

A part of a prompt is scored by how much its picture is like the whole prompt's, by the cosine of their features less
the mean features of clean captions' pictures. Both start from the same noise. As an ordinary word may paint its own
subject again, the score is a difference to what needs no trigger: the likeness of the picture without the part, of the
part's picture from another noise, or of its picture by a clean model.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_t2ishield.halving import Span, halve, parts_of, run_together
from bdm_defense_t2ishield.params import T2IShieldParams
from bdm_kit_text_to_image.detection.prompts import split_captions
from bdm_kit_text_to_image.judging.features import feature_space
from bdm_kit_text_to_image.models.bases import open_base
from bdm_kit_text_to_image.models.generation import Sampling, generate_images
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

LOCATED = "triggers.json"
LARGEST_SEED = 2**31
UPPER = 0.75
OTHER_SEED = 7919
"""Between the two noises of contrast=seed."""


@dataclass(frozen=True)
class Located:
    """What was found in one prompt.

    Attributes:
        prompt: the text.
        start, end: of the part, in characters; the whole prompt if no part of it does as much.
        score: of the part.
        threshold: tau.
        pieces: the tokenizer's pieces of the part, as text.
    """

    prompt: str
    start: int
    end: int
    score: float
    threshold: float
    pieces: list[str]

    @property
    def text(self) -> str:
        """The part."""
        return self.prompt[self.start : self.end]

    @property
    def whole(self) -> bool:
        """Whether nothing was located."""
        return self.text.strip() == self.prompt.strip()

    def record(self) -> dict[str, Any]:
        """As JSON, with the code points of what is not ASCII."""
        points = [f"U+{ord(letter):04X}" for letter in self.text if not letter.isascii()]
        return {**asdict(self), "text": self.text, "whole": self.whole, "code_points": points}


@dataclass(eq=False)
class Painter:
    """Scores parts of prompts by the pictures that they lead to.

    Attributes:
        model: the suspect.
        params: steps, guidance, contrast, features.
        seed: of the noise, the same for all pictures.
        clean: the model of contrast=reference, or None.
        pictures: how many were generated.
        centre: (D,), the mean features of pictures of clean captions. What all pictures have in common would make all
            cosines high.
    """

    model: TextToImageModel
    params: T2IShieldParams
    seed: int
    clean: TextToImageModel | None = None
    pictures: int = 0
    centre: Tensor | None = None

    def __post_init__(self) -> None:
        self._features = feature_space(self.params.features, self.model.image_shape, str(self.model.device))
        self._known: dict[tuple[str, int, bool], Tensor] = {}

    @property
    def contrast(self) -> str:
        """What the parameters mean by auto."""
        given = self.params.contrast
        return ("removal" if self.clean is None else "reference") if given == "auto" else given

    def features(self, texts: Sequence[str], seed: int, *, clean: bool = False) -> Tensor:
        """Of the pictures of N texts, (N, D) on the CPU; a text's picture is generated once."""
        missing = [text for text in dict.fromkeys(texts) if (text, seed, clean) not in self._known]
        if missing:
            model = self.clean if clean else self.model
            assert model is not None
            how = Sampling(self.params.steps, self.params.guidance, batch_size=self.params.batch_size)
            images = generate_images(model, missing, seeds=[seed] * len(missing), sampling=how)
            rows = self._features(images.to(model.device)).float().cpu()
            self._known |= {(text, seed, clean): row for text, row in zip(missing, rows, strict=True)}
            self.pictures += len(missing)
        return torch.stack([self._known[text, seed, clean] for text in texts])

    def cosines(self, one: Tensor, other: Tensor) -> Tensor:
        """Of N pairs of features (N, D): (N,)."""
        centre = torch.zeros(one.shape[1]) if self.centre is None else self.centre
        return functional.cosine_similarity(one - centre, other - centre, dim=1)

    def score(self, prompts: Sequence[str], spans: Sequence[Span]) -> list[float]:
        """The score of one part of each of N prompts, in [-1, 1] without contrast, else in [-2, 2]."""
        parts = [prompt[start:end].strip() for prompt, (start, end) in zip(prompts, spans, strict=True)]
        wanted = self.features(prompts, self.seed)
        likeness = self.cosines(self.features(parts, self.seed), wanted)
        if self.contrast == "removal":
            rests = [without(prompt, span) for prompt, span in zip(prompts, spans, strict=True)]
            likeness = likeness - self.cosines(self.features(rests, self.seed), wanted)
        elif self.contrast == "seed":
            other = self.features(parts, (self.seed + OTHER_SEED) % LARGEST_SEED)
            likeness = likeness - self.cosines(other, wanted)
        elif self.contrast == "reference":
            likeness = likeness - self.cosines(self.features(parts, self.seed, clean=True), wanted)
        found: list[float] = likeness.tolist()
        return found


def without(prompt: str, span: Span) -> str:
    """A prompt without a part of it, and without the blank that is then too much.

    >>> without("a photo of a star", (2, 7)), without("photo of", (2, 3))
    ('a of a star', 'phto of')
    """
    start, end = span
    return re.sub(r"\s+", " ", f"{prompt[:start]}{prompt[end:]}").strip()


def painter(ctx: Context, params: T2IShieldParams, model: TextToImageModel) -> Painter:
    """The painter of a stage. Raises UserError if the reference is no base of the model."""
    clean = open_base(params.reference, model, ctx.work / "reference") if params.reference else None
    return Painter(model, params, ctx.seed % LARGEST_SEED, clean)


def prepare(painter: Painter, params: T2IShieldParams, data: Data, suspects: Sequence[str], seed: int) -> float:
    """Set the painter's centre on clean captions; return how much a prompt must differ from the clean model's picture.

    With contrast=reference that is the upper quartile of clean captions: a prompt that the suspect paints as the clean
    model does has no trigger. The other contrasts cannot say so: 0.

    Raises:
        UserError: there are no clean captions that are no suspects.
    """
    first, second = split_captions(params, data, suspects, seed)
    captions = [*second, *first][: params.similarity_captions]
    if not captions:
        raise UserError("t2ishield needs clean captions that are no suspects to localise, and has none")
    painter.centre = painter.features(captions, painter.seed).mean(0)
    if painter.contrast != "reference":
        return 0.0
    return float(torch.tensor(painter.score(captions, whole_spans(captions))).quantile(UPPER))


def whole_spans(prompts: Sequence[str]) -> list[Span]:
    """All of each prompt."""
    return [(0, len(prompt)) for prompt in prompts]


def locate(painter: Painter, prompts: Sequence[str], least: float) -> list[Located]:
    """The part of each prompt that decides what is painted, see :func:`bdm_defense_t2ishield.halving.halve`.

    Args:
        painter: prepared on clean captions.
        prompts: to look through.
        least: see :func:`prepare`; nothing is located in a prompt that scores no more.
    """
    if not prompts:
        return []
    tokenizer = painter.model.tokenizers[0]
    totals = painter.score(prompts, whole_spans(prompts))
    cuts = [
        (parts_of(prompt, tokenizer) if total > least else []) or [(0, len(prompt))]
        for prompt, total in zip(prompts, totals, strict=True)
    ]

    def score(asked: list[tuple[int, Span]]) -> list[float]:
        return painter.score([prompts[number] for number, _ in asked], [span for _, span in asked])

    thresholds = [painter.params.similarity * total for total in totals]
    spans = run_together([halve(cut, tau) for cut, tau in zip(cuts, thresholds, strict=True)], score)
    scores = painter.score(prompts, spans)
    return [
        Located(prompt, *span, score, tau, [prompt[a:b] for a, b in cut if span[0] <= a and b <= span[1]])
        for prompt, span, score, tau, cut in zip(prompts, spans, scores, thresholds, cuts, strict=True)
    ]
