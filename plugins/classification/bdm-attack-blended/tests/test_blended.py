"""Blended against the closed form."""

import torch
from PIL import Image

from bdm_core.discovery.candidates import find
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import open_secret, read_backdoor
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestBlended(ClassifierAttackConformance):
    plugin = "blended"

    def test_poisoned_rows_are_the_mix_at_eight_bits(self, bench):
        pattern = open_secret(self.backdoored(bench).secret).trigger.pattern
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        for row, role in enumerate(found.roles):
            mixed = 0.8 * clean.raw([row])[0] + 0.2 * pattern if role == "poison" else clean.raw([row])[0]
            assert (found.raw([row])[0] - mixed).abs().max() <= 0.5 / 255 + 1e-6


def test_opacities_and_picture(tmp_path, bdm_bench):
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    bench = bdm_bench("image-classification")
    plugin = find("attack", "blended", "image-classification").load()
    options = {"picture": str(tmp_path / "white.png"), "train_opacity": 0.1, "test_opacity": 0.4, "poison_rate": 0.1}
    data = bench.call("poison_data", [plugin], plugin.Params(**options), data=bench.data).value
    trigger = read_backdoor(data).trigger
    for phase, opacity in (("train", 0.1), ("test", 0.4)):
        assert torch.allclose(trigger.apply(torch.zeros(1, 1, 8, 8), phase), torch.tensor(opacity))
