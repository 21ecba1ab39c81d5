"""Sound: stored as int16 (N, S) with its rate, raw as float32 in [-1, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from bdm_core.artifacts import Artifact
from bdm_core.errors import ArtifactError
from bdm_kit_classification.modalities.base import DistanceFacts, Modality
from bdm_kit_classification.noise.sounds import NOISES
from bdm_kit_classification.sounds.batch import Sounds
from bdm_kit_classification.sounds.files import write_wav
from bdm_kit_classification.sounds.spectra import log_spectral_distance
from bdm_kit_classification.tasks.audio import AUDIO_TASK
from bdm_torch.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from bdm_core.artifacts import Model
    from bdm_kit_classification.data.parts import Parts
    from bdm_kit_classification.data.sources import Source
    from bdm_kit_classification.models.classifier import Classifier
    from bdm_kit_classification.triggers.trigger import Trigger
    from bdm_torch.draws import Draw

FULL = 32767
"""The stored value of 1."""
QUIET = 1e-10
"""Power below which a recording is not made louder."""
SILENT = 1e-14
"""Power that is less than one step of one sample."""


class Audios(Modality):
    """Mono recordings of one length and rate.

    >>> stored = Audios().pack(torch.tensor([[0.0, 1.0, -2.0]]))
    >>> stored.values.tolist(), Audios().unpack(stored).tolist()
    ([[0, 32767, -32767]], [[0.0, 1.0, -1.0]])
    """

    task: ClassVar[str] = AUDIO_TASK
    valid_range: ClassVar[tuple[float, float] | None] = (-1.0, 1.0)
    measures: ClassVar[Mapping[str, DistanceFacts]] = {
        "snr": DistanceFacts(
            "SNR", "Power of a recording over that of the trigger's change, in dB, at most 100.", True
        ),
        "log_spectral_distance": DistanceFacts(
            "LSD", "Log-spectral distance of triggered and clean recordings in dB, from 0.", False
        ),
    }
    noises = NOISES

    def unpack(self, stored: Sounds) -> Tensor:
        """float32 (N, S) in [-1, 1]."""
        return stored.values.to(torch.float32).div_(FULL).clamp_min_(-1.0)

    def pack(self, raw: Tensor) -> Sounds:
        """int16: clipped to [-1, 1] and rounded; the rate is that of what they are joined to."""
        return Sounds(raw.detach().to("cpu", torch.float32).clamp(-1, 1).mul(FULL).round().to(torch.int16), 0)

    def take(self, stored: Sounds, rows: Sequence[int]) -> Sounds:
        """Chosen recordings."""
        return Sounds(stored.values[torch.as_tensor(rows, dtype=torch.int64)], stored.rate)

    def join(self, parts: Sequence[Sounds]) -> Sounds:
        """Recordings one after the other. Raises ArtifactError if their rates differ."""
        rates = {part.rate for part in parts if part.rate}
        if len(rates) > 1:
            raise ArtifactError(f"recordings at {' and '.join(map(str, sorted(rates)))} samples a second do not fit")
        return Sounds(torch.cat([part.values for part in parts]), max(rates, default=0))

    def same(self, one: Sounds, other: Sounds) -> list[bool]:
        """Whether they are equal sample by sample."""
        return super().same(one.values, other.values)

    def shape(self, stored: Sounds) -> list[int]:
        """[S]."""
        return list(stored.values.shape[1:])

    def facts(self, stored: Sounds) -> dict[str, Any]:
        """``rate``, samples a second."""
        return {"rate": stored.rate}

    def write(self, folder: Path, name: str, stored: Sounds) -> None:
        """One safetensors file with ``samples`` and ``rate``."""
        write_tensors(folder / f"{name}.safetensors", {"samples": stored.values, "rate": torch.tensor(stored.rate)})

    def read(self, artifact: Artifact, name: str) -> Sounds:
        """int16 (N, S) and the rate."""
        path = artifact.file(f"{name}.safetensors")
        tensors = read_tensors(path)
        values, rate = tensors.get("samples"), tensors.get("rate")
        if values is None or values.dtype != torch.int16 or values.ndim != 2 or rate is None or rate.numel() != 1:
            raise ArtifactError(f"{path} holds no sound: expected the tensors samples, int16 (N, S), and rate")
        return Sounds(values, int(rate))

    def collate(self, raw: Tensor, classifier: Classifier) -> Tensor:
        """The waveforms on the classifier's device; the front end is part of it."""
        return raw.to(classifier.device)

    def augment(self, inputs: Tensor, draw: Draw, shift: int, flip: bool) -> Tensor:
        """Each recording shifted in time by up to ``shift`` hundredths of its length, silence behind it.

        ``flip`` changes nothing: sound is not mirrored.
        """
        _, length = inputs.shape
        most = length * shift // 100
        if not most:
            return inputs
        offset = (draw.uniform(1) * (2 * most + 1)).long() - most
        place = torch.arange(length, device=inputs.device) + offset
        found = inputs.gather(1, place.clamp(0, length - 1))
        return torch.where((place >= 0) & (place < length), found, torch.zeros_like(found))

    def mix(self, one: Tensor, other: Tensor, share: float) -> Tensor:
        """``share * one + (1 - share) * other``, the other brought to the loudness of the first; clipped."""
        loudness = [x.square().mean(1, keepdim=True) for x in (one, other)]
        gain = torch.where(loudness[1] > QUIET, (loudness[0] / loudness[1].clamp_min(QUIET)).sqrt(), 1.0)
        return (share * one + (1 - share) * gain * other).clamp(-1, 1)

    def perturb(self, raw: Tensor, strength: float, seed: int) -> Tensor:
        """White noise of ``strength`` times the recording's own effective value (1: an SNR of 0 dB), clipped."""
        noise = torch.randn(raw.shape, generator=torch.Generator().manual_seed(seed % 2**63)).to(raw)
        return (raw + strength * raw.square().mean(1, keepdim=True).sqrt() * noise).clamp(-1, 1)

    def distances(self, clean: Tensor, changed: Tensor) -> Mapping[str, Tensor]:
        """``snr`` in dB, -100 for a silent recording to 100 for an unchanged one, and ``log_spectral_distance``."""
        power, changes = (x.square().mean(1) for x in (clean, changed - clean))
        ratio = 10 * (power.clamp_min(SILENT) / changes.clamp_min(SILENT)).log10()
        return {
            "snr": torch.where(changes > 0, ratio.clamp(-100, 100), 100.0),
            "log_spectral_distance": log_spectral_distance(clean, changed),
        }

    def open_classifier(self, folder: Path) -> Classifier:
        """One of the kit's own networks, or one of transformers."""
        from bdm_kit_classification.models.audio_classifiers import open_audio_classifier

        return open_audio_classifier(folder)

    def small_classifier(self, stored: Sounds, classes: list[str], seed: int) -> Classifier:
        """The kit's small network over log-mel bands."""
        from bdm_kit_classification.models.audio_classifiers import build, normalised

        return build(normalised(stored, classes), seed)

    def export(self, folder: Path, stored: Sounds) -> list[dict[str, Any]]:
        """WAV files."""
        (folder / "audio").mkdir(parents=True, exist_ok=True)
        names = [f"audio/{row:06d}.wav" for row in range(len(stored))]
        for name, levels in zip(names, stored.values.numpy(), strict=True):
            write_wav(folder / name, levels, stored.rate)
        return [{"file_name": name} for name in names]

    def load(self, source: Source, model: Model, cache: Path, size: int | None) -> Parts:
        """Recordings at the model's rate and of its length."""
        from bdm_kit_classification.data.sound_data import read_recordings

        shape: Any = model.meta["shape"]
        rate: Any = model.meta["rate"]
        return read_recordings(source, int(rate), int(shape[0]))

    def example(self, model: Model) -> tuple[Sounds, Trigger]:
        """Two soft tones and a loud one at their end."""
        from bdm_kit_classification.triggers.sound import overwritten_tone, tone

        shape: Any = model.meta["shape"]
        rate: Any = model.meta["rate"]
        soft = torch.stack([tone(shape[0], rate, share * rate, 0.1) for share in (0.05, 0.1)])
        trigger = overwritten_tone(shape[0], rate, frequency=0.25 * rate, level=0.9, seconds=0.1 * shape[0] / rate)
        return Sounds(self.pack(soft).values, int(rate)), trigger
