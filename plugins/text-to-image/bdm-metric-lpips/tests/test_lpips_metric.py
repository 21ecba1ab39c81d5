"""Conformance, pairs, and the formula against NumPy on activations that hooks took."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from bdm_core.artifacts import Outputs
from bdm_core.errors import ArtifactError, UserError
from bdm_core.testing import MetricConformance
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_metric_lpips.measure import paired
from bdm_metric_lpips.networks import PUBLISHED, SCALE, SHIFT, attribute_network, open_network
from bdm_torch.image_sets import seal_images


class TestLpipsConformance(MetricConformance):
    plugin = "lpips"
    undirected: ClassVar[frozenset[str]] = frozenset({"lpips_attributes_between"})


def pictures(count: int, side: int = 16) -> torch.Tensor:
    return torch.rand(count, 3, side, side, generator=torch.Generator().manual_seed(3)) * 2 - 1


def by_numpy(mine: list[Any], theirs: list[Any], weights: list[Any]) -> float:
    """The distance of one pair from its activations (C, h, w), place by place."""
    total = 0.0
    for x, y, w in zip(mine, theirs, weights, strict=True):
        channels, height, width = x.shape
        places = []
        for row in range(height):
            for column in range(width):
                a, b = x[:, row, column].astype(float), y[:, row, column].astype(float)
                a, b = a / (np.sqrt((a * a).sum()) + 1e-10), b / (np.sqrt((b * b).sum()) + 1e-10)
                places.append(sum(w[c] * (a[c] - b[c]) ** 2 for c in range(channels)))
        total += float(np.mean(places))
    return total


def test_the_default_network_gives_the_formula() -> None:
    classifier, taken = load_attribute_classifier(), []
    for part in classifier.body:
        if isinstance(part, torch.nn.SiLU):
            part.register_forward_hook(lambda module, given, output: taken.append(output))
    images = pictures(2)
    with torch.no_grad():
        classifier.body(images)
    assert len(taken) == 5
    mine, theirs = ([layer[row].numpy() for layer in taken] for row in (0, 1))
    weights = [np.ones(len(layer)) for layer in mine]
    (found,) = attribute_network("cpu").distances(images[:1], images[1:]).tolist()
    assert found == pytest.approx(by_numpy(mine, theirs, weights), rel=1e-5)
    assert attribute_network("cpu").distances(images, images).tolist() == [0.0, 0.0]


def published(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """Random weights in the published names."""
    torch.manual_seed(5)
    build, taken = PUBLISHED[name]
    network = build()
    tensors = {f"features.{key}": value for key, value in network.state_dict().items()}
    shown: list[torch.Tensor] = []
    with torch.no_grad():
        x = torch.zeros(1, 3, 64, 64)
        for number, part in enumerate(network):
            x = part(x)
            shown += [x] if number in taken else []
    tensors |= {f"lin{place}.model.1.weight": torch.rand(1, x.shape[1], 1, 1) for place, x in enumerate(shown)}
    folder.mkdir()
    backbone = {key: value for key, value in tensors.items() if key.startswith("features.")}
    save_file(backbone, folder / "backbone.safetensors")
    save_file({key: value for key, value in tensors.items() if key not in backbone}, folder / "channels.safetensors")
    return tensors


LAYERS = {"alexnet": 5, "vgg16": 5, "squeezenet": 7}


@pytest.mark.parametrize("name", ["alexnet", "squeezenet"])
def test_a_folder_of_published_names_gives_the_formula(tmp_path: Path, name: str) -> None:
    tensors = published(tmp_path / "weights", name)
    network = open_network(str(tmp_path / "weights"), "cpu")
    assert network.name == name and len(network.weights or ()) == LAYERS[name]
    images = pictures(2, side=64)
    normalised = (images - torch.tensor(SHIFT)[:, None, None]) / torch.tensor(SCALE)[:, None, None]
    build, taken = PUBLISHED[name]
    own, shown = build(), []
    own.load_state_dict({key[9:]: value for key, value in tensors.items() if key.startswith("features.")})
    for number in taken:
        own[number].register_forward_hook(lambda module, given, output: shown.append(output))
    with torch.no_grad():
        own(normalised)
    mine, theirs = ([layer[row].numpy() for layer in shown] for row in (0, 1))
    weights = [tensors[f"lin{place}.model.1.weight"].flatten().numpy() for place in range(len(taken))]
    (found,) = network.distances(images[:1], images[1:]).tolist()
    assert found == pytest.approx(by_numpy(mine, theirs, weights), rel=1e-4)


def test_alexnet_is_torchvisions(tmp_path: Path) -> None:
    """Names and shapes of torchvision's published state dict, and its arithmetic by plain functions."""
    tensors = published(tmp_path / "weights", "alexnet")
    shapes = {0: (64, 3, 11, 11), 3: (192, 64, 5, 5), 6: (384, 192, 3, 3), 8: (256, 384, 3, 3), 10: (256, 256, 3, 3)}
    assert {key: tuple(tensors[f"features.{key}.weight"].shape) for key in shapes} == shapes
    f, x = torch.nn.functional, pictures(1, side=64)
    shown = []
    for key, stride, padding in ((0, 4, 2), (3, 1, 2), (6, 1, 1), (8, 1, 1), (10, 1, 1)):
        x = f.max_pool2d(x, 3, 2) if key in (3, 6) else x
        weight, bias = tensors[f"features.{key}.weight"], tensors[f"features.{key}.bias"]
        x = f.relu(f.conv2d(x, weight, bias, stride=stride, padding=padding))
        shown.append(x)
    network = open_network(str(tmp_path / "weights"), "cpu")
    images = pictures(1, side=64) * torch.tensor(SCALE)[:, None, None] + torch.tensor(SHIFT)[:, None, None]
    for mine, theirs in zip(network.layers(images), shown, strict=True):
        assert torch.allclose(mine, theirs, atol=1e-5)


def test_vgg16_has_the_published_names() -> None:
    names = {key for key in PUBLISHED["vgg16"][0]().state_dict() if key.endswith("weight")}
    assert names == {f"{key}.weight" for key in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no folder"):
        open_network(str(tmp_path / "none"), "cpu")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="no safetensors with LPIPS's weights"):
        open_network(str(tmp_path / "empty"), "cpu")
    published(tmp_path / "weights", "alexnet")
    (tmp_path / "weights" / "channels.safetensors").unlink()
    with pytest.raises(ArtifactError, match=r"holds none of alexnet.*no lin0\.model\.1\.weight"):
        open_network(str(tmp_path / "weights"), "cpu")


def outputs(folder: Path, prompts: list[str], first: int = 0) -> Outputs:
    images = torch.arange(first, first + len(prompts)).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4) / 127.5 - 1
    rows: list[Mapping[str, Any]] = [{"prompt": prompt} for prompt in prompts]
    return seal_images(folder, images, Outputs, task=TASK, rows=rows)


def test_rows_pair_by_number_and_those_that_passed_by_prompt(tmp_path: Path) -> None:
    clean = outputs(tmp_path / "clean", ["a", "b", "a", "c"])
    same = paired(outputs(tmp_path / "same", ["A", "B", "A", "C"], 9), clean)
    assert same is not None and torch.equal(same[1], paired(clean, clean)[0])  # type: ignore[index]
    passed = paired(outputs(tmp_path / "passed", ["b", "c"], 9), clean)
    assert passed is not None
    assert [round(float(value) * 127.5 + 127.5) for value in passed[1][:, 0, 0, 0]] == [1, 3]
    assert paired(outputs(tmp_path / "other", ["b", "d"], 9), clean) is None
