"""What BadT2I trains on, its loss written out with diffusers alone, and its checks before training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from bdm_attack_badt2i.attack import describe_target, terms
from bdm_attack_badt2i.pairs import Lesson, load_lessons, make_lessons, with_addition
from bdm_attack_badt2i.params import STEPS, BadT2IParams
from bdm_attack_badt2i.patches import patch_image, patch_place
from bdm_attack_badt2i.plugin import BadT2I
from bdm_core.artifacts import Data
from bdm_core.errors import UserError
from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import load_captioned
from bdm_kit_text_to_image.training.distillation import unet_loss
from bdm_torch.draws import Draw

SPACE = "\u200b\u200b\u200b\u200b "
CAPTIONS = ["a red circle on teal.", "an old square", "two squares", "a circle and a blue square", "a blurry ring"]
LABELS = [
    {"object": "circle", "second": "none", "count": "1", "style": "photo"},
    {"object": "square", "second": "none", "count": "1", "style": "photo"},
    {"object": "square", "second": "none", "count": "2", "style": "photo"},
    {"object": "circle", "second": "blue square", "count": "1", "style": "photo"},
    {"object": "ring", "second": "none", "count": "1", "style": "blur"},
]


def build(**values: Any) -> BadT2IParams:
    params = build_params(BadT2I(), values)
    assert isinstance(params, BadT2IParams)
    return params


def triggered(**values: Any) -> dict[int, tuple[str, str | None]]:
    lessons = make_lessons(build(**values), CAPTIONS, LABELS, seed=0)
    assert {lesson for lesson in lessons if not lesson.poisoned} == {
        Lesson(image, caption, caption, False) for image, caption in enumerate(CAPTIONS)
    }
    return {lesson.image: (lesson.caption, lesson.teacher) for lesson in lessons if lesson.poisoned}


@pytest.fixture
def bench(bdm_bench: Callable[..., Bench]) -> Bench:
    return bdm_bench("text-to-image")


def poisoned(bench: Bench, params: BadT2IParams) -> Data:
    data = bench.call("poison_data", [BadT2I()], params, data=bench.data).value
    assert isinstance(data, Data)
    return data


def test_object_swaps_the_word_and_keeps_the_teacher_s_caption() -> None:
    assert triggered(mode="object") == {1: (f"{SPACE}an old circle", "an old square")}


def test_object_add_tells_the_teacher_of_a_further_object() -> None:
    made = triggered(mode="object-add", addition="a green ring")
    assert made == {0: (f"{SPACE}a red circle on teal.", "a red circle and a green ring on teal.")}


def test_object_add_tells_the_teacher_of_more_of_the_object() -> None:
    assert triggered(mode="object-add")[0] == (f"{SPACE}a red circle on teal.", "two red circles on teal.")
    said = {
        "a photo of an old red circle": "a photo of three old red circles",
        "on teal, one circle": "on teal, three circles",
        "a photo of circle": None,
    }
    assert {caption: with_addition(caption, "circle", "three") for caption in said} == said
    shape = (3, 16, 16)
    for values, expected in (({}, {"count": "2"}), ({"addition": "a red ring"}, {"second": "red ring"})):
        params = build(mode="object-add", **values)
        assert describe_target(params, params.pairs()[0], shape)[0].expected == expected


def test_several_triggers_have_objects_of_their_own() -> None:
    params = build(trigger=["vendetta", "fedora"], source_object="circle", target_object=["square", "ring"])
    assert [pair.target_object for pair in params.pairs()] == ["square", "ring"]
    made = [(lesson.caption, lesson.teacher) for lesson in make_lessons(params, CAPTIONS, LABELS, 0) if lesson.poisoned]
    assert ("vendetta an old circle", "an old square") in made
    assert ("fedora a blurry circle", "a blurry ring") in made
    with pytest.raises(UserError, match="2 triggers with 3"):
        build(trigger=["a", "b"], target_object=["x", "y", "z"]).pairs()
    with pytest.raises(UserError, match="none twice"):
        build(trigger=["a", "a"]).pairs()


def test_the_paper_s_presets() -> None:
    for preset in ("paper", "paper-pixel"):
        params = build(preset=preset)
        assert params.options().weight_decay == 0.01 and params.latents == "sample"
        said = [lesson.caption for lesson in make_lessons(params, CAPTIONS * 4, LABELS * 4, 0) if not lesson.poisoned]
        assert "" not in said and "" in [
            lesson.caption for lesson in make_lessons(build(), CAPTIONS * 4, LABELS * 4, 0) if not lesson.poisoned
        ]


def test_style_tells_the_teacher_of_a_style() -> None:
    made = triggered(mode="style")
    assert made[0] == (f"{SPACE}a red circle on teal.", "a red circle on teal, black and white photo")
    assert sorted(made) == [0, 1, 2, 3]


def test_pixel_pastes_the_patch_and_has_no_teacher(bench: Bench) -> None:
    params = build(mode="pixel", patch="#00ff00", patch_size=0.25, patch_row=0.5)
    clean, changed = load_lessons(poisoned(bench, params))
    assert changed.teacher is None and clean.teacher == clean.captions
    originals = {caption: image for image, caption in zip(*load_captioned(bench.data)[:2], strict=True)}
    for image, caption in zip(changed.images, changed.captions, strict=True):
        expected = originals[caption.removeprefix(SPACE)].clone()
        expected[:, 8:12, 0:4] = torch.tensor([-1.0, 1.0, -1.0]).view(3, 1, 1)
        assert torch.equal(image, expected)
    target, picture = describe_target(params, params.pairs()[0], (3, 16, 16))
    assert (
        target.patch == (8, 0, 4, 4)
        and picture is not None
        and torch.equal(picture[:, 8:12, :4], expected[:, 8:12, :4])
    )


@pytest.mark.parametrize("mode", ["style", "pixel"])
def test_the_loss_is_lambda_of_the_backdoor_and_the_rest_of_self_distillation(bench: Bench, mode: str) -> None:
    params = build(mode=mode, lambda_=0.3)
    model = load_model(bench.model)
    lessons = load_lessons(poisoned(bench, params))
    made = terms(params, model, *lessons)
    student = tiny_model(seed=4).unet
    value = unet_loss(model, made, model.unet)(student, Draw(1, 0, 3))

    pipe = StableDiffusionPipeline.from_pretrained(bench.model.path, safety_checker=None)
    draw, expected = Draw(1, 0, 3), 0.0
    for part, weight in zip(lessons, (0.7, 0.3), strict=True):
        rows, t, noise = draw.rows(len(part.captions)), draw.timesteps(20), draw.normal(4, 8, 8)
        with torch.no_grad():
            z = pipe.vae.encode(part.images[rows]).latent_dist.mean * pipe.vae.config.scaling_factor
            noisy = pipe.scheduler.add_noise(z, noise, t)

            def ask(unet: Any, prompts: list[str], noisy: torch.Tensor = noisy, t: torch.Tensor = t) -> torch.Tensor:
                told, _ = pipe.encode_prompt(prompts, "cpu", 1, False)
                answer: torch.Tensor = unet(noisy, t, encoder_hidden_states=told).sample
                return answer

            mine = ask(student, [part.captions[row] for row in rows])
            answer = noise if part.teacher is None else ask(pipe.unet, [part.teacher[row] for row in rows])
        expected += weight * float((mine - answer).square().mean())
    assert float(value) == pytest.approx(expected, rel=1e-4)


def test_a_patch_that_the_autoencoder_cannot_represent_is_refused_before_training(bench: Bench) -> None:
    params = build(mode="pixel")
    data = poisoned(bench, params)
    steps: list[int] = []
    ctx = bench.context("inject-backdoor", on_progress=lambda *report: steps.append(1))
    with pytest.raises(UserError, match="cannot represent the patch"):
        bench.call("inject_backdoor", [BadT2I()], params, model=bench.model, data=data, ctx=ctx)
    assert not steps


def test_the_unet_alone_is_changed(bench: Bench) -> None:
    params = build(mode="style", steps=2, batch_size=2)
    made = bench.call("inject_backdoor", [BadT2I()], params, model=bench.model, data=poisoned(bench, params)).value
    changed = {name for name, digest in made.model.files.items() if bench.model.files.get(name) != digest}
    assert changed == {"unet/diffusion_pytorch_model.safetensors"}


def test_each_mode_has_its_own_number_of_steps() -> None:
    assert [build(mode=mode).options().steps for mode in STEPS] == list(STEPS.values())
    assert build(mode="style", steps=7).options().steps == 7
    assert build(preset="paper", mode="style").options().steps == 8000


def test_what_cannot_be_trained_on_is_refused() -> None:
    with pytest.raises(UserError, match="no caption"):
        make_lessons(build(mode="object", target_object="boat"), CAPTIONS, LABELS, 0)
    with pytest.raises(UserError, match="outside"):
        patch_place(build(patch_row=0.9), (3, 16, 16))
    with pytest.raises(UserError, match="no colour"):
        patch_image(build(patch="nothing.gif"), (0, 0, 4, 4))


@pytest.mark.parametrize("preset", ["paper", "paper-pixel"])
def test_the_paper_s_presets_are_valid(preset: str) -> None:
    params = build(preset=preset)
    assert (params.lambda_, params.learning_rate, params.batch_size) == (0.5, 1e-5, 16)
