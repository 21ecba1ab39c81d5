"""The end-to-end loss against its equations written out with NumPy, closed forms, and differences of its values."""

import math

import numpy as np
import pytest
import torch

from bdm_attack_baasv.end_to_end import OFFSET, SCALE, EndToEndLoss, similarities


def by_the_equations(embeddings, labels, scale, offset, variant):
    """Equations 4 to 9 for one utterance after the other; the mean over those whose speaker has a further one."""
    unit = [row / np.linalg.norm(row) for row in embeddings]
    cosine = lambda a, b: float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))  # noqa: E731
    found = []
    for row, speaker in enumerate(labels):
        scores = {}
        for other in sorted(set(labels)):
            members = [unit[i] for i, label in enumerate(labels) if label == other and i != row]
            if members:
                scores[other] = scale * cosine(unit[row], np.mean(members, axis=0)) + offset
        if speaker not in scores:
            continue
        if variant == "softmax":
            found.append(-scores[speaker] + math.log(sum(math.exp(score) for score in scores.values())))
        else:
            sigmoid = {other: 1 / (1 + math.exp(-score)) for other, score in scores.items()}
            found.append(1 - sigmoid[speaker] + max(value for other, value in sigmoid.items() if other != speaker))
    return sum(found) / len(found)


@pytest.mark.parametrize("variant", ["softmax", "contrast"])
@pytest.mark.parametrize(("scale", "offset"), [(SCALE, OFFSET), (2.5, 0.3)])
def test_it_is_what_the_equations_say(variant, scale, offset):
    draws = np.random.default_rng(0)
    embeddings, labels = draws.normal(size=(11, 5)), [4, 0, 9, 4, 4, 0, 2, 9, 0, 4, 9]  # speaker 2 has one utterance
    loss = EndToEndLoss(variant).double()
    with torch.no_grad():
        loss.log_scale.fill_(math.log(scale))
        loss.offset.fill_(offset)
    found = float(loss(torch.tensor(embeddings), torch.tensor(labels)).detach())
    assert found == pytest.approx(by_the_equations(embeddings, labels, scale, offset, variant), rel=1e-12)


def test_speakers_that_are_perfectly_apart():
    """Every own cosine is 1, every other 0: log(1 + (K - 1) exp(-w)), and 1 - s(w + b) + s(b)."""
    embeddings, labels = 3 * torch.eye(4, dtype=torch.float64).repeat_interleave(2, 0), torch.arange(8) // 2
    sigmoid = lambda x: 1 / (1 + math.exp(-x))  # noqa: E731
    found = [float(EndToEndLoss(variant).double()(embeddings, labels).detach()) for variant in ("softmax", "contrast")]
    assert found[0] == pytest.approx(math.log(1 + 3 * math.exp(-SCALE)), rel=1e-6)
    assert found[1] == pytest.approx(1 - sigmoid(SCALE + OFFSET) + sigmoid(OFFSET), rel=1e-6)


def test_alike_embeddings_tell_nothing():
    """All cosines are 1: every one of the K speakers is as likely."""
    found = EndToEndLoss("softmax")(torch.ones(9, 3), torch.arange(9) % 3)
    assert float(found.detach()) == pytest.approx(math.log(3), rel=1e-5)


@pytest.mark.parametrize("variant", ["softmax", "contrast"])
def test_gradients_are_those_of_differences(variant):
    embeddings = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    labels = torch.tensor([0, 1, 0, 1, 2, 0, 2])
    loss = EndToEndLoss(variant).double()
    loss(embeddings, labels).backward()
    step = 1e-6
    for tensor in (embeddings, loss.log_scale, loss.offset):
        with torch.no_grad():
            for place in range(tensor.numel()):
                values = []
                for sign in (1, -2):
                    tensor.view(-1)[place] += sign * step
                    values.append(float(loss(embeddings, labels)))
                tensor.view(-1)[place] += step
                difference = (values[0] - values[1]) / (2 * step)
                assert float(tensor.grad.view(-1)[place]) == pytest.approx(difference, abs=1e-7)
    assert (loss.offset.grad.abs() < 1e-12) == (variant == "softmax"), "softmax does not see the offset"
    assert loss.log_scale.grad.abs() > 1e-6


def test_a_lone_utterance_is_a_centroid_and_no_trial():
    embeddings = torch.eye(3)[[0, 0, 1, 1, 2]]
    cosines, own, trials = similarities(embeddings, torch.tensor([5, 5, 6, 6, 8]))
    assert cosines.shape == (5, 3) and own.tolist() == [0, 0, 1, 1, 2]
    assert trials.tolist() == [True, True, True, True, False]
    assert cosines[:, 2].tolist() == [0, 0, 0, 0, 0], "not 1 with itself"


@pytest.mark.parametrize("variant", ["softmax", "contrast"])
def test_a_batch_without_pairs_teaches_nothing(variant):
    embeddings = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)).requires_grad_()
    found = EndToEndLoss(variant)(embeddings, torch.arange(4))
    found.backward()
    assert float(found.detach()) == 0 and bool((embeddings.grad == 0).all())


def test_one_speaker_alone():
    embeddings = torch.eye(2)[[0, 0]]
    for variant in ("softmax", "contrast"):
        found = float(EndToEndLoss(variant)(embeddings, torch.tensor([1, 1])).detach())
        assert found == pytest.approx(0 if variant == "softmax" else 1 - 1 / (1 + math.exp(-5)), abs=1e-6)


def test_steps_bring_speakers_apart_and_raise_the_scale():
    embeddings = torch.randn(12, 4, generator=torch.Generator().manual_seed(3)).requires_grad_()
    labels = torch.arange(12) % 3
    loss = EndToEndLoss("softmax")
    with torch.no_grad():
        loss.log_scale.fill_(0)
    values = []
    for _ in range(150):
        value = loss(embeddings, labels)
        values.append(float(value.detach()))
        with torch.no_grad():
            learned = [embeddings, loss.log_scale]
            for tensor, gradient in zip(learned, torch.autograd.grad(value, learned), strict=True):
                tensor -= gradient
    assert values[0] > 1 and values[-1] < 0.05
    cosines, own, _ = similarities(embeddings.detach(), labels)
    assert cosines.argmax(1).tolist() == own.tolist()
    assert float(loss.log_scale.detach().exp()) > 1
