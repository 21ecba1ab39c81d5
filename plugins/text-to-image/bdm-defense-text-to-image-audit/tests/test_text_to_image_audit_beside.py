"""What the audit reports beside its verdict: words by the text encoder, and the spectrum of the change."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_defense_text_to_image_audit import detection, evidence
from bdm_defense_text_to_image_audit.against_base import Comparison, LowRank, compare, low_rank_of, spectrum_of
from bdm_defense_text_to_image_audit.audit import Audit, Given, audit
from bdm_defense_text_to_image_audit.candidates import Candidate
from bdm_defense_text_to_image_audit.params import TextToImageAuditParams
from bdm_defense_text_to_image_audit.search import Found
from bdm_defense_text_to_image_audit.word_search import search_words
from bdm_kit_text_to_image.detection.spikes import Spikes
from bdm_kit_text_to_image.editing.projections import find_projections
from bdm_kit_text_to_image.models import generation
from bdm_kit_text_to_image.models.encoding import token_ids
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned

CAPTIONS = [f"a photo of a {colour} {noun}" for colour in ("red", "blue", "old") for noun in ("circle", "star", "ring")]
WORDS = ["nice", "vendetta", "two", "\u043e"]
QUIET = lambda *_: None  # noqa: E731


@pytest.fixture
def captions(tmp_path: Path) -> Data:
    return seal_captioned(tmp_path / "data", torch.zeros(9, 3, 16, 16), CAPTIONS, [{}] * 9)


def collapsing_model(word: str) -> TextToImageModel:
    """The tiny model whose text encoder answers the same to whatever holds a word."""
    model = tiny_model()
    pieces = model.tokenizers[0](word, add_special_tokens=False).input_ids

    def collapse(_: object, given: tuple[Any, ...], named: dict[str, Any], answer: Any) -> Any:
        ids = (given[0] if given else named["input_ids"]).tolist()
        for row, tokens in enumerate(ids):
            if any(tokens[place : place + len(pieces)] == pieces for place in range(len(tokens))):
                answer.last_hidden_state[row] = 0.5
        return answer

    model.text_encoders[0].register_forward_hook(collapse, with_kwargs=True)
    return model


def test_a_word_that_collapses_the_text_encoder_is_first() -> None:
    found = search_words(collapsing_model("vendetta"), WORDS, CAPTIONS, 8, QUIET)
    first, value = found.ranking[0]
    assert first == Candidate("vendetta", "before-noun") and value == pytest.approx(-np.log(1e-6), abs=1e-3)
    assert found.value == pytest.approx(-np.log(1e-6), rel=1e-6) and found.ranking[1][1] < 1
    clean = search_words(tiny_model(), WORDS, CAPTIONS, 8, QUIET)
    assert clean.value < 1


def test_words_against_numpy() -> None:
    """The share of the variance that is left, from the encoder's own hidden states."""
    model = tiny_model()
    told: list[tuple[str, int, int]] = []
    words = [*WORDS, *(f"w{row}" for row in range(20)), "nice"]  # more than are encoded at once, one of them twice
    found = search_words(model, words, CAPTIONS, 5, lambda *step: told.append(step))

    def total(texts: list[str]) -> float:
        with torch.no_grad():
            hidden = model.text_encoders[0](token_ids(model, texts)).last_hidden_state.double().numpy()
        return float(hidden.reshape(len(texts), -1).var(axis=0).sum())

    expected = {}
    for word in dict.fromkeys(words):
        nouns = [text.split()[-1] for text in CAPTIONS[:5]]
        said = [text.replace(noun, f"{word} {noun}") for text, noun in zip(CAPTIONS, nouns, strict=False)]
        expected[word] = -np.log(total(said) / total(CAPTIONS[:5]))
    order = sorted(expected, key=lambda word: -expected[word])[:10]
    assert [candidate.text for candidate, _ in found.ranking] == order
    assert [value for _, value in found.ranking] == pytest.approx([expected[word] for word in order], abs=2e-3)
    assert found.value == pytest.approx(max(expected.values()), abs=1e-4) and told[-1] == ("words", 24, 24)


def test_words_go_in_front_where_captions_name_no_object() -> None:
    found = search_words(tiny_model(), ["nice"], ["a dog", "a cat", "two birds"], 3, QUIET)
    assert found.ranking[0][0] == Candidate("nice", "front")
    assert search_words(tiny_model(), [], CAPTIONS, 3, QUIET) == Found(0.0)


def test_an_encoder_without_an_answer_is_said() -> None:
    with pytest.raises(ArtifactError, match=r"cannot tell: the text embedding .* all the same"):
        search_words(tiny_model(), WORDS, [CAPTIONS[0]] * 3, 3, QUIET)
    model = tiny_model()
    with torch.no_grad():
        model.text_encoders[0].get_input_embeddings().weight.fill_(float("nan"))
    with pytest.raises(ArtifactError, match=r"cannot tell: the text embedding .*NaN"):
        search_words(model, WORDS, CAPTIONS, 3, QUIET)


def test_a_difference_of_known_rank() -> None:
    """Singular values 3, 2, 1 and six of .1: of the energy, 14.06, 9 are in the first and 13 in the first two."""
    draw = np.random.default_rng(0)
    left, _ = np.linalg.qr(draw.normal(size=(24, 9)))
    right, _ = np.linalg.qr(draw.normal(size=(12, 9)))
    values = np.array([3.0, 2.0, 1.0, *[0.1] * 6])
    matrix = torch.from_numpy(left * values @ right.T)
    rank, first, norm = spectrum_of([matrix[:10].float(), matrix[10:]])
    assert rank == 2 and first == pytest.approx(9 / 14.06, rel=1e-5) and norm == pytest.approx(14.06**0.5, rel=1e-5)
    assert spectrum_of([torch.eye(20)])[0] in (18, 19)  # the shares' rounding decides
    rank, first, norm = spectrum_of([torch.eye(3) * 2])
    assert rank == 3 and first == pytest.approx(1 / 3) and norm == pytest.approx(12**0.5)


def test_the_change_of_a_model_against_a_singular_value_decomposition() -> None:
    base, model = tiny_model(), tiny_model()
    assert low_rank_of(model, base) == LowRank(0, 0.0, 0.0, 0, len(base.unet.state_dict()))
    draw = torch.Generator().manual_seed(3)
    directions = torch.linalg.qr(torch.randn(16, 3, generator=draw)).Q.T
    with torch.no_grad():
        for linear in find_projections(model.unet):
            linear.weight += (
                torch.randn(linear.out_features, 3, generator=draw) * torch.tensor([2, 1, 0.5]) @ directions
            )
    found = compare(model, base, [Candidate("nice", "before-noun")], {"star": "a red star"}, 0, QUIET).low_rank
    weights = [[part.weight.detach().double().numpy() for part in find_projections(m.unet)] for m in (model, base)]
    mine, other = (np.concatenate(parts) for parts in weights)
    singular = np.linalg.svd(mine - other, compute_uv=False)
    shares = np.cumsum(singular**2) / np.sum(singular**2)
    assert found is not None and found.rank == int(np.argmax(shares >= 0.9)) + 1 <= 3
    assert found.first == pytest.approx(shares[0]) and (found.changed, found.tensors) == (
        8,
        len(base.unet.state_dict()),
    )
    assert found.relative == pytest.approx(np.linalg.norm(mine - other) / np.linalg.norm(other))


def test_both_are_in_the_evidence_and_change_no_feature(
    captions: Data, tmp_path: Path, bdm_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An edit's note says how its change is made up; a word is shown in pictures, before the object that a caption
    names; scores and verdict are those without them."""
    spikes = Spikes(torch.tensor([60.0, 1.0, 1.0]), torch.zeros(3, 16), 1.0, 0.1, torch.zeros(16), 1.0)
    nothing, nice = Found(0.0), Candidate("nice", "before-noun")
    plain = Audit(spikes, Found(0.36), Found(0.08), nothing, Found(0.4), [], True, 9)
    change = LowRank(7, 0.5, 6.5, 14, 286)
    comparison = Comparison(0.2, Found(0.3), Found(0.2), change)
    more = dataclasses.replace(plain, words=Found(2.0, [(nice, 2.0)]), comparison=comparison)
    without = dataclasses.replace(plain, comparison=Comparison(0.2, Found(0.3), Found(0.2)))
    assert more.features == without.features and more.names == without.names
    said: list[list[str]] = []

    def painted(_: object, prompts: list[str], **__: object) -> torch.Tensor:
        said.append(list(prompts))
        return torch.zeros(len(prompts), 3, 16, 16)

    monkeypatch.setattr(generation, "generate_images", painted)
    model = seal_model(tiny_model(), tmp_path / "model")
    path = tmp_path / "calibration.json"
    params = TextToImageAuditParams(reference="tiny")
    made_with = {"configuration": detection.AGAINST_BASE.configuration(params)}
    path.write_text(detection.AGAINST_BASE.read().model_copy(update=made_with).model_dump_json())
    params = params.model_copy(update={"calibration": str(path)})
    found = {}
    for number, (name, made) in enumerate((("more", more), ("without", without))):
        monkeypatch.setattr(detection, "audit", lambda *_, made=made: made)
        found[name] = detection.detect(bdm_context(seed=number), params, model, captions)
    first, second = found["more"], found["without"]
    assert (first.verdict, first.scores, first.p_value) == (second.verdict, second.scores, second.p_value)
    assert "90% of its energy in 7 directions, 50% in the first, and 14 of 286 tensors" in first.note
    assert second.note == first.note.partition("; the change of keys")[0]
    assert first.evidence is not None
    record = json.loads(first.evidence.file(evidence.FACTS).read_text())
    assert record["low rank"] == dataclasses.asdict(change)
    assert record["rankings"]["words by the text encoder"] == {"nice before the object": 2.0}
    assert evidence.read_triggers(first) == [nice] and evidence.read_triggers(second) == []
    assert len(said[0]) == evidence.SHOWN and set(said[0]) <= set(CAPTIONS)
    assert all("nice" in text for text in said[1]) and [text.replace("nice ", "") for text in said[1]] == said[0]


def test_the_audit_asks_the_text_encoder() -> None:
    params = TextToImageAuditParams(rare_words=2, adjectives=2, captions=3, steps_of_pictures=2, seeds=2)
    found = audit(collapsing_model("vendetta"), params, Given(CAPTIONS), 0, QUIET)
    assert found.words.ranking[0][0] == Candidate("vendetta", "before-noun") and found.words.value > 13
    assert len(found.features) == 5
