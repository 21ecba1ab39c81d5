"""Adaptive-Blend against its formula, tile by tile."""

import pytest
import torch
from PIL import Image

from bdm_attack_adaptive_blend.attack import Pieces
from bdm_core.discovery.candidates import find
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import read_backdoor
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestAdaptiveBlend(ClassifierAttackConformance):
    plugin = "adaptive-blend"

    def test_covers_have_the_trigger_and_their_own_label(self, bench):
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        covers = [row for row, role in enumerate(found.roles) if role == "cover"]
        assert len(covers) == 2 and found.roles.count("poison") == 4
        assert torch.equal(clean.labels[covers], found.labels[covers])
        assert (clean.raw(covers) != found.raw(covers)).flatten(1).any(1).all()


def test_half_of_the_tiles_are_blended_in_training_and_all_at_test():
    pattern = torch.rand(3, 8, 12, generator=torch.Generator().manual_seed(0))
    x = torch.rand(5, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    trigger = Pieces(pattern, tiles=4, kept=8, train_opacity=0.1, test_opacity=0.4)
    assert torch.allclose(trigger.apply(x, "test"), 0.6 * x + 0.4 * pattern)
    found = trigger.apply(x, "train", torch.Generator().manual_seed(2))
    seen = []
    for picture in range(5):
        tiles = []
        for row in range(4):
            for column in range(4):
                here = (picture, slice(None), slice(2 * row, 2 * row + 2), slice(3 * column, 3 * column + 3))
                if not torch.equal(found[here], x[here]):
                    assert torch.allclose(found[here], 0.9 * x[here] + 0.1 * pattern[here[1:]], atol=1e-6)
                    tiles.append((row, column))
        assert len(tiles) == 8
        seen.append(tuple(tiles))
    assert len(set(seen)) == 5, "all pictures got the same tiles"


def test_every_tile_is_drawn_equally_often():
    masks = Pieces(torch.zeros(1, 7, 7), 3, 3, 0.1, 0.2).pieces(3000, 7, 7, torch.Generator().manual_seed(0))
    assert torch.allclose(masks.mean(0), torch.tensor(1 / 3), atol=0.04)


def test_picture_and_limits(tmp_path, bdm_bench):
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    bench = bdm_bench("image-classification")
    plugin = find("attack", "adaptive-blend", "image-classification").load()
    params = plugin.Params(picture=str(tmp_path / "white.png"), test_opacity=0.5)
    trigger = read_backdoor(bench.call("poison_data", [plugin], params, data=bench.data).value).trigger
    assert torch.allclose(trigger.apply(torch.zeros(1, 1, 8, 8), "test"), torch.tensor(0.5))
    with pytest.raises(UserError, match="9 pieces a side are more than 8x8"):
        bench.call("poison_data", [plugin], plugin.Params(tiles=9), data=bench.data)
