"""Wrong labels that an attack writes over are not counted any more."""

import logging

import pytest
import torch

from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.noise.drawing import add_noise, realised
from bdm_kit_classification.noise.params import NoiseParams
from bdm_kit_classification.poison.params import PoisonParams
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.poison.secret import read_backdoor
from bdm_kit_classification.triggers.patch import square

WHITE = square((1, 8, 8), size=2, corner="top-left", margin=0, value=1.0)


def poisoned(folder, rule, who, **more):
    rows = LabelledSamples(
        torch.zeros(200, 1, 8, 8, dtype=torch.uint8), torch.arange(200) % 4, list("abcd"), "image-classification"
    )
    noisy = add_noise(rows, NoiseParams(label_noise="uniform", label_noise_rate=0.5, noise_rows=who), 0)
    data = seal_samples(folder / "clean", noisy)
    params = PoisonParams(poison_rate=0.2, label_rule=rule, **more)
    return rows, poison_training_rows(new_context(folder / "poison"), params, data, WHITE)


@pytest.mark.parametrize("who", ["all", "poisoned"])
@pytest.mark.parametrize(("rule", "more"), [("all-to-one", {}), ("source-specific", {"sources": [1, 2]})])
def test_a_target_that_is_written_over_a_wrong_label_ends_its_noise(tmp_path, caplog, who, rule, more):
    with caplog.at_level(logging.WARNING, logger="bdm"):
        rows, sealed = poisoned(tmp_path, rule, who, **more)
    done = open_samples(sealed)
    for row, (role, fact) in enumerate(zip(done.roles, done.facts, strict=True)):
        if role == "poison":
            assert "label_noise" not in fact and int(done.labels[row]) == 0
            assert fact.get("true_label", 0) == int(rows.labels[row])
    counts = sealed.meta["noise"]["label_noise"]
    assert counts == read_backdoor(sealed).facts["noise"]["label_noise"] and counts["kind"] == "uniform"
    assert counts["poisoned"] == {"rows": 40, "noisy": 0, "rate": 0}
    wrong = sum("label_noise" in fact for fact in done.facts)
    assert counts["all"]["noisy"] == counts["clean"]["noisy"] == wrong and bool(wrong) == (who == "all")
    assert [record.message for record in caplog.records if "label_noise does nothing on" in record.message]


@pytest.mark.parametrize("rule", ["clean-label", "all-to-all"])
def test_labels_that_an_attack_keeps_or_starts_from_stay_noisy(tmp_path, caplog, rule):
    with caplog.at_level(logging.WARNING, logger="bdm"):
        _, sealed = poisoned(tmp_path, rule, "poisoned")
    done = open_samples(sealed)
    own = ["label_noise" in fact for fact, role in zip(done.facts, done.roles, strict=True) if role == "poison"]
    assert sum(own) > 5 and sealed.meta["noise"] == realised(done)
    assert sealed.meta["noise"]["label_noise"]["poisoned"]["noisy"] == sum(own)
    assert "label_noise does nothing" not in caplog.text
