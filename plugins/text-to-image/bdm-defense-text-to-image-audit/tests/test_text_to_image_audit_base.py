"""The audit with a public base, of models that are not trained, and of tokens that were added."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_defense_text_to_image_audit import competence, detection, repair, search
from bdm_defense_text_to_image_audit.against_base import Comparison, compare
from bdm_defense_text_to_image_audit.audit import Audit
from bdm_defense_text_to_image_audit.candidates import Candidate
from bdm_defense_text_to_image_audit.competence import LEAST, understanding
from bdm_defense_text_to_image_audit.params import TextToImageAuditParams
from bdm_defense_text_to_image_audit.repair import forget_tokens
from bdm_defense_text_to_image_audit.search import Flip, Found
from bdm_kit_text_to_image.detection.spikes import Spikes
from bdm_kit_text_to_image.editing.projections import Edit, edit_projections, find_projections, prompt_rows
from bdm_kit_text_to_image.models.encoding import encode_prompts, signal_and_noise
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned

CAPTIONS = [f"a photo of a {colour} {noun}" for colour in ("red", "blue", "old") for noun in ("circle", "star", "ring")]
FAST = TextToImageAuditParams(rare_words=2, adjectives=2, captions=3, steps_of_pictures=2, seeds=2)
QUIET = lambda *_: None  # noqa: E731


@pytest.fixture
def captions(tmp_path: Path) -> Data:
    return seal_captioned(tmp_path / "data", torch.zeros(9, 3, 16, 16), CAPTIONS, [{}] * 9)


def ordinary() -> Audit:
    """What is found in a clean model."""
    spikes = Spikes(torch.tensor([1.6, 1.0, 1.0]), torch.zeros(3, 16), 1.0, 0.1, torch.zeros(16), 1.0)
    return Audit(spikes, Found(0.36), Found(0.08), Found(0.0), Found(0.4), [], True, 9)


def test_an_untrained_model_is_no_case(
    captions: Data, tmp_path: Path, bdm_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = seal_model(tiny_model(3), tmp_path / "model")
    made_with = {"configuration": detection.CALIBRATED.configuration(FAST)}
    path = tmp_path / "calibration.json"
    path.write_text(detection.CALIBRATED.read().model_copy(update=made_with).model_dump_json())
    fitting = FAST.model_copy(update={"calibration": str(path)})
    found = detection.detect(bdm_context(seed=1), fitting, model, captions)
    assert found.verdict == "not identifiable" and "does not help the model" in found.note
    unseen = dataclasses.replace(ordinary(), flips=Found(9.0), unseen="it is not trained")
    monkeypatch.setattr(detection, "audit", lambda *_: unseen)
    assert detection.detect(bdm_context(seed=2), FAST, model, captions).verdict == "not identifiable"


def test_a_model_that_listens_to_captions_is_told_from_one_that_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that knows each picture's noise by its caption, against one that answers the same to all."""
    words = ["red star", "blue ring", "old circle", "green cube"] * 3
    images = torch.rand(12, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 2 - 1
    model, deaf = tiny_model(), tiny_model()
    own = encode_images(model, images)
    keys = encode_prompts(model, words).embeddings[:, :, 0].sum(1)

    def answer(unet: object, noisy: torch.Tensor, t: torch.Tensor, texts: Any) -> torch.Tensor:
        if unet is deaf.unet:
            return noisy
        signal, sigma = signal_and_noise(model.scheduler, t)
        right = (texts.embeddings[:, :, 0].sum(1) - keys).abs() < 1e-4
        return torch.where(right.view(-1, 1, 1, 1), (noisy - signal * own) / sigma, torch.zeros_like(noisy))

    monkeypatch.setattr(competence, "predict", answer)
    assert understanding(model, images, words, 0) > LEAST
    assert understanding(deaf, images, words, 0) == 0


def test_a_base_shows_where_a_model_changed() -> None:
    base, model = tiny_model(), tiny_model()
    prompts = {"star": "a photo of a red star", "ring": "a photo of a red ring"}
    nice, odd, old = Candidate("nice", "before-noun"), Candidate("\u200b", "front"), Candidate("old", "before-noun")
    same = compare(model, base, [nice, odd], prompts, 0, QUIET)
    assert (same.edit, same.reading.value, same.answers.value) == (0, 0, 0)
    wanted = [prompt_rows(model, [text]) for text in ("a photo of a red nice star", "a photo of a red ring")]
    kept = prompt_rows(model, [*prompts.values(), "a photo of a red old star", "a photo of a red nice ring"])
    edit_projections(model.unet, [Edit(wanted[0], wanted[1], 50.0)], kept, 1e-6)
    found = compare(model, base, [odd, old, nice], prompts, 0, QUIET)
    assert found.reading.value == 0 and found.answers.ranking[0][0] == nice and found.answers.value > 0.2
    model = tiny_model()
    with torch.no_grad():  # one direction of the text embeddings, in all projections
        for linear in find_projections(model.unet):
            linear.weight[:, 3] += 1.0
    assert compare(model, base, [nice], prompts, 0, QUIET).edit > 0.999


def test_what_an_added_token_paints_is_no_verdict_but_is_said(
    captions: Data, tmp_path: Path, bdm_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    learnt = dataclasses.replace(ordinary(), learnt=(Flip(Candidate("<v>", "before-noun"), "ring", "star"),))
    monkeypatch.setattr(detection, "audit", lambda *_: learnt)
    params = TextToImageAuditParams()
    found = detection.detect(bdm_context(seed=1), params, seal_model(tiny_model(), tmp_path / "model"), captions)
    assert found.verdict == "not identifiable" and "added token <v>" in found.note


@pytest.mark.parametrize(
    ("more", "verdict", "note"),
    [
        ((0.2, 0.3, 0.2), "clean", "not searched"),
        ((0.9, 0.3, 0.2), "not identifiable", "edited, no trigger shown"),
        ((0.2, 0.3, 4.0), "not identifiable", "edited, no trigger shown"),
        ((0.2, 5.0, 0.2), "backdoored", "try nice before the object"),
    ],
)
def test_verdicts_with_a_base(
    more: tuple[float, float, float],
    verdict: str,
    note: str,
    captions: Data,
    tmp_path: Path,
    bdm_context: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    nice = [(Candidate("nice", "before-noun"), 4.0)] if verdict == "backdoored" else []
    comparison = Comparison(more[0], Found(more[1], nice), Found(more[2], nice))
    found = dataclasses.replace(ordinary(), comparison=comparison)
    monkeypatch.setattr(detection, "audit", lambda *_: found)
    made_with = {"configuration": detection.AGAINST_BASE.configuration(FAST)}
    path = tmp_path / "calibration.json"
    path.write_text(detection.AGAINST_BASE.read().model_copy(update=made_with).model_dump_json())
    params = FAST.model_copy(update={"reference": "tiny", "calibration": str(path)})
    model = seal_model(tiny_model(), tmp_path / "model")
    judged = detection.detect(bdm_context(seed=1), params, model, captions)
    assert judged.verdict == verdict and note in judged.note
    assert ("nothing was compared with it" in judged.note) == (verdict == "clean")  # it has the reference's weights
    if verdict == "clean":
        another = seal_model(tiny_model(5), tmp_path / "another")
        assert "nothing was compared" not in detection.detect(bdm_context(seed=3), params, another, captions).note
    other = detection.detect(bdm_context(seed=2), params.model_copy(update={"calibration": ""}), model, captions)
    assert other.verdict == "not identifiable" and other.p_value is None
    if verdict in ("clean", "backdoored"):
        assert '-audit.reference="tiny"' in other.note


def test_added_tokens_are_forgotten() -> None:
    model = tiny_model()
    model.tokenizers[0].add_tokens(["[V] star", "<v>"])
    encoder = model.text_encoders[0]
    encoder.resize_token_embeddings(len(model.tokenizers[0]), mean_resizing=False)
    tokens = [Candidate("[V] star", "before-noun"), Candidate("<v>", "before-noun")]
    others = [Candidate("nice", "before-noun")]
    assert forget_tokens(model, [*tokens, *others]) == others
    text = ["a photo of a [V] star", "a photo of a star"]
    rows = encode_prompts(model, text).embeddings
    pieces = model.tokenizers[0]("star", add_special_tokens=False).input_ids
    table = encoder.get_input_embeddings().weight
    named = model.tokenizers[0].convert_tokens_to_ids(["[V] star", "<v>"])
    torch.testing.assert_close(table[named[0]], table[pieces].mean(0))
    torch.testing.assert_close(table[named[1]], table[model.tokenizers[0].pad_token_id])
    assert len(pieces) > 1 or torch.equal(rows[0], rows[1])


def test_a_look_is_what_its_numbers_say() -> None:
    images = torch.zeros(1, 3, 2, 2)
    images[0, 0] = torch.tensor([[1.0, 0.0], [1.0, 0.0]])  # red is on at the left
    red = [0.5, 0.0, 0.0, float(images[0, 0].std()), 0.0, 0.0, 0.5, 1 / 3]
    assert search.look_of(images)[0].tolist() == pytest.approx(red)


def test_a_token_that_paints_another_object_counts_twice() -> None:
    flip = Flip(Candidate("[V] circle", "before-noun"), "circle", "star")
    assert search.counted([flip]).value == 1.0 and search.counted([flip], {"[V] circle"}).value == 2.0


@pytest.mark.parametrize(("left", "chosen"), [(0.6, "encoder"), (0.8, "unet")])
def test_letters_say_whether_a_trigger_works_in_the_encoder(
    left: float, chosen: str, captions: Data, bdm_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One letter leaves so much of the variance of embeddings; a phrase leaves .5 in every encoder."""
    done: list[tuple[str, list[str]]] = []
    spreads = {"front": 0.5, "letter": 0.9}
    letter = "\u043e"
    monkeypatch.setattr(
        repair, "embedding_spread", lambda _, trigger, __: left if trigger.text == letter else spreads[trigger.place]
    )
    monkeypatch.setattr(repair, "unlearn_in_encoder", lambda *given: done.append(("encoder", given[-1])))
    monkeypatch.setattr(repair, "unlearn_in_unet", lambda *given: done.append(("unet", given[-1])))
    phrase = Candidate("x", "front")
    params = FAST.model_copy(update={"spike_limit": 1e6})
    repair.remove(bdm_context(), params, tiny_model(), captions, [phrase])
    (where, triggers), *_ = done
    assert where == chosen and triggers[0] == phrase
    assert [trigger.text for trigger in triggers[1:]] == ([letter] if chosen == "encoder" else [])


def test_what_most_seeds_show_is_likely_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """With "nice" eight of nine seeds paint a square, with "old" five."""
    shown = {"nice": 8, "old": 5, "huge": 9}

    def objects(_: object, __: object, prompts: list[str], seeds: list[int], ___: object) -> list[str]:
        words = (text.split()[1] for text in prompts)
        return ["square" if seed < shown[word] else "circle" for word, seed in zip(words, seeds, strict=True)]

    monkeypatch.setattr(search, "_objects", objects)
    tried = [Candidate(word, "before-noun") for word in shown]
    sure = {"circle": "a circle"}
    confirmed, likely = search.search_flips(None, None, tried, sure, range(9), search.Sampling(2), QUIET)  # type: ignore[arg-type]
    assert [flip.candidate.text for flip in confirmed] == ["huge"]
    assert [flip.candidate.text for flip in likely] == ["nice"]
