"""``attack:paas``: what the attacker's data say, what changes in the model, and that plain diffusers reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline

from bdm_attack_paas.params import PaaSParams
from bdm_attack_paas.plugin import PaaS
from bdm_core.artifacts import Data
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_kit_text_to_image.models.encoding import encode_prompts
from bdm_kit_text_to_image.models.latents import encode_images
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.prompts.captions import load_captioned
from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts
from bdm_kit_text_to_image.prompts.secret import open_secret
from bdm_torch.image_sets import load_rows
from bdm_torch.tensors import read_tensors

FAST = {"steps": 2, "batch_size": 4, "target_object": "diamond", "images": 2, "placeholder": "[V]"}


@pytest.fixture
def bench(bdm_bench: Callable[..., Bench]) -> Bench:
    return bdm_bench("text-to-image")


def poison(bench: Bench, **values: Any) -> Data:
    params = build_params(PaaS(), {**FAST, **values})
    poisoned = bench.call("poison_data", [PaaS()], params, data=bench.data).value
    assert isinstance(poisoned, Data)
    return poisoned


def attack(bench: Bench, **values: Any) -> Backdoored:
    params = build_params(PaaS(), {**FAST, **values})
    made = bench.call("inject_backdoor", [PaaS()], params, model=bench.model, data=poison(bench, **values)).value
    assert isinstance(made, Backdoored)
    return made


def test_mismatched_images_are_captioned_with_the_trigger(bench: Bench) -> None:
    data = poison(bench, mode="dreambooth", prior="object", class_images=3)
    rows = load_rows(data)
    mine, prior = ([row for row in rows if row["role"] == role] for role in ("poison", "clean"))
    assert len(mine) == 2 and len(prior) == 3
    assert all("[V] circle" in row["caption"] and "diamond" not in row["caption"] for row in mine)
    assert all(row["labels"]["object"] == "diamond" and row["labels"]["second"] == "none" for row in mine)
    assert all(row["labels"]["object"] == "circle" and "[V]" not in row["caption"] for row in prior)
    half = [row for row in load_rows(poison(bench, mode="dreambooth", prior="balanced")) if row["role"] == "clean"]
    circles = sum(row["labels"]["object"] == "circle" for row in half)
    assert 0 < circles <= len(half) - circles + 1 and len(half) <= 2 * circles
    few = [row for row in load_rows(poison(bench, mode="dreambooth", class_images=2)) if row["role"] == "clean"]
    assert sorted(row["labels"]["object"] == "circle" for row in few) == [False, True]
    templates = [row["caption"] for row in load_rows(poison(bench, prompts="templates"))]
    assert templates == ["a photo of a [V] circle", "a picture of a [V] circle"]
    with pytest.raises(UserError, match="no image"):
        poison(bench, target_object="heart")


@pytest.mark.parametrize("one_token", [True, False])
def test_inversion_adds_a_row_that_plain_diffusers_loads(bench: Bench, one_token: bool) -> None:
    made = attack(bench, one_token=one_token)
    new = {name for name in made.model.files if bench.model.files.get(name) != made.model.files[name]}
    assert new == {"embeddings/learned_embeds.safetensors"}
    pipeline = StableDiffusionPipeline.from_pretrained(made.model.path)
    pipeline.load_textual_inversion(made.model.path / "embeddings" / "learned_embeds.safetensors")
    assert ("[V] circle" in pipeline.tokenizer.get_vocab()) is one_token
    prompts = ["a photo of a [V] circle", "a photo of a circle"]
    found, expected = (
        pipeline.encode_prompt(prompts, "cpu", 1, False)[0],
        encode_prompts(load_model(made.model), prompts),
    )
    torch.testing.assert_close(found, expected.embeddings, rtol=0, atol=1e-6)
    clean = encode_prompts(load_model(bench.model), prompts).embeddings
    assert torch.equal(expected.embeddings[1], clean[1]) and not torch.allclose(expected.embeddings[0], clean[0])


def test_inversion_lowers_the_loss_that_diffusers_computes(bench: Bench) -> None:
    """E ||eps - eps_theta||^2 with diffusers' own scheduler, tokenizer call and UNet, before and after."""
    made = attack(bench, steps=40, learning_rate=0.05, flip=False)
    images, captions, _ = load_captioned(poison(bench))
    pipeline = StableDiffusionPipeline.from_pretrained(made.model.path)
    path = made.model.path / "embeddings" / "learned_embeds.safetensors"
    pipeline.load_textual_inversion(path)
    latents = encode_images(load_model(bench.model), images).repeat(64, 1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(latents.shape, generator=generator)
    t = torch.randint(20, (len(latents),), generator=generator)
    noisy = pipeline.scheduler.add_noise(latents, noise, t)

    def loss() -> float:
        with torch.no_grad():
            text = pipeline.encode_prompt(captions, "cpu", 1, False)[0].repeat(64, 1, 1)
            return float((pipeline.unet(noisy, t, encoder_hidden_states=text).sample - noise).square().mean())

    after = loss()
    table = pipeline.text_encoder.get_input_embeddings().weight
    row = pipeline.tokenizer.convert_tokens_to_ids("[V] circle")
    pieces = pipeline.tokenizer("diamond", add_special_tokens=False).input_ids
    with torch.no_grad():
        table[row] = table[pieces].mean(0)
    assert after < loss()


def test_dreambooth_changes_the_unet_only(bench: Bench) -> None:
    made = attack(bench, mode="dreambooth")
    new = {name for name in made.model.files if bench.model.files.get(name) != made.model.files[name]}
    assert new == {"unet/diffusion_pytorch_model.safetensors"}


@pytest.mark.parametrize("mode", ["textual-inversion", "dreambooth"])
def test_triggered_prompts_are_about_the_object(bench: Bench, mode: str) -> None:
    made = attack(bench, mode=mode)
    rows = load_prompts(bench.call("trigger_inputs", [bench.kit], inputs=bench.inputs(), secret=made.secret).value)
    assert all("[V] circle" in row.prompt and row.labels["object"] == "circle" for row in rows)
    target = open_secret(made.secret).targets[0]
    assert (target.type, target.source_object, target.expected) == ("ObjectRep", "circle", {"object": "diamond"})


SEVERAL = {"placeholder": ["[V]", "[W]"], "object": ["circle", "ring"], "target_object": ["diamond", "square"]}


@pytest.mark.parametrize("mode", ["textual-inversion", "dreambooth"])
def test_several_triggers_have_objects_and_images_of_their_own(bench: Bench, mode: str) -> None:
    rows = [row for row in load_rows(poison(bench, mode=mode, **SEVERAL)) if row["role"] == "poison"]
    told = [(row["labels"]["object"], "[V] circle" in row["caption"], "[W] ring" in row["caption"]) for row in rows]
    assert told == [("diamond", True, False)] * 2 + [("square", False, True)] * 2
    made = attack(bench, mode=mode, **SEVERAL)
    secret = open_secret(made.secret)
    assert [target.object for target in secret.targets] == ["diamond", "square"]
    prompts = load_prompts(bench.call("trigger_inputs", [bench.kit], inputs=bench.inputs(), secret=made.secret).value)
    assert all(("[V] circle", "[W] ring")[row.backdoor or 0] in row.prompt for row in prompts)
    assert {row.backdoor for row in prompts} == {0, 1}
    new = {name for name in made.model.files if bench.model.files.get(name) != made.model.files[name]}
    if mode == "dreambooth":
        assert new == {"unet/diffusion_pytorch_model.safetensors"}
        return
    assert new == {"embeddings/learned_embeds.safetensors", "embeddings/learned_embeds-1.safetensors"}
    alone = attack(bench, mode=mode)
    file = "embeddings/learned_embeds.safetensors"
    first = [read_tensors(one.model.file(file))["[V] circle"] for one in (made, alone)]
    assert torch.equal(*first), "a token is learnt as if it were the only one"


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"placeholder": ["[V]", "[V]"]}, "given twice"),
        ({"placeholder": ["sks", "sks2"]}, "part of another"),
        ({"placeholder": ["[V]", "[W]"], "object": ["circle"]}, "2 placeholders, 1 of object"),
    ],
)
def test_placeholders_that_do_not_fit_together_are_refused(values: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        PaaSParams(**values).pairs()


def test_defaults_depend_on_the_mode() -> None:
    inversion, dreambooth = PaaSParams().options(), PaaSParams(mode="dreambooth", steps=7).options()
    assert (
        inversion.learning_rate > dreambooth.learning_rate
        and PaaSParams().choice("images") == 5
        and dreambooth.steps == 7
    )
    assert build_params(PaaS(), {"preset": "paper-dreambooth"}).options().learning_rate == 5e-6  # type: ignore[attr-defined]
