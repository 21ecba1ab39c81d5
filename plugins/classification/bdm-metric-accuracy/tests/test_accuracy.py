"""The shares, counted by hand."""

import numpy as np
import pytest
import torch
from scipy.stats import entropy

from bdm_core.records import Subject
from bdm_core.testing import MetricConformance
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.poison.secret import Backdoor, seal_secret
from bdm_kit_classification.predictions import seal_predictions
from bdm_kit_classification.training.fitting import Predictions
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.patch import square
from bdm_metric_accuracy.classes import by_class
from bdm_metric_accuracy.measure import measure
from bdm_metric_accuracy.said import Said


class TestAccuracy(MetricConformance):
    plugin = "accuracy"
    ideal = {"asr": 1.0, "recovered_accuracy": 0.0}


class TestTexts(MetricConformance):
    plugin = "accuracy"
    task = "text-classification"
    ideal = {"asr": 1.0, "recovered_accuracy": 0.0}


TRUE = [0, 1, 2, 3, 1]


def outputs(folder, said, true=TRUE):
    samples = LabelledSamples(
        torch.zeros(len(true)),
        torch.tensor(true),
        ["a", "b", "c", "d"],
        "image-classification",
        [{"id": row} for row in range(len(true))],
    )
    logits = torch.nn.functional.one_hot(torch.tensor(said), 4).float()
    return seal_predictions(folder, Predictions(logits, torch.zeros(len(said), 2)), samples)


@pytest.fixture
def numbers(tmp_path, bdm_bench):
    bench = bdm_bench("image-classification")

    def of(rule, clean, triggered, of=(TRUE, TRUE), before=(), negative=False, **more):
        folder = tmp_path / str(len(list(tmp_path.iterdir())))
        trigger = square([1, 8, 8], size=2, corner="centre", margin=0, value=1.0)
        examples = LabelledSamples(
            torch.zeros(1, 1, 8, 8, dtype=torch.uint8), torch.tensor([1]), list("abcd"), "image-classification"
        )
        subject = Subject(
            model=bench.model,
            on_clean=outputs(folder / "clean", clean, of[0]),
            on_triggered=outputs(folder / "triggered", triggered, of[1]),
            reference=bench.data,
            secret=seal_secret(folder / "secret", Backdoor(rule, trigger, trigger if negative else None), examples, 0),
            before=[outputs(folder / f"before{n}", said) for n, said in enumerate(before)],
            **{"role": "repaired", **more},
        )
        return {item.metric: (item.value, item.n) for item in measure(new_context(folder / "ctx"), subject)}

    return of


def test_all_to_one(numbers):
    found = numbers(LabelRule(kind="all-to-one", classes=4, target=0), [0, 1, 2, 0, 3], [0, 0, 0, 3, 2])
    assert found["accuracy"] == (3 / 5, 5)
    assert found["asr"] == (2 / 4, 4)
    assert found["asr_without_trigger"] == (1 / 4, 4)
    assert found["recovered_accuracy"] == (1 / 4, 4)
    assert "der" not in found


def test_classes_are_told_apart(tmp_path):
    rule = LabelRule(kind="all-to-one", classes=4, target=0)
    clean, before = (Said([*zip(said, TRUE, range(5), strict=True)]) for said in ([0, 1, 2, 0, 3], TRUE))
    triggered = Said([*zip([0, 0, 3, 1], TRUE[1:], range(1, 5), strict=True)])
    assert by_class(list("abcd"), rule, clean, triggered, before)["rows"] == [
        ["d", 1, 0.0, 1, 0.0, 1.0, 1.0],
        ["b", 2, 0.5, 2, 0.5, 0.5, 1.0],
        ["a", 1, 1.0, 0, None, None, 1.0],
        ["c", 1, 1.0, 1, 1.0, 0.0, 1.0],
    ]


def test_all_to_all(numbers):
    found = numbers(LabelRule(kind="all-to-all", classes=4), TRUE, [1, 2, 3, 0, 1])
    assert found["asr"] == (4 / 5, 5) and found["recovered_accuracy"] == (1 / 5, 5)


def test_source_specific(numbers):
    rule = LabelRule(kind="source-specific", classes=4, target=0, sources=(1,))
    assert numbers(rule, TRUE, [0, 0, 0, 0, 1])["asr"] == (1 / 2, 2)


def test_untargeted(numbers):
    assert numbers(LabelRule(kind="untargeted", classes=4), TRUE, [0, 1, 0, 0, 0])["asr"] == (3 / 5, 5)


def test_answers_of_untargeted_attacks_are_scattered(numbers):
    rule = LabelRule(kind="untargeted", classes=4)
    value, count = numbers(rule, TRUE, [1, 0, 0, 0, 3])["dispersibility"]
    assert count == 5 and value == pytest.approx(np.mean([0, entropy([1, 1]), 0, 0]), abs=1e-4)
    assert "dispersibility" not in numbers(LabelRule(kind="all-to-all", classes=4), TRUE, TRUE)


def test_changes_against_the_undefended_model(numbers):
    rule = LabelRule(kind="all-to-one", classes=4, target=0)
    found = numbers(rule, [0, 1, 2, 3, 0], [0, 1, 2, 0, 1], before=[TRUE, [0, 0, 0, 0, 0]])
    assert found["der"][0] == pytest.approx((3 / 4 - 1 / 5 + 1) / 2)
    assert found["rir"][0] == pytest.approx((3 / 4 - 1 / 5 + 1) / 2)


def test_what_is_turned_away_is_counted(numbers):
    """Of four eligible triggered samples two are rejected, and of the two that pass one is a success; a row of the
    target class that is rejected or passes changes nothing."""
    rule = LabelRule(kind="all-to-one", classes=4, target=0)
    gone = {"role": "purified", "rejected_clean": 2, "before": [TRUE, [0, 0, 0, 0, 0]]}
    for target, rejected in (([], 3), ([0], 2)):
        passed = [*target, 1, 2]
        found = numbers(
            rule, [1, 2, 3], [0] * len(target) + [0, 2], of=([1, 2, 3], passed), **gone, rejected_triggered=rejected
        )
        assert (
            found["accuracy"] == (1.0, 3) and found["asr"] == (1 / 4, 4) and found["recovered_accuracy"] == (1 / 2, 2)
        )
        assert found["der"][0] == pytest.approx((3 / 4 - 2 / 5 + 1) / 2)  # 3 of 5 clean samples are served and right
        assert found["rir"][0] == pytest.approx((1 / 4 - 2 / 5 + 1) / 2)


@pytest.mark.parametrize("role", ["backdoored", "repaired", "purified"])
def test_false_triggers_are_not_of_purified_inputs(numbers, role):
    """Its model is the undefended one, which would be asked about inputs that nothing purified."""
    rule = LabelRule(kind="all-to-one", classes=10, target=0)
    found = numbers(rule, TRUE, TRUE, negative=True, role=role)
    assert ("false_trigger_rate" in found) == (role != "purified")
