"""Folders of sound files in published layouts."""

import logging
import sys

import numpy as np
import pytest
import torch
from scipy.io import wavfile

from bdm_core.errors import UserError
from bdm_kit_classification.data import espeak
from bdm_kit_classification.data.sound_data import load_builtin_sounds, read_recordings, read_sound_folders
from bdm_kit_classification.data.sources import Source, find_source
from bdm_kit_classification.sounds.files import fitted, read_sound, resampled, write_wav
from bdm_kit_classification.tasks.registry import task_of

TASK = task_of("audio-classification")


def beep(level, samples=800):
    return (level * 3000 * np.sin(np.arange(samples) / 5)).astype(np.int16)


def write(folder, names, rate=8000, samples=800):
    for place, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_wav(path, beep(place % 5 + 1, samples), rate)


def test_speech_commands(tmp_path):
    words = ("no", "yes")
    write(tmp_path, [f"{word}/{place:04d}_nohash_0.wav" for word in words for place in range(12)], samples=780)
    write(tmp_path, ["_background_noise_/hum.wav"])
    (tmp_path / "testing_list.txt").write_text("no/0003_nohash_0.wav\nyes/0005_nohash_0.wav\n")
    source = find_source(str(tmp_path), TASK)
    assert source.kind == "classes"
    parts = read_recordings(source, 8000, 800)
    assert parts.classes == ["no", "yes"] and [len(labels) for _, labels in parts[:3]] == [20, 2, 2]
    expected = fitted(beep(3 % 5 + 1, 780), 800)
    assert parts.test[0].values[0].tolist() == expected.tolist() and parts.test[1].tolist() == [0, 1]
    assert parts.training[0].rate == 8000
    (tmp_path / "testing_list.txt").write_text("no/9999_nohash_0.wav\n")
    with pytest.raises(UserError, match="names 1 files, of which 0 are there"):
        read_recordings(source, 8000, 800)


def test_gtzan_with_its_broken_file(tmp_path, caplog):
    names = [f"genres_original/{kind}/{kind}.{place:05d}.wav" for kind in ("blues", "jazz") for place in range(8)]
    write(tmp_path / "Data", names, rate=22_050, samples=2205)
    (tmp_path / "Data/genres_original/jazz/jazz.00054.wav").write_bytes(b"no sound")
    with caplog.at_level(logging.WARNING, "bdm"):
        parts = read_sound_folders(tmp_path, 8000, 800)
    assert "jazz.00054.wav" in caplog.text
    assert parts.classes == ["blues", "jazz"] and sum(len(labels) for _, labels in parts[:3]) == 16
    assert parts.training[0].values.shape[1] == 800


def test_voxceleb_with_speakers_of_several_videos(tmp_path):
    write(tmp_path, [f"wav/id1000{who}/video{place % 2}/{place:05d}.wav" for who in (1, 2) for place in range(8)])
    parts = read_sound_folders(tmp_path, 8000, 800)
    assert parts.classes == ["id10001", "id10002"] and len(parts.training[1]) == 12


def test_train_and_test_folders(tmp_path):
    write(tmp_path, [f"train/{kind}/{place}.wav" for kind in "ab" for place in range(5)])
    write(tmp_path, [f"test/{kind}/{place}.wav" for kind in "ab" for place in range(3)])
    assert [len(labels) for _, labels in read_sound_folders(tmp_path, 8000, 800)[:3]] == [8, 2, 6]
    write(tmp_path, ["test/c/1.wav"])
    with pytest.raises(UserError, match="same classes"):
        read_sound_folders(tmp_path, 8000, 800)


@pytest.mark.parametrize("kind", ["uint8", "int16", "int32", "float32"])
def test_forms_of_wav(kind, tmp_path):
    x = np.stack([np.full(100, 0.5), np.full(100, 0.1)], axis=1)
    forms = {
        "uint8": (x * 127 + 128).astype(np.uint8),
        "int16": (x * 32767).astype(np.int16),
        "int32": (x * 2147483647).astype(np.int32),
        "float32": x.astype(np.float32),
    }
    wavfile.write(tmp_path / "stereo.wav", 8000, forms[kind])
    found = read_sound(tmp_path / "stereo.wav", 8000, 100) / 32767
    assert np.allclose(found, 0.3, atol=0.01)


def test_resampling_keeps_a_tone():
    rate, wanted = 16_000, 8000
    x = np.sin(2 * np.pi * 1000 * np.arange(rate) / rate)
    expected = np.sin(2 * np.pi * 1000 * np.arange(wanted) / wanted)
    assert np.abs(resampled(x, rate, wanted) - expected)[200:-200].max() < 0.01


def test_flac_needs_soundfile(tmp_path, monkeypatch):
    (tmp_path / "a.flac").write_bytes(b"fLaC")
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(UserError, match="needs soundfile: pip install"):
        read_sound(tmp_path / "a.flac", 8000, 800)


def test_flac(tmp_path):
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.flac", beep(3), 8000)
    assert read_sound(tmp_path / "a.flac", 8000, 800).tolist() == pytest.approx(beep(3).tolist(), abs=1)


@pytest.mark.parametrize("content", [b"", b"RIFF", b"RIFF\x24\x00\x00\x00WAVEfmt "])
def test_damaged_files_are_one_line(content, tmp_path):
    (tmp_path / "a.wav").write_bytes(content)
    with pytest.raises(UserError, match=r"a\.wav cannot be read as sound") as caught:
        read_sound(tmp_path / "a.wav", 8000, 800)
    assert "\n" not in str(caught.value)


def test_sound_that_is_none_is_one_line(tmp_path):
    path = tmp_path / "a.wav"
    for levels, rate, message in (
        (beep(3)[:0], 8000, "has 0 samples: repair or remove it"),
        (np.full(80, np.nan, dtype=np.float32), 8000, "holds NaN or infinity: repair or remove it"),
        (beep(3), 500, "has 500 samples a second, not 1000 to 400000: resample or remove it"),
    ):
        wavfile.write(path, rate, levels)
        with pytest.raises(UserError, match=f"a.wav {message}"):
            read_sound(path, 8000, 800)


def test_of_a_file_that_is_cut_off_the_rest_is_read(tmp_path, caplog, recwarn):
    path = tmp_path / "a.wav"
    write_wav(path, beep(3), 8000)
    whole = path.read_bytes()
    path.write_bytes(whole[:444])  # a head of 44 bytes and 200 samples
    found = read_sound(path, 8000, 200)
    assert found.tolist() == beep(3)[:200].tolist() and not recwarn.list
    assert [record.message for record in caplog.records] == [
        f"{path} is cut off: the 200 samples that are there are read"
    ]


def test_what_is_no_data_is_refused(tmp_path):
    (tmp_path / "a").mkdir()
    with pytest.raises(UserError, match="holds no sound"):
        find_source(str(tmp_path), TASK)
    write(tmp_path, ["a/1.wav"])
    with pytest.raises(UserError, match="1 sub-folders"):
        read_sound_folders(tmp_path, 8000, 800)
    (tmp_path / "b").mkdir()
    with pytest.raises(UserError, match="b holds no sound files"):
        read_sound_folders(tmp_path, 8000, 800)
    with pytest.raises(UserError, match="not read"):
        read_recordings(Source("hub", "hf:org/name"), 8000, 800)


def test_built_in_data_come_at_the_models_rate_and_length():
    parts = load_builtin_sounds("tiny-audio", 16_000, 16_000)
    plain = load_builtin_sounds("tiny-audio")
    assert parts.training[0].rate == 16_000 and parts.training[0].values.shape == (40, 16_000)
    middle = parts.training[0].values[0, 4000:12_000:2]
    assert torch.corrcoef(torch.stack([middle, plain.training[0].values[0]]).float())[0, 1] > 0.95


FAKE = """#!{python}
import sys, wave
option = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if "gbclan" in option["-v"] and {broken}:
    sys.exit("no such voice")
pitch = 200 if "+f" in option["-v"] else 100
beep = b"".join((5000 * (-1) ** (n * pitch // 8000)).to_bytes(2, "little", signed=True) for n in range(1600))
with wave.open(option["-w"], "wb") as file:
    file.setnchannels(1), file.setsampwidth(2), file.setframerate(16000)
    file.writeframes(bytes(4000) + beep + bytes(20000))
"""


@pytest.mark.parametrize("broken", [False, True])
def test_espeak_is_asked_for_each_word_and_voice(broken, tmp_path, monkeypatch):
    program = tmp_path / "espeak-ng"
    program.write_text(FAKE.format(python=sys.executable, broken=broken))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(espeak, "CLASSES", ["zero", "one"])
    monkeypatch.setattr(espeak, "TRAINING_VARIANTS", ("m1",))
    monkeypatch.setattr(espeak, "TEST_VARIANTS", ("f4",))
    if broken:
        with pytest.raises(UserError, match=r"cannot say 'zero' with the voice en-gb-x-gbclan\+f4: no such voice"):
            load_builtin_sounds("espeak-digits", 8000, 1000)
        return
    parts = load_builtin_sounds("espeak-digits", 8000, 1000)
    assert [tuple(sounds.values.shape) for sounds, _ in parts[:3]] == [(24, 1000), (8, 1000), (8, 1000)]
    heard = parts.training[0].values[0]
    loud = (heard.abs() > 2000).nonzero().flatten()
    assert 750 < len(loud) <= 850 and 60 < int(loud[0]) < 140, "the word lies in the middle, without the silence"


def test_espeak_is_named_where_it_is_missing(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="needs the program espeak-ng"):
        load_builtin_sounds("espeak-digits")
