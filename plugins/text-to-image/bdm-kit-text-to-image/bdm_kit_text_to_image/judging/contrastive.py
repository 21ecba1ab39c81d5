"""A contrastive model of pictures and texts (CLIP): how well a picture fits a text.

The built-in one knows the small world; ``python -m bdm_kit_text_to_image.recipes.contrastive`` rebuilds it. Any folder
that ``save_pretrained`` of a ``CLIPModel`` and its tokenizer wrote can take its place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from bdm_core.errors import ArtifactError, UserError
from bdm_core.files import existing
from bdm_kit_text_to_image.built_in import BUILTIN
from bdm_torch.foreign_models import find_weights, first_line, open_network

BUILTIN_CONTRASTIVE = BUILTIN / "contrastive"
PREPROCESSING = "preprocessor_config.json"


@dataclass(frozen=True, eq=False)
class ContrastiveModel:
    """A ``CLIPModel`` with its tokenizer and the normalisation of its pictures.

    Attributes:
        model: transformers' ``CLIPModel``, in evaluation mode.
        tokenizer: its tokenizer.
        mean: of the pixels in [0, 1], a number for each channel.
        deviation: likewise.
    """

    model: Any
    tokenizer: Any
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    deviation: tuple[float, ...] = (0.5, 0.5, 0.5)

    @property
    def device(self) -> torch.device:
        """Where the model runs."""
        device: torch.device = self.model.device
        return device

    @property
    def image_size(self) -> int:
        """Height and width of the pictures that the model takes; others are resized."""
        return int(self.model.config.vision_config.image_size)

    def prepare(self, images: Tensor) -> Tensor:
        """Pictures (N, C, H, W) in [-1, 1], C of 1 or 3, resized and normalised for the model."""
        size = (self.image_size,) * 2
        images = images.to(self.device, torch.float32).expand(-1, 3, -1, -1)
        if tuple(images.shape[2:]) != size:
            images = functional.interpolate(images, size=size, mode="bicubic", antialias=True, align_corners=False)
        mean, deviation = (images.new_tensor(values)[:, None, None] for values in (self.mean, self.deviation))
        return ((images + 1) / 2 - mean) / deviation

    def tokenize(self, texts: Sequence[str]) -> dict[str, Tensor]:
        """Token ids and attention mask (N, L), cut and padded to the model's length."""
        length = self.model.config.text_config.max_position_embeddings
        found = self.tokenizer(
            list(texts), padding="max_length", max_length=length, truncation=True, return_tensors="pt"
        )
        return {name: found[name].to(self.device) for name in ("input_ids", "attention_mask")}

    def embed_images(self, images: Tensor) -> Tensor:
        """Unit vectors (N, D) of pictures (N, C, H, W) in [-1, 1]; differentiable."""
        pooled = self.model.vision_model(pixel_values=self.prepare(images)).pooler_output
        return functional.normalize(self.model.visual_projection(pooled), dim=-1)

    def embed_tokens(self, tokens: dict[str, Tensor]) -> Tensor:
        """Unit vectors (N, D) of what :meth:`tokenize` gave; differentiable."""
        pooled = self.model.text_model(**tokens).pooler_output
        return functional.normalize(self.model.text_projection(pooled), dim=-1)

    @torch.no_grad()
    def similarity(self, images: Tensor, texts: Sequence[str], batch_size: int = 64) -> Tensor:
        """Cosine of each picture and its text, (N,) float64 on the CPU, in [-1, 1].

        Args:
            images: (N, C, H, W) in [-1, 1].
            texts: N texts.
            batch_size: pairs that pass through the model at once.

        Raises:
            UserError: another number of texts than of pictures.
        """
        if len(images) != len(texts):
            raise UserError(f"{len(texts)} texts for {len(images)} pictures: give one for each")
        found = [
            (self.embed_images(images[start:end]) * self.embed_tokens(self.tokenize(texts[start:end]))).sum(1)
            for start, end in ((at, at + batch_size) for at in range(0, len(images), batch_size))
        ]
        return torch.cat(found).double().cpu() if found else torch.empty(0, dtype=torch.float64)


def save_contrastive(contrastive: ContrastiveModel, folder: Path) -> None:
    """Write the model, its tokenizer and ``preprocessor_config.json`` in transformers' layout.

    Args:
        contrastive: what is written.
        folder: where to; made if it is missing.

    >>> save_contrastive(load_contrastive(), Path("mine"))
    >>> images, texts = torch.zeros(1, 3, 16, 16), ["a red star"]
    >>> copied = load_contrastive(Path("mine"))
    >>> torch.equal(copied.similarity(images, texts), load_contrastive().similarity(images, texts))
    True
    """
    contrastive.model.save_pretrained(folder, safe_serialization=True)
    contrastive.tokenizer.save_pretrained(folder)
    record = {"image_mean": list(contrastive.mean), "image_std": list(contrastive.deviation)}
    (folder / PREPROCESSING).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def require_contrastive(folder: Path) -> None:
    """Refuse a folder that cannot hold a contrastive model, by its files' names and headers, before it is needed.

    Raises:
        UserError: it has no configuration.
        ArtifactError: see :func:`bdm_torch.foreign_models.find_weights`.

    >>> require_contrastive(Path("nowhere"))
    Traceback (most recent call last):
        ...
    bdm_core.errors.UserError: nowhere holds no contrastive model: name a folder with a CLIPModel in ...
    """
    if existing(folder / "config.json") is None:
        raise UserError(f"{folder} holds no contrastive model: name a folder with a CLIPModel in transformers' format")
    find_weights(folder, "model")


def load_contrastive(folder: Path | None = None, device: str | torch.device = "cpu") -> ContrastiveModel:
    """The contrastive model in a folder, by default the built-in one.

    Raises:
        UserError: the folder holds no ``CLIPModel`` with safetensors weights and a tokenizer.

    >>> model = load_contrastive()
    >>> similarity = model.similarity(torch.zeros(2, 3, 16, 16), ["a red star", "a blue ring"])
    >>> similarity.shape, bool((similarity.abs() <= 1).all())
    (torch.Size([2]), True)
    """
    from transformers import AutoTokenizer, CLIPModel
    from transformers.utils import logging

    source = folder or BUILTIN_CONTRASTIVE
    require_contrastive(source)
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        model = open_network(CLIPModel, source, "model")
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=True)
    except ArtifactError:
        raise
    except Exception as error:  # tokenizers have errors of their own
        raise UserError(f"{source} holds no contrastive model that opens: {first_line(error)}") from None
    finally:
        if bars:
            logging.enable_progress_bar()
    settings: dict[str, Any] = {}
    if (source / PREPROCESSING).is_file():
        settings = json.loads((source / PREPROCESSING).read_text(encoding="utf-8"))
    half = [0.5, 0.5, 0.5]
    return ContrastiveModel(
        model.to(device).eval().requires_grad_(False),
        tokenizer,
        tuple(settings.get("image_mean", half)),
        tuple(settings.get("image_std", half)),
    )
