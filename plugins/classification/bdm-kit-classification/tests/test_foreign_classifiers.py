"""Folders of strangers: what cannot be a classifier is refused where it is opened, in one line that names it."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_kit_classification.built_in import BUILTIN
from bdm_kit_classification.models.classifier import load_classifier
from bdm_kit_classification.models.folders import task_of_folder
from bdm_kit_classification.params import ClassificationKitParams
from bdm_kit_classification.plugin import ClassificationKit

WEIGHTS = "model.safetensors"


def copied(folder: Path, name: str) -> Path:
    shutil.copytree(BUILTIN / name, folder)
    for path in folder.iterdir():
        path.chmod(0o644)
    return folder


def edit(path: Path, **changes: Any) -> None:
    found = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**found, **changes}))


def weights(folder: Path, change: Callable[[str, torch.Tensor], torch.Tensor]) -> None:
    path = folder / WEIGHTS
    save_file({name: change(name, value).contiguous() for name, value in load_file(path).items()}, path)


def opened(folder: Path, tmp_path: Path) -> Model:
    ctx = Context(tmp_path / "out", tmp_path / "work", seed=0, stage="open-model", kit=ClassificationKitParams())
    return ClassificationKit().open_model(ctx, str(folder))


def refusal(folder: Path, tmp_path: Path) -> str:
    with pytest.raises(ArtifactError) as caught:
        opened(folder, tmp_path)
    message = str(caught.value)
    assert "\n" not in message and str(folder) in message
    return message


def split(folder: Path) -> None:
    tensors = load_file(folder / WEIGHTS)
    (folder / WEIGHTS).unlink()
    names = [f"model-0000{number}-of-00002.safetensors" for number in (1, 2)]
    placed = {name: names[row % 2] for row, name in enumerate(sorted(tensors))}
    for file in names:
        save_file({name: tensors[name] for name, place in placed.items() if place == file}, folder / file)
    edit(folder / f"{WEIGHTS}.index.json", metadata={}, weight_map=placed)


def half(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "model.fp16.safetensors")


@pytest.mark.parametrize("change", [split, half])
@pytest.mark.parametrize("name", ["tiny", "tiny-text", "tiny-audio"])
def test_weights_in_parts_or_as_a_variant_are_read(tmp_path: Path, name: str, change: Callable[[Path], None]) -> None:
    folder = copied(tmp_path / "model", name)
    change(folder)
    whole = load_file(BUILTIN / name / WEIGHTS)
    found = load_classifier(opened(folder, tmp_path)).state_dict()
    assert all(torch.equal(found[f"network.{key}"], value) for key, value in whole.items())


@pytest.mark.parametrize(
    "change",
    [
        lambda name, value: value * 1e30 if value.is_floating_point() else value,
        lambda name, value: -value if name.endswith("running_var") else value,
    ],
    ids=["overflow", "negative variances"],
)
def test_what_computes_no_finite_numbers_is_refused(tmp_path: Path, change: Any) -> None:
    folder = copied(tmp_path / "model", "tiny")
    weights(folder, change)
    assert "not finite" in refusal(folder, tmp_path)


@pytest.mark.parametrize("value", [["cnn"], {"a": 1}, None, 5])
def test_an_architecture_that_is_no_name_is_refused(tmp_path: Path, value: Any) -> None:
    folder = copied(tmp_path / "model", "tiny")
    edit(folder / "config.json", bdm_architecture=value)
    assert "none of the kit's networks" in refusal(folder, tmp_path)
    assert task_of_folder(folder) is None


def test_a_token_beyond_the_embeddings_is_refused(tmp_path: Path) -> None:
    folder = copied(tmp_path / "model", "tiny-text")
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    words = tokenizer["model"]["vocab"]
    words[max(words, key=words.__getitem__)] = 10**6
    path.write_text(json.dumps(tokenizer))
    assert "1000000" in refusal(folder, tmp_path)


@pytest.fixture(scope="module")
def vit(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("vit")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.ViTConfig(**sizes, image_size=8, patch_size=4, num_channels=1, num_labels=4)
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("processor", "words"),
    [
        ({"image_mean": [0.5], "image_std": [0.0]}, "deviation"),
        ({"image_mean": [0.5], "image_std": [-1.0]}, "deviation"),
        ({"image_mean": [math.nan], "image_std": [1.0]}, "NaN"),
        ({"image_mean": [0.5, 0.5], "image_std": [0.5, 0.5]}, "a channel"),
        ({"size": 10**6}, "2048 pixels"),
        ({"size": 10**9}, "more than"),
        ({"size": -5}, "2048 pixels"),
        ({"size": [1, 2, 3]}, "not valid"),
        ({"size": 32}, "cannot be used"),
    ],
)
def test_a_processor_of_no_use_is_refused(tmp_path: Path, vit: Path, processor: Any, words: str) -> None:
    folder = shutil.copytree(vit, tmp_path / "model")
    edit(folder / "preprocessor_config.json", **processor)
    assert words in refusal(folder, tmp_path)


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000"),
        ({"hidden_size": 10**7}, "hidden_size"),
        ({"layer_norm_eps": math.nan}, "NaN"),
        ({"layer_norm_eps": -10.0}, "not finite"),
        ({"id2label": {"0": "a", "1": "b"}}, "other shapes"),
    ],
)
def test_a_configuration_of_no_use_is_refused(tmp_path: Path, vit: Path, config: Any, words: str) -> None:
    folder = shutil.copytree(vit, tmp_path / "model")
    edit(folder / "config.json", **config)
    assert words in refusal(folder, tmp_path)


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers")
    folder = tmp_path_factory.mktemp("bert")
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    torch.manual_seed(0)
    config = transformers.BertConfig(**sizes, vocab_size=30, num_labels=2)
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
    (folder / "vocab.txt").write_text("\n".join(words))
    transformers.BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(
    ("limit", "words"), [(0, "0 tokens"), (-5, "-5 tokens"), ("x", "invalid literal"), (2, "2 tokens")]
)
def test_a_tokenizer_that_cuts_everything_off_is_refused(tmp_path: Path, bert: Path, limit: Any, words: str) -> None:
    folder = shutil.copytree(bert, tmp_path / "model")
    edit(folder / "tokenizer_config.json", model_max_length=limit)
    assert words in refusal(folder, tmp_path)


def test_a_folder_without_its_vocabulary_is_refused(tmp_path: Path, bert: Path) -> None:
    folder = shutil.copytree(bert, tmp_path / "model")
    assert opened(folder, tmp_path).meta["classes"] == ["LABEL_0", "LABEL_1"]
    for path in folder.iterdir():
        if path.name.startswith(("tok", "vocab", "special")):
            os.remove(path)  # noqa: PTH107
    assert "no tokenizer" in refusal(folder, tmp_path / "again")
