"""DABA: loudness in closed form, the pool against a ranking by hand, and sounds where they should be in frequency."""

import numpy as np
import pytest
import torch

from bdm_attack_daba.attack import Opportunistic, candidates, least_heard
from bdm_attack_daba.everyday import SOUNDS
from bdm_attack_daba.params import DabaParams
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.sounds.files import write_wav
from bdm_kit_classification.testing import ClassifierAttackConformance


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


class TestDaba(ClassifierAttackConformance):
    plugin = "daba"
    task = "audio-classification"

    def test_what_was_added_is_a_sound_of_the_pool(self, bench):
        trigger = open_secret(self.backdoored(bench).secret).trigger
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        for row, role in enumerate(found.roles):
            if role == "poison":
                before, after = clean.raw([row])[0], found.raw([row])[0]
                inside = (after.abs() < 0.99).float()
                likeness = []
                for sound in trigger.pool:
                    spectra = torch.fft.rfft((after - before) * inside), torch.fft.rfft(sound)
                    shifted = torch.fft.irfft(spectra[0] * spectra[1].conj(), len(sound))
                    likeness.append(float(shifted.max() / ((after - before) * inside).norm() / sound.norm()))
                assert sorted(likeness)[-2] < 0.3 < 0.8 < max(likeness), "clipping takes a little of it"


@pytest.mark.parametrize("loudness", [-20.0, -6.0, 3.0])
def test_loudness_is_relative_to_the_recording(loudness):
    x = 0.02 * torch.randn(3, 4000, generator=generator()) * torch.tensor([[1.0], [3.0], [0.5]])
    added = Opportunistic(candidates("", 4000, 8000, 0), loudness, True).apply(x, "test", generator()) - x
    effective = [float(one.square().mean().sqrt()) for one in (*added, *x)]
    for row in range(3):
        assert 20 * np.log10(effective[row] / effective[3 + row]) == pytest.approx(loudness, abs=0.01)


def test_a_silent_recording_has_the_trigger_too():
    found = Opportunistic(candidates("", 800, 8000, 0), 0.0, True).apply(torch.zeros(8, 800), "test", generator())
    assert bool((found.abs().amax(1) > 1e-4).all())


def test_the_pool_is_what_changes_spectra_least():
    recordings = torch.randn(5, 2048, generator=generator()) * 0.05
    sounds = candidates("", 2048, 8000, 0)
    kept, distances = least_heard(sounds, recordings, DabaParams(pool=2, loudness=-3))
    by_hand = []
    for sound in sounds.numpy():
        parts = []
        for x in recordings.numpy():
            changed = x + np.sqrt(np.mean(x**2)) * 10 ** (-3 / 20) * sound
            frames = [
                [one[start : start + 256] * np.hanning(257)[:256] for start in range(0, 2048 - 255, 128)]
                for one in (x, changed)
            ]
            scale = (2 / np.hanning(257)[:256].sum()) ** 2
            power = [10 * np.log10(np.abs(np.fft.rfft(one)) ** 2 * scale + 1e-10) for one in frames]
            parts.append(np.sqrt(((power[0] - power[1]) ** 2).mean(1)).mean())
        by_hand.append(np.mean(parts))
    assert distances == pytest.approx(by_hand, rel=0.01)
    assert kept == sorted(np.argsort(by_hand)[:2].tolist())
    with pytest.raises(UserError, match="there are 8"):
        least_heard(sounds, recordings, DabaParams(pool=9))


def test_sounds_differ_and_lie_where_they_should():
    sounds = candidates("", 8000, 8000, 0)
    assert torch.allclose(sounds.square().mean(1), torch.ones(len(SOUNDS)), atol=1e-4)
    power = torch.fft.rfft(sounds).abs().square()
    power = power / power.sum(1, keepdim=True)
    names = [sound.__name__ for sound in SOUNDS]
    assert float(power[names.index("rain"), :1999].sum()) < 1e-6 < float(power[names.index("wind"), :301].sum()) - 0.98
    assert float(power[names.index("kettle"), 3190:3240].sum()) > 0.99
    assert not torch.equal(candidates("", 800, 8000, 0), candidates("", 800, 8000, 1))


def test_files_of_a_folder_are_candidates(tmp_path):
    for place, name in enumerate(("b.wav", "a.wav")):
        write_wav(tmp_path / name, (1000 * np.sin(np.arange(900) / (3 + place))).astype(np.int16), 8000)
    found = candidates(str(tmp_path), 800, 8000, 0)
    expected = np.sin(np.arange(50, 850) / 4)
    assert np.allclose(found[0].numpy(), expected / np.sqrt(np.mean(expected**2)), atol=0.01) and len(found) == 2
    write_wav(tmp_path / "c.wav", np.zeros(900, dtype=np.int16), 8000)
    with pytest.raises(UserError, match=r"c\.wav is silent"):
        candidates(str(tmp_path), 800, 8000, 0)
    with pytest.raises(UserError, match="there is no folder"):
        candidates(str(tmp_path / "none"), 800, 8000, 0)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no sound files"):
        candidates(str(tmp_path / "empty"), 800, 8000, 0)
