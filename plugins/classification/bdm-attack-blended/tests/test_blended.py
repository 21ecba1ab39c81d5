"""Blended against the closed form."""

import numpy as np
import pytest
import torch
from PIL import Image

from bdm_core.discovery.candidates import find
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import open_secret, read_backdoor
from bdm_kit_classification.sounds.files import write_wav
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestBlended(ClassifierAttackConformance):
    plugin = "blended"

    def test_poisoned_rows_are_the_mix_at_eight_bits(self, bench):
        pattern = open_secret(self.backdoored(bench).secret).trigger.pattern
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        for row, role in enumerate(found.roles):
            mixed = 0.8 * clean.raw([row])[0] + 0.2 * pattern if role == "poison" else clean.raw([row])[0]
            assert (found.raw([row])[0] - mixed).abs().max() <= 0.5 / 255 + 1e-6


class TestSound(ClassifierAttackConformance):
    plugin = "blended"
    task = "audio-classification"

    def test_poisoned_rows_are_the_mix(self, bench):
        pattern = open_secret(self.backdoored(bench).secret).trigger.pattern
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        assert float(pattern.min()) < -0.9 and float(pattern.max()) > 0.9
        for row in (row for row, role in enumerate(found.roles) if role == "poison"):
            mixed = 0.7 * clean.raw([row])[0] + 0.3 * pattern
            assert (found.raw([row])[0] - mixed).abs().max() <= 0.5 / 32767 + 1e-6


def test_a_recording_is_mixed_in(tmp_path, bdm_bench):
    write_wav(tmp_path / "loud.wav", np.full(16_000, 32767, dtype=np.int16), 16_000)
    bench = bdm_bench("audio-classification")
    plugin = find("attack", "blended", "audio-classification").load()
    options = {"recording": str(tmp_path / "loud.wav"), "test_opacity": 0.4, "sound_factor": 1.0, "poison_rate": 0.1}
    data = bench.call("poison_data", [plugin], plugin.Params(**options), data=bench.data).value
    found = read_backdoor(data).trigger.apply(torch.zeros(1, 4000), "test")
    assert torch.allclose(found[:, 100:-100], torch.tensor(0.4), atol=1e-3)
    write_wav(tmp_path / "loud.wav", np.zeros(16_000, dtype=np.int16), 16_000)
    with pytest.raises(UserError, match=r"loud.wav is silent where it would be mixed in: give another"):
        bench.call("poison_data", [plugin], plugin.Params(**options), data=bench.data)


def test_opacities_and_picture(tmp_path, bdm_bench):
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    bench = bdm_bench("image-classification")
    plugin = find("attack", "blended", "image-classification").load()
    options = {"picture": str(tmp_path / "white.png"), "train_opacity": 0.1, "test_opacity": 0.4, "poison_rate": 0.1}
    data = bench.call("poison_data", [plugin], plugin.Params(**options), data=bench.data).value
    trigger = read_backdoor(data).trigger
    for phase, opacity in (("train", 0.1), ("test", 0.4)):
        assert torch.allclose(trigger.apply(torch.zeros(1, 1, 8, 8), phase), torch.tensor(opacity))
