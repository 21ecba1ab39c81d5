"""Pictures: stored as uint8 (N, C, H, W), raw as float32 in [0, 1]."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from bdm_core.artifacts import Artifact
from bdm_core.errors import ArtifactError
from bdm_kit_classification.catalogue import IMAGE_TASK
from bdm_kit_classification.modalities.base import DistanceFacts, Modality
from bdm_kit_classification.modalities.distortion import distorted
from bdm_kit_classification.noise.pictures import NOISES
from bdm_torch.tensors import read_tensors, write_tensors

if TYPE_CHECKING:
    from bdm_core.artifacts import Model
    from bdm_kit_classification.data.parts import Parts
    from bdm_kit_classification.data.sources import Source
    from bdm_kit_classification.models.classifier import Classifier
    from bdm_kit_classification.triggers.trigger import Trigger
    from bdm_torch.draws import Draw

EXTRA = "pip install 'bdm-kit-classification[lpips]'"


class Images(Modality):
    """Pictures of one size.

    >>> raw = Images().unpack(torch.tensor([[[[0, 255]]]], dtype=torch.uint8))
    >>> raw.tolist(), Images().pack(raw).tolist()
    ([[[[0.0, 1.0]]]], [[[[0, 255]]]])
    """

    task: ClassVar[str] = IMAGE_TASK
    valid_range: ClassVar[tuple[float, float] | None] = (0.0, 1.0)
    measures: ClassVar[Mapping[str, DistanceFacts]] = {
        "psnr": DistanceFacts("PSNR", "Peak signal-to-noise ratio of triggered pictures in dB, at most 100.", True),
        "ssim": DistanceFacts("SSIM", "Structural similarity of triggered and clean pictures, at most 1.", True),
        "l_infinity": DistanceFacts("L-inf", "Largest change of a pixel by the trigger, in [0, 1].", False),
        "lpips": DistanceFacts(
            "LPIPS", "Perceptual distance (AlexNet) of triggered and clean pictures, from 0.", False
        ),
    }
    noises = NOISES

    def unpack(self, stored: Tensor) -> Tensor:
        """float32 in [0, 1]."""
        return stored.to(torch.float32).div_(255)

    def pack(self, raw: Tensor) -> Tensor:
        """uint8: clipped to [0, 1] and rounded to the nearest of the 256 levels."""
        return raw.detach().to("cpu", torch.float32).clamp(0, 1).mul(255).round().to(torch.uint8)

    def take(self, stored: Tensor, rows: Sequence[int]) -> Tensor:
        """Chosen pictures."""
        return stored[torch.as_tensor(rows, dtype=torch.int64)]

    def join(self, parts: Sequence[Tensor]) -> Tensor:
        """Pictures one after the other."""
        return torch.cat(list(parts))

    def shape(self, stored: Tensor) -> list[int]:
        """[C, H, W]."""
        return list(stored.shape[1:])

    def write(self, folder: Path, name: str, stored: Tensor) -> None:
        """One safetensors file."""
        write_tensors(folder / f"{name}.safetensors", {"samples": stored})

    def read(self, artifact: Artifact, name: str) -> Tensor:
        """uint8 (N, C, H, W)."""
        path = artifact.file(f"{name}.safetensors")
        stored = read_tensors(path).get("samples")
        if stored is None or stored.dtype != torch.uint8 or stored.ndim != 4:
            raise ArtifactError(f"{path} holds no pictures: expected a tensor samples, uint8 (N, C, H, W)")
        return stored

    def collate(self, raw: Tensor, classifier: Classifier) -> Tensor:
        """The pictures on the classifier's device; it normalises and resizes itself."""
        return raw.to(classifier.device, memory_format=torch.channels_last)

    def augment(self, inputs: Tensor, draw: Draw, shift: int, flip: bool) -> Tensor:
        """Each picture shifted by up to ``shift`` pixels, its edge repeated; with ``flip`` half of them mirrored."""
        count, _, height, width = inputs.shape
        if shift:
            padded = functional.pad(inputs, (shift,) * 4, mode="replicate")
            offset = (draw.uniform(2) * (2 * shift + 1)).long()
            down = offset[:, :1] + torch.arange(height, device=inputs.device)
            right = offset[:, 1:] + torch.arange(width, device=inputs.device)
            place = torch.arange(count, device=inputs.device)[:, None, None, None]
            channel = torch.arange(inputs.shape[1], device=inputs.device)[:, None, None]
            inputs = padded[place, channel, down[:, None, :, None], right[:, None, None, :]]
        if flip:
            inputs = torch.where((draw.uniform() < 0.5)[:, None, None, None], inputs.flip(3), inputs)
        return inputs

    def distort(self, inputs: Tensor, draw: Draw, strength: float) -> Tensor:
        """Cropped, turned, stretched, recoloured and noisy."""
        return distorted(inputs, draw, strength)

    def mix(self, one: Tensor, other: Tensor, share: float) -> Tensor:
        """``share * one + (1 - share) * other``."""
        return share * one + (1 - share) * other

    def perturb(self, raw: Tensor, strength: float, seed: int) -> Tensor:
        """Gaussian noise of this standard deviation, clipped to [0, 1]."""
        noise = torch.randn(raw.shape, generator=torch.Generator().manual_seed(seed % 2**63))
        return (raw + strength * noise.to(raw)).clamp(0, 1)

    def distances(self, clean: Tensor, changed: Tensor) -> Mapping[str, Tensor]:
        """``psnr`` in dB (100 for equal pictures), ``l_infinity`` in [0, 1], and ``ssim``."""
        from bdm_kit_classification.modalities.similarity import structural_similarity

        error = (clean - changed).flatten(1)
        psnr = -10 * error.square().mean(1).clamp_min(1e-10).log10()
        return {
            "psnr": psnr,
            "ssim": structural_similarity(clean, changed),
            "l_infinity": error.abs().amax(1),
        }

    def learned_distances(self, clean: Tensor, changed: Tensor, device: str) -> Mapping[str, Tensor]:
        """``lpips``; small pictures are enlarged for it."""
        from bdm_torch.perceptual import perceptual_distances

        return {"lpips": perceptual_distances(changed, clean, device, EXTRA)}

    def open_classifier(self, folder: Path) -> Classifier:
        """One of the kit's own networks, or one of transformers."""
        from bdm_kit_classification.models.image_classifiers import open_image_classifier

        return open_image_classifier(folder)

    def small_classifier(self, stored: Tensor, classes: list[str], seed: int) -> Classifier:
        """The kit's small network."""
        from bdm_kit_classification.models.image_classifiers import build, normalised

        return build(normalised(stored, classes), seed)

    def export(self, folder: Path, stored: Tensor) -> list[dict[str, Any]]:
        """PNG files; of pictures with another number of channels than 1 or 3 the first three."""
        (folder / "images").mkdir(parents=True, exist_ok=True)
        names = []
        for row, picture in enumerate(stored.permute(0, 2, 3, 1).numpy()):
            names.append(f"images/{row:06d}.png")
            grey = picture.shape[2] in (1, 2)
            Image.fromarray(picture[:, :, 0] if grey else picture[:, :, :3]).save(folder / names[-1])
        return [{"file_name": name} for name in names]

    def load(self, source: Source, model: Model, cache: Path, size: int | None) -> Parts:
        """Pictures of the model's channels; those of files are resized to ``size``, or to the model's."""
        from bdm_kit_classification.data.image_data import read_pictures

        shape: Any = model.meta["shape"]
        height, width = (size, size) if size else (int(shape[1]), int(shape[2]))
        return read_pictures(source, (int(shape[0]), height, width), cache)

    def example(self, model: Model) -> tuple[Tensor, Trigger]:
        """Black pictures and a white corner."""
        from bdm_kit_classification.triggers.patch import square

        shape: Any = model.meta["shape"]
        trigger = square(shape, size=2, corner="bottom-right", margin=0, value=1.0)
        return torch.zeros(2, *shape, dtype=torch.uint8), trigger
