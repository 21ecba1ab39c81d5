"""Recordings: built in, and from folders in the layouts of Speech Commands, GTZAN and VoxCeleb1."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import torch

from bdm_core.errors import UserError
from bdm_core.files import walk
from bdm_kit_classification.data import spoken_digits, spoken_speakers
from bdm_kit_classification.data.division import divide
from bdm_kit_classification.data.espeak import say_by_espeak
from bdm_kit_classification.data.parts import Parts
from bdm_kit_classification.data.sources import Source
from bdm_kit_classification.sounds.batch import Sounds
from bdm_kit_classification.sounds.files import fitted, read_sound, resampled, to_levels
from bdm_kit_classification.tasks.audio import ESPEAK_DIGITS, FURTHER_SPEAKERS, SPEAKERS, SUFFIXES, TINY
from bdm_torch.data_folders import subfolders

PLACES = ("genres_original", "Data/genres_original", "genres", "wav", ".")
"""Where classes lie: GTZAN's and VoxCeleb1's own folders first."""
TRAINING_NAMES, TEST_NAMES = ("train", "training", "dev"), ("test", "val", "valid", "validation")
TEST_LIST = "testing_list.txt"
"""Speech Commands' list of the files of the test part, one ``word/file.wav`` a line."""
BROKEN = frozenset({"jazz.00054.wav"})
"""GTZAN as it is published has one file that holds no sound."""
SPEAKER_MARK = "_nohash_"
"""Speech Commands' files are called by their speaker, this, and a number."""
TINY_PARTS = ((4, 1), (2, 1), (2, 1))
Files = list[tuple[Path, int]]


def read_recordings(source: Source, rate: int, samples: int) -> Parts:
    """Recordings and labels from anything but an artifact, at a rate and of a length.

    Args:
        source: see :func:`bdm_kit_classification.data.sources.find_data`.
        rate: samples a second wanted.
        samples: of each recording; the middle of longer ones is kept.

    Raises:
        UserError: a file cannot be read, there are no classes, too few rows, or the data are of the library datasets.
    """
    if source.kind == "built-in":
        return load_builtin_sounds(source.name, rate, samples)
    if source.kind == "classes":
        assert source.folder is not None
        return read_sound_folders(source.folder, rate, samples)
    raise UserError(f"{source.name}: sound of the library datasets is not read; give a folder of files by class")


def load_builtin_sounds(name: str, rate: int = spoken_digits.RATE, samples: int = spoken_digits.SAMPLES) -> Parts:
    """A built-in data set of recordings by name.

    Raises:
        UserError: it is made by a program that is not installed.

    >>> parts = load_builtin_sounds("tiny-audio")
    >>> [tuple(sounds.values.shape) for sounds, labels in parts[:3]], parts.training[0].rate
    ([(40, 4000), (20, 4000), (16, 4000)], 8000)
    """
    made, classes, voices = _say(name, rate, samples)
    parts = []
    for clips, labels in made:
        if name != ESPEAK_DIGITS and (rate, samples) != (spoken_digits.RATE, spoken_digits.SAMPLES):
            clips = to_levels(fitted(resampled(clips / 32767, spoken_digits.RATE, rate), samples))
        parts.append((Sounds(torch.from_numpy(clips), rate), torch.from_numpy(labels)))
    if name == TINY:
        parts[2] = (Sounds(parts[2][0].values[:16], rate), parts[2][1][:16])
    return Parts(parts[0], parts[1], parts[2], classes, groups=voices)


def _say(
    name: str, rate: int, samples: int
) -> tuple[list[tuple[spoken_digits.Levels, spoken_digits.Levels]], list[str], list[str]]:
    """Clips and labels of three parts, the names of the classes, and the voices of the reserve that has few of them."""
    if name == SPEAKERS:
        return spoken_speakers.say_speakers(), list(spoken_speakers.NAMES), []
    if name == FURTHER_SPEAKERS:
        said = spoken_speakers.FURTHER_SPEAKERS, spoken_speakers.FURTHER_TAKES, spoken_speakers.FURTHER_FIRST
        return spoken_speakers.say_speakers(*said), list(spoken_speakers.FURTHER_NAMES), []
    if name == ESPEAK_DIGITS:
        made = say_by_espeak(rate, samples)
    else:
        made = spoken_digits.say_digits(*(TINY_PARTS if name == TINY else spoken_digits.PARTS))
    return [part[:2] for part in made], list(spoken_digits.CLASSES), [f"voice {voice}" for voice in made[1][2].tolist()]


def read_sound_folders(folder: Path, rate: int, samples: int) -> Parts:
    """Recordings of a folder with a sub-folder a class, or with ``train`` and ``test`` that have such.

    Speech Commands says in ``testing_list.txt`` what the test part is; folders that begin with ``_`` are no classes.
    Its speakers, and VoxCeleb1's videos, stay in one part each.
    GTZAN's classes lie in ``genres`` or ``genres_original``, VoxCeleb1's in ``wav``, files in sub-folders of theirs.

    Raises:
        UserError: fewer than two classes, a class without files, a file that cannot be read, or a test class of another
            name.
    """
    root = next(folder / place for place in PLACES if (folder / place).is_dir())
    names = {path.name.lower(): path for path in subfolders(root)}
    training = next((names[name] for name in TRAINING_NAMES if name in names), root)
    test = next((names[name] for name in TEST_NAMES if name in names), None) if training is not root else None
    classes, files = _find(training)
    tested: Files = []
    if test is not None:
        others, tested = _find(test)
        if others != classes:
            raise UserError(f"{test} and {training} do not have the same classes")
    elif (root / TEST_LIST).is_file():
        files, tested = _listed(root, files)
    stored, labels = _read(files, rate, samples)
    read_test = _read(tested, rate, samples) if tested else None
    rows = torch.arange(len(labels))
    parts = divide(rows, labels, classes, (torch.zeros(0), torch.zeros(0)) if read_test else None, _voices(files, root))
    made = [(Sounds(stored[chosen], rate), found) for chosen, found in parts[: 2 if read_test else 3]]
    if read_test:
        made.append((Sounds(read_test[0], rate), read_test[1]))
    return Parts(made[0], made[1], made[2], classes, groups=parts.groups)


def _voices(files: Files, root: Path) -> list[str] | None:
    """Of each file who speaks, by Speech Commands' names, or from which of VoxCeleb1's videos it is; None if unknown.

    >>> _voices([(Path("no/1a2b_nohash_0.wav"), 0), (Path("yes/1a2b_nohash_1.wav"), 1)], Path("."))
    ['1a2b', '1a2b']
    >>> _voices([(Path("wav/id10001/video/00001.wav"), 0), (Path("wav/id10001/video/00002.wav"), 0)], Path("wav"))
    ['wav/id10001/video', 'wav/id10001/video']
    """
    if all(SPEAKER_MARK in path.name for path, _ in files):
        return [path.name.partition(SPEAKER_MARK)[0] for path, _ in files]
    if root.name == "wav":
        return [path.parent.as_posix() for path, _ in files]
    return None


def _find(folder: Path) -> tuple[list[str], Files]:
    classes = [path.name for path in subfolders(folder) if not path.name.startswith("_")]
    if len(classes) < 2:
        raise UserError(f"{folder} has {len(classes)} sub-folders: expected two or more, one for each class")
    files: Files = []
    for label, name in enumerate(classes):
        found = sorted(path for path in walk(folder / name) if path.suffix.lower() in SUFFIXES)
        if not found:
            raise UserError(f"{folder / name} holds no sound files: every class needs some")
        broken = [path for path in found if path.name in BROKEN]
        if broken:
            logging.getLogger("bdm").warning("%s is known to be broken in GTZAN: left out", broken[0])
        files += [(path, label) for path in found if path not in broken]
    return classes, files


def _listed(root: Path, files: Files) -> tuple[Files, Files]:
    """The files that the list of Speech Commands does not name, and those that it names."""
    try:
        wanted = {line.strip() for line in (root / TEST_LIST).read_text(encoding="utf-8").splitlines() if line.strip()}
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{root / TEST_LIST} cannot be read as UTF-8 text: {error}") from None
    named = [path.relative_to(root).as_posix() in wanted for path, _ in files]
    if sum(named) != len(wanted):
        raise UserError(f"{root / TEST_LIST} names {len(wanted)} files, of which {sum(named)} are there")
    pairs = list(zip(files, named, strict=True))
    return [file for file, test in pairs if not test], [file for file, test in pairs if test]


def _read(files: Files, rate: int, samples: int) -> tuple[torch.Tensor, torch.Tensor]:
    stored = np.empty((len(files), samples), dtype=np.int16)
    for row, (path, _) in enumerate(files):
        stored[row] = read_sound(path, rate, samples)
    return torch.from_numpy(stored), torch.tensor([label for _, label in files], dtype=torch.int64)
