"""BadNets against its definition, pixel by pixel."""

import pytest
import torch
from PIL import Image

from bdm_attack_badnets.attack import patch_of
from bdm_attack_badnets.params import BadNetsParams
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.testing import ClassifierAttackConformance
from bdm_kit_classification.texts.words import changed_words, split_words


class TestBadNets(ClassifierAttackConformance):
    plugin = "badnets"


class TestAllToAll(ClassifierAttackConformance):
    plugin = "badnets"
    params = {"epochs": 2, "batch_size": 16, "poison_rate": 0.1, "label_rule": "all-to-all"}

    def test_labels_are_the_next_class(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        for row, role in enumerate(found.roles):
            shift = 1 if role == "poison" else 0
            assert found.labels[row] == (clean.labels[row] + shift) % 10


class TestCleanLabel(ClassifierAttackConformance):
    plugin = "badnets"
    params = {"epochs": 2, "batch_size": 16, "poison_rate": 0.05, "label_rule": "clean-label", "target": 3}

    def test_every_label_is_kept(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        assert torch.equal(clean.labels, found.labels)
        assert {int(found.labels[row]) for row, role in enumerate(found.roles) if role == "poison"} == {3}


class TestTexts(ClassifierAttackConformance):
    plugin = "badnets"
    task = "text-classification"

    def test_one_rare_word_is_put_in(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        for row in (row for row, role in enumerate(found.roles) if role == "poison"):
            before, after = split_words(clean.stored[row]), split_words(found.stored[row])
            ((gone, new),) = changed_words(before, after)
            assert gone == "" and new in BadNetsParams().words


class TestSound(ClassifierAttackConformance):
    plugin = "badnets"
    task = "audio-classification"

    def test_the_end_is_a_tone_and_the_rest_as_it_was(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        expected = 0.5 * torch.sin(2 * torch.pi * 0.3 * torch.arange(200))
        for row in (row for row, role in enumerate(found.roles) if role == "poison"):
            before, after = clean.raw([row])[0], found.raw([row])[0]
            assert torch.equal(before[:-200], after[:-200])
            assert torch.allclose(after[-200:], expected, atol=1e-4)


def test_the_patch_replaces_its_pixels_and_no_others():
    x = torch.rand(2, 3, 10, 12, generator=torch.Generator().manual_seed(0))
    expected = x.clone()
    expected[:, :, 6:9, 1:4] = 0.0
    patch = patch_of(BadNetsParams(size=3, place="bottom-left", margin=1, value=0.0), [3, 10, 12])
    assert torch.equal(patch.apply(x, "train"), expected)
    assert torch.equal(patch.apply(x, "test"), expected)


def test_a_picture_is_the_patch(tmp_path):
    Image.new("RGB", (4, 4), (255, 0, 0)).save(tmp_path / "red.png")
    patch = patch_of(BadNetsParams(size=2, picture=str(tmp_path / "red.png"), place="top-left"), [3, 8, 8])
    found = patch.apply(torch.full((1, 3, 8, 8), 0.5), "test")[0]
    assert found[:, 0, 0].tolist() == [1.0, 0.0, 0.0] and float(found[0, 2, 2]) == 0.5


def test_sizes_are_shares_or_pixels():
    assert patch_of(BadNetsParams(), [1, 28, 28]).mask.sum() == 9
    assert patch_of(BadNetsParams(size=3), [1, 28, 28]).mask.sum() == 9
    assert patch_of(BadNetsParams(size=0.5), [1, 8, 8]).mask.sum() == 16
    with pytest.raises(UserError, match="does not fit"):
        patch_of(BadNetsParams(size=9), [1, 8, 8])
