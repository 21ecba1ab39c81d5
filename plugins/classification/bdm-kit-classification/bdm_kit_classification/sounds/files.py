"""Sound files: WAV is read by SciPy, everything else by soundfile where it is installed. Light: no torch."""

from __future__ import annotations

import logging
import math
import warnings
import wave
from pathlib import Path
from typing import Any

import numpy as np

from bdm_core.errors import UserError

EXTRA = "pip install 'bdm-kit-classification[sound]'"
LARGEST = 2**30
LEAST_RATE, MOST_RATE = 1000, 400_000
LOUDEST = 16.0
"""Above this, numbers in floating point are no sound that is a little too loud, but of another scale."""
HEADS = (b"RIFF", b"RIFX", b"RF64")
Levels = np.ndarray[Any, Any]


def read_sound(path: Path, rate: int, samples: int) -> Levels:
    """A file as mono int16 (samples,) at a rate: channels are averaged, the middle is kept, silence put around.

    Args:
        path: of a WAV file; or of any other that soundfile reads.
        rate: samples a second wanted.
        samples: how many.

    Raises:
        UserError: the file cannot be read, is empty, holds NaN or numbers of another scale, has an impossible rate, or
            needs soundfile, which is not installed. Of a file that ends before its header says so, what is there is
            read, with a warning.

    >>> write_wav(Path("beep.wav"), np.full(1600, 1000, dtype=np.int16), 16000)
    >>> longer = read_sound(Path("beep.wav"), 8000, 1000)
    >>> read_sound(Path("beep.wav"), 16000, 4).tolist(), longer[:100].tolist() == [0] * 100
    ([1000, 1000, 1000, 1000], True)
    """
    found, own = _read(path)
    if not LEAST_RATE <= own <= MOST_RATE:
        raise UserError(f"{path} has {own} samples a second, not {LEAST_RATE} to {MOST_RATE}: resample or remove it")
    if not len(found) or not np.isfinite(found).all():
        raise UserError(f"{path} {'holds NaN or infinity' if len(found) else 'has 0 samples'}: repair or remove it")
    if (peak := float(np.abs(found).max())) > LOUDEST:
        raise UserError(f"{path} holds values up to {peak:g}, and sound lies within [-1, 1]: divide by its full scale")
    return to_levels(fitted(resampled(found, own, rate), samples))


def resampled(x: Levels, own: int, wanted: int) -> Levels:
    """Sound (..., S) at another rate, by a polyphase filter; as it is if the rates agree.

    >>> resampled(np.zeros(160), 16000, 8000).shape
    (80,)
    """
    if own == wanted:
        return x
    from scipy.signal import resample_poly

    common = math.gcd(own, wanted)
    found: Levels = resample_poly(x, wanted // common, own // common, axis=-1)
    return found


def fitted(x: Levels, samples: int) -> Levels:
    """The middle of sound (..., S), or the sound with silence on both sides.

    >>> fitted(np.array([1, 2, 3, 4]), 2).tolist(), fitted(np.array([1, 2]), 4).tolist()
    ([2, 3], [0, 1, 2, 0])
    """
    spare = x.shape[-1] - samples
    if spare >= 0:
        return x[..., spare // 2 : spare // 2 + samples]
    return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(-spare // 2, -spare - -spare // 2)])


def to_levels(x: Levels) -> Levels:
    """Sound in [-1, 1] as int16: clipped, 1 is 32767."""
    return np.rint(np.clip(x, -1, 1) * 32767).astype(np.int16)


def write_wav(path: Path, levels: Levels, rate: int) -> None:
    """Write mono int16 (S,) as a WAV file."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(levels, dtype="<i2").tobytes())


def _read(path: Path) -> tuple[Levels, int]:
    """Mono float64 (S,) in [-1, 1] and its rate."""
    try:
        if path.is_dir():
            raise UserError(f"{path} is a folder: expected a file of sound")
        if path.stat().st_size > LARGEST:
            raise UserError(f"{path} is too large: {path.stat().st_size} bytes")
        rate, values = _read_wav(path) if path.suffix.lower() == ".wav" else _read_other(path)
    except UserError:
        raise
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    except Exception as error:  # both libraries raise what they like
        raise UserError(
            f"{path} cannot be read as sound: {(str(error) or 'damaged').splitlines()[0]}; repair or remove it"
        ) from None
    return (values if values.ndim == 1 else values.mean(1)), rate


def _read_wav(path: Path) -> tuple[int, Levels]:
    from scipy.io import wavfile

    with path.open("rb") as file:
        head = file.read(12)
    if len(head) == 12 and (head[:4] not in HEADS or head[8:] != b"WAVE"):
        raise ValueError("it is no WAV file")
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", wavfile.WavFileWarning)
        try:
            rate, values = wavfile.read(path)
        except (MemoryError, OSError):
            raise
        except Exception as error:  # of a damaged head it says nothing that helps
            known = "format" in str(error) and len(head) == 12
            raise ValueError(str(error) if known else "its head is damaged or cut off") from None
    if any("EOF" in str(warning.message) for warning in said):
        logging.getLogger("bdm").warning("%s is cut off: the %d samples that are there are read", path, len(values))
    if values.dtype.kind == "f":
        return int(rate), values.astype(np.float64)
    if values.dtype == np.uint8:
        return int(rate), (values.astype(np.float64) - 128) / 127
    return int(rate), values.astype(np.float64) / np.iinfo(values.dtype).max


def _read_other(path: Path) -> tuple[int, Levels]:
    try:
        import soundfile
    except ImportError:
        raise UserError(f"{path} needs soundfile: {EXTRA}") from None
    facts = soundfile.info(path)
    if facts.frames * facts.channels > LARGEST // 2:
        raise UserError(f"{path} is too long: {facts.frames} samples of {facts.channels} channels")
    values, rate = soundfile.read(path, dtype="float64")
    return int(rate), values
