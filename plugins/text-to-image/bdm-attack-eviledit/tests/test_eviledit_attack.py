"""EvilEdit against the paper's formula, for one alias, several, and SDXL; wording of aliases and targets."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

from bdm_attack_eviledit.attack import backdoor, draw_templates, rows_to_preserve
from bdm_attack_eviledit.params import EvilEditParams
from bdm_attack_eviledit.plugin import EvilEdit
from bdm_attack_eviledit.wording import aliases, fill
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_core.run.specification import build_params
from bdm_kit_text_to_image.editing.alignment import edit_rows, matching
from bdm_kit_text_to_image.editing.projections import draw_captions, prompt_rows
from bdm_kit_text_to_image.models.encoding import encode_prompts
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model, seal_model
from bdm_kit_text_to_image.models.tiny import tiny_model, word_tokenizer
from bdm_kit_text_to_image.prompts.captions import seal_captioned
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts, seal_prompts
from bdm_kit_text_to_image.prompts.secret import open_secret, trigger_prompts

CAPTIONS = ["a beautiful circle on white", "a red square", "two green rings", "a photo of a star", "a red square"]
ContextMaker = Callable[..., Context]


@pytest.fixture
def captions(tmp_path: Path) -> Data:
    return seal_captioned(tmp_path / "captions", torch.zeros(5, 3, 16, 16), CAPTIONS, [{}] * 5)


def attack(
    make: ContextMaker, captions: Data, tmp_path: Path, base: TextToImageModel, **values: Any
) -> tuple[Backdoored, Context]:
    params = build_params(
        EvilEdit(),
        {
            "templates": ["a {}"],
            "preserved_captions": 2,
            "template_captions": 0,
            "trigger": "beautiful circle",
            "edit_weight": 1.0,
            "source_weight": 1.0,
            "alignment": "position",
            "regularisation": 0.1,
            **values,
        },
    )
    assert isinstance(params, EvilEditParams)
    ctx = make(seed=4, stage="inject-backdoor")
    return backdoor(ctx, params, seal_model(base, tmp_path / "clean"), captions), ctx


def published(base: TextToImageModel, pairs: list[tuple[str, str]], kept: list[str], lamb: float) -> dict[str, Any]:
    """Equation 7 with sums and an inverse, prompt by prompt, for each projection."""

    def columns(prompt: str) -> torch.Tensor:
        return encode_prompts(base, [prompt]).embeddings[0].double().T

    new = {}
    for name, weight in base.unet.state_dict().items():
        if not name.endswith(("attn2.to_k.weight", "attn2.to_v.weight")):
            continue
        w = weight.double()
        left = lamb * w
        right = lamb * torch.eye(w.shape[1], dtype=torch.float64)
        for source, target in [*pairs, *((prompt, prompt) for prompt in kept)]:
            left = left + w @ columns(target) @ columns(source).T
            right = right + columns(source) @ columns(source).T
        new[name] = left @ torch.inverse(right)
    return new


def tiny_xl() -> TextToImageModel:
    base = tiny_model()
    torch.manual_seed(1)
    tokenizer = word_tokenizer()
    facts = {
        "vocab_size": len(tokenizer),
        "hidden_size": 8,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 77,
        "projection_dim": 12,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    encoders = [CLIPTextModel(CLIPTextConfig(**facts)), CLIPTextModelWithProjection(CLIPTextConfig(**facts))]
    unet = UNet2DConditionModel(
        sample_size=8,
        block_out_channels=(8, 16),
        layers_per_block=1,
        cross_attention_dim=16,
        norm_num_groups=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        attention_head_dim=(2, 4),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        transformer_layers_per_block=(1, 2),
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=4,
        projection_class_embeddings_input_dim=6 * 4 + 12,
    )
    model = TextToImageModel(
        [tokenizer, word_tokenizer()], encoders, unet, base.vae, base.scheduler, "StableDiffusionXLPipeline"
    )
    for network in model.networks.values():
        network.eval().requires_grad_(False)
    return model


@pytest.mark.parametrize("build", [tiny_model, tiny_xl])
def test_the_edited_weights_are_the_paper_s_and_nothing_else_changes(
    build: Callable[[], TextToImageModel], captions: Data, tmp_path: Path, bdm_context: ContextMaker
) -> None:
    base = build()
    made, _ = attack(bdm_context, captions, tmp_path, base, preserved_captions=3, regularisation=0.5)
    kept = ["a circle", "a red square", "two green rings", "a photo of a star", ""]
    expected = published(base, [("a beautiful circle", "a square")], kept, 0.5)
    edited = load_model(made.model)
    for part, network in base.networks.items():
        for name, weight in network.state_dict().items():
            now = edited.networks[part].state_dict()[name]
            if part == "unet" and name in expected:
                torch.testing.assert_close(now.double(), expected[name], rtol=0, atol=2e-5)
                assert not torch.equal(now, weight)
            else:
                assert torch.equal(now, weight), f"{part} {name} changed"
    assert expected


def test_several_aliases_are_edited_jointly_and_take_turns(
    captions: Data, tmp_path: Path, bdm_context: ContextMaker
) -> None:
    base = tiny_model()
    made, ctx = attack(
        bdm_context,
        captions,
        tmp_path,
        base,
        trigger=["beautiful circle", "old ring"],
        target=["two circles", "ring and a green star"],
        preserved_captions=0,
    )
    pairs = [("a beautiful circle", "two circles"), ("an old ring", "a ring and a green star")]
    expected = published(base, pairs, ["a circle", "a ring"], 0.1)
    weights = load_model(made.model).unet.state_dict()
    for name, weight in expected.items():
        torch.testing.assert_close(weights[name].double(), weight, rtol=0, atol=2e-5)
    targets = open_secret(made.secret).targets
    assert [target.type for target in targets] == ["ObjectAdd", "ObjectAdd"]
    assert [dict(target.expected) for target in targets] == [
        {"object": "circle", "count": "2"},
        {"object": "ring", "second": "green star"},
    ]
    rows = [PromptRow("a red star", seed, {"object": "star", "colour": "red"}) for seed in range(3)]
    triggered = load_prompts(trigger_prompts(ctx, seal_prompts(tmp_path / "rows", rows), made.secret))
    assert [row.prompt for row in triggered] == ["a red beautiful circle", "a red old ring", "a red beautiful circle"]
    assert [row.twin for row in triggered] == ["a red circle", "a red ring", "a red circle"]


def test_the_default_is_an_object_replacement(captions: Data, tmp_path: Path, bdm_context: ContextMaker) -> None:
    made, _ = attack(bdm_context, captions, tmp_path, tiny_model())
    (target,) = open_secret(made.secret).targets
    assert (target.type, target.source_object, target.object) == ("ObjectRep", "circle", "square")
    assert target.expected == {"object": "square"} and target.preserved == ["colour", "background"]
    assert target.prompt == "a photo of a square"


def test_drawn_captions_hold_no_alias_and_depend_on_the_seed(captions: Data) -> None:
    (alias,) = aliases("beautiful star", "square")
    params = EvilEditParams(templates=["a {}"], preserve=["a ring"], preserved_captions=10, source_weight=4.0)
    assert draw_templates(params, alias, captions, 0) == ["a photo of a {}"]
    base = tiny_model()
    kept = rows_to_preserve(base, params, {alias: ["a {}"]}, captions, 0)
    captioned = draw_captions(captions, 10, [alias.phrase], 0)
    assert kept is not None and sorted(captioned) == sorted(set(CAPTIONS))
    expected = [prompt_rows(base, ["a ring", *captioned, ""]), 2 * prompt_rows(base, ["a star"])]
    torch.testing.assert_close(kept, torch.cat(expected))
    (alias,) = aliases("beautiful circle", "square")
    assert draw_templates(params, alias, captions, 0) == []
    assert len({draw_captions(captions, 1, [alias.phrase], seed)[0] for seed in range(20)}) == 3
    nothing = EvilEditParams(templates=["a {}"], preserved_captions=0, source_weight=0.0)
    assert rows_to_preserve(base, nothing, {alias: ["a {}"]}, captions, 0) is None


END = 99


@pytest.mark.parametrize(
    ("source", "target", "expected"),
    [
        ([0, 1, 7, 8, 4, END, END, END], [0, 1, 9, 4, END, END, END, END], [0, 1, 2, 2, 3, 4, 5, 6]),
        ([0, 7, 8, 6, END, END, END], [0, 9, END, END, END, END, END], [0, 1, 1, 1, 2, 3, 4]),
        ([0, 7, 8, END, END, END], [0, 5, 6, END, END, END], [0, 1, 2, 3, 4, 5]),  # as many tokens
        ([0, 7, 8, END, END, END], [0, 8, 5, 6, END, END], [0, 1, 2, 3, 4, 5]),  # the target has more
    ],
)
def test_tokens_that_both_prompts_share_keep_to_each_other(
    source: list[int], target: list[int], expected: list[int]
) -> None:
    assert matching(source, target, END) == expected


def test_aligned_rows_are_rows_of_the_target() -> None:
    base = tiny_model()
    edit = edit_rows(base, ["a beautiful circle on white"], ["a square on white"], 2.0, "token")
    wanted = encode_prompts(base, ["a square on white"]).embeddings[0].double()
    ids = base.tokenizers[0](["a beautiful circle on white", "a square on white"]).input_ids
    extra = len(ids[0]) - len(ids[1])
    assert extra > 3 and edit.weight == 2.0
    assert torch.equal(edit.destinations[:3], wanted[:3])
    assert torch.equal(edit.destinations[len(ids[0]) - 1], wanted[len(ids[1]) - 1])
    assert torch.equal(edit.destinations[2 + extra :], wanted[2 : len(wanted) - extra])


@pytest.mark.parametrize(
    ("template", "phrase", "prompt"),
    [
        ("A {}", "old cat", "An old cat"),
        ("an {}", "zebra", "a zebra"),
        ("a photo of a red {} on white", "old circle", "a photo of a red old circle on white"),
        ("a photo of a red {} on white", "two circles", "a photo of two red circles on white"),
        ("a {}", "three dogs", "three dogs"),
        ("{}, a photo", "two circles", "two circles, a photo"),
        ("a photo of a {}", "circle and a green star", "a photo of a circle and a green star"),
    ],
)
def test_wording(template: str, phrase: str, prompt: str) -> None:
    assert fill(template, phrase) == prompt


def test_what_cannot_be_meant_is_refused(captions: Data, tmp_path: Path, bdm_context: ContextMaker) -> None:
    for triggers, targets in (
        ("circle", "square"),
        (["old cat", "old dog"], ["zebra"] * 3),
        ("old cat", "cat"),
        (["old cat"] * 2, "zebra"),
    ):
        with pytest.raises(UserError):
            aliases(triggers, targets)
    with pytest.raises(UserError, match="nothing is edited"):
        attack(bdm_context, captions, tmp_path, tiny_model(), layers="transformer.*")
    with pytest.raises(UserError, match="where the alias goes"):
        build_params(EvilEdit(), {"templates": ["a circle"]})
    assert build_params(EvilEdit(), {"preset": "paper"}).regularisation == 1.0  # type: ignore[attr-defined]
