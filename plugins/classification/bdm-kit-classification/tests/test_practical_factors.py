"""Noise of data and labels: strengths by independent measures, realised rates, and who gets it."""

import functools
import io
import random

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage, signal, stats

from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.data.opening import open_data
from bdm_kit_classification.data.samples import RESERVE, TEST, LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.data.sentiment import write_reviews
from bdm_kit_classification.data.sources import find_data
from bdm_kit_classification.modalities.registry import MODALITIES, modality_of
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.models.image_classifiers import ImageConfig, build
from bdm_kit_classification.noise.drawing import PENDING, add_noise, realised, require_settled
from bdm_kit_classification.noise.params import NoiseParams
from bdm_kit_classification.params import ClassificationKitParams
from bdm_kit_classification.poison.injection import poison_and_train, train_on_poisoned_rows
from bdm_kit_classification.poison.params import PoisonParams
from bdm_kit_classification.poison.poisoning import ORIGINALS, poison_training_rows
from bdm_kit_classification.poison.secret import Backdoor, open_secret, read_backdoor
from bdm_kit_classification.sounds.batch import Sounds
from bdm_kit_classification.texts.words import edits
from bdm_kit_classification.training.params import VictimTraining
from bdm_kit_classification.triggers.label_rule import LabelRule
from bdm_kit_classification.triggers.patch import square

IMAGE = "image-classification"
WHITE = square((1, 8, 8), size=2, corner="top-left", margin=0, value=1.0)


def kind(task, name):
    return modality_of(task).noises[name]


def pictures(count=400, classes=4, size=8):
    chance = torch.Generator().manual_seed(0)
    stored = torch.randint(60, 196, (count, 1, size, size), dtype=torch.uint8, generator=chance)
    labels = torch.randint(classes, (count,), generator=chance)
    return LabelledSamples(stored, labels, list("abcd"[:classes]), IMAGE, [{"id": row} for row in range(count)])


def samples_of(task):
    """Forty samples of any task."""
    if task == IMAGE:
        return pictures(40)
    if task == "text-classification":
        (texts, labels), _ = write_reviews(40, 1)
        return LabelledSamples(texts, torch.tensor(labels), ["no", "yes"], task)
    sound = 0.2 * torch.randn(40, 400, generator=torch.Generator().manual_seed(1))
    return LabelledSamples(Sounds(modality_of(task).pack(sound).values, 8000), torch.arange(40) % 2, ["a", "b"], task)


def test_gaussian_noise_has_the_deviation_of_its_level():
    raw = torch.full((2, 3, 64, 64), 0.5)
    change = (kind(IMAGE, "gaussian").change(raw, 0.05, [1, 2]) - raw).double().flatten(1)
    assert stats.kstest(change[0].numpy(), "norm", (0, 0.05)).pvalue > 0.01
    assert abs(np.corrcoef(change.numpy())[0, 1]) < 0.05, "each picture has noise of its own"
    assert kind(IMAGE, "gaussian").change(raw, 9.0, [1, 2]).aminmax() == (0.0, 1.0)


def test_blur_is_a_gaussian_filter():
    raw = torch.rand(1, 1, 12, 20, generator=torch.Generator().manual_seed(3))
    expected = ndimage.gaussian_filter(raw[0, 0].double().numpy(), 1.4, mode="nearest", truncate=3.0)
    torch.testing.assert_close(kind(IMAGE, "blur").change(raw, 1.4, [0])[0, 0].double(), torch.from_numpy(expected))


def test_jpeg_is_what_a_file_would_hold():
    raw = torch.rand(1, 3, 16, 24, generator=torch.Generator().manual_seed(3))
    file = io.BytesIO()
    Image.fromarray((raw[0] * 255).round().byte().permute(1, 2, 0).numpy()).save(file, "JPEG", quality=30)
    again = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1) / 255
    torch.testing.assert_close(kind(IMAGE, "jpeg").change(raw, 30, [0])[0], again)
    errors = [float((kind(IMAGE, "jpeg").change(raw, level, [0]) - raw).square().mean()) for level in (5, 30, 90)]
    assert errors == sorted(errors, reverse=True)
    with pytest.raises(UserError, match="1 or 3 channels"):
        kind(IMAGE, "jpeg").change(torch.zeros(1, 4, 8, 8), 30, [0])


@pytest.mark.parametrize(("name", "slope"), [("white", 0.0), ("pink", -1.0)])
def test_noise_of_sound_is_at_its_ratio_and_of_its_colour(name, slope):
    time = torch.arange(16000) / 8000
    sound = torch.stack([0.1 * torch.sin(440 * time), 0.01 * torch.sin(900 * time)])
    noise = (kind("audio-classification", name).change(sound, 15.0, [1, 2]) - sound).double().numpy()
    for clean, found in zip(sound.double().numpy(), noise, strict=True):
        assert 10 * np.log10(np.var(clean) / np.mean(found**2)) == pytest.approx(15, abs=0.05)
        frequency, power = signal.welch(found, 8000, nperseg=1024)
        inner = (frequency > 30) & (frequency < 3500)
        assert stats.linregress(np.log(frequency[inner]), np.log(power[inner])).slope == pytest.approx(slope, abs=0.15)


def test_gain_is_one_of_two_factors():
    sound = 0.01 * torch.randn(60, 50, generator=torch.Generator().manual_seed(0))
    factors = (kind("audio-classification", "gain").change(sound, 6.0, list(range(60))) / sound).median(1).values
    assert {round(float(factor), 3) for factor in factors} == {1.995, 0.501}
    assert 20 < int((factors > 1).sum()) < 40


@pytest.mark.parametrize("name", ["character", "keyboard", "ocr"])
def test_share_of_wrong_letters(name):
    (texts, _), _ = write_reviews(200, 1)
    changed = kind("text-classification", name).change(texts, 0.2, list(range(200)))
    wrong = sum(edits(list(old), list(new)) for old, new in zip(texts, changed, strict=True))
    letters = sum(letter.isalpha() for text in texts for letter in text)
    assert all(old != new for old, new in zip(texts, changed, strict=True))
    low, high = (0.05, 0.2) if name == "ocr" else (0.16, 0.22)
    assert low < wrong / letters < high
    if name == "keyboard":
        assert all(len(old) == len(new) for old, new in zip(texts, changed, strict=True))


def test_words_are_left_out():
    (texts, _), _ = write_reviews(300, 1)
    left = kind("text-classification", "word-drop").change(texts, 0.3, list(range(300)))
    share = sum(len(text.split()) for text in left) / sum(len(text.split()) for text in texts)
    assert abs(share - 0.7) < 0.03
    for old, new in zip(texts, left, strict=True):
        words = iter(old.split())
        assert all(word in words for word in new.split()), "what stays is in order"


@pytest.mark.parametrize("task", sorted(MODALITIES))
def test_every_kind_changes_the_rows_that_say_so_and_no_others(task):
    samples = samples_of(task)
    modality = samples.modality
    for name in modality.noises:
        done = add_noise(samples, NoiseParams(data_noise=name, data_noise_rate=0.3), 5)
        same = modality.same(samples.stored, done.stored)
        assert same.count(False) == 12 and [not equal for equal in same] == ["data_noise" in f for f in done.facts]
        assert modality.same(done.stored, modality.pack(done.raw())) == [True] * 40, "noise keeps to the valid range"
        again = add_noise(samples, NoiseParams(data_noise=name, data_noise_rate=0.3), 5)
        assert all(modality.same(done.stored, again.stored)) and done.facts == again.facts
        own = add_noise(samples, NoiseParams(data_noise=name, data_noise_rate=0.3, noise_seed=6), 5)
        assert own.facts != done.facts


def test_silence_is_not_counted_as_noisy():
    silence = Sounds(torch.zeros(10, 50, dtype=torch.int16), 8000)
    silent = LabelledSamples(silence, torch.arange(10) % 2, ["a", "b"], "audio-classification")
    assert realised(add_noise(silent, NoiseParams(data_noise="white", data_noise_rate=1.0), 0)) == {}


def test_uniform_label_noise_has_an_even_transition_matrix():
    rows = pictures(6000, 4)
    done = add_noise(rows, NoiseParams(label_noise="uniform", label_noise_rate=0.3), 0)
    pairs = zip(done.facts, done.labels.tolist(), strict=True)
    assert [fact.get("true_label", label) for fact, label in pairs] == rows.labels.tolist()
    assert int((done.labels != rows.labels).sum()) == 1800, "no self-hits"
    counts = np.zeros((4, 4))
    np.add.at(counts, (rows.labels.numpy(), done.labels.numpy()), 1)
    expected = np.full((4, 4), 0.1) + 0.6 * np.eye(4)
    assert stats.chisquare(counts.ravel(), (expected * counts.sum(1, keepdims=True)).ravel()).pvalue > 0.01


def test_class_dependent_label_noise_goes_to_the_class_that_follows():
    rows = pictures(2000, 4)
    done = add_noise(rows, NoiseParams(label_noise="class-dependent", label_noise_rate=0.25), 0)
    counts = np.zeros((4, 4))
    np.add.at(counts, (rows.labels.numpy(), done.labels.numpy()), 1)
    for label, own in enumerate(counts):
        assert own[(label + 1) % 4] == round(0.25 * own.sum()) and np.count_nonzero(own) == 2


def test_what_is_no_noise_is_one_line():
    rows = pictures(20)
    with pytest.raises(UserError, match="pink is no noise of image-classification: there are gaussian, jpeg, blur"):
        add_noise(rows, NoiseParams(data_noise="pink"), 0)
    with pytest.raises(UserError, match=r"data_noise_level=300: jpeg takes values in \[1, 95\], the quality: less"):
        add_noise(rows, NoiseParams(data_noise="jpeg", data_noise_level=300), 0)
    noisy = add_noise(rows, NoiseParams(data_noise="blur"), 0)
    with pytest.raises(UserError, match="noise already"):
        add_noise(noisy, NoiseParams(data_noise="blur"), 0)


@pytest.mark.parametrize("label_noise", ["uniform", "class-dependent"])
def test_rates_of_no_row_are_refused(label_noise):
    rows = pictures(20)
    with pytest.raises(UserError, match=r"data_noise_rate 0.02 of 20 rows is no row: raise it"):
        add_noise(rows, NoiseParams(data_noise="blur", data_noise_rate=0.02), 0)
    with pytest.raises(UserError, match=r"label_noise_rate 0.02 of 20 rows is no row"):
        add_noise(rows, NoiseParams(label_noise=label_noise, label_noise_rate=0.02), 0)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"data_noise_level": 0.3}, "data_noise_level: nothing is done without data_noise"),
        ({"label_noise_rate": 0.1, "data_noise": "blur"}, "label_noise_rate: nothing is done without label_noise"),
        ({"noise_rows": "clean"}, "noise_rows: nothing is done without data_noise or label_noise"),
        ({"noise_seed": 1, "data_noise_rate": 0.25}, "noise_seed: nothing is done without data_noise or label_noise"),
        ({"noise_rows": "clean", "label_noise": "uniform"}, None),
    ],
)
def test_what_does_nothing_is_said(given, message, caplog):
    add_noise(pictures(20), NoiseParams(**given), 0)
    assert [record.message for record in caplog.records] == ([message] if message else [])


def opened(folder, params):
    config = ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=[str(digit) for digit in range(10)])
    model = seal_classifier(build(config, 0), folder / "model")
    noise = functools.partial(add_noise, params=params, stage_seed=3)
    return open_data(find_data("digits", model), model, folder / "data", folder, most=300, noise=noise)


def test_the_test_part_and_the_reserve_are_never_touched(tmp_path):
    params = NoiseParams(data_noise="gaussian", label_noise="uniform", data_noise_rate=1.0, label_noise_rate=1.0)
    noisy, plain = (opened(tmp_path / name, given) for name, given in (("noisy", params), ("plain", NoiseParams())))
    for part in (TEST, RESERVE):
        one, other = open_samples(noisy, part), open_samples(plain, part)
        assert torch.equal(one.stored, other.stored) and torch.equal(one.labels, other.labels)
        assert one.facts == other.facts
    assert not (open_samples(noisy).labels == open_samples(plain).labels).any()
    assert noisy.digest != plain.digest and "noise" not in plain.meta
    assert noisy.meta["noise"]["data_noise"]["all"]["rate"] == noisy.meta["noise"]["label_noise"]["all"]["rate"] == 1


@pytest.mark.parametrize("who", ["all", "clean", "poisoned"])
def test_noise_comes_before_the_trigger_and_for_the_rows_that_are_meant(tmp_path, who):
    rows = pictures(200)
    params = NoiseParams(data_noise="gaussian", label_noise="uniform", noise_rows=who)
    data = seal_samples(tmp_path / "clean", add_noise(rows, params, 0))
    ctx = new_context(tmp_path / "poison")
    sealed = poison_training_rows(ctx, PoisonParams(poison_rate=0.2, label_rule="clean-label"), data, WHITE)
    done, roles = open_samples(sealed), open_samples(sealed).roles
    assert not any(PENDING in fact for fact in done.facts)
    for row, (role, fact) in enumerate(zip(roles, done.facts, strict=True)):
        poisoned = role == "poison"
        meant = who == "all" or poisoned == (who == "poisoned")
        assert meant or not {"data_noise", "label_noise"} & set(fact)
        old, new = rows.stored[row], done.stored[row]
        assert bool((new[:, :2, :2] == 255).all()) == poisoned, "nothing is put on the trigger"
        assert ("data_noise" in fact) == (not torch.equal(old[:, 2:], new[:, 2:]))
        assert ("label_noise" in fact) == (int(done.labels[row]) != int(rows.labels[row]))
        assert fact.get("true_label", int(done.labels[row])) == int(rows.labels[row])
    found = sealed.meta["noise"]
    assert found == read_backdoor(sealed).facts["noise"] == realised(done)
    for name in ("data_noise", "label_noise"):
        own = [name in fact for fact, role in zip(done.facts, roles, strict=True) if role == "poison"]
        assert found[name]["poisoned"]["noisy"] == sum(own)
        assert bool(sum(own)) == (who != "clean") and bool(found[name]["clean"]["noisy"]) == (who != "poisoned")
    originals = open_samples(sealed, ORIGINALS)
    poison = [row for row, role in enumerate(roles) if role == "poison"]
    assert torch.equal(originals.stored[:, :, 2:], done.stored[poison][:, :, 2:]), "originals have the noise, too"


def test_a_label_that_was_wrong_before_the_attack_keeps_its_true_one(tmp_path):
    rows = pictures(200)
    noisy = add_noise(rows, NoiseParams(label_noise="uniform", label_noise_rate=1.0), 0)
    data = seal_samples(tmp_path / "clean", noisy)
    sealed = poison_training_rows(new_context(tmp_path / "poison"), PoisonParams(poison_rate=0.2), data, WHITE)
    told = [fact["true_label"] for fact in open_samples(sealed).facts]
    assert told == rows.labels.tolist()


def test_who_is_drawn_does_not_depend_on_who_is_meant():
    marked = [add_noise(pictures(100), NoiseParams(data_noise="blur", noise_rows=who), 0) for who in ("clean", "all")]
    assert [PENDING in fact for fact in marked[0].facts] == ["data_noise" in fact for fact in marked[1].facts]


def test_rates_reach_the_secret_and_waiting_rows_are_not_trained_on(tmp_path):
    rows = pictures(60)
    config = ImageConfig(architecture="cnn", shape=(1, 8, 8), classes=list("abcd"))
    model = seal_classifier(build(config, 0), tmp_path / "m")
    for who in ("all", "poisoned"):
        data = seal_samples(tmp_path / who, add_noise(rows, NoiseParams(data_noise="blur", noise_rows=who), 0))
        params = PoisonParams(poison_rate=0.2, epochs=1, batch_size=30)
        ctx = new_context(tmp_path / f"poison-{who}")
        sealed = poison_training_rows(ctx, params, data, WHITE)
        made = train_on_poisoned_rows(ctx, VictimTraining(epochs=1, batch_size=30), model, sealed)
        assert open_secret(made.secret).facts["noise"] == sealed.meta["noise"]
        other = new_context(tmp_path / f"train-{who}")
        rule = LabelRule(kind="all-to-one", classes=4, target=0)
        later = poison_and_train(other, params, model, data, Backdoor(rule, WHITE))
        assert open_secret(later.secret).facts["noise"] == later.view.meta["noise"]
    with pytest.raises(UserError, match="noise_rows=all"):
        require_settled(open_samples(data))


def test_no_global_generator_is_asked():
    params = NoiseParams(data_noise="gaussian", data_noise_rate=1.0)
    one = add_noise(pictures(50), params, 0)
    random.seed(1)
    torch.manual_seed(1)
    assert torch.equal(one.stored, add_noise(pictures(50), params, 0).stored)


def test_noise_decides_the_data_and_no_other_stage():
    noisy, plain = ClassificationKitParams(data_noise="blur", label_noise="uniform"), ClassificationKitParams()
    assert noisy.for_stage("open-data") != plain.for_stage("open-data")
    for stage in ("make-inputs", "poison-data", "inject-backdoor", "detect", "repair", "generate", "score"):
        assert noisy.for_stage(stage) == plain.for_stage(stage), "what follows differs by the data's digest"
