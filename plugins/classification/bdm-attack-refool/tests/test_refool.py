"""Refool against SciPy's Gaussian blur, two pulses by hand, and the closed form of the mix."""

from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import gaussian_filter

from bdm_attack_refool import selection
from bdm_attack_refool.attack import DARKEST, Reflection, ghost, out_of_focus
from bdm_attack_refool.params import RefoolParams
from bdm_attack_refool.pictures import drawn_pictures
from bdm_attack_refool.plugin import Refool
from bdm_core.discovery.candidates import find
from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import open_secret, read_backdoor
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.triggers.label_rule import LabelRule


class TestRefool(ClassifierAttackConformance):
    plugin = "refool"


class TestCleanLabel(ClassifierAttackConformance):
    plugin = "refool"
    params = {"epochs": 2, "batch_size": 16, "poison_rate": 0.05, "count": 8, "label_rule": "clean-label", "target": 3}


class TestSelection(ClassifierAttackConformance):
    plugin = "refool"
    params = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1, "count": 6, "selection_rounds": 2, "kept": 2}

    def test_the_best_of_the_candidates_are_kept(self, bench):
        backdoor = open_secret(self.backdoored(bench).secret)
        found, all_of_them = backdoor.trigger.pictures, drawn_pictures(6, (1, 8, 8), 1)
        assert len(found) == 2 == len(backdoor.facts["reflections lead to the target"])
        assert all(any(torch.equal(one, other) for other in all_of_them) for one in found)


def bright_is_class_1(x):
    """Logits of a model that says class 1 of pictures that are bright on the whole."""
    return torch.stack([torch.full((len(x),), 0.5), x.mean((1, 2, 3))], 1)


def test_pictures_that_lead_to_the_target_win(tmp_path, bdm_bench, monkeypatch):
    """Candidates 1 and 4 are white, and the model of each round says the target of bright pictures."""
    samples = open_samples(bdm_bench("image-classification").data)
    dark = samples.changed(range(len(samples)), torch.zeros(len(samples), 1, 8, 8))
    pictures = torch.zeros(6, 1, 8, 8, dtype=torch.uint8)
    pictures[[1, 4]] = 255
    bright_is_class_1.device = torch.device("cpu")
    seen = []

    def trained(ctx, rows, params, label):
        seen.append(rows)
        return bright_is_class_1

    monkeypatch.setattr(selection, "train_surrogate", trained)
    params = RefoolParams(selection_rounds=6, kept=2, poison_rate=0.1, target=1)
    rule = LabelRule(kind="all-to-one", classes=10, target=1)
    make = partial(Reflection, opacity=0.8, ghost_share=0.5, blur=1.0, shift=2, gamma=1.0)
    best, reached = selection.best_pictures(new_context(tmp_path), params, dark, rule, pictures, make)
    assert torch.equal(best, pictures[[1, 4]]) and reached == [8, 8]  # a fifth of 40 rows
    assert {len(rows) for rows in seen} == {32}, "held-out rows are not trained on"


def test_weights_are_counts_and_medians():
    found = selection.new_weights(5, torch.tensor([4, 1, 2]), torch.tensor([0.0, 9.0, 3.0]))
    assert torch.allclose(found, torch.tensor([3.0, 9.0, 3.0, 3.0, 0.0]), atol=2e-3) and float(found.min()) > 0


def test_out_of_focus_is_a_gaussian_blur_of_its_own_for_each_picture():
    x = torch.rand(2, 3, 20, 24, generator=torch.Generator().manual_seed(0))
    blurred = out_of_focus(x, torch.tensor([0.8, 1.6]))
    for picture, deviation in enumerate((0.8, 1.6)):
        for channel in range(3):
            reach = 5  # as many pixels for both, of the wider one
            expected = gaussian_filter(x[picture, channel].double().numpy(), deviation, mode="nearest", radius=reach)
            assert np.allclose(blurred[picture, channel].numpy(), expected, atol=1e-5)


def test_a_ghost_is_two_pulses():
    x = torch.zeros(1, 1, 6, 6)
    x[0, 0, 1, 2] = 1.0
    found = ghost(x, torch.tensor([0.3]), torch.tensor([[3, 2]]))[0, 0]
    assert float(found[1, 2]) == pytest.approx(0.3) and float(found[4, 4]) == pytest.approx(0.7)
    assert float(found.sum()) == pytest.approx(1.0)


def test_the_papers_picture_keeps_four_tenths_of_the_light():
    found = Refool.presets["paper"]
    trigger = Reflection(torch.zeros(1, 1, 8, 8, dtype=torch.uint8), found["opacity"], 0.5, 1.0, 2, found["gamma"])
    left = trigger.apply(torch.ones(4, 1, 8, 8), "test", torch.Generator().manual_seed(0))
    assert torch.allclose(left, torch.tensor(0.4 ** (1 / 2.2)), atol=1e-5)


@pytest.mark.parametrize("gamma", [1.0, 2.2])
def test_flat_pictures_mix_as_light(gamma):
    trigger = Reflection(torch.full((1, 1, 8, 8), 204, dtype=torch.uint8), 0.25, 0.5, 1.0, 2, gamma)
    found = trigger.apply(torch.full((6, 1, 8, 8), 0.4), "test", torch.Generator().manual_seed(0))
    expected = max(0.75 * 0.4**gamma + 0.25 * 0.8**gamma, DARKEST) ** (1 / gamma)
    assert torch.allclose(found, torch.tensor(expected), atol=1e-5)


def test_pictures_and_kernels_differ_from_sample_to_sample():
    trigger = Reflection(drawn_pictures(16, (3, 16, 16), 0), 0.4, 0.5, 1.5, 2, 1.0)
    found = trigger.apply(torch.zeros(12, 3, 16, 16), "train", torch.Generator().manual_seed(0))
    assert len(found.flatten(1).unique(dim=0)) == 12


def test_pictures_of_a_folder(tmp_path, bdm_bench):
    (tmp_path / "pool").mkdir()
    Image.new("RGB", (40, 30), (255, 255, 255)).save(tmp_path / "pool/white.png")
    bench = bdm_bench("image-classification")
    plugin = find("attack", "refool", "image-classification").load()
    params = plugin.Params(pictures=str(tmp_path / "pool"), opacity=0.5)
    trigger = read_backdoor(bench.call("poison_data", [plugin], params, data=bench.data).value).trigger
    assert torch.allclose(trigger.apply(torch.zeros(2, 1, 8, 8), "test", torch.Generator()), torch.tensor(0.5))
    with pytest.raises(UserError):
        bench.call("poison_data", [plugin], plugin.Params(pictures=str(tmp_path / "none")), data=bench.data)
