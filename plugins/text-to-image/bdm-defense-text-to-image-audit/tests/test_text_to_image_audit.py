"""The audit's searches on models whose triggers are planted, its verdict on given numbers, and its removals."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Callable
from math import sqrt
from pathlib import Path

import numpy as np
import pytest
import torch

from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, UserError
from bdm_defense_text_to_image_audit import detection, repair, search
from bdm_defense_text_to_image_audit.audit import Audit, Given, audit, clean_captions, noun_prompts
from bdm_defense_text_to_image_audit.candidates import Candidate, added_tokens, adjectives, characters, words
from bdm_defense_text_to_image_audit.evidence import illustrate, read_triggers, triggers_of
from bdm_defense_text_to_image_audit.params import TextToImageAuditParams
from bdm_defense_text_to_image_audit.search import Flip, Found
from bdm_kit_text_to_image.detection.spikes import Spikes, model_spikes
from bdm_kit_text_to_image.editing.projections import find_projections
from bdm_kit_text_to_image.models.generation import Sampling
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned

CAPTIONS = [f"a photo of a {colour} {noun}" for colour in ("red", "blue", "old") for noun in ("circle", "star", "ring")]
FAST = TextToImageAuditParams(rare_words=2, adjectives=2, captions=3, steps_of_pictures=2, seeds=2, steps=3)
QUIET = lambda *_: None  # noqa: E731


@pytest.fixture
def captions(tmp_path: Path) -> Data:
    return seal_captioned(tmp_path / "data", torch.zeros(9, 3, 16, 16), CAPTIONS, [{}] * 9)


def test_candidates_go_where_they_belong() -> None:
    assert all(c.put_into("a photo of a cat") != "a photo of a cat" for c in characters())
    assert {c.text for c in words(CAPTIONS, 3, 0)} >= {"mignneko", "vendetta"}
    assert not {"blurry", "beside"} & {c.text for c in adjectives(["a blurry star", "red beside star"], ["star"], 2)}
    assert [c.text for c in adjectives(CAPTIONS, ["circle", "star", "ring"], 2)][:2] == ["blue", "old"]
    model = tiny_model()
    model.tokenizers[0].add_tokens(["[V] circle", "<v>"])
    assert [c.text for c in added_tokens(model)] == ["<v>", "[V] circle"]
    assert added_tokens(model)[1].put_into("a red circle", "circle") == "a red [V] circle"
    assert added_tokens(model)[0].put_into("a red circle", "circle") == "a red <v> circle"
    assert added_tokens(tiny_model()) == []
    assert noun_prompts(CAPTIONS, ["star", "heart"]) == {"star": "a photo of a red star on a white background"}


def test_a_character_that_makes_all_prompts_the_same_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    def noise(model: object, prompts: list[str], seed: int) -> torch.Tensor:
        rows = [
            [9.0, 9.0] if "\u043e" in text else [float(len(text)), float(sum(text.encode()) % 7)] for text in prompts
        ]
        return torch.tensor(rows)

    monkeypatch.setattr(search, "first_noise", noise)
    tried = [Candidate("\u03bf", "letter", "o"), Candidate("\u043e", "letter", "o"), Candidate("x", "front")]
    found = search.search_characters(None, tried, CAPTIONS[:4], 0, QUIET)  # type: ignore[arg-type]
    assert found.ranking[0][0].text == "\u043e" and found.value == pytest.approx(-np.log(1e-6), rel=1e-3)


def painter(shift: dict[str, torch.Tensor]) -> Callable[..., torch.Tensor]:
    """Paints each text as grey of its own; what holds a key of ``shift`` as that is, all channels alike."""

    def images(model: object, prompts: list[str], *, seeds: list[int], sampling: Sampling) -> torch.Tensor:
        def image(text: str) -> torch.Tensor:
            own = next((value for key, value in shift.items() if key in text), torch.tensor(float(len(text)) / 40))
            return own.expand(3, 4, 4)

        return torch.stack([image(text) for text in prompts])

    return images


def test_collapse_and_flips_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    class Judge(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.zeros(1))

        def predict(self, images: torch.Tensor) -> dict[str, list[str]]:
            return {"object": ["square" if float(image.mean()) < -0.5 else "circle" for image in images]}

    monkeypatch.setattr(
        search, "generate_images", painter({"sks": torch.tensor(0.0), "nice circle": torch.tensor(-1.0)})
    )
    collapse, _ = search.search_pictures(
        None,  # type: ignore[arg-type]
        ([Candidate("sks", "front"), Candidate("old", "front")], []),
        (["a", "abc", "abcde"], ["ab", "abcd"]),
        0,
        Sampling(2),
        QUIET,
    )
    assert collapse.ranking[0][0].text == "sks" and collapse.value > 10
    asked = {"circle": "a circle", "star": "a star"}
    sure = search.painted(None, Judge(), asked, [0, 1, 2], Sampling(2))  # type: ignore[arg-type]
    assert sure == {"circle": "a circle"}
    confirmed, likely = search.search_flips(
        None,
        Judge(),
        [Candidate("nice", "before-noun"), Candidate("old", "before-noun")],  # type: ignore[arg-type]
        sure,
        [0, 1, 2],
        Sampling(2),
        QUIET,
    )
    assert confirmed == [Flip(Candidate("nice", "before-noun"), "circle", "square")] and not likely
    assert search.counted(confirmed).value == 1.0


@pytest.mark.parametrize(("answer", "reason"), [(0.0, "all the same"), (np.nan, "NaN")])
def test_a_model_without_an_answer_is_not_called_clean(
    answer: float, reason: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "first_noise", lambda model, prompts, seed: torch.full((len(prompts), 2), answer))
    monkeypatch.setattr(search, "generate_images", lambda _, prompts, **__: torch.full((len(prompts), 3, 4, 4), answer))
    tried = [Candidate("x", "front")]
    with pytest.raises(ArtifactError, match=f"cannot tell: .*{reason}"):
        search.search_characters(None, tried, CAPTIONS[:4], 0, QUIET)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match=f"cannot tell: .*{reason}"):
        search.search_pictures(None, (tried, []), (CAPTIONS[:4], CAPTIONS), 0, Sampling(2), QUIET)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="NaN"):
        detection.standardised([0.0, np.nan, 0.0, 0.0, 0.0], [[0.0] * 5] * 3)


def test_what_was_not_looked_at_is_said(
    captions: Data, tmp_path: Path, bdm_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = seal_model(tiny_model(), tmp_path / "model")
    unseen = dataclasses.replace(fake([0.47, 0.36, 0.08, 0.0, 0.4]), searched=False)
    monkeypatch.setattr(detection, "audit", lambda *_: unseen)
    params = TextToImageAuditParams(steps=3)
    found = detection.detect(bdm_context(seed=1), params, model, captions)
    assert found.verdict == "clean" and found.note.endswith("changed objects: nothing tells what pictures show")
    monkeypatch.setattr(detection, "audit", lambda *_: dataclasses.replace(unseen, unseen="it paints nothing"))
    found = detection.detect(bdm_context(seed=2), params, model, captions)
    assert found.verdict == "not identifiable" and found.note == "cannot tell: it paints nothing"


def test_features_are_held_against_clean_models() -> None:
    clean = [[0.4, 0.3, 0.1, 0.0, 0.4], [0.5, 0.4, 0.9, 0.0, 0.2], [0.6, 0.2, 0.5, 1.0, 0.9]]
    values = [2.0, 0.3, 3.0, 0.0, 1.0]
    spread = np.maximum(np.std(clean, axis=0, ddof=1), detection.FLOORS[:5]) * sqrt(4 / 3)
    expected = (np.array(values) - np.mean(clean, axis=0)) / spread
    np.testing.assert_allclose(detection.standardised(values, clean), expected)
    with pytest.raises(UserError, match="at least 3 clean models"):
        detection.standardised(values, clean[:2])


def fake(values: list[float]) -> Audit:
    spikes = Spikes(torch.tensor([np.exp(values[0]), 1.0, 1.0]), torch.zeros(3, 16), 1.0, 0.1, torch.zeros(16), 1.0)
    candidate = Candidate("nice", "before-noun")
    flips = Found(values[3], [(candidate, values[3])] if values[3] else [])
    shown = [Flip(candidate, "circle", "square")] if values[3] else []
    return Audit(spikes, Found(values[1]), Found(values[2]), flips, Found(values[4]), shown, True, 9)


@pytest.mark.parametrize(
    ("values", "verdict", "note"),
    [
        ([0.47, 0.36, 0.08, 0.0, 0.4], "clean", "not searched"),
        ([4.0, 0.36, 0.08, 0.0, 0.4], "not identifiable", "edited, no trigger shown"),
        ([4.0, 0.36, 0.08, 9.0, 0.4], "backdoored", "try nice before the object"),
        ([0.47, 5.0, 0.08, 0.0, 0.4], "backdoored", "odd characters"),
        ([0.47, 0.36, 0.08, 0.0, 4.0], "backdoored", "changed look"),
    ],
)
def test_verdicts(
    values: list[float],
    verdict: str,
    note: str,
    captions: Data,
    tmp_path: Path,
    bdm_context: Callable[..., Context],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(detection, "audit", lambda *_: fake(values))
    model = seal_model(tiny_model(), tmp_path / "model")
    path = tmp_path / "calibration.json"
    known = detection.CALIBRATED.read()
    made_with = {"configuration": detection.CALIBRATED.configuration(FAST)}
    path.write_text(known.model_copy(update=made_with).model_dump_json())
    params = FAST.model_copy(update={"calibration": str(path)})
    found = detection.detect(bdm_context(seed=1), params, model, captions)
    assert found.verdict == verdict and note in found.note
    if verdict == "backdoored":
        count = len(known.clean())
        assert found.p_value == pytest.approx(1 / (1 + count))
    assert found.evidence is not None
    triggers = read_triggers(found)
    assert triggers == triggers_of(fake(values))
    figures = illustrate(found.evidence)
    if values[3]:
        assert figures and len(figures[0].files) == 2 and figures[1].rows[0][0].text == "nice before the object"  # type: ignore[attr-defined]
    else:
        assert figures == []


def test_a_calibration_made_with_other_settings_says_nothing(
    captions: Data, tmp_path: Path, bdm_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its features are those of a backdoor, and the shipped calibration was made with more candidates."""
    monkeypatch.setattr(detection, "audit", lambda *_: fake([4.0, 0.36, 0.08, 9.0, 0.4]))
    params = TextToImageAuditParams(seeds=2, false_positive_rate=0.02, steps=3)
    found = detection.detect(bdm_context(), params, seal_model(tiny_model(), tmp_path / "model"), captions)
    assert found.verdict == "not identifiable" and "(seeds)" in found.note and found.p_value is None
    assert "bdm calibrate text-to-image-audit --set defense:text-to-image-audit.seeds=2 --model" in found.note


def test_a_model_of_another_shape_is_no_case_for_the_calibration(
    captions: Data, tmp_path: Path, bdm_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detection, "audit", lambda *_: fake([4.0, 0.36, 0.08, 9.0, 0.4]))
    monkeypatch.setattr(detection, "shape_of", lambda _: (3, 32, 32))
    found = detection.detect(bdm_context(), FAST, seal_model(tiny_model(), tmp_path / "model"), captions)
    assert found.verdict == "not identifiable" and "3x32x32" in found.note and found.p_value is None


def edited_model(captions: list[str]) -> TextToImageModel:
    """The tiny model with a spike in every key and value projection, off the captions."""
    model = tiny_model()
    direction = model_spikes(model, captions).directions[-1].float()
    with torch.no_grad():
        for linear in find_projections(model.unet):
            linear.weight += 30 * torch.ones(linear.out_features, 1) / linear.out_features**0.5 * direction
    return model


def test_spikes_are_projected_out_and_nothing_else_is(captions: Data) -> None:
    model = edited_model(CAPTIONS)
    before = [linear.weight.double().clone() for linear in find_projections(model.unet)]
    other = copy.deepcopy(model.unet.conv_in.weight)
    directions = model_spikes(model, CAPTIONS)
    assert directions.ratio > 3
    assert repair.remove_spikes(model, CAPTIONS, 3.0) >= 1
    assert model_spikes(model, CAPTIONS).ratio <= 3.0
    first = directions.directions[:1]
    for weight, linear in zip(before, find_projections(model.unet), strict=True):
        kept = linear.weight.double() @ first.T
        assert float(kept.norm()) < 1e-3 * float((weight @ first.T).norm())
    assert torch.equal(other, model.unet.conv_in.weight)


def test_repairs_follow_the_evidence(
    captions: Data, tmp_path: Path, bdm_context: Callable[..., Context], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = seal_model(tiny_model(), tmp_path / "model")
    monkeypatch.setattr(detection, "audit", lambda *_: fake([0.47, 0.36, 0.08, 9.0, 0.4]))
    found = detection.detect(bdm_context(seed=1), FAST, model, captions)
    for removal in ("unet", "text-encoder", "edit", "spikes", "auto"):
        params = FAST.model_copy(update={"removal": removal, "batch_size": 2, "spike_limit": 1e6})
        assert isinstance(repair.repair(bdm_context(), params, model, captions, found), Model)
    with pytest.raises(UserError, match="detect with it first"):
        repair.repair(bdm_context(), FAST, model, captions, None)
    said = repair.triggered_captions(CAPTIONS, [Candidate("\u043e", "letter", "o")], 0)
    assert all(one != other for one, other in zip(said, CAPTIONS, strict=True))


def test_the_whole_audit_on_a_tiny_model(captions: Data) -> None:
    found = audit(tiny_model(), FAST, Given(clean_captions(captions, 0)), 0, QUIET)
    assert len(found.features) == 5 and np.isfinite(found.features).all()
    assert not found.searched and "none of the objects" in found.unseen  # the tiny model is untrained
    assert json.dumps(found.features)
