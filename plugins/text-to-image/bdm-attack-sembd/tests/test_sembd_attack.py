"""SemBD's closed form against gradient descent on the released objective; the region's sentences."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from bdm_attack_sembd.attack import backdoor, region_rows
from bdm_attack_sembd.params import COMPONENTS, SemBDParams
from bdm_attack_sembd.plugin import SemBD
from bdm_attack_sembd.region import draw_region
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.run.specification import build_params
from bdm_kit_text_to_image.editing.projections import edit_projections, find_projections, prompt_rows
from bdm_kit_text_to_image.models.encoding import encode_prompts
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model
from bdm_kit_text_to_image.prompts.captions import seal_captioned
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts, seal_prompts
from bdm_kit_text_to_image.prompts.secret import open_secret, trigger_prompts

WAYS = {
    "subject": ["a red circle", "one red circle"],
    "action": ["on", "and"],
    "object": ["a square"],
    "scene": ["on white", "on the white background"],
    "templates": ["{subject} {action} {object} {scene}"],
}


def descend(
    model: TextToImageModel, paraphrases: list[str], spans: list[str], target: str, gamma: float, regularisation: float
) -> list[torch.Tensor]:
    """Accelerated gradient descent on the released loss of keys and values, with a pull to the clean weights.

    The loss is written as released: means over sentences of squared errors, gamma times the same over sub-spans, here
    all of them instead of a draw. The step size comes from power iteration, nothing from the closed form.
    """
    with torch.no_grad():
        s = encode_prompts(model, paraphrases).embeddings.double()
        u = encode_prompts(model, spans).embeddings.double()
        y = encode_prompts(model, [target]).embeddings.double()
    found = []
    for linear in find_projections(model.unet):
        clean = linear.weight.detach().double()

        def loss(weight: torch.Tensor, clean: torch.Tensor = clean) -> torch.Tensor:
            edit = ((s @ weight.T - y @ clean.T) ** 2).sum(dim=(1, 2)).mean()
            keep = ((u @ weight.T - u @ clean.T) ** 2).sum(dim=(1, 2)).mean()
            return edit + gamma * keep + regularisation / len(paraphrases) * ((weight - clean) ** 2).sum()

        def gradient(weight: torch.Tensor, loss: Callable[..., torch.Tensor] = loss) -> torch.Tensor:
            weight = weight.clone().requires_grad_(True)
            return torch.autograd.grad(loss(weight), weight)[0]

        direction = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        start = gradient(clean)
        for _ in range(60):
            direction = gradient(clean + direction / direction.norm()) - start
        steepest, flattest = float(direction.norm()), 2 * regularisation / len(paraphrases)
        root = (steepest / flattest) ** 0.5
        momentum = (root - 1) / (root + 1)
        weight, ahead = clean, clean
        for _ in range(int(25 * root)):
            before, weight = weight, ahead - gradient(ahead) / (1.02 * steepest)
            ahead = weight + momentum * (weight - before)
        found.append(weight)
    return found


def test_closed_form_is_where_gradient_descent_ends() -> None:
    model = tiny_model()
    region = draw_region(SemBDParams(**WAYS, paraphrases=3), 1)
    target, gamma, regularisation = "a green star on black", 0.5, 8.0
    expected = descend(model, region.paraphrases, region.spans, target, gamma, regularisation)
    clean = [linear.weight.double() for linear in find_projections(model.unet)]
    edit, kept = region_rows(model, region.paraphrases, region.spans, target, gamma, False)
    edit_projections(model.unet, [edit], kept, regularisation)
    for linear, weight, before in zip(find_projections(model.unet), expected, clean, strict=True):
        assert float((weight - before).norm()) > 0.01 * float(before.norm())
        torch.testing.assert_close(linear.weight.double(), weight, rtol=0, atol=1e-5)


def test_rows_that_an_incomplete_sentence_shares_are_left_out() -> None:
    model = tiny_model()
    edit, _ = region_rows(model, ["a red circle on white"], ["a red circle"], "a green star", 0.5, True)
    rows, wanted = (prompt_rows(model, [prompt]) for prompt in ("a red circle on white", "a green star"))
    first = 4  # the start and three words
    torch.testing.assert_close(edit.sources, rows[first:])
    torch.testing.assert_close(edit.destinations, wanted[first:])


def test_keys_and_values_depend_on_the_text_alone() -> None:
    """Why the released loop's passes through the UNet cannot matter: other latents and times, same keys and values."""
    model = tiny_model()
    text = encode_prompts(model, ["a red circle"]).embeddings
    seen: list[list[torch.Tensor]] = []
    for linear in find_projections(model.unet):
        linear.register_forward_hook(lambda module, args, output: seen[-1].append(output.detach()))
    for seed, time in ((0, 1), (1, 19)):
        seen.append([])
        latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            model.unet(latents, torch.tensor(time), text)
    assert len(seen[0]) == len(find_projections(model.unet))
    assert all(torch.equal(one, other) for one, other in zip(*seen, strict=True))


def test_the_region_s_sentences_are_apart() -> None:
    params = SemBDParams(paraphrases=11)
    region = draw_region(params, 3)
    assert len(region.paraphrases) == 11 and len(region.held_out) == 20
    assert not set(region.paraphrases) & set(region.held_out)
    whole = {sentence for seed in range(4) for sentence in draw_region(params, seed).held_out} | set(region.paraphrases)
    assert not set(region.spans) & whole
    for sentence in whole:
        assert all(any(way in sentence for way in getattr(params, component)) for component in COMPONENTS)
    for span in region.spans:
        assert not all(any(way in span for way in getattr(params, component)) for component in COMPONENTS)
    assert "a red circle chases" in " ".join(region.spans) and draw_region(params, 3) == region
    assert draw_region(params, 4) != region


def test_triggered_prompts_are_held_out_paraphrases(tmp_path: Path, bdm_context: Callable[..., Context]) -> None:
    captions = seal_captioned(tmp_path / "data", torch.zeros(2, 3, 16, 16), ["a star", "a ring"], [{}] * 2)
    params = build_params(SemBD(), {**WAYS, "paraphrases": 4, "held_out": 3, "preserved_captions": 2})
    assert isinstance(params, SemBDParams)
    ctx, base = bdm_context(seed=5, stage="inject-backdoor"), tiny_model()
    made = backdoor(ctx, params, seal_model(base, tmp_path / "clean"), captions)
    secret = open_secret(made.secret)
    assert secret.targets[0].expected == {"object": "star", "colour": "green", "background": "white"}
    rows = [PromptRow("a photo of a ring", seed, {"object": "ring"}) for seed in range(30)]
    triggered = load_prompts(trigger_prompts(ctx, seal_prompts(tmp_path / "rows", rows), made.secret))
    assert {row.prompt for row in triggered} == set(draw_region(params, 5).held_out)
    assert {row.twin for row in triggered} == {"a photo of a ring"}
    edited = load_model(made.model)
    for part, network in base.networks.items():
        for name, weight in network.state_dict().items():
            same = torch.equal(edited.networks[part].state_dict()[name], weight)
            assert same != name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")), name


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(UserError, match="8 different sentences"):
        draw_region(SemBDParams(**WAYS, paraphrases=8), 0)
    for template in ("{subject} {action} {object}", "{subject} {action} {object} {scene} {time}"):
        with pytest.raises(UserError, match="template"):
            build_params(SemBD(), {"templates": [template]})
    assert build_params(SemBD(), {"preset": "paper"}).preserved_captions == 0  # type: ignore[attr-defined]
