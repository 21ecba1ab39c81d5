"""Archives whose checksum is wrong are refused by ``bdm import``, wherever the damage is; nothing is left of them."""

from __future__ import annotations

import gzip
import os
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from bdm_cli import archive as archives
from bdm_cli.archive import extract
from bdm_cli.import_ import Source, convert
from bdm_core.errors import UserError

Damage = Callable[[bytes], bytes]


def flipped(place: int) -> Damage:
    """One bit is wrong at a place counted from the end."""

    def damage(content: bytes) -> bytes:
        found = bytearray(content)
        found[place] ^= 1
        return bytes(found)

    return damage


def cut(count: int) -> Damage:
    return lambda content: content[:-count]


def made(folder: Path, name: str) -> Path:
    """A sound archive of two files that do not compress."""
    path = folder / name
    for number in range(2):
        (folder / f"{number}.txt").write_bytes(os.urandom(3000))
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as zipped:
            for number in range(2):
                zipped.write(folder / f"{number}.txt", f"{number}.txt")
        return path
    with tarfile.open(path, f"w:{name.rpartition('.')[2].replace('tgz', 'gz').replace('tar', '')}") as tarred:
        for number in range(2):
            tarred.add(folder / f"{number}.txt", f"{number}.txt")
    return path


NAMES = ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.bz2", "a.tar.xz"]
DAMAGES: list[tuple[str, str, Damage]] = [
    ("a.tar.gz", "checksum", flipped(-8)),
    ("a.tar.gz", "length", flipped(-4)),
    ("a.tar.gz", "end", cut(4)),
    ("a.tar.gz", "middle", flipped(-3000)),
    ("a.tgz", "checksum", flipped(-5)),
    ("a.tar.bz2", "checksum", flipped(-3)),
    ("a.tar.bz2", "end", cut(6)),
    ("a.tar.xz", "footer", flipped(-4)),
    ("a.tar.xz", "check", flipped(-40)),
    ("a.tar.xz", "end", cut(12)),
    ("a.zip", "content", flipped(-4000)),
    ("a.tar", "end", cut(9000)),
]


@pytest.mark.parametrize("name", NAMES)
def test_a_sound_archive_is_unpacked(tmp_path: Path, name: str) -> None:
    (tmp_path / "out").mkdir()
    extract(made(tmp_path, name), tmp_path / "out")
    for number in range(2):
        assert (tmp_path / f"out/{number}.txt").read_bytes() == (tmp_path / f"{number}.txt").read_bytes()


@pytest.mark.parametrize(("name", "where", "damage"), DAMAGES, ids=[f"{name}-{where}" for name, where, _ in DAMAGES])
def test_a_damaged_archive_is_one_line_and_leaves_nothing(
    tmp_path: Path, name: str, where: str, damage: Damage
) -> None:
    path = made(tmp_path, name)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError) as caught:
        convert(Source(path), tmp_path / "made", task="text-to-image")
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)
    assert "is no readable archive" in str(caught.value) or "cannot be unpacked" in str(caught.value)
    assert sorted(item.name for item in tmp_path.iterdir()) == sorted(["0.txt", "1.txt", name])


def test_what_follows_the_last_file_is_read_up_to_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "_LONGEST_END", 2**20)
    path = made(tmp_path, "a.tar.gz")
    content = gzip.decompress(path.read_bytes())
    (tmp_path / "out").mkdir()
    path.write_bytes(gzip.compress(content + bytes(8 * 2**20)))
    with pytest.raises(UserError, match="goes on for more than 1 MiB"):
        extract(path, tmp_path / "out")


def test_a_zip_of_too_many_files_is_refused_before_any_is_written(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "many.zip", "w") as zipped:
        for number in range(5):
            zipped.writestr(str(number), b"")
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="more than 4 files"):
        extract(tmp_path / "many.zip", tmp_path / "out", max_files=4)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_what_is_no_plain_file_is_not_read(tmp_path: Path, kind: str) -> None:
    """A pipe would be waited for, and a device read without end."""
    path = tmp_path / "weights.pt"
    if kind == "fifo":
        os.mkfifo(path)
    else:
        path.symlink_to("/dev/zero")
    with pytest.raises(UserError, match="is no plain file"):
        convert(Source(path), tmp_path / "made", task="text-to-image")
