"""Unpack an archive from a stranger: nothing leaves the folder, no links, and no more bytes than allowed."""

from __future__ import annotations

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO

from bdm_core.errors import UserError

MAX_BYTES = 64 * 2**30
MAX_FILES = 20_000
LEAST_LIMIT, MOST_TIMES = 2**30, 100
"""What unpacks to more than 1 GiB may have so many times the size of its archive."""
_BLOCK = 2**20
_LONGEST_END = 64 * 2**20
DAMAGED = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, ValueError, RuntimeError)
"""What the libraries raise for a damaged or unusual archive."""
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


def is_archive(path: Path) -> bool:
    """Whether the name says zip or tar. PyTorch checkpoints are zip files too, but are not named so."""
    return path.name.lower().endswith((".zip", *TAR_SUFFIXES))


def extract(archive: Path, folder: Path, *, max_bytes: int = MAX_BYTES, max_files: int = MAX_FILES) -> None:
    """Write the plain files of a zip or tar archive below ``folder``.

    Args:
        archive: the archive.
        folder: an existing empty folder.
        max_bytes: how much may be written in all; counted while writing, whatever the archive's headers say.
        max_files: how many files it may hold.

    Raises:
        UserError: the archive is damaged or too large, or holds a link, a device, or a name that leaves the folder.
    """
    left = room = min(max_bytes, shutil.disk_usage(folder).free, LEAST_LIMIT + MOST_TIMES * archive.stat().st_size)
    count = 0
    try:
        for name, stream in _members(archive, max_files, room):
            count += 1
            if count > max_files:
                raise _too_many(archive, max_files)
            target = folder / _inside(archive, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            with stream, target.open("xb") as out:
                while block := stream.read(_BLOCK):
                    left -= len(block)
                    if left < 0:
                        raise UserError(f"{archive} unpacks to more than {room / 2**30:.3g} GiB: refused")
                    out.write(block)
    except DAMAGED as error:
        reason = " ".join(str(error).split())[:160] or type(error).__name__
        raise UserError(f"{archive} is no readable archive: {reason}") from None
    except FileExistsError as error:
        raise UserError(f"{archive} holds {Path(str(error.filename)).name} twice: refused") from None
    except OSError as error:
        raise UserError(f"{archive} cannot be unpacked: {error.strerror or error}") from None


def _too_many(archive: Path, max_files: int) -> UserError:
    return UserError(f"{archive} holds more than {max_files} files: unpack what is needed yourself")


def _check_size(archive: Path, size: int, room: int) -> None:
    """Refuse what the headers say is too large before anything is written: a sparse file has its size there, too."""
    if size > room:
        raise UserError(f"{archive} unpacks to {size / 2**30:.3g} GiB, more than {room / 2**30:.3g} GiB: refused")


def _members(archive: Path, max_files: int, room: int) -> Iterator[tuple[str, IO[bytes]]]:
    with _zip_or_tar(archive) as opened:
        if isinstance(opened, zipfile.ZipFile):
            if sum(not info.is_dir() for info in opened.infolist()) > max_files:
                raise _too_many(archive, max_files)
            _check_size(archive, sum(info.file_size for info in opened.infolist()), room)
            for info in opened.infolist():
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise UserError(f"{archive} holds a link, {info.filename}: refused")
                if not info.is_dir():
                    yield info.filename, opened.open(info)
        else:
            for member in opened:
                if member.isdir():
                    continue
                stream = opened.extractfile(member) if member.isreg() else None
                _check_size(archive, member.size, room)
                if stream is None:
                    raise UserError(f"{archive} holds {member.name}, which is no plain file: refused")
                yield member.name, stream
            _read_to_end(archive, opened)


def _read_to_end(archive: Path, opened: tarfile.TarFile) -> None:
    """Read what follows the last member: only at the very end a compressed file's checksum is compared.

    Raises:
        UserError: so much follows that no archive would have it.
    """
    assert opened.fileobj is not None
    left = _LONGEST_END
    while block := opened.fileobj.read(_BLOCK):
        left -= len(block)
        if left < 0:
            raise UserError(f"{archive} goes on for more than {_LONGEST_END // 2**20} MiB after its last file: refused")


@contextmanager
def _zip_or_tar(archive: Path) -> Iterator[zipfile.ZipFile | tarfile.TarFile]:
    if archive.name.lower().endswith(".zip"):
        with zipfile.ZipFile(archive) as zipped:
            yield zipped
    else:
        with tarfile.open(archive) as tarred:
            yield tarred


def _inside(archive: Path, name: str) -> Path:
    parts = PurePosixPath(name).parts
    if not parts or name.startswith("/") or "\\" in name or "\x00" in name or ".." in parts or ":" in parts[0]:
        raise UserError(f"{archive} holds a file named {name!r}, which leaves the folder: refused")
    return Path(*parts)
