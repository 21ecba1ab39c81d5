"""Odd data, models and triggers of strangers: each is one clear line that says where and what to do, or a warning."""

import json
import struct

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.io import wavfile

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.errors import ArtifactError, UserError
from bdm_core.plugin import Defense
from bdm_kit_classification.data.layouts import layout_of
from bdm_kit_classification.data.samples import LabelledSamples, open_samples, seal_samples
from bdm_kit_classification.data.text_tables import read_text_files
from bdm_kit_classification.defending.requirements import require_norms
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.models.folders import find_model
from bdm_kit_classification.models.text_classifiers import TextConfig, build, open_text_classifier, train_tokenizer
from bdm_kit_classification.models.trial import try_out
from bdm_kit_classification.poison.injection import train_on_poisoned_rows
from bdm_kit_classification.poison.params import PoisonParams
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.sounds.files import read_sound, write_wav
from bdm_kit_classification.training.params import VictimTraining
from bdm_kit_classification.triggers.words import InsertedSentence, InsertedWords

TEXTS = [f"text number {row} is {'good' if row % 2 else 'bad'}" for row in range(40)]
LINES = [f"{text},{['no', 'yes'][row % 2]}" for row, text in enumerate(TEXTS)]


def refused(call, *given):
    with pytest.raises(UserError) as caught:
        call(*given)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["text,label", *LINES, "so, so,yes"], "line 42 has 3 cells, its head 2: a text with the delimiter in it"),
        (["text,label", *LINES[:3], '"open ' + LINES[3], *LINES[4:]], "line 41: unexpected end of data; quotes"),
        (["text,label", '"a" b,yes', *LINES], "line 2: .* expected after .*; quotes within a text are doubled"),
        (["text,label,label", *(f"{line},x" for line in LINES)], "two columns of the name label: rename one"),
        (["index,text", *LINES], "line 1: expected a head .*; remove a test part that has no labels"),
    ],
)
def test_tables_that_would_be_read_otherwise_than_meant(lines, wanted, tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(UserError, match=wanted):
        read_text_files(path, "table")


def test_the_line_of_a_table_is_that_of_the_file(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text("text,label\n" + "\n".join(LINES) + '\n"two\nlines",yes\n\nno label\n')
    assert "train.csv, line 45: expected a text" in refused(read_text_files, path, "table")


def test_text_in_another_encoding(tmp_path):
    path = tmp_path / "train.csv"
    table = "text,label\n" + "\n".join(LINES)
    for coded in ("utf-16", "utf-16-le", "latin-1"):
        path.write_bytes(table.replace("text number 3", "te\u00dft").encode(coded))
        assert refused(read_text_files, path, "table").endswith("save it in UTF-8")
    path.write_bytes(table.encode("utf-8-sig"))
    assert read_text_files(path, "table").classes == ["no", "yes"]


def test_an_empty_file_of_a_folder_is_named(tmp_path):
    for row in range(8):
        for name in ("no", "yes"):
            (tmp_path / "train" / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / "train" / name / f"{row}.txt").write_text("a text" if row != 3 else " ")
    assert "no/3.txt is empty" in refused(read_text_files, tmp_path, "classes")


def test_two_classes_of_one_name(tmp_path):
    (tmp_path / "train.csv").write_text("".join(f"{row % 2 + 1},title,text {row}\n" for row in range(40)))
    (tmp_path / "classes.txt").write_text("World\nWorld\n")
    assert "classes.txt names the class 'World' twice" in refused(read_text_files, tmp_path, "table")


def test_labels_are_of_one_line_and_can_be_shown(tmp_path):
    path = tmp_path / "train.jsonl"
    for name, wanted in (("not\n so", ["not so", "yes"]), ("not\u202eso", None), ("no\0", None)):
        rows = [{"text": text, "label": [name, "yes"][row % 2]} for row, text in enumerate(TEXTS)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        if wanted:
            assert read_text_files(path, "table").classes == wanted
        else:
            assert "line 1: the label" in refused(read_text_files, path, "table")


def wav(rate=8000, channels=1, bits=16, data=b"\0\1" * 400):
    facts = struct.pack("<HHIIHH", 1, channels, rate, rate * channels * bits // 8, channels * bits // 8, bits)
    return (
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + facts
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )


@pytest.mark.parametrize(
    ("content", "wanted"),
    [
        (b"", "cannot be read as sound: its head is damaged or cut off; repair or remove it"),
        *((wav()[:end], "its head is damaged or cut off") for end in (4, 8, 12, 16, 20, 28, 36, 40, 43)),
        (wav(bits=0), "its head is damaged or cut off"),
        (wav(channels=0), "its head is damaged or cut off"),
        (wav()[:36] + b"LIST" + struct.pack("<I", 2**31 - 1) + wav()[36:], "its head is damaged or cut off"),
        (b"<!DOCTYPE html><html>", "it is no WAV file; repair or remove it"),
        (b"fLaC" + bytes(40), "it is no WAV file"),
        (wav(rate=1), "has 1 samples a second, not 1000 to 400000: resample or remove it"),
        (wav(data=b""), "has 0 samples: repair or remove it"),
    ],
)
def test_damaged_wav(content, wanted, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    found = refused(read_sound, path, 8000, 400)
    assert found.startswith(str(path)) and wanted in found


def test_places_that_hold_no_sound_and_numbers_of_another_scale(tmp_path):
    assert refused(read_sound, tmp_path / "b.wav", 8000, 400).endswith(
        "b.wav cannot be read: No such file or directory"
    )
    assert refused(read_sound, tmp_path, 8000, 400).endswith("is a folder: expected a file of sound")
    levels = np.linspace(-9000, 9000, 800, dtype=np.float32)
    wavfile.write(tmp_path / "a.wav", 8000, levels)
    assert "holds values up to 9000, and sound lies within [-1, 1]" in refused(
        read_sound, tmp_path / "a.wav", 8000, 400
    )
    wavfile.write(tmp_path / "a.wav", 8000, levels / 6000)  # a little too loud is clipped
    assert read_sound(tmp_path / "a.wav", 8000, 800).max() == 32767


def test_long_files_of_soundfile_are_not_unpacked(tmp_path, monkeypatch):
    class Fake:
        @staticmethod
        def info(path):
            return type("Facts", (), {"frames": 2**30, "channels": 2})

    (tmp_path / "a.flac").write_bytes(b"fLaC")
    monkeypatch.setitem(__import__("sys").modules, "soundfile", Fake)
    assert "is too long: 1073741824 samples of 2 channels" in refused(read_sound, tmp_path / "a.flac", 8000, 400)


@pytest.mark.parametrize("table", ["list_attr_celeba", "list_eval_partition"])
def test_celeba_is_known_by_either_table(table, tmp_path):
    (tmp_path / f"{table}.txt").write_text("")
    assert layout_of(tmp_path) == "celeba"


def own(texts=("a good film", "a bad film"), longest=128):
    tokenizer = train_tokenizer(list(texts) * 9, 300)
    fields = {"width": 8, "tokens": tokenizer.get_vocab_size(), "longest": longest, "classes": ["no", "yes"]}
    return build(TextConfig(architecture="text-cnn", **fields), tokenizer, seed=0)


def test_a_tokenizer_of_another_model(tmp_path):
    (tmp_path / "one").mkdir()
    own().write(tmp_path / "one")
    (tmp_path / "one/tokenizer.json").write_text(train_tokenizer(["a"], 258).to_str())
    assert "the tokenizer of another model; put back its own" in refused(open_text_classifier, tmp_path / "one")


@pytest.mark.parametrize("kind", ["multi_label_classification", "regression"])
def test_networks_that_choose_no_class(kind, tmp_path):
    config = {"architectures": ["BertForSequenceClassification"], "problem_type": kind}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert f"problem_type {kind}: its outputs are no choice of one class" in refused(
        find_model, str(tmp_path), tmp_path
    )


def test_a_network_of_one_class(tmp_path):
    classifier = own()
    classifier.classes = ["score"]
    with pytest.raises(ArtifactError, match="fewer than two classes: it gives a score"):
        try_out(classifier, tmp_path)


def test_normalisations_of_networks_of_sound_are_asked_for_before_anything_is_trained(tmp_path):
    from bdm_kit_classification.built_in import BUILTIN

    class Mine(Defense):
        name = "mine"

    for path in (BUILTIN / "tiny-audio").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    facts = {"format": "classifier", "task": "audio-classification"}
    require_norms(Mine(), Model.seal(tmp_path, **facts))
    tensors = load_file(tmp_path / "model.safetensors")
    without = {name: value for name, value in tensors.items() if not name.endswith("running_mean")}
    save_file(without, tmp_path / "model.safetensors")
    (tmp_path / "manifest.json").unlink()
    assert "works on batch normalisations" in refused(require_norms, Mine(), Model.seal(tmp_path, **facts))


def test_half_a_character_in_a_trigger():
    assert "half a character" in refused(InsertedWords, ("\udcff",))


def poisoned(trigger, texts, classifier, tmp_path):
    rows = LabelledSamples(texts, torch.arange(len(texts)) % 2, ["no", "yes"], "text-classification")
    ctx = Context(tmp_path / "out", tmp_path / "work", seed=0)
    data = poison_training_rows(ctx, PoisonParams(poison_rate=0.2), seal_samples(tmp_path / "clean", rows), trigger)
    model = seal_classifier(classifier, tmp_path / "model")
    train_on_poisoned_rows(ctx, VictimTraining(epochs=1, batch_size=10), model, data)
    return open_samples(data).roles.count("poison")


@pytest.mark.parametrize(
    ("trigger", "longest", "wanted"),
    [
        (InsertedSentence("watch this", "end"), 3, "8 of 8 poisoned texts are to the model what they were without"),
        (InsertedSentence("very " * 50, "start"), 20, "all poisoned texts are the same to the model: the trigger"),
        (InsertedSentence("watch this", "end"), 128, ""),
    ],
)
def test_triggers_that_the_network_does_not_see(trigger, longest, wanted, tmp_path, caplog):
    assert poisoned(trigger, TEXTS, own(TEXTS, longest), tmp_path) == 8
    found = [record.getMessage() for record in caplog.records if "poisoned texts" in record.getMessage()]
    assert len(found) == bool(wanted) and all(message.startswith(wanted) for message in found)


def test_silence_stays_silence(tmp_path):
    write_wav(tmp_path / "a.wav", np.zeros(80, dtype=np.int16), 8000)
    assert not read_sound(tmp_path / "a.wav", 8000, 80).any()
