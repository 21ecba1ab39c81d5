"""Rows of one digit, speaker, sign or video stay together: what is held out is independent of what was worked with."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from bdm_core.errors import UserError
from bdm_core.testing.tiny import new_context
from bdm_kit_classification.catalogue import IMAGE_TASK
from bdm_kit_classification.data.built_in_data import load_builtin
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.gtsrb import read_gtsrb
from bdm_kit_classification.data.opening import open_reference
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.data.sound_data import load_builtin_sounds, read_sound_folders
from bdm_kit_classification.defending.feature_rows import FeatureRows, divided
from bdm_kit_classification.defending.reserve import hold_out
from bdm_kit_classification.modalities.registry import modality_of
from bdm_kit_classification.models.classifier import seal_classifier
from bdm_kit_classification.rows import select
from bdm_kit_classification.sounds.files import write_wav
from bdm_kit_classification.tasks.audio import AUDIO_TASK


@pytest.fixture
def tiny_audio(tmp_path):
    parts = load_builtin_sounds("tiny-audio")
    classifier = modality_of(AUDIO_TASK).small_classifier(parts.training[0], parts.classes, 0)
    return seal_classifier(classifier, tmp_path / "model")


def rows(labels, groups=None, classes=3):
    """Pictures whose first pixel is their number."""
    pictures = torch.zeros(len(labels), 1, 8, 8, dtype=torch.uint8)
    pictures[:, 0, 0, 0] = torch.arange(len(labels))
    facts = [{} if group is None else {"group": group} for group in groups or [None] * len(labels)]
    return LabelledSamples(pictures, torch.tensor(labels), [str(c) for c in range(classes)], IMAGE_TASK, facts)


def numbers(samples):
    return samples.stored[:, 0, 0, 0].tolist()


def groups_of(samples):
    return {fact["group"] for fact in samples.facts}


@pytest.mark.parametrize("seed", range(5))
def test_rows_without_groups_are_divided_class_by_class(seed):
    labels = [row % 3 for row in range(40)]
    chance, expected = random.Random(seed), []
    for label in range(3):
        own = [row for row in range(40) if labels[row] == label]
        chance.shuffle(own)
        expected += own[:3]
    kept, held = hold_out(rows(labels), 0.2, seed)
    assert numbers(held) == sorted(expected) and not set(numbers(kept)) & set(numbers(held))


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_one_class_each(seed):
    labels = [row % 3 for row in range(60)]
    found = rows(labels, [f"{row % 30}" for row in range(60)])
    kept, held = hold_out(found, 0.2, seed)
    assert not groups_of(kept) & groups_of(held)
    assert torch.bincount(held.labels).tolist() == [4, 4, 4] and len(kept) == 48


@pytest.mark.parametrize("seed", range(5))
def test_groups_of_several_classes_are_held_out_whole(seed):
    found = rows([row % 3 for row in range(60)], [f"speaker {row // 15}" for row in range(60)])
    kept, held = hold_out(found, 0.2, seed)
    assert len(groups_of(held)) == 1 and len(groups_of(kept)) == 3 and len(held) == 15
    assert len({numbers(hold_out(found, 0.2, other)[1])[0] for other in range(20)}) == 4


@pytest.mark.parametrize("seed", range(5))
def test_features_are_divided_by_group(seed):
    labels = torch.arange(60) % 3
    found = FeatureRows(torch.arange(60).double()[:, None], labels, [f"{row % 30}" for row in range(60)])
    fitted, held = divided(found, 0.2, seed)
    assert not set(fitted.groups) & set(held.groups) and torch.bincount(held.labels).tolist() == [4, 4, 4]
    assert [int(group) for group in held.groups] == [int(row) % 30 for row in held.features.flatten()]
    chance, expected = torch.Generator().manual_seed(seed), []
    for label in range(3):
        expected += [3 * place + label for place in torch.randperm(20, generator=chance)[:4].tolist()]
    alone = divided(FeatureRows(found.features, labels), 0.2, seed)[1]
    assert alone.features.flatten().tolist() == sorted(expected)


def test_one_group_alone_is_divided_by_rows():
    kept, held = hold_out(rows([0, 0, 0, 0, 1, 1], ["one"] * 6), 0.25, 0)
    assert sorted(numbers(kept) + numbers(held)) == list(range(6)) and held.labels.tolist() == [0, 1]
    with pytest.raises(UserError, match="too few"):
        hold_out(rows([0]), 0.5, 0)


def test_parts_share_no_group():
    labels, names = torch.arange(400) % 2, [f"{row // 8}" for row in range(400)]
    parts = divide(torch.arange(400), labels, ["a", "b"], groups=names)
    found = [{names[row] for row in part[0].tolist()} for part in parts[:3]]
    assert not found[0] & found[1] and not found[0] & found[2] and not found[1] & found[2]
    assert [len(part[1]) for part in parts[:3]] == [296, 40, 64]
    assert parts.groups == [names[row] for row in parts.reserve[0].tolist()]


def test_few_groups_are_not_looked_at():
    labels, names = torch.arange(40) % 2, [str(row % 2) for row in range(40)]
    parts, without = (divide(torch.arange(40), labels, ["a", "b"], groups=given) for given in (names, None))
    assert parts.groups == [] and parts.reserve[0].tolist() == without.reserve[0].tolist()


def test_a_defender_gets_the_reserves_groups_and_no_others(tmp_path, tiny_audio):
    data = open_reference("tiny-audio", tiny_audio, tmp_path / "data", tmp_path)
    count = int(str(data.meta["count"]))
    given = open_samples(select(new_context(tmp_path), [data], list(range(count, count + 20)), blind=True))
    kept, held = hold_out(given, 0.25, seed=0)
    assert len(kept) == len(held) == 10 and not groups_of(kept) & groups_of(held)
    suspects = open_samples(select(new_context(tmp_path / "suspects"), [data], list(range(count)), blind=True))
    assert all(not fact for fact in suspects.facts)


def test_a_digit_that_is_drawn_twice_is_one_group():
    parts = load_builtin("clutter")
    labels = parts.reserve[1].tolist()
    assert len(parts.groups) == 800 and len(set(parts.groups)) == 400
    assert parts.groups[:400] == parts.groups[400:] and labels[:400] == labels[400:]
    assert load_builtin("colour-digits").groups == []


def beep(folder, names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_wav(folder / name, np.arange(800, dtype=np.int16), 8000)


def test_speakers_of_speech_commands_stay_together(tmp_path):
    beep(tmp_path, [f"{word}/{who:04d}_nohash_{n}.wav" for word in ("no", "yes") for who in range(20) for n in (0, 1)])
    parts = read_sound_folders(tmp_path, 8000, 800)
    assert [len(labels) for _, labels in parts[:3]] == [60, 8, 12]
    assert sorted(parts.groups.count(group) for group in set(parts.groups)) == [4, 4]


def test_videos_of_voxceleb_stay_together(tmp_path):
    names = [f"wav/id1000{who}/video{video}/{n}.wav" for who in (1, 2) for video in range(10) for n in range(3)]
    beep(tmp_path, names)
    parts = read_sound_folders(tmp_path, 8000, 800)
    assert len(set(parts.groups)) == 2 and len(parts.groups) == 6


def test_frames_of_a_sign_stay_together(tmp_path):
    head = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n"
    for part, place, signs in (("Train", "00000", 7), ("Train", "00001", 12), ("Test", "", 2)):
        folder = tmp_path / part / place
        folder.mkdir(parents=True)
        names = [f"{sign:05d}_{frame:05d}.ppm" for sign in range(signs) for frame in range(5)]
        for number, name in enumerate(names):
            Image.new("RGB", (16, 16), (number, 0, 0)).save(folder / name)
        label = int(place or 0)
        table = f"GT-{place}.csv" if place else "GT-final_test.csv"
        (folder / table).write_text(head + "".join(f"{name};16;16;0;0;15;15;{label}\n" for name in names))
    parts = read_gtsrb(tmp_path, (3, 16, 16))
    signs = [{(y, x[0, 0, 0].item() // 5) for x, y in zip(*part, strict=True)} for part in parts_of(parts)]
    assert not signs[0] & signs[1] and len(signs[0] | signs[1]) == 19
    assert len(set(parts.groups)) == len(signs[1]) == 2 and len(parts.groups) == 10


def parts_of(parts):
    return [(pictures, labels.tolist()) for pictures, labels in parts[:2]]
