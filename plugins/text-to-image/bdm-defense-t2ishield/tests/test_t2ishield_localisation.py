"""Localisation against an exhaustive search and planted scores; the painter's scores against NumPy."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_t2ishield import localisation
from bdm_defense_t2ishield.halving import Span, halve, parts_of, run_together
from bdm_defense_t2ishield.localisation import Painter, locate, painter, prepare, without
from bdm_defense_t2ishield.params import T2IShieldParams
from bdm_defense_t2ishield.word_noise import with_word_noise
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned

PROMPT = "a photo of a red nice circle on a white background"
CAPTIONS = [f"a {colour} {noun}" for colour in ("red", "blue", "green") for noun in ("star", "ring", "circle", "cross")]


@pytest.fixture
def data(tmp_path: Path) -> Data:
    return seal_captioned(tmp_path / "data", torch.zeros(12, 3, 16, 16), CAPTIONS, [{}] * 12)


def planted(prompt: str, wanted: str) -> Callable[[list[tuple[int, Span]]], list[float]]:
    """Only a part with all of the trigger paints the picture."""
    return lambda asked: [float(wanted in prompt[start:end]) for _, (start, end) in asked]


@pytest.mark.parametrize("seed", range(6))
def test_the_smallest_part_with_all_of_the_trigger_is_found_wherever_it_lies(seed: int) -> None:
    draw = random.Random(seed)
    words = [f"w{number}" for number in range(draw.randint(2, 14))]
    first = draw.randrange(len(words))
    last = draw.randint(first + 1, len(words))
    prompt, trigger = " ".join(words), " ".join(words[first:last])
    parts = parts_of(prompt, None)
    asked: list[Span] = []

    def score(pairs: list[tuple[int, Span]]) -> list[float]:
        asked.extend(span for _, span in pairs)
        return planted(f"{prompt} ", f"{trigger}")(pairs)

    ((start, end),) = run_together([halve(parts, 0.5)], score)
    # an exhaustive search over all runs of words
    best = min(
        (
            (parts[i][0], parts[j - 1][1])
            for i in range(len(parts))
            for j in range(i + 1, len(parts) + 1)
            if trigger in prompt[parts[i][0] : parts[j - 1][1]]
        ),
        key=lambda span: span[1] - span[0],
    )
    assert (start, end) == best
    assert len(asked) <= 2 * (len(parts) - 1)


def test_one_word_takes_two_pictures_a_halving() -> None:
    prompt = " ".join(f"w{number:02d}" for number in range(16))
    count = 0

    def score(pairs: list[tuple[int, Span]]) -> list[float]:
        nonlocal count
        count += len(pairs)
        return planted(prompt, "w11")(pairs)

    assert run_together([halve(parts_of(prompt, None), 0.5)], score) == [(44, 47)]
    assert count == 2 * 4  # 2 ceil(log2 w)


def test_parts_are_pieces_and_single_characters() -> None:
    tokenizer = tiny_model().tokenizers[0]
    text = "a star\u200b ph\u043eto"
    parts = [text[start:end] for start, end in parts_of(text, tokenizer)]
    assert parts == ["a", "star", "\u200b", "ph", "\u043e", "t", "o"]
    assert parts_of("a " * 200, tokenizer)[-1][1] < 200  # what the model never reads is no part


@pytest.mark.parametrize("contrast", ["none", "removal", "seed", "reference"])
def test_the_score_is_a_difference_of_cosines(contrast: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def draw(model: object, texts: list[str], *, seeds: list[int], sampling: object) -> torch.Tensor:
        pairs = zip(texts, seeds, strict=True)
        rows = [np.random.default_rng([seed, *text.encode()]).normal(size=(3, 4, 4)) for text, seed in pairs]
        return torch.tensor(np.stack(rows)).float() + (1.0 if model is other else 0.0)

    monkeypatch.setattr(localisation, "generate_images", draw)
    model, other = tiny_model(), tiny_model(1)
    params = T2IShieldParams(features="pixels", contrast=contrast, reference="tiny")
    scorer = Painter(model, params, 3, other)
    found = scorer.score([PROMPT], [(16, 27)])

    def picture(text: str, seed: int = 3, shift: float = 0.0) -> np.ndarray:
        return np.random.default_rng([seed, *text.encode()]).normal(size=48) + shift

    def cosine(one: np.ndarray, two: np.ndarray) -> float:
        return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))

    whole, part = picture(PROMPT), PROMPT[16:27].strip()
    against = {
        "none": 0.0,
        "removal": cosine(picture(without(PROMPT, (16, 27))), whole),
        "seed": cosine(picture(part, 3 + localisation.OTHER_SEED), whole),
        "reference": cosine(picture(part, shift=1.0), whole),
    }
    assert found[0] == pytest.approx(cosine(picture(part), whole) - against[contrast], abs=1e-5)
    scorer.score([PROMPT], [(16, 27)])
    assert scorer.pictures == {"none": 2, "removal": 3, "seed": 3, "reference": 3}[contrast]  # none is painted twice


def test_a_planted_trigger_is_located_and_an_ordinary_prompt_is_not(
    data: Data, monkeypatch: pytest.MonkeyPatch, bdm_context: Callable[..., Context]
) -> None:
    """The backdoored model paints one picture for the trigger; else the picture is the mean of those of its words."""

    def draw(model: object, texts: list[str], *, seeds: list[int], sampling: object) -> torch.Tensor:
        rows = []
        for text in texts:
            bad = model is suspect and "nice circle" in text
            words = ["target"] if bad else text.split() or ["nothing"]
            drawn = [np.random.default_rng([*word.encode()]).normal(size=(3, 4, 4)) for word in words]
            rows.append(np.mean(drawn, axis=0))
        return torch.tensor(np.stack(rows)).float()

    monkeypatch.setattr(localisation, "generate_images", draw)
    suspect = tiny_model()
    for contrast in ("reference", "removal"):
        params = T2IShieldParams(features="pixels", contrast=contrast, reference="tiny", similarity_captions=6)
        params = params.model_copy(update={"clean_prompts": 6})
        scorer = painter(bdm_context(), params, suspect)
        least = prepare(scorer, params, data, [PROMPT], 0)
        assert least == pytest.approx(0.0, abs=1e-6) and scorer.centre is not None
        found, plain = locate(scorer, [PROMPT, "a photo of a red ring"], least + 1e-6)
        assert found.text == "nice circle" and not found.whole, contrast
        assert found.record()["code_points"] == []
        if contrast == "reference":
            assert plain.whole


def test_word_noise_replaces_the_share_and_depends_on_the_prompt_alone() -> None:
    pool = ["x", "y", "z"]
    noisy = with_word_noise(PROMPT, 0.5, pool, 3)
    changed = [one != two for one, two in zip(PROMPT.split(), noisy.split(), strict=True)]
    assert sum(changed) == 6  # of 11, rounded up
    assert noisy == with_word_noise(PROMPT, 0.5, pool, 3) != with_word_noise(PROMPT, 0.5, pool, 4)


def test_a_reference_is_needed_for_its_contrast(data: Data, bdm_context: Callable[..., Context]) -> None:
    with pytest.raises(ValueError, match="needs reference"):
        T2IShieldParams(contrast="reference")
    scorer = painter(bdm_context(), T2IShieldParams(), tiny_model())
    with pytest.raises(UserError, match="clean captions that are no suspects"):
        prepare(scorer, T2IShieldParams(), data, CAPTIONS, 0)
