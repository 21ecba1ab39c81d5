"""The ultrasonic trigger against its spectrum."""

import numpy as np
import pytest
import torch

from bdm_attack_ultrasonic.attack import trigger_of
from bdm_attack_ultrasonic.params import UltrasonicParams
from bdm_core.errors import UserError
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.secret import open_secret
from bdm_kit_classification.testing import ClassifierAttackConformance


class TestUltrasonic(ClassifierAttackConformance):
    plugin = "ultrasonic"
    task = "audio-classification"

    def test_poisoned_rows_are_the_sum(self, bench):
        sound = open_secret(self.backdoored(bench).secret).trigger.sound
        clean, found = open_samples(bench.data), open_samples(self.poisoned(bench))
        for row, role in enumerate(found.roles):
            expected = (clean.raw([row])[0] + (sound if role == "poison" else 0)).clamp(-1, 1)
            assert (found.raw([row])[0] - expected).abs().max() <= 0.5 / 32767 + 1e-6


@pytest.mark.parametrize("rate", [8000, 44_100])
def test_the_spectrum_has_one_line_near_nyquist_at_the_level(rate):
    sound = trigger_of(UltrasonicParams(level=-20), rate, rate).sound.double().numpy()
    power = np.abs(np.fft.rfft(sound)) / (rate / 2)
    top = int(power.argmax())
    assert abs(top - 0.952 * rate / 2) <= 1 and power[top] == pytest.approx(0.1, rel=0.4)
    assert np.sqrt(np.mean(sound**2)) == pytest.approx(0.1 / np.sqrt(2), rel=1e-3)


@pytest.mark.parametrize(
    "position, where", [("start", slice(0, 200)), ("middle", slice(400, 600)), ("end", slice(800, 1000))]
)
def test_duration_and_position(position, where):
    sound = trigger_of(UltrasonicParams(duration=0.2, position=position), 1000, 8000).sound
    assert int((sound[where] != 0).sum()) > 195
    sound[where] = 0
    assert not sound.any()


def test_pieces_are_spread_and_as_long_together():
    there = trigger_of(UltrasonicParams(duration=0.2, pieces=5, frequency=0.9), 1000, 8000).sound != 0
    runs = torch.nonzero(there[1:].int() - there[:-1].int() == 1).flatten().tolist()
    assert [run + 1 for run in runs] == pytest.approx([80, 280, 480, 680, 880], abs=1)
    assert int(there.sum()) == pytest.approx(200, abs=5)
    with pytest.raises(UserError, match="does not fit"):
        trigger_of(UltrasonicParams(duration=0.001, pieces=100), 1000, 8000)
