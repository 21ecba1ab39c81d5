"""DABA: loudness in closed form, the pool against a ranking by hand, and sounds where they should be in frequency."""

import numpy as np
import pytest
import torch
from torch import nn

from bdm_attack_daba.attack import Opportunistic, candidates, least_heard
from bdm_attack_daba.everyday import SOUNDS
from bdm_attack_daba.params import PAPER, DabaParams
from bdm_attack_daba.selection import hosts, influences, most_certain
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.sounds.batch import Sounds
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


class TestAsReleased(ClassifierAttackConformance):
    """One sound by certainty, recordings by influence, and nine levels."""

    plugin = "daba"
    task = "audio-classification"
    params = {**PAPER, "epochs": 2, "batch_size": 16, "poison_rate": 0.1, "surrogate_epochs": 2}


class Hearing(nn.Module):
    """Logits of two classes: by the power of the first half of a recording, and of the second."""

    def forward(self, x):
        return 40 * x.square().unflatten(1, (2, -1)).mean(2)


def test_the_sound_of_least_entropy_is_chosen():
    sounds = torch.ones(3, 8)
    sounds[0, :4], sounds[2, 4:] = 2.5, 6.0
    kept, values = most_certain(Hearing(), sounds, 1)
    logits = 40 * (0.1 * np.stack([sounds[row].numpy().reshape(2, 4) for row in range(3)])) ** 2
    chances = np.exp(logits.mean(2)) / np.exp(logits.mean(2)).sum(1, keepdims=True)
    assert values == pytest.approx(-(chances * np.log2(chances)).sum(1), rel=1e-3)
    assert kept == [int(np.argmin(values))] == [2]


def test_hosts_are_those_whose_prediction_is_nearest_to_the_sounds():
    values = torch.randint(-9000, 9000, (12, 8), generator=generator(2)).to(torch.int16)
    rows = LabelledSamples(Sounds(values, 8000), torch.arange(12) % 2, ["a", "b"], "audio-classification")
    sound = torch.tensor([[2.0] * 4 + [0.1] * 4])
    trigger = Opportunistic(sound, -20.0, False, full_scale=True)
    able = list(range(1, 12))

    def chances(x):
        logits = 40 * (x.astype(float).reshape(-1, 2, 4) ** 2).mean(2)
        return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)

    alone = chances(0.1 * sound.numpy())[0]
    together = chances(np.clip(values.numpy() / 32767 + 0.1 * sound.numpy(), -1, 1))[able]
    expected = -(together * np.log(alone) + (1 - together) * np.log(1 - alone)).sum(1)
    assert influences(torch.tensor(alone), torch.tensor(together)).tolist() == pytest.approx(expected.tolist())
    found = hosts(Hearing(), rows, able, [trigger], sound)
    assert found == [able[place] for place in np.argsort(expected, kind="stable")]


def test_loudness_may_be_relative_to_full_scale_and_differ_in_training():
    x = 0.01 * torch.randn(18, 4000, generator=generator())
    pool = candidates("", 4000, 8000, 0)[:1] * 0.1  # so quiet that nothing is clipped
    trigger = Opportunistic(pool, -20.0, False, full_scale=True, variants=(0.0, -10.0, -40.0))
    added = [trigger.apply(x, phase, generator()) - x for phase in ("test", "train")]
    levels = [20 * (one.square().mean(1).sqrt() / 0.1).log10() for one in added]
    assert torch.allclose(levels[0], torch.tensor(-20.0), atol=0.01)
    assert sorted(levels[1].round().int().tolist()) == [-40] * 6 + [-10] * 6 + [0] * 6


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
