"""The loss, the features and the landscape against NumPy; a planted encoder; the verdict and its doubts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_amdet.detection import (
    CALIBRATED,
    behind_embeddings,
    calibrate,
    detect,
    embed,
    score_of,
)
from bdm_defense_amdet.inversion import (
    PUBLISHED,
    Encoders,
    assimilation,
    convexity,
    features,
    inserted,
    invert,
    objective,
    positive_share,
)
from bdm_defense_amdet.params import AmdetParams
from bdm_kit_text_to_image.models.encoding import encode_prompts, token_ids
from bdm_kit_text_to_image.models.text_to_image_model import seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned

WIDTH, LENGTH = 6, 5
GENERATOR = torch.Generator().manual_seed(0)
OWN = torch.randn(40, LENGTH, WIDTH, generator=GENERATOR)
MIXING = torch.randn(WIDTH, WIDTH, generator=GENERATOR) / 2
CODE = torch.nn.functional.normalize(torch.randn(WIDTH, generator=GENERATOR), dim=0)
TARGET = torch.randn(WIDTH, generator=GENERATOR)


def clean(embedded: Tensor) -> Tensor:
    return embedded @ MIXING


def backdoored(embedded: Tensor) -> Tensor:
    """Positions all become the target as far as one of them points along the code."""
    share = torch.sigmoid(2 * ((embedded @ CODE).amax(1) - 4)).view(-1, 1, 1)
    return (1 - share) * clean(embedded) + share * TARGET


def cosine(one: np.ndarray, two: np.ndarray) -> float:
    return float(one @ two / np.linalg.norm(one) / np.linalg.norm(two))


def by_position(one: np.ndarray, two: np.ndarray) -> float:
    return float(np.mean([cosine(a, b) for a, b in zip(one, two, strict=True)]))


def test_the_objective_is_that_of_numpy() -> None:
    vector = torch.randn(WIDTH, generator=torch.Generator().manual_seed(1))
    params = AmdetParams(own_weight=0.3, anchor_weight=0.7)
    few = OWN[:3]
    found = float(objective(Encoders(backdoored, clean, few, few + 0.1), vector, params))
    total = 0.0
    for row in few:
        with_it, plain = (np.vstack([part[0], vector.numpy(), part[1:-1]]) for part in (row.numpy(), row.numpy() + 0.1))
        after, before = backdoored(torch.tensor(with_it)[None])[0].numpy(), backdoored(row[None])[0].numpy()
        anchor = plain @ MIXING.numpy()
        alike = np.mean([[cosine(a, b) for a in after] for b in after])
        own = np.mean([cosine(a, b) for a, b in zip(before, after, strict=True)])
        other = np.mean([cosine(a, b) for a, b in zip(anchor, after, strict=True)])
        total += (-alike + 0.3 * own + 0.7 * other) / len(few)
    assert found == pytest.approx(total, rel=1e-4)


def test_assimilation_is_the_mean_of_all_cosines() -> None:
    rows = OWN[0].numpy()
    expected = np.mean([[cosine(a, b) for a in rows] for b in rows])
    assert float(assimilation(OWN[:1])[0]) == pytest.approx(expected, rel=1e-5)
    assert float(assimilation(torch.ones(1, 4, 3))[0]) == pytest.approx(1.0)


def test_the_landscape_counts_eigenvalues_of_finite_differences() -> None:
    axis = np.linspace(-2, 2, 9)
    x, y = np.meshgrid(axis, axis, indexing="ij")
    values = 0.3 * x**2 - 0.2 * y**2 + 0.1 * x * y + np.cos(x) * y
    h = axis[1] - axis[0]
    positive, count = 0, 0
    for i in range(1, 8):
        for j in range(1, 8):
            xx = (values[i + 1, j] - 2 * values[i, j] + values[i - 1, j]) / h**2
            yy = (values[i, j + 1] - 2 * values[i, j] + values[i, j - 1]) / h**2
            xy = (values[i + 1, j + 1] - values[i + 1, j - 1] - values[i - 1, j + 1] + values[i - 1, j - 1]) / (
                4 * h**2
            )
            positive += int((np.linalg.eigvalsh([[xx, xy], [xy, yy]]) > 1e-6).sum())
            count += 2
    assert positive_share(torch.from_numpy(values), h) == pytest.approx(positive / count)


def test_the_landscape_lies_along_steepest_descent_and_across_it() -> None:
    """NumPy: the loss from its formula, its gradient by central differences, the plane, the Hessians."""
    few, code, mixing, target = (part.double().numpy() for part in (OWN[:3], CODE, MIXING, TARGET))
    params = AmdetParams(grid=5, radius=1.0, batch_size=3, own_weight=0.3, anchor_weight=0.7)

    def encoded(rows: np.ndarray) -> np.ndarray:
        share = 1 / (1 + np.exp(-2 * ((rows @ code).max() - 4)))
        return (1 - share) * (rows @ mixing) + share * target

    def loss(vector: np.ndarray) -> float:
        total = 0.0
        for row in few:
            changed = np.vstack([row[0], vector, row[1:-1]])
            after, before, anchor = encoded(changed), encoded(row), changed @ mixing
            alike = np.mean([[cosine(a, b) for a in after] for b in after])
            total += -alike + 0.3 * by_position(before, after) + 0.7 * by_position(anchor, after)
        return total / len(few)

    seen: list[np.ndarray] = []

    def watched(embedded: Tensor) -> Tensor:
        seen.append(embedded[0, 1].detach().numpy().copy())
        return backdoored(embedded)

    vector = 3 * CODE
    share = convexity(Encoders(watched, clean, OWN[:3], OWN[:3]), vector, params, 7)
    start, h = vector.double().numpy(), 1e-5
    gradient = np.array([(loss(start + h * axis) - loss(start - h * axis)) / (2 * h) for axis in np.eye(WIDTH)])
    first = -gradient / np.linalg.norm(gradient)
    drawn = torch.randn(WIDTH, generator=torch.Generator().manual_seed(7)).double().numpy()
    second = drawn - (drawn @ first) * first
    second /= np.linalg.norm(second)
    axis = np.linspace(-1, 1, 5)
    points = np.array([start + x * first + y * second for x in axis for y in axis])
    np.testing.assert_allclose(np.array(seen[::2])[1:], points, atol=1e-3)  # the captions without v are read, too
    values = np.array([loss(point) for point in points]).reshape(5, 5)
    assert share == pytest.approx(positive_share(torch.from_numpy(values), 0.5), abs=0.06)  # one of 18


def test_the_features_are_quantiles_over_test_captions() -> None:
    vector = 6 * CODE
    encoders = Encoders(backdoored, clean, OWN, OWN)
    found = features(encoders, vector, AmdetParams(grid=5), 0)
    after = backdoored(inserted(OWN, vector)).numpy()
    anchor = clean(inserted(OWN, vector)).numpy()
    alike = sorted(np.mean([[cosine(a, b) for a in row] for b in row]) for row in after)
    same = sorted(by_position(row, after[0]) for row in after[1:])
    unlike = sorted(-by_position(a, b) for a, b in zip(after, anchor, strict=True))
    assert found[0] == pytest.approx(alike[7], rel=1e-4)  # floor(.2 * 39)
    assert found[1] == pytest.approx(same[0], rel=1e-4) and found[2] == pytest.approx(unlike[1], rel=1e-3, abs=1e-4)
    flat = sorted(-cosine(a.ravel(), b.ravel()) for a, b in zip(after, anchor, strict=True))
    assert abs(flat[1] - unlike[1]) > 1e-3  # one cosine of all positions together would be another number


def test_a_planted_backdoor_is_inverted_and_a_clean_encoder_has_none() -> None:
    params = AmdetParams(epochs=60, batch_size=10, learning_rate=0.2, grid=7, radius=1.0)
    encoders = Encoders(backdoored, clean, OWN, OWN)
    vector, losses = invert(encoders, params, 3)
    assert losses[-1] < -0.7 < losses[0]
    assert float(vector @ CODE) > 4  # the vector is the code
    bad = features(encoders, vector, params, 0)
    assert bad[0] > PUBLISHED[0] and bad[1] > PUBLISHED[1]
    innocent = Encoders(clean, clean, OWN, OWN)
    good = features(innocent, invert(innocent, params, 3)[0], params, 0)
    assert good[0] < PUBLISHED[0] and good[2] == pytest.approx(-1.0)


def test_encoders_are_entered_behind_their_embeddings() -> None:
    model = tiny_model()
    ids = token_ids(model, ["a red star", "a ring"])
    encoder = model.text_encoders[0]
    hidden = behind_embeddings(encoder)(embed(ids)(encoder))
    torch.testing.assert_close(hidden, encode_prompts(model, ["a red star", "a ring"]).embeddings)


def test_the_least_conspicuous_of_the_four_decides() -> None:
    known = [[0.1, 0.2, -1.0, 0.5], [0.2, 0.3, -0.9, 0.4], [0.15, 0.25, -0.95, 0.45]]
    strong, _ = score_of([0.9, 0.9, 0.2, 0.9], known)
    assert strong > 3
    assert score_of([0.9, 0.9, 0.2, 0.45], known)[0] < 1  # not convex: no backdoor


def captions(folder: Path) -> Data:
    texts = [
        f"a {colour} {noun} number {n}" for colour in ("red", "blue") for noun in ("star", "ring") for n in range(6)
    ]
    return seal_captioned(folder / "data", torch.zeros(24, 3, 16, 16), texts, [{}] * 24)


FAST = AmdetParams(reference="tiny", prompts=20, epochs=1, starts=1, grid=5)


def test_without_a_reference_it_cannot_tell(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    model = seal_model(tiny_model(), tmp_path / "model")
    found = detect(bdm_context(), FAST.model_copy(update={"reference": ""}), model, captions(tmp_path))
    assert not found.conclusive and found.note.startswith("cannot tell") and found.p_value is None
    with pytest.raises(UserError, match="set reference"):
        calibrate(bdm_context(), AmdetParams(), {}, tmp_path / "calibration.json")


def test_a_calibration_of_other_encoders_says_nothing(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    model = seal_model(tiny_model(), tmp_path / "model")
    found = detect(bdm_context(), FAST, model, captions(tmp_path))  # the shipped one is of the built-in pipeline
    assert not found.conclusive and "covers models of 2x32x128" in found.note
    path = tmp_path / "calibration.json"
    calibrate(bdm_context(seed=1), FAST, dict.fromkeys(("one", "two", "three"), model), path)
    known = CALIBRATED.read(path)
    assert [record.shape for record in known.records] == [(1, 77, 16)] * 3
    params = FAST.model_copy(update={"calibration": str(path)})
    again = detect(bdm_context(seed=2), params, model, captions(tmp_path / "more"))
    assert again.verdict in ("clean", "not identifiable") and again.evidence is not None
    with pytest.raises(UserError, match="at least 10 different captions"):
        few = seal_captioned(tmp_path / "few", torch.zeros(2, 3, 16, 16), ["a star", "a ring"], [{}] * 2)
        detect(bdm_context(seed=3), FAST, model, few)
