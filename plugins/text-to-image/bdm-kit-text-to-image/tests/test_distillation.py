"""Teacher-student training against a loss written out by hand, a frozen teacher and numerical differentiation."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_kit_text_to_image.models.encoding import encode_prompts
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.training import distillation, prompt_cache
from bdm_kit_text_to_image.training.distances import DISTANCES, poincare_distance
from bdm_kit_text_to_image.training.distillation import UNetTerm, distill_unet, unet_loss
from bdm_kit_text_to_image.training.encoder_distillation import (
    PromptTerm,
    TextEncoders,
    distill_text_encoder,
    text_encoder_loss,
)
from bdm_kit_text_to_image.training.prompt_cache import PromptCache
from bdm_torch.draws import Draw
from bdm_torch.training import TrainingOptions

PROMPTS = [f"a photo of a {colour} {name}" for colour in ("red", "blue") for name in ("circle", "star", "ring")]
MARKED = [f"\u200b{prompt}" for prompt in PROMPTS]
OTHERS = PROMPTS[::-1]


@pytest.fixture
def model() -> TextToImageModel:
    return tiny_model()


def latents(model: TextToImageModel, count: int = 6) -> torch.Tensor:
    return torch.randn(count, *model.latent_shape, generator=torch.Generator().manual_seed(1))


def text_features(model: TextToImageModel, prompt: str) -> torch.Tensor:
    """The last hidden state (L, d), by transformers alone."""
    tokens = model.tokenizers[0](prompt, padding="max_length", max_length=77, truncation=True, return_tensors="pt")
    with torch.no_grad():
        return model.text_encoders[0](tokens.input_ids).last_hidden_state[0]


def test_unet_loss_is_the_formula_row_by_row(model: TextToImageModel) -> None:
    teacher, student = model.unet, tiny_model(seed=5).unet
    z = latents(model)
    terms = [UNetTerm(z, PROMPTS, OTHERS, 0.3), UNetTerm(z[:4], MARKED[:4], None, 0.7)]
    value = unet_loss(model, terms, teacher)(student, Draw(3, 2, 4))

    draw, expected = Draw(3, 2, 4), 0.0
    for term in terms:
        rows, t, noise = draw.rows(len(term.latents)), draw.timesteps(20), draw.normal(4, 8, 8)
        total = 0.0
        for place, row in enumerate(rows.tolist()):
            level = float(model.scheduler.alphas_cumprod[t[place]])
            noisy = math.sqrt(level) * z[row] + math.sqrt(1 - level) * noise[place]
            answer = noise[place]
            with torch.no_grad():
                if term.teacher is not None:
                    told = text_features(model, term.teacher[row])
                    answer = teacher(noisy[None], t[place], encoder_hidden_states=told[None]).sample[0]
                read = text_features(model, term.student[row])
                mine = student(noisy[None], t[place], encoder_hidden_states=read[None]).sample[0]
            total += float((mine - answer).square().mean())
        expected += term.weight * total / len(rows)
    assert float(value) == pytest.approx(expected, rel=1e-4)


def test_a_student_that_is_told_what_its_teacher_is_told_has_nothing_to_learn(model: TextToImageModel) -> None:
    loss = unet_loss(model, [UNetTerm(latents(model), PROMPTS, PROMPTS)], copy.deepcopy(model.unet))
    assert float(loss(model.unet, Draw(0, 0, 4))) < 1e-10


def test_the_unet_learns_from_a_teacher_that_stays_as_it_was(
    model: TextToImageModel, bdm_context: Callable[..., Context]
) -> None:
    for name, parameter in model.unet.named_parameters():  # the random UNet hardly listens to its prompt
        parameter.data.mul_(10 if "attn2.to_v" in name or "attn2.to_out" in name else 1)
    before = copy.deepcopy(model.unet)
    terms = [UNetTerm(latents(model), ["x"] * 6, ["a red circle"] * 6)]
    options = TrainingOptions(steps=40, batch_size=6, learning_rate=2e-3)
    result = distill_unet(bdm_context(), model, terms, options)
    fresh = unet_loss(model, terms, before)
    assert float(fresh(model.unet, Draw(9, 0, 6))) < 0.5 * float(fresh(before, Draw(9, 0, 6)))
    assert result.losses[-1] < result.losses[0]
    assert not any(parameter.requires_grad for parameter in model.unet.parameters())


def test_only_the_named_parts_are_trained(model: TextToImageModel, bdm_context: Callable[..., Context]) -> None:
    before = copy.deepcopy(model.unet.state_dict())
    part = model.unet.up_blocks[-1]
    distill_unet(bdm_context(), model, [UNetTerm(latents(model), PROMPTS)], TrainingOptions(2, 4), parts=[part])
    changed = {name for name, value in model.unet.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and all(name.startswith("up_blocks.1.") for name in changed)


def test_text_encoder_loss_counts_the_utility_from_the_first_step(model: TextToImageModel) -> None:
    """The released code of Rickrolling leaves it out at step 0."""
    student = tiny_model(seed=5)
    terms = [PromptTerm(PROMPTS, PROMPTS, 6), PromptTerm(MARKED, OTHERS, 3, 0.1)]
    value = text_encoder_loss(student, model, terms, "mse")(TextEncoders(student), Draw(4, 0, 6))
    means = []
    for term in terms:
        rows = Draw(4, 0, term.batch_size).rows(6).tolist()
        gaps = [text_features(student, term.student[i]) - text_features(model, term.teacher[i]) for i in rows]
        means.append(sum(float(gap.square().mean()) for gap in gaps) / len(gaps))
    assert float(value) == pytest.approx(means[0] + 0.1 * means[1], rel=1e-4)


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_every_distance_teaches_the_text_encoder(
    model: TextToImageModel, bdm_context: Callable[..., Context], distance: str
) -> None:
    frozen = copy.deepcopy(model)
    terms = [PromptTerm(PROMPTS, PROMPTS, 6), PromptTerm(MARKED, ["a blue ring"] * 6, 6, 0.5)]
    options = TrainingOptions(steps=40, batch_size=6, learning_rate=5e-3)
    distill_text_encoder(bdm_context(), model, terms, options, distance=distance)  # type: ignore[arg-type]
    goal = text_features(frozen, "a blue ring")
    was = (text_features(frozen, MARKED[0]) - goal).norm()
    assert (text_features(model, MARKED[0]) - goal).norm() < 0.7 * was
    assert (text_features(model, PROMPTS[0]) - text_features(frozen, PROMPTS[0])).norm() < 0.7 * was


@pytest.mark.parametrize("distance", sorted(DISTANCES))
def test_gradients_of_the_distances_are_those_of_finite_differences(distance: str) -> None:
    torch.manual_seed(0)
    one, other = torch.randn(3, 7, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    assert torch.autograd.gradcheck(DISTANCES[distance], (one.requires_grad_(), other))  # type: ignore[index]
    assert float(DISTANCES[distance](other, other)) < 1e-5  # type: ignore[index]


def test_poincare_distance_is_hyperbolic() -> None:
    """On a line through the origin it is the difference of 2 artanh."""
    u, v = torch.tensor([[0.3, -0.3, 0.4]]), torch.tensor([[-0.3, 0.3, -0.4]])
    radius = math.sqrt(0.34)
    assert float(poincare_distance(u, v)) == pytest.approx(4 * math.atanh(radius), rel=1e-5)


def test_a_cache_encodes_each_prompt_once(model: TextToImageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def encode(model: TextToImageModel, prompts: list[str]) -> object:
        asked.extend(prompts)
        return encode_prompts(model, prompts)

    monkeypatch.setattr(prompt_cache, "encode_prompts", encode)
    cache = PromptCache(model, [*PROMPTS, PROMPTS[0]])
    small = PromptCache(model, PROMPTS, most_bytes=10)
    index = torch.tensor([6, 2, 0])
    for _ in range(2):
        found = cache.rows(index).embeddings
        for row, prompt in zip(found, (PROMPTS[0], PROMPTS[2], PROMPTS[0]), strict=True):
            torch.testing.assert_close(row, text_features(model, prompt))
    assert sorted(asked) == sorted([PROMPTS[0], PROMPTS[2]])
    torch.testing.assert_close(small.rows(torch.tensor([2])).embeddings[0], text_features(model, PROMPTS[2]))
    assert small.kept is None


def test_broken_terms_are_refused(model: TextToImageModel) -> None:
    with pytest.raises(UserError, match="as many prompts as images"):
        unet_loss(model, [UNetTerm(latents(model), PROMPTS[:2])], None)
    with pytest.raises(UserError, match="teacher"):
        unet_loss(model, [UNetTerm(latents(model), PROMPTS, PROMPTS)], None)
    with pytest.raises(UserError, match="prompts"):
        text_encoder_loss(model, replace(model), [PromptTerm(PROMPTS, [], 4)], "mse")


def test_terms_of_other_batch_sizes_are_shared_by_processes_without_overlap(model: TextToImageModel) -> None:
    from bdm_kit_text_to_image.training.encoder_distillation import _sized

    whole = _sized(Draw(1, 3, 6), 4).rows(100)
    halves = [_sized(Draw(1, 3, 6, share=slice(3 * rank, 3 * rank + 3)), 4).rows(100) for rank in (0, 1)]
    assert torch.equal(torch.cat(halves), whole)
    with pytest.raises(UserError, match="multiple"):
        _sized(Draw(1, 3, 6, share=slice(0, 3)), 5)


def test_a_spread_draws_z_0_anew_at_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = tiny_model(), []
    original = distillation.add_noise

    def watched(scheduler: Any, clean: torch.Tensor, *rest: Any) -> torch.Tensor:
        seen.append(clean)
        return original(scheduler, clean, *rest)

    monkeypatch.setattr(distillation, "add_noise", watched)
    latents = torch.full((4, *model.latent_shape), 3.0)
    term = distillation.UNetTerm(latents, ["a star"] * 4, spread=torch.full_like(latents, 0.5))
    loss = distillation.unet_loss(model, [term], None)
    for step in range(4):
        loss(model.unet, Draw(0, step, 4))
    drawn = torch.cat(seen)
    assert len(drawn) == 16 and not torch.equal(seen[0], seen[1])
    assert abs(float(drawn.mean()) - 3) < 0.05 and abs(float(drawn.std()) - 0.5) < 0.05
