"""Folders of data: hidden files, companions of macOS and pipes are no classes, rows or files, in every modality."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bdm_core.errors import UserError
from bdm_kit_classification.data.image_data import count_classes, read_class_folders
from bdm_kit_classification.data.sound_data import read_sound_folders
from bdm_kit_classification.data.text_tables import read_text_files
from bdm_kit_classification.sounds.files import write_wav
from bdm_kit_classification.tasks.image import ImageTask
from bdm_kit_classification.tasks.text import TextTask

STRANGE = (".ipynb_checkpoints", "__MACOSX", ".Trash-0")


def clutter(folder: Path, suffix: str) -> None:
    """What is no data: a hidden folder, one of macOS, a companion file in each class, and a pipe."""
    for name in STRANGE:
        (folder / name).mkdir()
        (folder / name / f"._a{suffix}").write_bytes(b"\x00\x05\x16\x07")
    for inside in [path for path in folder.iterdir() if path.is_dir() and path.name not in STRANGE]:
        (inside / f"._a{suffix}").write_bytes(b"\x00\x05\x16\x07")
        os.mkfifo(inside / f"pipe{suffix}")


def test_classes_of_pictures(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for number in range(8):
            Image.new("L", (8, 8), number).save(tmp_path / name / f"{number}.png")
    clutter(tmp_path, ".png")
    assert (count_classes(tmp_path), ImageTask().kind_of(tmp_path)) == (2, "classes")
    found = read_class_folders(tmp_path, (1, 8, 8))
    assert found.classes == ["cat", "dog"]
    assert sum(len(part[1]) for part in found[:3]) == 16


def test_classes_of_sounds(tmp_path: Path) -> None:
    for name in ("no", "yes"):
        (tmp_path / name).mkdir()
        for number in range(8):
            write_wav(tmp_path / name / f"{number}.wav", np.full(80, number, dtype=np.int16), 8000)
    clutter(tmp_path, ".wav")
    found = read_sound_folders(tmp_path, 8000, 80)
    assert found.classes == ["no", "yes"]
    assert sum(len(part[1]) for part in found[:3]) == 16


def test_classes_of_texts(tmp_path: Path) -> None:
    for name in ("neg", "pos"):
        (tmp_path / "train" / name).mkdir(parents=True)
        for number in range(8):
            (tmp_path / "train" / name / f"{number}.txt").write_text(f"text {number}")
    clutter(tmp_path / "train", ".txt")
    (tmp_path / "__MACOSX").mkdir()
    assert TextTask().kind_of(tmp_path) == "classes"
    found = read_text_files(tmp_path, "classes")
    assert found.classes == ["neg", "pos"]
    assert sum(len(part[1]) for part in found[:3]) == 16


def test_tables_beside_their_companions(tmp_path: Path) -> None:
    rows = [{"text": f"text {number}", "label": number % 2} for number in range(16)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "._train.jsonl").write_bytes(b"\x00\x05\x16\x07\xff")
    os.mkfifo(tmp_path / "test.jsonl")
    assert TextTask().kind_of(tmp_path) == "table"
    assert sum(len(part[1]) for part in read_text_files(tmp_path, "table")[:3]) == 16


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\x1c"])
def test_a_text_may_hold_line_ends_of_unicode(tmp_path: Path, separator: str) -> None:
    wanted = [f"one neg, {number}" for number in range(16)]  # as any white space, a single blank
    texts = [f"one{separator}neg, {number}" for number in range(16)]
    table = "label,text\n" + "".join(f'{number % 2},"{text}"\n' for number, text in enumerate(texts))
    (tmp_path / "a.csv").write_text(table)
    plain = "".join(f"{number % 2}\t{text}\n" for number, text in enumerate(texts))
    (tmp_path / "b.tsv").write_text(f"label\ttext\n{plain}")
    lines = [json.dumps({"text": text, "label": number % 2}, ensure_ascii=False) for number, text in enumerate(texts)]
    kept = separator in "\u2028\u2029\x85"  # JSON writes control characters out itself
    (tmp_path / "c.jsonl").write_text("\n".join(lines))
    for name in ("a.csv", "b.tsv", *(["c.jsonl"] if kept else [])):
        found = read_text_files(tmp_path / name, "table")
        assert sorted(text for part in found[:3] for text in part[0]) == sorted(wanted), name


def test_a_deep_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a", "label": 0}\n' + "[" * 200_000)
    with pytest.raises(UserError, match="line 2: no JSON"):
        read_text_files(tmp_path / "a.jsonl", "table")


def test_a_link_to_nowhere_among_the_classes_is_named(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="dog is a link that leads nowhere"):
        count_classes(tmp_path)
