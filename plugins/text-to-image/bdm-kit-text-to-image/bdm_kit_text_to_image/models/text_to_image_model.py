"""Open, save and seal text-to-image pipelines in diffusers' layout, safely.

Nothing is taken from a foreign folder but safetensors, JSON and the tokenizer's merges; no class is built but those
named in :mod:`bdm_kit_text_to_image.models.folders`, no code of a model repository runs, and nothing is fetched but a
named commit.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from torch import Tensor, nn

from bdm_core.artifacts import Model
from bdm_core.errors import ArtifactError
from bdm_diffusers.pipeline_files import INDEX
from bdm_kit_text_to_image import TASK
from bdm_kit_text_to_image.models import additions
from bdm_kit_text_to_image.models.fitting import require_fitting_parts
from bdm_kit_text_to_image.models.folders import CONFIGURATIONS, WEIGHTS, Layout, look_through
from bdm_kit_text_to_image.models.quiet import quiet
from bdm_kit_text_to_image.models.writing import (
    configuration,
    write_json,
    write_network,
    write_text_encoder,
    write_tokenizer,
)
from bdm_torch.foreign_models import first_line, open_network

FORMAT = "diffusers"


@dataclass
class TextToImageModel:
    """An opened pipeline.

    Attributes:
        tokenizers: one, or SDXL's two.
        text_encoders: as many.
        unet: a UNet2DConditionModel.
        vae: an AutoencoderKL.
        scheduler: the diffusers scheduler that the model comes with; it holds the noise schedule.
        pipeline: ``StableDiffusionPipeline`` or ``StableDiffusionXLPipeline``.
        facts: further entries of its index that change what the pipeline does.
        origin: the sealed folder that it was loaded from, whose unchanged weights need not be written again; or None.
    """

    tokenizers: list[Any]
    text_encoders: list[Any]
    unet: Any
    vae: Any
    scheduler: Any
    pipeline: str = "StableDiffusionPipeline"
    facts: dict[str, Any] = field(default_factory=dict)
    origin: Path | None = None

    @property
    def is_xl(self) -> bool:
        """Whether it has SDXL's two text encoders and size conditioning."""
        return self.pipeline == "StableDiffusionXLPipeline"

    @property
    def latent_shape(self) -> tuple[int, int, int]:
        """(C, h, w) of a latent."""
        size = self.unet.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return self.vae.config.latent_channels, height, width

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(3, H, W) of an image."""
        scale = 2 ** (len(self.vae.config.block_out_channels) - 1)
        return self.vae.config.in_channels, self.latent_shape[1] * scale, self.latent_shape[2] * scale

    @property
    def max_length(self) -> int:
        """L, the token positions of a prompt, with start and end."""
        lengths = [tokenizer.model_max_length for tokenizer in self.tokenizers]
        return int(min(*lengths, *(encoder.config.max_position_embeddings for encoder in self.text_encoders)))

    @property
    def timesteps(self) -> int:
        """T, the number of timesteps of the noise schedule."""
        return int(self.scheduler.config.num_train_timesteps)

    @property
    def device(self) -> torch.device:
        """Where the UNet is."""
        return next(self.unet.parameters()).device

    @property
    def networks(self) -> dict[str, nn.Module]:
        """The parts with weights by their names in the folder."""
        encoders = {f"text_encoder{_number(row)}": encoder for row, encoder in enumerate(self.text_encoders)}
        return {**encoders, "unet": self.unet, "vae": self.vae}

    def to_pipeline(self) -> Any:
        """The diffusers pipeline object of these parts: shared, but for the scheduler, which it may change."""
        named = {f"tokenizer{_number(row)}": tokenizer for row, tokenizer in enumerate(self.tokenizers)}
        parts = {**named, **self.networks, "scheduler": copy.deepcopy(self.scheduler)}
        if self.is_xl:
            return diffusers.StableDiffusionXLPipeline(**parts, **self.facts, add_watermarker=False)
        return diffusers.StableDiffusionPipeline(
            **parts, safety_checker=None, feature_extractor=None, requires_safety_checker=False
        )


def load_model(source: Model | Path, device: str | torch.device = "cpu") -> TextToImageModel:
    """Open a sealed model, or a folder in diffusers' layout: float32, evaluation mode, gradients off.

    A LoRA in ``lora/`` is merged into the weights and embeddings in ``embeddings/`` are added to tokenizer and text
    encoder, both by diffusers' own loaders.

    Raises:
        ArtifactError: it is no such folder; a part is missing, of a class that is not allowed or of a kind that is not
            supported; its weights are pickled, damaged or not exactly what its configuration asks for; or the parts do
            not fit each other.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> opened = load_model(seal_model(tiny_model(), Path("model")))
    >>> opened.image_shape, opened.latent_shape, opened.timesteps, opened.is_xl
    ((3, 16, 16), (4, 8, 8), 20, False)
    >>> load_model(Path("nowhere"))
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: nowhere is no diffusers pipeline folder: model_index.json is missing
    """
    folder = source.path if isinstance(source, Model) else source
    with quiet():
        model = _load(folder, device)
    model.origin = folder if isinstance(source, Model) else None
    return model


def _load(folder: Path, device: str | torch.device) -> TextToImageModel:
    layout = look_through(folder)
    parts: dict[str, Any] = {}
    for part in layout.classes:
        try:
            parts[part] = _load_part(folder, part, layout)
        except ArtifactError:
            raise
        except Exception as error:  # safetensors, tokenizers and pydantic have classes of their own
            raise ArtifactError(f"{folder / part} cannot be opened: {first_line(error)}") from None
    model = TextToImageModel(
        tokenizers=[parts[name] for name in ("tokenizer", "tokenizer_2") if name in parts],
        text_encoders=[parts[name] for name in ("text_encoder", "text_encoder_2") if name in parts],
        unet=parts["unet"],
        vae=parts["vae"],
        scheduler=parts["scheduler"],
        pipeline=layout.pipeline,
        facts=layout.facts,
    )
    require_fitting_parts(model, folder)
    additions.apply(model, folder)
    for network in model.networks.values():
        network.to(device).eval().requires_grad_(False)
    return model


def save_model(model: TextToImageModel, folder: Path) -> None:
    """Write a model as diffusers' ``save_pretrained`` does. Equal models give equal bytes, wherever they came from.

    Weights that are as in the store's folder they came from become hard links to its read-only files.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> save_model(tiny_model(), Path("model"))
    >>> sorted(path.name for path in Path("model").iterdir())
    ['model_index.json', 'scheduler', 'text_encoder', 'tokenizer', 'unet', 'vae']
    """
    index: dict[str, Any] = {"_class_name": model.pipeline, "_diffusers_version": diffusers.__version__, **model.facts}
    for row, (tokenizer, encoder) in enumerate(zip(model.tokenizers, model.text_encoders, strict=True)):
        number = _number(row)
        write_tokenizer(tokenizer, folder / f"tokenizer{number}")
        write_text_encoder(encoder, folder / f"text_encoder{number}", _known(model, f"text_encoder{number}"))
        index[f"tokenizer{number}"] = ["transformers", "CLIPTokenizer"]
        index[f"text_encoder{number}"] = ["transformers", type(encoder).__name__]
    for part in ("unet", "vae"):
        network = getattr(model, part)
        write_network(network, folder / part, _known(model, part))
        index[part] = ["diffusers", type(network).__name__]
    write_json(folder / "scheduler" / CONFIGURATIONS["scheduler"], configuration(model.scheduler))
    index["scheduler"] = ["diffusers", type(model.scheduler).__name__]
    if not model.is_xl:
        index |= {"safety_checker": [None, None], "feature_extractor": [None, None], "requires_safety_checker": False}
    write_json(folder / INDEX, index)


def seal_model(
    model: TextToImageModel,
    folder: Path,
    *,
    lora: Mapping[str, Tensor] | None = None,
    embeddings: Mapping[str, Tensor] | None = None,
) -> Model:
    """Save a model and seal the folder; its facts are the image's shape and T, nothing about where it came from.

    Args:
        model: for ``lora`` and ``embeddings`` the model without them.
        folder: where to.
        lora: a LoRA in diffusers' format (keys ``unet.….lora_A.weight``), written to
            ``lora/pytorch_lora_weights.safetensors``.
        embeddings: new token -> its embedding row (d,); for SDXL the rows of both encoders one after the other,
            (d + e,). Written to ``embeddings/`` as textual inversions, one token a file.

    Raises:
        ArtifactError: a token is in the vocabulary already, or a row has the wrong length.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> seal_model(tiny_model(), Path("model")).meta
    {'shape': [3, 16, 16], 'timesteps': 20}
    """
    save_model(model, folder)
    if lora:
        additions.write_lora(folder, lora)
    if embeddings:
        additions.write_embeddings(folder, model, embeddings)
    facts: dict[str, Any] = {"shape": list(model.image_shape), "timesteps": model.timesteps}
    return Model.seal(folder, format=FORMAT, task=TASK, meta=facts)


def shape_of(model: Model) -> tuple[int, int, int]:
    """(3, H, W) of the images of a sealed model, without opening it.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> shape_of(seal_model(tiny_model(), Path("model")))
    (3, 16, 16)
    """
    shape: Any = model.meta.get("shape")
    if not isinstance(shape, list) or len(shape) != 3:
        return load_model(model).image_shape
    return shape[0], shape[1], shape[2]


def _load_part(folder: Path, part: str, layout: Layout) -> Any:
    place = folder / part
    if part.startswith("tokenizer"):
        return getattr(transformers, "CLIPTokenizer").from_pretrained(place, local_files_only=True)  # noqa: B009
    name = layout.classes[part]
    if part == "scheduler":
        return getattr(diffusers, name).from_pretrained(place, local_files_only=True)
    if part.startswith("text_encoder"):
        return open_network(getattr(transformers, name), place, WEIGHTS[part], dtype=torch.float32)
    options = {"torch_dtype": torch.float32, "low_cpu_mem_usage": False}
    return open_network(getattr(diffusers, name), place, WEIGHTS[part], **options)


def _known(model: TextToImageModel, part: str) -> Path | None:
    return None if model.origin is None else model.origin / part


def _number(row: int) -> str:
    return "" if row == 0 else f"_{row + 1}"
