"""An image classifier in transformers' format: pictures in, the likeliest labels out."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import existing, read_json
from bdm_metric_classifier.labels import label_words, read_map
from bdm_torch.foreign_models import find_weights, open_network
from bdm_torch.references import fetch_snapshot, parse_hub_reference

if TYPE_CHECKING:
    from bdm_core.context import Context
    from bdm_metric_classifier.params import ClassifierParams

PREPROCESSING = "preprocessor_config.json"
HUB_PATTERNS = ("*.json", "*.txt", "*.safetensors")
LARGEST_SIDE = 4096


@dataclass(frozen=True, eq=False)
class ImageLabeller:
    """A classifier with the size and the normalisation of its pictures.

    Attributes:
        model: transformers' network, in evaluation mode.
        names: number of a label -> its name.
        side: height and width of the pictures that it takes.
        mean, deviation: of the pixels in [0, 1], for each channel.
    """

    model: Any
    names: Mapping[int, str]
    side: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]

    def prepare(self, images: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1], C of 1 or 3, resized to the side and normalised."""
        images = images.to(self.model.device, torch.float32).expand(-1, 3, -1, -1)
        if tuple(images.shape[2:]) != (self.side, self.side):
            images = functional.interpolate(
                images, size=(self.side, self.side), mode="bicubic", antialias=True, align_corners=False
            )
        mean, deviation = (images.new_tensor(values)[:, None, None] for values in (self.mean, self.deviation))
        return (((images + 1) / 2).clamp(0, 1) - mean) / deviation

    @torch.no_grad()
    def likeliest(self, images: Tensor, top: int, batch_size: int) -> list[list[int]]:
        """The numbers of the ``top`` likeliest labels of each picture, the likeliest first.

        Raises:
            ArtifactError: an answer is not finite, so that no label is the likeliest.
        """
        found: list[list[int]] = []
        for batch in images.split(batch_size):
            logits = self.model(pixel_values=self.prepare(batch)).logits
            if not bool(logits.isfinite().all()):
                raise ArtifactError("metric:classifier.model: the classifier answers NaN or infinity: name a sound one")
            found += logits.topk(min(top, logits.shape[1])).indices.tolist()
        return found


def require_labeller(params: ClassifierParams) -> None:
    """Refuse a folder that cannot hold a classifier, and a map of other labels, before anything is computed.

    The files' names and headers are looked at; nothing is opened or fetched, so that of the Hub's models nothing is
    said here.

    Raises:
        UserError: there is no such folder or map, or the map names a label that the classifier has not.
        ArtifactError: the folder has no sound weights or configuration.
    """
    names = None
    if params.model is not None and parse_hub_reference(params.model) is None:
        folder = _folder(params.model)
        find_weights(folder, "model")
        try:
            names = {int(number): str(name) for number, name in read_json(folder / "config.json")["id2label"].items()}
        except KeyError:
            names = None  # labels are then as many as the library takes by default
        except (OSError, ValueError, TypeError, AttributeError) as error:
            raise ArtifactError(f"{folder}/config.json is no configuration of a classifier: {error}") from None
    if params.label_map is not None:
        label_words(names, params.label_map) if names else read_map(params.label_map)


def open_labeller(ctx: Context, reference: str) -> ImageLabeller:
    """The classifier in a folder, or of the Hub; no code of the folder runs.

    Raises:
        UserError: there is no such folder.
        ArtifactError: it holds no image classifier with safetensors weights; or one that takes no colour pictures, or
            whose labels are not numbered as its answers are.
    """
    from transformers import AutoModelForImageClassification

    hub = parse_hub_reference(reference)
    folder = _folder(reference) if hub is None else fetch_snapshot(hub, ctx.work, HUB_PATTERNS)
    model = open_network(AutoModelForImageClassification, folder, "model", trust_remote_code=False)
    try:
        settings: Any = read_json(folder / PREPROCESSING) if (folder / PREPROCESSING).is_file() else {}
        side = _side(settings, model.config)
        mean, deviation = (_channels(settings.get(name), 0.5) for name in ("image_mean", "image_std"))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / PREPROCESSING} says nothing usable about pictures: {error}") from None
    if not all(map(math.isfinite, mean + deviation)) or min(deviation) <= 0:
        raise UserError(f"{folder / PREPROCESSING} divides pixels by zero, or by what is no positive number")
    if getattr(model.config, "num_channels", 3) != 3:
        raise ArtifactError(f"{folder} takes pictures of {model.config.num_channels} channels, not of 3")
    names = {int(number): str(name) for number, name in model.config.id2label.items()}
    odd = sorted(names.keys() - range(model.config.num_labels))
    if odd:
        raise ArtifactError(
            f"{folder}/config.json names label {odd[0]}, the classifier has those from 0 to {len(names) - 1}"
        )
    return ImageLabeller(model.to(ctx.device).eval().requires_grad_(False), names, side, mean, deviation)


def _folder(reference: str) -> Path:
    folder: Path | None = existing(reference)
    if folder is None or not folder.is_dir():
        raise UserError(f"metric:classifier.model: no folder {reference!r}; it is a folder or hf:org/name@commit")
    return folder


def _side(settings: Mapping[str, Any], config: Any) -> int:
    """What pictures are cut or resized to: of the preprocessing, or else of the configuration."""
    for size in (settings.get("crop_size"), settings.get("size"), getattr(config, "image_size", None), 224):
        if isinstance(size, dict):
            size = size.get("height") or size.get("shortest_edge")
        if isinstance(size, int) and not isinstance(size, bool):
            if not 1 <= size <= LARGEST_SIDE:
                raise ValueError(f"a side of {size} pixels")
            return size
    raise ValueError("no size")


def _channels(values: Any, default: float) -> tuple[float, ...]:
    found = tuple(map(float, values)) if values is not None else (default,) * 3
    if len(found) != 3:
        raise ValueError(f"{len(found)} channels, not 3")
    return found
