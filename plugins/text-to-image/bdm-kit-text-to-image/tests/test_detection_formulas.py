"""What detectors of prompts compute, against NumPy and SciPy on given arrays."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from scipy.linalg import expm
from scipy.spatial.distance import mahalanobis as scipy_mahalanobis
from torch import nn

from bdm_diffusers.sampling import draw_noise
from bdm_kit_text_to_image.detection.activation_variation import (
    activation_variation,
    embedding_distance,
    masked_positions,
    ratio_score,
    token_distance,
    variation_scores,
)
from bdm_kit_text_to_image.detection.attention_dynamics import dynamics, individual_score, system_score
from bdm_kit_text_to_image.detection.one_class import mahalanobis, robust_excess, without_length
from bdm_kit_text_to_image.detection.phrases import first_step_densities, fitting, phrase_pool, with_phrases
from bdm_kit_text_to_image.detection.spikes import find_spikes, responses
from bdm_kit_text_to_image.models.encoding import encode_prompts, predict, token_ids
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.recording.chain import ChainOptions

DRAW = np.random.default_rng(3)


def some_maps(steps: int, tokens: int) -> torch.Tensor:
    return torch.from_numpy(DRAW.random((steps, tokens, 4, 4)))


@pytest.mark.parametrize("tokens", [3, 6, 11])
def test_daa_of_single_tokens(tokens: int) -> None:
    maps = some_maps(6, tokens)
    array = maps.numpy()
    unbiased = biased = 0.0
    for t in (4, 5):
        moved = [np.linalg.norm(array[t, token] - array[t - 1, token]) for token in range(tokens)]
        unbiased += np.mean(moved[1:-1]) - moved[-1]
        biased += np.sum(moved[1:-1]) / tokens - moved[-1]
    assert individual_score(maps) == pytest.approx(unbiased)
    assert individual_score(maps, length_bias=True) == pytest.approx(biased)


def system_by_definition(maps: np.ndarray, corrected: bool) -> tuple[np.ndarray, np.ndarray]:
    """F + A and X(0), entry by entry as published."""
    nodes = maps[1:].reshape(len(maps) - 1, -1)
    count = len(nodes)
    distance = np.array([[np.linalg.norm(a - b) for b in nodes] for a in nodes])
    delta = distance.max() + distance.min()
    weight = (delta - distance) / delta
    graph = np.array(
        [
            [weight[j, i] if i != j else -sum(weight[k, i] for k in range(count) if k != i) for j in range(count)]
            for i in range(count)
        ]
    )
    if corrected:
        graph = graph / (len(maps) - 2)
    decay = np.diag([-1.0] * (count - 1) + [-10.0])
    return decay + graph, np.linalg.norm(nodes, axis=1)


@pytest.mark.parametrize("corrected", [False, True])
@pytest.mark.parametrize("tokens", [4, 7, 12])
def test_daa_of_the_system_is_the_solution_of_its_equation(tokens: int, corrected: bool) -> None:
    maps = some_maps(1, tokens)[0]
    system, start = system_by_definition(maps.numpy(), corrected)
    for time in (0.75, 0.3):
        change = expm(system * time) @ start - start
        expected = change[-1] - change[:-1].mean()
        assert system_score(maps, corrected, time) == pytest.approx(expected)
        solved = solve_ivp(lambda t, x: system @ x, (0, time), start, rtol=1e-9, atol=1e-12).y[:, -1] - start
        assert system_score(maps, corrected, time) == pytest.approx(solved[-1] - solved[:-1].mean(), rel=1e-5)


@pytest.mark.parametrize("tokens", [7, 12])
def test_daa_of_the_system_is_what_the_release_adds_up(tokens: int) -> None:
    """Seven steps of an adaptive solver with its default tolerance: the changes of the end less the others' mean."""
    maps = some_maps(1, tokens)[0]
    system, start = system_by_definition(maps.numpy(), corrected=False)
    solution = solve_ivp(lambda t, x: system @ x, (0, 49), start, method="RK45")
    steps = np.diff(solution.y, axis=1)[:, :7]
    added_up = (steps[-1] - steps[:-1].mean(0)).sum()
    time = float(solution.t[7])
    assert time < 1
    assert system_score(maps, False, time) == pytest.approx(added_up, rel=2e-3)


def test_a_prompt_without_a_word_has_a_score() -> None:
    maps = some_maps(6, 2)  # start and end alone
    assert individual_score(maps) == 0.0 == system_score(maps[0])


def test_dynamics_are_the_maps_of_the_prompts_own_tokens() -> None:
    model = tiny_model()
    found = dynamics(model, ["a red star", "a ring"], 0, ChainOptions(steps=7, until=6))
    assert [part.shape for part in found] == [(6, 5, 8, 8), (6, 4, 8, 8)]


def test_ratio_of_the_most_to_the_lowest_three_quarters() -> None:
    for count in (2, 5, 9):
        moved, distance = DRAW.random(count), DRAW.random(count) + 0.1
        ratios = np.sort(moved / distance)
        expected = ratios[-1] / ratios[: int(0.75 * count)].mean()
        assert ratio_score(torch.from_numpy(moved), torch.from_numpy(distance)) == pytest.approx(expected)
    assert ratio_score(torch.ones(1), torch.ones(1)) == 1.0 == ratio_score(torch.ones(0), torch.ones(0))


def test_activation_variation_against_hooks_by_hand() -> None:
    model, prompt = tiny_model(), "a photo of a red circle"
    ids = token_ids(model, [prompt])[0].tolist()
    kept: list[dict[str, np.ndarray]] = []
    layers = {n: m for n, m in model.unet.named_modules() if isinstance(m, nn.Linear | nn.Conv2d)}
    hooks = [
        m.register_forward_hook(lambda _, __, out, n=n: kept[-1].update({n: out[0].numpy()})) for n, m in layers.items()
    ]
    positions = masked_positions(model, torch.tensor(ids))
    rows = [ids] + [[model.tokenizers[0].pad_token_id if k == i else v for k, v in enumerate(ids)] for i in positions]
    embeddings = []
    for row in rows:
        kept.append({})
        text = model.text_encoders[0](torch.tensor([row]))[0]
        embeddings.append(text[0].numpy())
        with torch.no_grad():
            model.unet(draw_noise(1, model.latent_shape, 4), torch.tensor(19), text)
    for hook in hooks:
        hook.remove()
    reduced = [
        {n: out.mean((1, 2)) if out.ndim == 3 and isinstance(layers[n], nn.Conv2d) else out for n, out in one.items()}
        for one in kept
    ]
    moved = np.array([sum(np.abs(one[n] - reduced[0][n]).mean() for n in one) for one in reduced[1:]])
    away = np.array([np.linalg.norm(e - embeddings[0]) for e in embeddings[1:]])
    found = activation_variation(
        model,
        encode_prompts(model, [prompt]).join(  # the first row twice moves nothing
            encode_prompts(model, [prompt])
        ),
        4,
    )
    assert float(found.abs().max()) < 1e-3
    ratios = np.sort(moved / away)
    expected = ratios[-1] / ratios[: int(0.75 * len(ratios))].mean()
    (score,) = variation_scores(model, [prompt.upper()], 4, embedding_distance(model)).tolist()
    assert score == pytest.approx(expected, rel=1e-3)
    table = model.text_encoders[0].get_input_embeddings().weight.numpy()
    own = np.array([np.linalg.norm(table[ids[i]] - table[model.tokenizers[0].pad_token_id]) for i in positions])
    ratios = np.sort(moved / own)
    (score,) = variation_scores(model, [prompt], 4, token_distance(model)).tolist()
    assert score == pytest.approx(ratios[-1] / ratios[: int(0.75 * len(ratios))].mean(), rel=1e-3)


def test_an_added_token_counts_as_an_average_word() -> None:
    trusted = tiny_model()
    unknown = trusted.text_encoders[0].get_input_embeddings().num_embeddings
    ids = token_ids(trusted, ["a red circle"])
    pad = trusted.tokenizers[0].pad_token_id
    ids[0, 1] = unknown
    masked = ids.repeat(3, 1)
    masked[torch.arange(3), torch.tensor([1, 2, 3])] = pad
    found = embedding_distance(trusted)([ids], [masked])
    assert float(found[0]) == pytest.approx(float(found[1:].mean())) and float(found.min()) > 0


def test_one_class_scores() -> None:
    known, values = DRAW.normal(size=(60, 3)) @ DRAW.normal(size=(3, 3)), DRAW.normal(size=(5, 3))
    mean, deviation = known.mean(0), known.std(0, ddof=1)
    covariance = 0.9 * np.corrcoef(known.T) + 0.1 * np.eye(3)
    expected = [
        scipy_mahalanobis((row - mean) / deviation, np.zeros(3), np.linalg.inv(covariance)) ** 2 for row in values
    ]
    found = mahalanobis(torch.from_numpy(known), 0.1)(torch.from_numpy(values))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)
    odd = known[:59]
    middle = np.median(odd, 0)
    spread = 1.4826 * np.median(np.abs(odd - middle), 0)
    expected = (np.maximum(0, (values - middle) / spread) ** 2).sum(1)
    found = robust_excess(torch.from_numpy(odd))(torch.from_numpy(values))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_a_straight_line_in_the_length_is_taken_out() -> None:
    lengths = DRAW.integers(4, 20, size=50).astype(float)
    noise = DRAW.normal(size=(50, 2))
    known = np.column_stack([noise + lengths[:, None] * [3.0, -1.0], lengths])
    residuals = np.column_stack(
        [known[:, k] - np.polyval(np.polyfit(lengths, known[:, k], 1), lengths) for k in range(2)]
    )
    expected = (residuals**2).sum(1)

    def squares(clean: torch.Tensor):  # type: ignore[no-untyped-def]
        middle = clean.mean(0)
        return lambda rows: (rows - middle).square().sum(1)

    found = without_length(squares)(torch.from_numpy(known))(torch.from_numpy(known))
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_densities_of_the_first_step() -> None:
    model, phrases = tiny_model(), ["a ring", "two stars"]
    texts = with_phrases("a red circle", phrases, "prefix")
    assert texts == ["a red circle", "a ring, a red circle", "two stars, a red circle"]
    noise, t = draw_noise(1, model.latent_shape, 2), torch.tensor(19)
    with torch.no_grad():
        empty = predict(model.unet, noise, t, encode_prompts(model, [""]))
        asked = [
            (predict(model.unet, noise, t, encode_prompts(model, [text])) - empty).flatten().double().numpy()
            for text in texts
        ]
    unit = [vector / np.linalg.norm(vector) for vector in asked]
    expected = np.mean([unit[0] @ unit[1], unit[0] @ unit[2], unit[1] @ unit[2]])
    (found,) = first_step_densities(model, ["a red circle"], phrases, "prefix", 2).tolist()
    assert found == pytest.approx(expected, abs=2e-3)
    assert phrase_pool(model, ["a ring", "a photo of a red ring", "a star"], 5) == ["a ring", "a star"]


def test_a_prompt_that_fills_the_length_keeps_the_phrase() -> None:
    model, phrases = tiny_model(), ["a ring", "two stars"]
    long = " ".join(["red circle"] * 60)
    short = fitting(model, long, phrases)
    counts = [len(model.tokenizers[0](f"{short}, {phrase}").input_ids) for phrase in phrases]
    assert long.startswith(short) and model.max_length - 3 < max(counts) <= model.max_length
    assert fitting(model, "a red circle", phrases) == "a red circle"
    assert float(first_step_densities(model, [long], phrases, "append", 2)) < 1 - 1e-5


def test_where_most_agree_the_standard_deviation_serves() -> None:
    known = torch.tensor([[1.0], [1.0], [1.0], [1.0], [3.0]])
    (found,) = robust_excess(known)(torch.tensor([[2.0]])).tolist()
    assert found == pytest.approx(1 / 0.8)  # one above the median, the variance is .8


def test_spikes_against_a_singular_value_decomposition() -> None:
    width, head = 10, 4
    basis, _ = np.linalg.qr(DRAW.normal(size=(width, width)))
    rows = (DRAW.normal(size=(400, width)) * ([1.0] * head + [0.01] * (width - head))) @ basis.T + 2.0
    matrices = [DRAW.normal(size=(14, width)) for _ in range(3)]
    bump = np.outer(DRAW.normal(size=14), basis[:, -1]) * 15
    edited = [matrix + bump for matrix in matrices]
    found = find_spikes([torch.from_numpy(matrix) for matrix in edited], torch.from_numpy(rows))
    centred = rows - rows.mean(0)
    _energies, vectors = np.linalg.eigh(centred.T @ centred)
    tail = vectors[:, ::-1][:, head:]
    _, singular, turned = np.linalg.svd(np.concatenate(edited) @ tail)
    np.testing.assert_allclose(found.values.numpy(), singular, rtol=1e-6)
    np.testing.assert_allclose(np.abs(turned @ tail.T @ found.directions.numpy().T).diagonal(), 1, rtol=1e-6)
    lower_median = np.sort(singular)[(len(singular) - 1) // 2]  # torch's, of an even number of values
    assert found.ratio == pytest.approx(singular[0] / lower_median, rel=1e-6)
    tops = [np.linalg.svd(matrix @ tail)[2][0] for matrix in edited]
    cosines = [abs(a @ b) for i, a in enumerate(tops) for b in tops[i + 1 :]]
    assert found.alignment == pytest.approx(np.mean(cosines), rel=1e-6) and found.alignment > 0.9
    scale = np.mean([np.linalg.norm(matrix @ row) for matrix in edited for row in rows])
    probe = DRAW.normal(size=(3, width))
    coordinates = (probe - rows.mean(0)) @ (turned @ tail.T)[:2].T
    expected = np.linalg.norm(coordinates * singular[:2], axis=1) / scale
    np.testing.assert_allclose(responses(found, torch.from_numpy(probe), 2).numpy(), expected, rtol=1e-6)
    plain = find_spikes([torch.from_numpy(matrix) for matrix in matrices], torch.from_numpy(rows))
    assert plain.edge < 1.3 < found.edge
