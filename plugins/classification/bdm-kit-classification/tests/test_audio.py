"""Sound: the modality, spectra, networks of the kit and of transformers, built-in data, the report."""

import json
import math
import wave

import numpy as np
import pytest
import torch
from scipy import signal

from bdm_core.artifacts import Secret
from bdm_core.errors import ArtifactError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.audio_illustration import show_samples, show_trigger
from bdm_kit_classification.data import spoken_digits
from bdm_kit_classification.data.samples import LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.data.sound_data import load_builtin_sounds
from bdm_kit_classification.modalities.registry import modality_of
from bdm_kit_classification.models.audio_classifiers import AudioConfig, build
from bdm_kit_classification.models.audio_networks import NETWORKS
from bdm_kit_classification.models.classifier import load_classifier, seal_classifier
from bdm_kit_classification.models.folders import find_model, task_of_folder
from bdm_kit_classification.poison.secret import Backdoor, seal_secret
from bdm_kit_classification.sounds.batch import Sounds
from bdm_kit_classification.sounds.spectra import log_spectral_distance, mel_matrix, power_spectra
from bdm_kit_classification.training.fitting import accuracy, fit
from bdm_kit_classification.training.params import ClassifierTraining
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.sound import added_tone, overwritten_tone, tone
from bdm_torch.draws import Draw

TASK = "audio-classification"
AUDIO = modality_of(TASK)


def noise(count, samples, seed=0, scale=0.1):
    return scale * torch.randn(count, samples, generator=torch.Generator().manual_seed(seed))


def rows(count, samples=800):
    stored = Sounds(AUDIO.pack(noise(count, samples)).values, 8000)
    return LabelledSamples(stored, torch.arange(count) % 2, ["no", "yes"], TASK)


def test_spectra_against_scipy():
    x = noise(2, 1000).double()
    found = power_spectra(x, 128, 64)
    _, _, expected = signal.stft(
        x.numpy(), nperseg=128, noverlap=64, window="hann", boundary=None, padded=False, scaling="spectrum"
    )
    assert np.allclose(found.numpy(), 4 * np.abs(expected) ** 2, rtol=1e-9)


@pytest.mark.parametrize("rate", [8000, 16_000])
def test_mel_filters_sum_to_one_and_lose_nothing_at_the_top(rate):
    found = mel_matrix(32, 512, rate)
    first = int(found[0].argmax())
    assert torch.allclose(found.sum(0)[first:], torch.ones(257 - first), atol=1e-5)
    assert found.min() == 0 and float(found[-1, -1]) == 1
    centres = (found[:-1] * torch.linspace(0, rate / 2, 257)).sum(1) / found[:-1].sum(1)
    assert bool((centres[1:] > centres[:-1]).all())


def test_distances_of_a_known_tone():
    clean = tone(8000, 8000, 500.0, 0.5)[None]
    found = AUDIO.distances(clean, clean + tone(8000, 8000, 1500.0, 0.05))
    assert found["snr"].tolist() == pytest.approx([20.0], abs=1e-3)
    same = AUDIO.distances(clean, clean)
    assert same["snr"].tolist() == [100.0] and same["log_spectral_distance"].tolist() == [0.0]
    assert AUDIO.distances(0 * clean, clean)["snr"].tolist()[0] < -90
    assert log_spectral_distance(noise(3, 4000), noise(3, 4000) / 2).tolist() == pytest.approx([6.02] * 3, abs=0.05)


def test_stored_and_raw():
    stored = Sounds(torch.tensor([[-32768, 0, 32767]], dtype=torch.int16), 8000)
    assert AUDIO.unpack(stored).tolist() == [[-1.0, 0.0, 1.0]]
    every = torch.arange(-32767, 32768, dtype=torch.int32).to(torch.int16)[None]
    assert torch.equal(AUDIO.pack(AUDIO.unpack(Sounds(every, 8000))).values, every)
    joined = AUDIO.join([stored, AUDIO.pack(torch.ones(1, 3))])
    assert joined.rate == 8000 and AUDIO.same(AUDIO.take(joined, [1, 0]), AUDIO.take(joined, [1, 1])) == [True, False]
    with pytest.raises(ArtifactError, match="8000 and 16000"):
        AUDIO.join([stored, Sounds(stored.values, 16_000)])


def test_shifts_move_and_silence_follows():
    inputs = torch.ones(64, 100)
    inputs[:, 50] = 2
    found = AUDIO.augment(inputs, Draw(seed=0, step=0, batch_size=64), 10, True)
    places = found.argmax(1)
    assert int(places.min()) >= 40 and int(places.max()) <= 60 and len(set(places.tolist())) > 10
    assert (found == 0).sum(1).tolist() == (places - 50).abs().tolist()
    assert AUDIO.augment(inputs, Draw(seed=0, step=0, batch_size=64), 0, False) is inputs


def test_mixing_and_noise_keep_the_loudness():
    one, other = noise(4, 4000), noise(4, 4000, seed=1, scale=0.001)
    mixed = AUDIO.mix(one, other, 0.5)
    assert (mixed.square().mean(1) / one.square().mean(1)).tolist() == pytest.approx([0.5] * 4, rel=0.1)
    assert torch.equal(AUDIO.mix(one, 0 * one, 1.0), one)
    found = AUDIO.distances(one, AUDIO.perturb(one, 0.1, seed=0))["snr"]
    assert found.tolist() == pytest.approx([20.0] * 4, abs=0.3)
    assert torch.equal(AUDIO.perturb(one, 0.0, seed=0), one)


def test_tones_replace_and_add():
    x = noise(2, 1000)
    click = overwritten_tone(1000, 16_000, frequency=0, level=-1, seconds=0.00025, place="start")
    found = click.apply(x, "test")
    assert found[:, :4].unique().tolist() == [-1.0] and torch.equal(found[:, 4:], x[:, 4:])
    added = added_tone(1000, 8000, frequency=1000, level=0.3, seconds=0.05, place="middle")
    changed = (added.apply(x, "train") - x)[0]
    assert not changed[:300].any() and not changed[700:].any()
    assert math.sqrt(float(changed[300:700].square().mean())) == pytest.approx(0.3 / math.sqrt(2), rel=1e-3)


@pytest.mark.parametrize("architecture", sorted(NETWORKS))
def test_own_networks(architecture, tmp_path):
    config = AudioConfig(architecture=architecture, width=4, rate=8000, samples=800, classes=["no", "yes"])
    classifier = build(config, seed=0)
    x = noise(3, 800).requires_grad_()
    logits = classifier(x)
    assert torch.allclose(classifier.head(classifier.features(x)), logits)
    logits.sum().backward()
    assert bool((x.grad.abs().sum(1) > 0).all())  # through the front end to the waveform
    modules = dict(classifier.named_modules())
    for layer in classifier.prunable_layers():
        assert modules[layer.name] is layer.layer and layer.norm.num_features == layer.units
    model = seal_classifier(classifier, tmp_path / "model")
    assert model.task == TASK == task_of_folder(model.path) and model.meta["rate"] == 8000
    assert torch.equal(load_classifier(model)(x), logits)
    assert not torch.equal(classifier.fresh(1)(x), logits)
    for length in (64, 4000):
        assert classifier(noise(1, length)).shape == (1, 2)


@pytest.mark.parametrize("name", ["Wav2Vec2", "Hubert"])
def test_transformers_folders(name, tmp_path):
    import transformers

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    sizes |= {"conv_dim": (4, 4), "conv_stride": (5, 4), "conv_kernel": (10, 8), "num_feat_extract_layers": 2}
    sizes |= {"num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2, "classifier_proj_size": 6}
    config = getattr(transformers, f"{name}Config")(**sizes, id2label={0: "no", 1: "yes"})
    torch.manual_seed(0)
    network = getattr(transformers, f"{name}ForSequenceClassification")(config).eval()
    network.save_pretrained(tmp_path / "theirs")
    extractor = transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000)
    extractor.save_pretrained(tmp_path / "theirs")
    task, folder = find_model(str(tmp_path / "theirs"), tmp_path)
    assert task.tag == TASK
    classifier = modality_of(task.tag).open_classifier(folder)
    x = noise(2, 800)
    given = extractor(list(x.numpy()), sampling_rate=8000, return_tensors="pt")
    with torch.no_grad():
        expected, logits = network(given["input_values"]).logits, classifier(x)
        assert torch.allclose(logits, expected, atol=1e-5)
        assert torch.allclose(classifier.head(classifier.features(x)), logits, atol=1e-5)
        model = seal_classifier(classifier, tmp_path / "sealed")
        assert torch.allclose(load_classifier(model)(x), logits, atol=1e-6)
    assert model.meta["rate"] == 8000 and classifier.prunable_layers()
    (folder / "preprocessor_config.json").unlink()
    with pytest.raises(ArtifactError, match=r"theirs has no preprocessor_config\.json, which says the sampling rate"):
        modality_of(task.tag).open_classifier(folder)


@pytest.mark.parametrize("samples", [4000, 8000])
def test_ast_hears_what_its_own_extractor_gives(samples, tmp_path):
    import transformers

    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = transformers.ASTConfig(**sizes, max_length=32, num_mel_bins=16, id2label={0: "no", 1: "yes"})
    torch.manual_seed(0)
    network = transformers.ASTForAudioClassification(config).eval()
    network.save_pretrained(tmp_path / "ast")
    extractor = transformers.ASTFeatureExtractor(max_length=32, num_mel_bins=16, mean=-3.0, std=4.0)
    extractor.save_pretrained(tmp_path / "ast")
    classifier = AUDIO.open_classifier(find_model(str(tmp_path / "ast"), tmp_path)[1])
    x = 0.3 * noise(2, samples)  # 23 frames, of which all are seen, and 48, of which the first 32
    given = extractor(list(x.numpy()), sampling_rate=16_000, return_tensors="pt")["input_values"]
    with torch.no_grad():
        assert torch.allclose(classifier.prepare(x), given, atol=2e-3)
        assert torch.allclose(classifier(x), network(given).logits, atol=1e-3)
        assert torch.allclose(classifier.head(classifier.features(x)), classifier(x), atol=1e-5)
        model = seal_classifier(classifier, tmp_path / "sealed")
        assert torch.allclose(load_classifier(model)(x), classifier(x), atol=1e-6)
    inputs = x.clone().requires_grad_(True)
    classifier(inputs)[0, 0].backward()
    assert inputs.grad[0].abs().sum() > 0 and not inputs.grad[1].any()
    assert classifier.prunable_layers() and classifier.fresh(1)(x).shape == (2, 2)


def test_other_networks_of_spectrograms_are_refused(tmp_path):
    import transformers

    sizes = {"d_model": 8, "encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 8, "decoder_layers": 1}
    config = transformers.WhisperConfig(
        **sizes,
        decoder_attention_heads=2,
        decoder_ffn_dim=8,
        num_mel_bins=16,
        vocab_size=60_000,
        id2label={0: "a", 1: "b"},
    )
    transformers.WhisperForAudioClassification(config).save_pretrained(tmp_path / "whisper")
    with pytest.raises(ArtifactError, match="takes spectrograms"):
        AUDIO.open_classifier(tmp_path / "whisper")


def test_folders_that_do_not_fit_are_refused(tmp_path):
    model = seal_classifier(
        build(AudioConfig(architecture="m5", width=4, rate=8000, samples=800, classes=["a", "b"]), 0), tmp_path / "m"
    )
    path = model.path / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "rate": 5}))
    with pytest.raises(ArtifactError, match="rate"):
        AUDIO.open_classifier(model.path)


def test_spoken_digits_are_the_same_alone_and_of_other_speakers_in_each_part():
    (clips, labels, _), (others, _, _) = spoken_digits.say_digits((1, 2), (1, 1))
    draw = np.random.default_rng([spoken_digits.SEED, 0, 3, 1])
    alone = spoken_digits.say("three", spoken_digits.make_speaker(0), draw)
    match = [row for row in range(20) if np.array_equal(clips[row], np.rint(alone * 32767).astype(np.int16))]
    assert len(match) == 1 and labels[match[0]] == 3
    assert np.abs(clips).max(1).min() > 0.2 * 32767 and np.abs(clips).max() < 0.91 * 32767
    assert not any(np.array_equal(one, other) for one in clips for other in others)


def test_a_pitch_is_the_speakers():
    speaker = spoken_digits.Speaker(100.0, 1.0, 1.0, 0.0, 1.0, {name: np.ones(3) for name in spoken_digits.PHONES})
    flat = np.full(spoken_digits.SAMPLES // spoken_digits.FRAME + 1, 100.0)
    tracks = np.array([[500.0], [1500.0], [2500.0]]) * np.ones_like(flat)
    sound = spoken_digits._voiced(flat, tracks, np.ones_like(flat), speaker, np.random.default_rng(0))
    spectrum = np.abs(np.fft.rfft(sound))
    lines = np.flatnonzero(spectrum > 0.05 * spectrum.max()) * spoken_digits.RATE / spoken_digits.SAMPLES
    assert set((lines % 100).tolist()) == {0.0} and 500.0 in lines


def test_learning_takes_few_steps(tmp_path):
    parts = load_builtin_sounds("tiny-audio")
    data = LabelledSamples(*parts.training, parts.classes, TASK)
    classifier = AUDIO.small_classifier(data.stored, data.classes, 0)
    fit(new_context(tmp_path), classifier, data, ClassifierTraining(epochs=12, batch_size=10, shift=2))
    assert accuracy(classifier, data) > 0.6


def test_samples_come_back_from_files_with_their_rate(tmp_path):
    some = rows(4)
    data = seal_samples(tmp_path / "data", some)
    assert data.meta["shape"] == [800] and data.meta["rate"] == 8000
    again = open_samples(data)
    assert torch.equal(again.stored.values, some.stored.values) and again.stored.rate == 8000
    changed = again.changed([1], torch.zeros(1, 800))
    assert changed.stored.rate == 8000 and not changed.stored.values[1].any()
    (entry,) = AUDIO.export(tmp_path / "out", AUDIO.take(some.stored, [2]))
    with wave.open(str(tmp_path / "out" / entry["file_name"])) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (8000, 1, 800)
        assert np.frombuffer(file.readframes(800), dtype="<i2").tolist() == some.stored.values[2].tolist()


def test_the_report_plays_clean_and_triggered(tmp_path):
    trigger = overwritten_tone(800, 8000, frequency=2000, level=0.5, seconds=0.01)
    rule = LabelRule(kind="all-to-one", classes=2, target=0)
    secret = seal_secret(tmp_path / "secret", Backdoor(rule, trigger), rows(30), 0)
    assert isinstance(secret, Secret)
    ctx = new_context(tmp_path / "ctx")
    ctx.out.mkdir(parents=True, exist_ok=True)
    (figure,) = show_trigger(ctx, secret)
    assert len(figure.files) == len(figure.labels) == 15
    with wave.open(str(figure.files[1])) as file:
        assert file.getframerate() == 8000
        heard = np.frombuffer(file.readframes(800), dtype="<i2") / 32767
    assert np.allclose(heard[720:], tone(80, 8000, 2000.0, 0.5).numpy(), atol=1e-4)
    (shown,) = show_samples(ctx, seal_samples(tmp_path / "data", rows(30)), list(range(30)), [])
    assert len(shown.files) == 15 and not shown.labels
