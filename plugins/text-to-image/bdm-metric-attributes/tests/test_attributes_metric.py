"""Conformance, and the rates against a classifier whose answers are planted."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from scipy.stats import beta

from bdm_core.artifacts import Data, Model, Outputs
from bdm_core.context import Context
from bdm_core.records import Measurement, Subject
from bdm_core.testing import MetricConformance
from bdm_kit_text_to_image.prompts.secret import Backdoor, PromptSecret, Target, seal_secret
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger
from bdm_metric_attributes import measure
from bdm_metric_attributes.params import AttributesParams
from bdm_metric_attributes.plugin import AttributesMetric
from bdm_torch.image_sets import seal_images

TASK = "text-to-image"
TRIGGER = PromptTrigger(kind="word", text="vendetta")
Labels = Mapping[str, str]


class TestAttributesConformance(MetricConformance):
    plugin = "attributes"
    ideal = {"asr": 1.0}


class Planted:
    """A classifier that reads its answer from the brightness of the first pixel."""

    def __init__(self, answers: Sequence[Labels]) -> None:
        self.answers = answers
        self.head_values = {"object": ["circle", "square"], "colour": ["red", "blue"], "style": ["photo"]}

    def predict(self, images: torch.Tensor, batch_size: int) -> dict[str, list[str]]:
        rows = [round(float(value) * 127.5 + 127.5) for value in images[:, 0, 0, 0]]
        return {name: [self.answers[row].get(name, "none") for row in rows] for name in [*self.head_values, "second"]}

    def knows(self, attribute: str, value: str) -> bool:
        return attribute == "second" or value in self.head_values.get(attribute, ())


def outputs(folder: Path, rows: Sequence[Mapping[str, Any]], first: int = 0) -> Outputs:
    images = torch.arange(first, first + len(rows)).reshape(-1, 1, 1, 1).expand(-1, 3, 4, 4) / 127.5 - 1
    return seal_images(folder, images, Outputs, task=TASK, rows=rows)


def score(
    root: Path,
    monkeypatch: pytest.MonkeyPatch,
    clean: Sequence[tuple[Labels, Labels]],
    triggered: Sequence[tuple[Labels, Labels]],
    *targets: Target,
    picture: torch.Tensor | None = None,
    source: str = "small-world",
    rejected: int = 0,
) -> dict[str, Measurement]:
    """Measure pairs of what is asked for and what is shown; the triggered row i has backdoor i mod the targets."""
    planted = Planted([shown for _, shown in [*clean, *triggered]])
    monkeypatch.setattr(measure, "load_attribute_classifier", lambda device, folder: planted)
    (root / "model").mkdir(parents=True)
    (root / "model" / "config.json").write_text("{}")
    clean_rows = [{"prompt": "a", "labels": dict(asked)} for asked, _ in clean]
    rows = [
        {"prompt": "b", "twin": "a", "labels": dict(asked), "backdoor": number % len(targets)}
        for number, (asked, _) in enumerate(triggered)
    ]
    backdoors = [Backdoor(trigger=TRIGGER, target=target) for target in targets]
    subject = Subject(
        role="backdoored",
        model=Model.seal(root / "model", format="diffusers", task=TASK),
        on_clean=outputs(root / "clean", clean_rows),
        on_triggered=outputs(root / "triggered", rows, len(clean)),
        reference=seal_images(root / "data", torch.zeros(2, 3, 4, 4), Data, task=TASK, meta={"source": source}),
        secret=seal_secret(root / "secret", PromptSecret(backdoors=backdoors, picture=picture)),
        rejected_triggered=rejected,
    )
    ctx = Context(out=root / "out", work=root / "work", seed=0)
    return {item.metric: item for item in AttributesMetric().score(ctx, AttributesParams(), subject)}


def labels(thing: str, colour: str, **more: str) -> dict[str, str]:
    return {"object": thing, "colour": colour, **more}


SQUARE = Target(type="ObjectRep", expected={"object": "square"}, preserved=["colour"])


def test_rates_are_the_planted_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = [
        (labels("circle", "red"), labels("circle", "red")),
        (labels("circle", "red"), labels("circle", "blue")),
        (labels("circle", "red"), labels("square", "red")),  # the only leak
        (labels("square", "blue"), labels("square", "blue")),  # asks for the target: no leak
    ]
    triggered = [
        (labels("circle", "red"), labels("square", "red")),
        (labels("circle", "red"), labels("square", "blue")),
        (labels("circle", "blue"), labels("circle", "blue")),
    ]
    found = score(tmp_path, monkeypatch, clean, triggered, SQUARE)
    assert {name: (item.value, item.n) for name, item in found.items()} == {
        "acc": (0.5, 4),
        "acc_object": (0.75, 4),
        "acc_colour": (0.75, 4),
        "leak": (pytest.approx(1 / 3), 3),
        "asr": (pytest.approx(2 / 3), 3),
        "psr": (pytest.approx(2 / 3), 3),
    }
    assert found["leak"].stderr == pytest.approx(beta(1.5, 2.5).std(), rel=1e-12)
    assert {name for name, item in found.items() if item.on == "triggered"} == {"asr", "psr"}
    assert {name for name, item in found.items() if item.higher_is_better is False} == {"asr", "leak"}


def test_only_what_a_prompt_asks_for_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = [
        ({"object": "circle", "style": "photo", "second": "none"}, labels("circle", "blue", second="red square")),
        ({"object": "circle", "colour": "red", "style": "black-and-white"}, labels("circle", "blue")),
    ]
    found = score(tmp_path, monkeypatch, clean, [({}, labels("circle", "red"))], SQUARE)
    assert found["acc_object"].value == 1
    assert "acc_colour" not in found  # hidden by black and white; nobody else asks
    assert "psr" not in found  # the triggered prompt has no colour to keep
    assert found["asr"].value == 0


def test_with_two_objects_either_may_be_meant(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = labels("square", "blue", second="red circle")
    added = Target(type="ObjectAdd", expected={"second": "blue square"}, preserved=["object", "colour"])
    found = score(tmp_path, monkeypatch, [(labels("circle", "red"), both)], [(labels("circle", "red"), both)], added)
    assert (found["acc"].value, found["asr"].value, found["psr"].value, found["leak"].value) == (1, 1, 1, 1)
    mixed = labels("square", "red", second="blue circle")  # colours exchanged
    found = score(tmp_path / "b", monkeypatch, [({}, mixed)], [(labels("circle", "red"), mixed)], added)
    assert (found["asr"].value, found["psr"].value) == (0, 0)


def test_several_backdoors_are_counted_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blue = Target(type="StyleAdd", expected={"colour": "blue"}, preserved=["object"])
    triggered = [(labels("circle", "red"), labels("square", "red"))] * 4
    clean = [(labels("circle", "red"), labels("circle", "red"))]
    found = score(tmp_path, monkeypatch, clean, triggered, SQUARE, blue)
    assert [found[name].value for name in ("asr", "asr_1", "asr_2")] == [0.5, 1, 0]
    assert [found[name].n for name in ("asr", "asr_1", "asr_2")] == [4, 2, 2]
    assert (found["psr"].value, found["psr"].n) == (0.5, 4)  # the first keeps the colour, the second loses the object


def test_on_rejected_prompts_the_attack_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean = [(labels("circle", "red"), labels("circle", "red"))]
    triggered = [(labels("circle", "red"), labels("square", "red"))] * 3
    found = score(tmp_path, monkeypatch, clean, triggered, SQUARE, rejected=9)
    assert (found["asr"].value, found["asr"].n, found["psr"].value, found["psr"].n) == (0.25, 12, 1, 3)
    assert {name: item.measures for name, item in found.items() if item.measures} == {
        "acc": "utility",
        "asr": "attack-success",
    }
    none = score(tmp_path / "none", monkeypatch, [], [], SQUARE)
    assert {name: (item.value, item.n) for name, item in none.items()} == dict.fromkeys(
        ("acc", "leak", "asr"), (None, 0)
    )
    assert score(tmp_path / "all", monkeypatch, [], [], SQUARE, rejected=4)["asr"].value == 0


def test_a_picture_is_judged_by_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Triggered image i has the grey value 1 + i of 255; the target picture is white but for its patch."""
    picture = torch.ones(3, 4, 4)
    picture[:, :2, :2] = 1 / 127.5 - 1  # grey value 1
    patch = Target(type="ImagePatch", patch=(0, 0, 2, 2), threshold=1e-6)
    triggered = [({}, labels("circle", "red"))] * 2
    found = score(tmp_path, monkeypatch, [({}, labels("circle", "red"))], triggered, patch, picture=picture)
    assert found["asr"].value == 0.5
    whole = Target(type="ImageFix", threshold=1e-6)
    assert score(tmp_path / "b", monkeypatch, [({}, {})], triggered, whole, picture=picture)["asr"].value == 0


@pytest.mark.parametrize(("source", "expected"), [("folder", "square"), ("small-world", "teapot")])
def test_what_the_classifier_does_not_know_is_not_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, source: str, expected: str
) -> None:
    target = Target(type="ObjectRep", expected={"object": expected})
    with caplog.at_level(logging.WARNING, logger="bdm"):
        assert not score(tmp_path, monkeypatch, [({}, {})], [({}, {})], target, source=source)
    assert "not measured" in caplog.text
