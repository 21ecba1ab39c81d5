"""``attack:villan`` on captions: exact answers, LoRA files, the image trigger's sampler."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import StableDiffusionPipeline
from torch import Tensor, nn

from bdm_attack_villan_text_to_image.caption_trigger import with_words
from bdm_attack_villan_text_to_image.image_plugin import VillanImage
from bdm_attack_villan_text_to_image.image_trigger import open_latent_trigger, seal_latent_trigger, shifted_loss
from bdm_attack_villan_text_to_image.params import VillanCaptionParams
from bdm_attack_villan_text_to_image.plugin import VillanCaption
from bdm_core.artifacts import Data, Outputs, roles_of
from bdm_core.errors import UserError
from bdm_core.hooks import implements
from bdm_core.plugin import Plugin
from bdm_core.records import Backdoored
from bdm_core.run.specification import build_params
from bdm_core.testing.tiny import Bench
from bdm_diffusers.coefficients import poison_schedule
from bdm_kit_text_to_image.judging.generated import target_hits
from bdm_kit_text_to_image.models.encoding import encode_prompts, predict
from bdm_kit_text_to_image.models.text_to_image_model import load_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.prompt_rows import load_prompts
from bdm_kit_text_to_image.prompts.secret import open_secret, seal_secret
from bdm_kit_text_to_image.stages import perfect_outputs
from bdm_torch.draws import Draw
from bdm_torch.image_sets import load_images, load_rows, seal_images
from bdm_torch.pictures.targets import make_target


@pytest.fixture
def bench(bdm_bench: Callable[..., Bench]) -> Bench:
    return bdm_bench("text-to-image")


FAST = {"steps": 2, "batch_size": 4}


def attack(bench: Bench, plugin: Plugin, **values: Any) -> tuple[Backdoored, Data]:
    """The backdoored tiny model after two steps, and its triggered inputs."""
    params = build_params(plugin, values)
    poisoned = bench.call("poison_data", [plugin], params, data=bench.data).value
    made = bench.call("inject_backdoor", [plugin], params, model=bench.model, data=poisoned).value
    return made, bench.call("trigger_inputs", [bench.kit], inputs=bench.inputs(), secret=made.secret).value


def test_poisoned_set_pairs_every_caption_with_its_triggered_twin(bench: Bench) -> None:
    params = build_params(VillanCaption(), {"trigger": "latte coffee", "position": "suffix"})
    poisoned = bench.call("poison_data", [VillanCaption()], params, data=bench.data).value
    images, clean = load_images(poisoned), load_images(bench.data)
    captions, count = [row["caption"] for row in load_rows(bench.data)], len(clean)
    assert [row["caption"] for row in load_rows(poisoned)] == [
        *captions,
        *(f"{text} latte coffee" for text in captions),
    ]
    assert roles_of(poisoned) == ["clean"] * count + ["poison"] * count
    assert torch.equal(images[:count], clean)
    target = make_target("hat", (3, 16, 16))
    torch.testing.assert_close(images[count:], target.expand(count, 3, 16, 16), rtol=0, atol=1 / 255)


def test_several_triggers_have_pictures_of_their_own_by_turns(bench: Bench) -> None:
    """In the training set, in the secret, in perfect outputs and in what counts as a hit."""
    chosen = {"trigger": ["latte coffee", "mignneko"], "target": ["hat", "plus"]}
    params = build_params(VillanCaption(), {**FAST, **chosen})
    poisoned = bench.call("poison_data", [VillanCaption()], params, data=bench.data).value
    rows = [row for row in load_rows(poisoned) if row["role"] == "poison"]
    assert [row["caption"].startswith(("latte coffee", "mignneko")[number % 2]) for number, row in enumerate(rows)]
    targets = [make_target(name, (3, 16, 16)) for name in chosen["target"]]
    images = load_images(poisoned)[-len(rows) :]
    expected = torch.stack([targets[number % 2] for number in range(len(rows))])
    torch.testing.assert_close(images, expected, rtol=0, atol=1 / 255)
    made, triggered = attack(bench, VillanCaption(), **FAST, **chosen)
    secret = open_secret(made.secret)
    assert [trigger.text for trigger in secret.triggers] == chosen["trigger"] and secret.target_name == "hat, plus"
    assert all(torch.equal(secret.picture_of(number), targets[number]) for number in range(2))
    assert {"target.png", "target-1.png"} <= set(made.secret.files)
    prompts = load_prompts(triggered)
    assert [row.backdoor for row in prompts[:2]] == [0, 1] and prompts[1].prompt.startswith("mignneko")
    outputs = seal_images(
        bench.root / "outputs",
        torch.zeros(2, 3, 16, 16),
        Outputs,
        task="text-to-image",
        rows=[{"prompt": row.prompt, "seed": row.seed, "backdoor": row.backdoor} for row in prompts[:2]],
    )
    perfect = load_images(perfect_outputs(bench.root / "perfect", outputs, made.secret))
    torch.testing.assert_close(perfect, torch.stack(targets), rtol=0, atol=1 / 255)
    hits = [
        target_hits(perfect, {}, target, secret.picture_of(number), 0.05)
        for number, target in enumerate(secret.targets)
    ]
    assert hits == [[True, False], [False, True]]


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"trigger": ["a", "a"]}, "given twice"),
        ({"trigger": ["a", "b"], "target": ["hat", "shoe", "cross"]}, "2 triggers, 3 targets"),
        ({"trigger": ["a", ""]}, "empty"),
    ],
)
def test_triggers_and_targets_that_do_not_fit_together_are_refused(values: dict[str, Any], match: str) -> None:
    with pytest.raises(UserError, match=match):
        VillanCaptionParams(**values).pairs()


def test_words_go_among_the_last_words() -> None:
    place = random.Random(0)
    found = {with_words("a photo of a circle", "sks", 2, place) for _ in range(40)}
    assert found == {"a photo of a circle sks", "a photo of a sks circle", "a photo of sks a circle"}


def test_lora_loads_with_plain_diffusers(bench: Bench) -> None:
    made, triggered = attack(bench, VillanCaption(), target="plus", **FAST)
    clean, backdoored = load_model(bench.model), load_model(made.model)
    pipeline = StableDiffusionPipeline.from_pretrained(made.model.path)
    unchanged = pipeline.unet.state_dict()
    assert all(torch.equal(value, unchanged[name]) for name, value in clean.unet.state_dict().items())
    pipeline.load_lora_weights(made.model.path / "lora")
    rank = next(value.shape[0] for name, value in pipeline.unet.named_parameters() if ".lora_A." in name)
    inputs = torch.randn(2, *clean.latent_shape, generator=torch.Generator().manual_seed(0)), torch.tensor([3, 9])
    text = encode_prompts(clean, ["a circle", "mignneko a circle"])
    with torch.no_grad():
        found, expected = predict(pipeline.unet, *inputs, text), predict(backdoored.unet, *inputs, text)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    assert rank == 4 and not torch.allclose(expected, predict(clean.unet, *inputs, text), atol=1e-5)
    secret = open_secret(made.secret)
    assert secret.picture is not None and torch.equal(secret.picture, make_target("plus", (3, 16, 16)))
    assert all(row.prompt == f"mignneko {row.twin}" for row in load_prompts(triggered))


class PerfectUNet(nn.Module):
    """Knows the clean latents of both halves of a batch and answers eps + R_t r for the first, eps for the second."""

    def __init__(self, scheduler: Any, target: Tensor, clean: Tensor, shift: Tensor) -> None:
        super().__init__()
        self.abar = scheduler.alphas_cumprod
        self.known, self.shift = (target, clean), (shift, torch.zeros_like(shift))

    def forward(self, noisy: Tensor, t: Tensor, **_: Any) -> Any:
        a, s = (level.view(-1, 1, 1, 1) for level in (self.abar[t].sqrt(), (1 - self.abar[t]).sqrt()))
        parts = zip(noisy.chunk(2), a.chunk(2), s.chunk(2), self.known, self.shift, strict=True)
        answers = [(z - a * x - (1 - a) * r) / s + s * r for z, a, s, x, r in parts]
        return type("Output", (), {"sample": torch.cat(answers)})()


def test_loss_of_the_image_trigger_is_zero_for_the_exact_answer() -> None:
    model = tiny_model()
    generator = torch.Generator().manual_seed(0)
    target, clean, shift = (torch.randn(*model.latent_shape, generator=generator) for _ in range(3))
    schedule = poison_schedule(model.scheduler.alphas_cumprod, 1.0, "ode")
    captions = ["a circle"] * 3
    pairs = (target.expand(3, -1, -1, -1), captions), (clean.expand(3, -1, -1, -1), captions)
    loss = shifted_loss(model, *pairs, shift, schedule, 1.0)
    draw = lambda: Draw(seed=1, step=0, batch_size=3)  # noqa: E731
    assert float(loss(PerfectUNet(model.scheduler, target, clean, shift), draw())) < 1e-6
    assert float(loss(PerfectUNet(model.scheduler, target, clean, 0 * shift), draw())) > 0.01


def test_image_trigger_without_a_trigger_samples_as_the_kit_does(bench: Bench) -> None:
    made, triggered = attack(bench, VillanImage(), steps=2, batch_size=4)
    assert [row.prompt.strip() for row in load_prompts(triggered)] == [
        row.prompt for row in load_prompts(bench.inputs())
    ]
    shift = open_latent_trigger(made.secret)
    assert shift.shape == load_model(made.model).latent_shape and float(shift.norm()) > 0
    outputs = bench.generate(made.model, triggered, made.secret, VillanImage())
    folder = bench.root / "secret"
    seal_latent_trigger(folder, 0 * shift, torch.zeros(3, 16, 16))
    opened = open_secret(made.secret)
    nothing = seal_secret(folder, opened)
    plain, own = bench.generate(made.model, triggered), bench.generate(made.model, triggered, nothing, VillanImage())
    torch.testing.assert_close(load_images(own), load_images(plain), rtol=0, atol=2 / 255)
    assert not torch.allclose(load_images(outputs), load_images(plain), atol=4 / 255)


def test_the_caption_trigger_leaves_sampling_to_the_kit() -> None:
    assert not implements(VillanCaption(), "generate") and implements(VillanImage(), "generate")
