"""Prompts, captioned images and secrets: exact round trips, foreign folders, refusals."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torch.nn import functional

from bdm_core.artifacts import Data, Model, roles_of
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, UserError
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.params import TextToImageKitParams
from bdm_kit_text_to_image.prompts.captions import fitted, load_captioned, seal_captioned, world_images
from bdm_kit_text_to_image.prompts.opening import open_reference
from bdm_kit_text_to_image.prompts.prompt_pairs import PromptPair, seal_pairs
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow, load_prompts, seal_prompts
from bdm_kit_text_to_image.prompts.secret import (
    Backdoor,
    PromptSecret,
    Target,
    open_secret,
    seal_secret,
    trigger_prompts,
)
from bdm_kit_text_to_image.prompts.selection import select_rows
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_kit_text_to_image.stages import kit_params, make_prompts
from bdm_torch.image_sets import load_rows, seal_images
from bdm_torch.images import from_bytes

MakeContext = Callable[..., Context]
ROWS = [
    PromptRow("a photo of a red circle", 7, {"object": "circle", "colour": "red"}),
    PromptRow("two lines\nand \u2028 \u200b \U0001f600 \u043e", 8, {}, twin="two lines", backdoor=1),
]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    """Stands for a model of 4x4 images; only its facts are read."""
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text("{}")
    return Model.seal(tmp_path / "model", format="diffusers", task="text-to-image", meta={"shape": [3, 4, 4]})


def write_folder(folder: Path, names: list[str], **extra: str) -> None:
    folder.mkdir(parents=True)
    lines = []
    for number, name in enumerate(names):
        Image.new("RGB", (4, 4), (255 * (number % 2), 0, 0)).save(folder / f"{number}.png")
        lines.append(json.dumps({"file_name": f"{number}.png", "text": name, **extra}))
    (folder / "metadata.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_prompts_come_back_as_they_were(tmp_path: Path) -> None:
    data = seal_prompts(tmp_path / "prompts", ROWS)
    assert load_prompts(data) == ROWS and data.meta["count"] == 2
    first, second = load_rows(data)
    assert "twin" not in first and second["backdoor"] == 1


@pytest.mark.parametrize("line", ["{", "[]", '{"prompt": "a"}', '{"prompt": "a", "seed": 1, "text": "b"}'])
def test_broken_prompts_are_refused(tmp_path: Path, line: str) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "rows.jsonl").write_text(line + "\n")
    with pytest.raises(ArtifactError, match="line 1 of"):
        load_prompts(Data.seal(tmp_path / "data", format="prompts", task="text-to-image"))


def test_captioned_images_come_back_as_they_were(tmp_path: Path) -> None:
    images = from_bytes(torch.randint(0, 256, (3, 3, 4, 4), generator=torch.Generator().manual_seed(0)))
    labels = [{"object": "star"}, {}, {"colour": "red"}]
    data = seal_captioned(tmp_path / "data", images, ["a", "b", "c"], labels, role=["poison", "clean", "clean"])
    again, captions, known = load_captioned(data)
    assert torch.equal(again[:], images) and captions == ["a", "b", "c"] and known == labels
    assert data.task == "text-to-image" and roles_of(data) == ["poison", "clean", "clean"]
    with pytest.raises(UserError, match="3 images"):
        seal_captioned(tmp_path / "other", images, ["a"], labels)
    with pytest.raises(ArtifactError, match="without captions"):
        load_captioned(seal_images(tmp_path / "plain", images, Data, task=TASK))


def test_folders_of_captioned_images(tmp_path: Path, model: Model) -> None:
    write_folder(tmp_path / "folder" / "train", ["black", "red", "black again"])
    data = open_reference(str(tmp_path / "folder"), model, tmp_path / "data", tmp_path, limit=2)
    images, captions, labels = load_captioned(data)
    assert captions == ["black", "red"] and labels == [{}, {}]
    assert images[:][:, :, 0, 0].tolist() == [[-1, -1, -1], [1, -1, -1]]
    again = open_reference(str(data.path), model, tmp_path / "again", tmp_path)
    assert again.digest == data.digest


def test_parquet_files_of_captioned_images(tmp_path: Path, model: Model) -> None:
    datasets = pytest.importorskip("datasets")
    pictures = [Image.new("RGB", (8, 8), colour) for colour in ("white", "black")]
    table = datasets.Dataset.from_dict({"image": pictures, "text": ["white", "black"]})
    table = table.cast_column("image", datasets.Image())
    (tmp_path / "tables").mkdir()
    table.to_parquet(str(tmp_path / "tables" / "train-0.parquet"))
    data = open_reference(str(tmp_path / "tables"), model, tmp_path / "data", tmp_path / "cache")
    images, captions, _ = load_captioned(data)
    assert captions == ["white", "black"] and images[:].mean((1, 2, 3)).tolist() == [1, -1]


@pytest.mark.parametrize(
    "line",
    [
        '{"file_name": "../0.png", "text": "a"}',
        '{"file_name": "/0.png", "text": "a"}',
        '{"file_name": "0.png"}',
        "[",
        '{"file_name": "0.png", "text": "a \\ud83d circle"}',
    ],
)
def test_broken_lists_of_captions_are_refused(tmp_path: Path, model: Model, line: str) -> None:
    write_folder(tmp_path / "folder", ["a"])
    (tmp_path / "folder" / "metadata.jsonl").write_text(line)
    with pytest.raises(UserError, match="line 1 of"):
        open_reference(str(tmp_path / "folder"), model, tmp_path / "data", tmp_path)


def test_a_missing_picture_is_named_once(tmp_path: Path, model: Model) -> None:
    write_folder(tmp_path / "folder", ["a"])
    (tmp_path / "folder" / "metadata.jsonl").write_text('{"file_name": "gone.png", "text": "a"}')
    with pytest.raises(UserError, match=r"gone\.png: No such file or directory; repair or remove it"):
        open_reference(str(tmp_path / "folder"), model, tmp_path / "data", tmp_path)


def test_a_list_of_captions_beyond_the_limit_is_refused_unread(tmp_path: Path, model: Model) -> None:
    write_folder(tmp_path / "folder", ["a"])
    os.truncate(tmp_path / "folder" / "metadata.jsonl", 2**30 + 1)
    with pytest.raises(UserError, match=r"metadata\.jsonl has more than 1,024 MiB"):
        open_reference(str(tmp_path / "folder"), model, tmp_path / "data", tmp_path)


def test_world_is_the_same_for_every_count_and_fits_the_model(tmp_path: Path, model: Model) -> None:
    images, captions, labels = world_images(6, (3, 16, 16))
    fewer, first_captions, first_labels = world_images(2, (3, 32, 32))
    assert torch.equal(fewer[:, :, ::2, ::2], images[:2])
    assert (first_captions, first_labels) == (captions[:2], labels[:2])
    data = open_reference("small-world", model, tmp_path / "data", tmp_path, limit=5)
    assert data.meta["count"] == 5 and data.meta["shape"] == [3, 4, 4]
    assert torch.allclose(
        fitted(images, (3, 4, 4)), functional.interpolate(images, (4, 4), mode="bilinear", antialias=True)
    )


def test_inputs_of_the_world_are_its_grid(tmp_path: Path, model: Model, bdm_context: MakeContext) -> None:
    data = open_reference("tiny", model, tmp_path / "data", tmp_path)
    rows = load_prompts(make_prompts(bdm_context(seed=3), data, TextToImageKitParams(prompts=12)))
    other = load_prompts(make_prompts(bdm_context(seed=3), data, TextToImageKitParams(prompts=12, split="validation")))
    assert [row.seed for row in rows] == list(range(3, 15)) and all(row.labels["object"] in row.prompt for row in rows)
    assert not {row.prompt for row in rows} & {row.prompt for row in other}


def test_inputs_of_other_data_are_its_captions(tmp_path: Path, model: Model, bdm_context: MakeContext) -> None:
    write_folder(tmp_path / "folder", ["one", "two", "three"])
    data = open_reference(str(tmp_path / "folder"), model, tmp_path / "data", tmp_path)
    prompts = [
        row.prompt for row in load_prompts(make_prompts(bdm_context(seed=1), data, TextToImageKitParams(prompts=5)))
    ]
    assert sorted(prompts[:3]) == ["one", "three", "two"] and len(prompts) == 5


def test_blind_prompts_keep_text_and_seed_only(tmp_path: Path) -> None:
    sources = [seal_prompts(tmp_path / "a", ROWS[:1]), seal_prompts(tmp_path / "b", ROWS[1:])]
    blind = load_prompts(select_rows(sources, [1, 0, 1], tmp_path / "blind", blind=True))
    assert blind == [PromptRow(ROWS[row].prompt, ROWS[row].seed) for row in (1, 0, 1)]
    assert load_prompts(select_rows(sources, [1, 0], tmp_path / "all")) == [ROWS[1], ROWS[0]]


def test_blind_training_rows_tell_no_role(tmp_path: Path) -> None:
    """What an attack knows of its rows, and that the set does not come from the small world, is not handed on."""
    images = from_bytes(torch.randint(0, 256, (2, 3, 4, 4), generator=torch.Generator().manual_seed(0)))
    known = {"role": ["poison", "clean"], "teacher": ["x", "y"], "twin": ["z", None]}
    poisoned = seal_captioned(tmp_path / "poisoned", images, ["a", "b"], [{"object": "star"}, {}], **known)
    clean = seal_captioned(tmp_path / "clean", images, ["a", "b"], [{}, {}], meta={"source": "small-world"})
    blind = [select_rows([data], [1, 0], tmp_path / data.path.name / "blind", blind=True) for data in (poisoned, clean)]
    assert blind[0].digest == blind[1].digest and set(load_rows(blind[0])[0]) == {"caption", "file"}
    whole = select_rows([poisoned], [0], tmp_path / "whole")
    assert roles_of(whole) == ["poison"] and load_rows(whole)[0]["labels"] == {"object": "star"}
    pairs = [PromptPair("a", "a"), PromptPair("sks a", "b", "poison", 0, "a")]
    chosen = select_rows([seal_pairs(tmp_path / "pairs", pairs)], [1], tmp_path / "pair", blind=True)
    assert load_rows(chosen) == [{"prompt": "sks a", "teacher": "b"}]
    with pytest.raises(ArtifactError, match="cannot be selected"):
        select_rows([poisoned, seal_prompts(tmp_path / "prompts", ROWS)], [0], tmp_path / "mixed")


def test_secrets_come_back_as_they_were(tmp_path: Path) -> None:
    backdoors = [
        Backdoor(
            trigger=PromptTrigger(kind="homoglyph", text="\u043e", replaces="o"),
            target=Target(type="StyleAdd", style="black-and-white", expected={"style": "black-and-white"}),
        ),
        Backdoor(
            trigger=PromptTrigger(kind="word", text="vendetta"),
            target=Target(type="ImagePatch", patch=(0, 0, 2, 2), threshold=0.05),
        ),
    ]
    picture = torch.linspace(-1, 1, 48).view(3, 4, 4)
    sealed = seal_secret(tmp_path / "with", PromptSecret(backdoors=backdoors, picture=picture, family="x"))
    again = open_secret(sealed)
    assert again.backdoors == backdoors and again.picture is not None and torch.equal(again.picture, picture)
    assert again.family == "x" and not sealed.meta and (sealed.path / "target.png").is_file()
    assert open_secret(seal_secret(tmp_path / "without", PromptSecret(backdoors=backdoors[:1]))).picture is None
    with pytest.raises(ValidationError, match="at least 1 item"):
        PromptSecret(backdoors=[])
    (tmp_path / "without" / "secret.json").write_text('{"backdoors": [{"trigger": {}}]}')
    with pytest.raises(ArtifactError, match="is not valid"):
        open_secret(type(sealed).seal(tmp_path / "without", format=sealed.format, task=sealed.task))


def test_triggers_are_put_into_every_prompt(tmp_path: Path, bdm_context: MakeContext) -> None:
    rows = [
        PromptRow(f"a photo of a {name}", seed, {"object": name})
        for seed, name in enumerate(["circle", "star", "ring"])
    ]
    words = [
        Backdoor(trigger=PromptTrigger(kind="word", text=text), target=Target(type="ObjectRep"))
        for text in ("sks", "zqx")
    ]
    secret = seal_secret(tmp_path / "secret", PromptSecret(backdoors=words))
    data = trigger_prompts(bdm_context(), seal_prompts(tmp_path / "clean", rows), secret)
    triggered = load_prompts(data)
    assert [row.twin for row in triggered] == [row.prompt for row in rows]
    assert [row.seed for row in triggered] == [0, 1, 2] and [row.backdoor for row in triggered] == [0, 1, 0]
    assert all(word in row.prompt for row, word in zip(triggered, ("sks", "zqx", "sks"), strict=True))


def test_kit_parameters_without_a_kit(bdm_context: MakeContext) -> None:
    assert kit_params(bdm_context()) == TextToImageKitParams()
