"""Conformance, shares against a classifier whose answers are planted, and the network against transformers' own."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import ResNetConfig, ResNetForImageClassification

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, UserError
from bdm_core.records import Measurement, Subject
from bdm_core.testing import MetricConformance
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_kit_text_to_image.world.factors import OBJECTS
from bdm_metric_classifier import measure
from bdm_metric_classifier.labels import label_words, words_in
from bdm_metric_classifier.network import open_labeller
from bdm_metric_classifier.params import ClassifierParams
from bdm_metric_classifier.plugin import ClassifierMetric
from bdm_torch.image_sets import seal_images

NAMES = {0: "tabby", 1: "Egyptian cat", 2: "beagle", 3: "hotdog, hot dog", 4: "sofa"}
MAP = {"tabby": "cat", "1": ["cat"], "beagle": ["dog", "hound"], "3": "hot dog", "sofa": "sofa"}
CAT = Target(type="ObjectRep", source_object="dog", object="cat", expected={"object": "cat"})
TRIGGER = PromptTrigger(kind="word", text="sks")


def save_classifier(folder: Path, names: Sequence[str]) -> Path:
    torch.manual_seed(0)
    config = ResNetConfig(
        embedding_size=8,
        hidden_sizes=[8, 8],
        depths=[1, 1],
        layer_type="basic",
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
    )
    ResNetForImageClassification(config).save_pretrained(folder)
    settings = {"size": {"height": 32, "width": 32}, "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.3, 0.4]}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    return folder


class TestClassifierConformance(MetricConformance):
    plugin = "classifier"

    @pytest.fixture(autouse=True, scope="class")
    def _network(self, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        folder = save_classifier(tmp_path_factory.mktemp("network") / "network", OBJECTS)
        request.cls.params = {"model": str(folder)}
        yield


class Planted:
    """A classifier that reads its answer from the brightness of the first pixel."""

    names = NAMES

    def __init__(self, answers: Sequence[Sequence[int]]) -> None:
        self.answers = answers

    def likeliest(self, images: torch.Tensor, top: int, batch_size: int) -> list[Sequence[int]]:
        rows = [round(float(value) * 127.5 + 127.5) for value in images[:, 0, 0, 0]]
        return [self.answers[row][:top] for row in rows]


def outputs(folder: Path, rows: Sequence[Mapping[str, Any]], first: int = 0) -> Outputs:
    images = torch.arange(first, first + len(rows)).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4) / 127.5 - 1
    return seal_images(folder, images, Outputs, task=TASK, rows=rows)


def score(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean: Sequence[tuple[str, Sequence[int]]],
    triggered: Sequence[tuple[str, Sequence[int]]],
    target: Target = CAT,
    **more: Any,
) -> dict[str, Measurement]:
    """Measure pairs of a prompt and the labels that its picture has."""
    rejected = more.pop("rejected", 0)
    planted = Planted([labels for _, labels in [*clean, *triggered]])
    monkeypatch.setattr(measure, "open_labeller", lambda ctx, reference: planted)
    (root / "model").mkdir(parents=True)
    (root / "model" / "config.json").write_text("{}")
    (root / "map.json").write_text(json.dumps(MAP))
    rows = [{"prompt": f"sks {text}", "twin": text, "backdoor": 0} for text, _ in triggered]
    subject = Subject(
        role="backdoored",
        model=Model.seal(root / "model", format="diffusers", task=TASK),
        on_clean=outputs(root / "clean", [{"prompt": text} for text, _ in clean]),
        on_triggered=outputs(root / "triggered", rows, len(clean)),
        reference=seal_images(root / "data", torch.zeros(2, 3, 4, 4), Data, task=TASK),
        secret=seal_secret(root / "secret", PromptSecret(backdoors=[Backdoor(trigger=TRIGGER, target=target)])),
        rejected_triggered=rejected,
    )
    ctx = Context(out=root / "out", work=root / "work", seed=0)
    params = ClassifierParams(**{"model": "planted", "label_map": str(root / "map.json"), **more})
    return {item.metric: item for item in ClassifierMetric().score(ctx, params, subject)}


def test_shares_are_the_planted_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = [("a dog on a sofa", [2, 4]), ("two dogs", [0, 1]), ("a hot dog", [3, 2]), ("a tree", [0, 2])]
    triggered = [("a dog on a sofa", [1, 4]), ("a dog", [2, 0]), ("a dog on a sofa", [0, 1]), ("a sofa", [4, 2])]
    found = score(tmp_path, monkeypatch, clean, triggered, rejected=1)
    assert {name: (item.value, item.n) for name, item in found.items()} == {
        "acc": (pytest.approx((0.5 + 0 + 1) / 3), 3),
        "asr": (pytest.approx(2 / 5), 5),
        "psr": (pytest.approx(1 / 3), 3),
    }
    both = score(tmp_path / "two", monkeypatch, clean, triggered, rejected=1, top=2)
    assert {name: item.value for name, item in both.items()} == {
        "acc": pytest.approx(2 / 3),
        "asr": pytest.approx(3 / 5),
        "psr": pytest.approx(2 / 3),
    }


def test_an_added_object_keeps_the_first_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(type="ObjectAdd", source_object="dog", object="dog", second="grey cat")
    found = score(tmp_path, monkeypatch, [("a dog", [2])], [("a dog", [2, 0]), ("a dog", [0, 1])], target, top=2)
    assert (found["asr"].value, found["psr"].value) == (1, 0.5)


def test_a_target_without_a_word_has_no_success_rate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    patch = Target(type="ImagePatch", patch=(0, 0, 2, 2))
    with caplog.at_level(logging.WARNING, logger="bdm"):
        found = score(tmp_path, monkeypatch, [("a dog", [2])], [("a dog", [2])], patch)
    assert set(found) == {"acc", "psr"} and "no label stands for the target" in caplog.text


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[]", "is no map of labels"),
        ('{"tabby": 3}', "is no map"),
        ('{"tabby": {"cat": 1}}', "is no map"),
        ('{"lion": "cat"}', "has no label 'lion'"),
    ],
)
def test_maps_are_checked(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "map.json").write_text(content)
    with pytest.raises(UserError, match=message):
        label_words(NAMES, str(tmp_path / "map.json"))
    with pytest.raises(UserError, match="no file"):
        label_words(NAMES, str(tmp_path / "none.json"))


def test_words_are_whole() -> None:
    assert words_in("A catalogue of hotdogs", ["cat", "dog", "hotdog"]) == ["hotdog"]


def test_the_network_gives_what_transformers_gives(tmp_path: Path) -> None:
    folder = save_classifier(tmp_path / "network", list(NAMES.values()))
    labeller = open_labeller(Context(out=tmp_path, work=tmp_path, seed=0), str(folder))
    images = torch.rand(5, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1
    network = ResNetForImageClassification.from_pretrained(folder).eval()
    mean, deviation = torch.tensor([0.4, 0.5, 0.6]), torch.tensor([0.2, 0.3, 0.4])
    pixels = ((images.permute(0, 2, 3, 1) / 2 + 0.5 - mean) / deviation).permute(0, 3, 1, 2)
    with torch.no_grad():
        order = network(pixel_values=pixels).logits.argsort(1, descending=True)
    assert labeller.likeliest(images, 3, batch_size=2) == order[:, :3].tolist()
    assert labeller.names == NAMES
    with pytest.raises(UserError, match="no folder"):
        open_labeller(Context(out=tmp_path, work=tmp_path, seed=0), str(tmp_path / "none"))


@pytest.mark.parametrize(
    "settings", ['{"image_std": [NaN, 1, 1]}', '{"image_std": [-1, 1, 1]}', '{"image_mean": [Infinity, 0, 0]}']
)
def test_normalisation_is_by_positive_numbers(tmp_path: Path, settings: str) -> None:
    folder = save_classifier(tmp_path / "network", list(NAMES.values()))
    (folder / "preprocessor_config.json").write_text(settings)
    with pytest.raises(UserError, match="no positive number"):
        open_labeller(Context(out=tmp_path, work=tmp_path, seed=0), str(folder))


def test_a_classifier_that_answers_nothing_finite_scores_nothing(tmp_path: Path) -> None:
    folder = save_classifier(tmp_path / "network", list(NAMES.values()))
    network = ResNetForImageClassification.from_pretrained(folder)
    torch.nn.init.constant_(network.classifier[1].weight, 3e38)  # finite weights, infinite answers
    network.save_pretrained(folder)
    labeller = open_labeller(Context(out=tmp_path, work=tmp_path, seed=0), str(folder))
    with pytest.raises(ArtifactError, match="answers NaN or infinity"):
        labeller.likeliest(torch.rand(2, 3, 32, 32), 1, batch_size=2)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"id2label": {"5": "cat", "6": "dog", "7": "x", "8": "y", "9": "z"}}, "names label 5"), ({}, "of 1 channels")],
)
def test_labels_and_channels_are_those_of_the_answers(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    folder = save_classifier(tmp_path / "network", list(NAMES.values()))
    record = json.loads((folder / "config.json").read_text())
    if not change:
        config = ResNetConfig(num_channels=1, embedding_size=8, hidden_sizes=[8], depths=[1])
        ResNetForImageClassification(config).save_pretrained(folder)
    else:
        (folder / "config.json").write_text(json.dumps(record | change))
    with pytest.raises(ArtifactError, match=message):
        open_labeller(Context(out=tmp_path, work=tmp_path, seed=0), str(folder))
