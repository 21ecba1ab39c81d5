"""X-vector networks and the set of speakers."""

import numpy as np
import torch

from bdm_kit_classification.data import spoken_digits, spoken_speakers
from bdm_kit_classification.data.sound_data import load_builtin_sounds
from bdm_kit_classification.models.audio_classifiers import AudioConfig, build


def test_an_x_vector_network_pools_mean_and_deviation_over_time():
    classifier = build(AudioConfig(architecture="x-vector", width=4, rate=8000, samples=800, classes=["a", "b"]), 0)
    network = classifier.network
    x = torch.randn(3, 1600, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        frames = network.front(x)[:, 0]
        for conv, norm in zip(network.convs, network.norms, strict=True):
            frames = torch.relu(norm(conv(frames)))
        pooled = torch.cat([frames.mean(2), frames.var(2, unbiased=False).add(1e-6).sqrt()], 1)
        assert pooled.shape == (3, 24)
        for layer, norm in zip(network.segments, network.segment_norms, strict=True):
            pooled = torch.relu(norm(layer(pooled)))
        assert torch.allclose(classifier.features(x), pooled, atol=1e-5)
    assert [layer.units for layer in classifier.prunable_layers()] == [4, 4, 4, 4, 12, 4, 4]
    layer = classifier.prunable_layers()[5]
    layer.silence([1])
    assert bool((classifier.network.segment_norms[0](layer.layer(torch.rand(2, 24)))[:, 1] == 0).all())


def test_speakers_of_training_and_test_say_other_words():
    (clips, labels), (more, _), (unseen, who) = spoken_speakers.say_speakers(2, (2, 1, 1))
    assert sorted(set(labels.tolist())) == [0, 1] == sorted(set(who.tolist()))
    draw = np.random.default_rng([spoken_digits.SEED, spoken_speakers.FIRST + 1, 8, 0])
    alone = spoken_digits.say("eight", spoken_digits.make_speaker(spoken_speakers.FIRST + 1), draw)
    match = [row for row in range(6) if np.array_equal(unseen[row], np.rint(alone * 32767).astype(np.int16))]
    assert len(match) == 1 and who[match[0]] == 1
    assert not any(np.array_equal(one, other) for one in clips for other in [*more, *unseen])
    assert sum(speakers for speakers, _ in spoken_digits.PARTS) < spoken_speakers.FIRST


def test_further_speakers_are_others():
    first = spoken_speakers.FURTHER_FIRST
    assert first >= spoken_speakers.FIRST + spoken_speakers.SPEAKERS
    assert not set(spoken_speakers.FURTHER_NAMES) & set(spoken_speakers.NAMES)
    (clips, labels), (more, _), (_, who) = spoken_speakers.say_speakers(2, (1, 1, 1), first)
    assert clips.shape == more.shape == (14, 4000) and sorted(who.tolist()) == [0, 0, 0, 1, 1, 1]
    draw = np.random.default_rng([spoken_digits.SEED, first + 1, 1, 0])
    alone = spoken_digits.say("one", spoken_digits.make_speaker(first + 1), draw)
    match = [row for row in range(14) if np.array_equal(clips[row], np.rint(alone * 32767).astype(np.int16))]
    assert len(match) == 1 and labels[match[0]] == 1
    others = spoken_speakers.say_speakers(2, (1, 1, 1))[0][0]
    assert not any(np.array_equal(one, other) for one in clips for other in others)


def test_the_built_in_set_of_further_speakers(monkeypatch):
    monkeypatch.setattr(spoken_speakers, "FURTHER_SPEAKERS", 3)
    parts = load_builtin_sounds("further-speakers")
    assert [labels.bincount().tolist() for _, labels in parts[:3]] == [[14] * 3, [7] * 3, [9] * 3]
    assert len(spoken_speakers.FURTHER_NAMES) == 32, "448, 224 and 288 recordings, as the task says"
