"""Open and save unconditional diffusion models in diffusers' ``save_pretrained`` layout, safely.

Nothing is taken from a foreign folder but safetensors and JSON, no class is built but those named here, no code of a
model repository runs, and nothing is fetched but a named commit.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import UNet2DModel
from safetensors import SafetensorError
from torch import Tensor, nn

from bdm_core.artifacts import Model
from bdm_core.errors import ArtifactError
from bdm_diffusers.pipeline_files import INDEX
from bdm_diffusers.score_network import ScoreNetwork, is_variance_exploding, published_network
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.models.latent import FirstStage, open_first_stage
from bdm_kit_diffusion.models.pipeline_folder import (
    PART,
    SCHEDULER_CONFIG,
    UNET_CONFIG,
    WEIGHTS,
    find_model,
    find_parts,
)
from bdm_torch.tensors import write_tensors

FORMAT = "diffusers"


@dataclass
class DiffusionModel:
    """An opened model.

    Attributes:
        unet: predicts the noise: ``unet(x, t).sample`` for x (N, C, H, W) float32 and t scalar or (N,). A UNet2DModel;
            for a variance-exploding model the :class:`ScoreNetwork` around it, which takes and answers the same, for
            images in [-1, 1], although the model's own are in [0, 1].
        scheduler: the diffusers scheduler that the model comes with; it holds the noise schedule.
        pipeline: the name of the diffusers pipeline class for ``model_index.json``.
        first_stage: of a latent model, between images and what the UNet works on; None for a model of pixels.
    """

    unet: nn.Module
    scheduler: Any
    pipeline: str = "DDPMPipeline"
    first_stage: FirstStage | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """(C, H, W) of what the UNet works on: an image, or its latents."""
        config: Any = self.unet.config
        size = config["sample_size"]
        height, width = (size, size) if isinstance(size, int) else size
        return config["in_channels"], height, width

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W) of an image."""
        if self.first_stage is None:
            return self.shape
        _, height, width = self.shape
        return self.first_stage.channels, height * self.first_stage.factor, width * self.first_stage.factor

    def encode(self, images: Tensor) -> Tensor:
        """What the UNet is trained on, on the images' device: the images (N, C, H, W) in [-1, 1], or their latents.

        Latents are computed where the UNet is.
        """
        if self.first_stage is None:
            return images
        return self.first_stage.encode(images.to(next(self.unet.parameters()).device)).to(images.device)

    def decode(self, samples: Tensor) -> Tensor:
        """Images (N, C, H, W) of what the UNet's sampling gave, on its device."""
        return samples if self.first_stage is None else self.first_stage.decode(samples)

    @property
    def timesteps(self) -> int:
        """T, the number of timesteps of the noise schedule."""
        return int(self.scheduler.config.num_train_timesteps)

    @property
    def clip_states(self) -> float | None:
        """What the states of sampling are to be clipped to: an entry of the scheduler's configuration; None: not."""
        limit = self.scheduler.config.get("clip_states")
        return None if limit is None else float(limit)

    @property
    def variance_exploding(self) -> bool:
        """Whether noise is added to the image as it is (x = x_0 + sigma eps), as in NCSN++."""
        return is_variance_exploding(self.scheduler)


def load_model(source: Model | Path, device: str | torch.device = "cpu") -> DiffusionModel:
    """Open a sealed model, or a folder in diffusers' layout, in evaluation mode.

    Raises:
        ArtifactError: it is no such folder, holds pickled weights, names a class that is not allowed, or its weights do
            not fit its configuration.

    >>> from bdm_kit_diffusion.built_in import BUILTIN
    >>> opened = load_model(BUILTIN / "digits-tiny")
    >>> opened.shape, opened.timesteps, opened.variance_exploding
    ((1, 8, 8), 20, False)
    >>> load_model(Path("nowhere"))
    Traceback (most recent call last):
        ...
    bdm_core.errors.ArtifactError: nowhere is no diffusers pipeline folder: model_index.json is missing
    """
    folder = source.path if isinstance(source, Model) else source
    parts = find_parts(folder)
    try:
        unet = UNet2DModel.from_pretrained(
            parts.unet, use_safetensors=True, local_files_only=True, low_cpu_mem_usage=False, torch_dtype=torch.float32
        )
        scheduler = _load_scheduler(getattr(diffusers, parts.scheduler_class), parts.scheduler)
        first_stage = open_first_stage(*parts.first_stage) if parts.first_stage is not None else None
    except (OSError, ValueError, TypeError, RuntimeError, SafetensorError) as error:
        raise ArtifactError(f"{folder} cannot be opened as a {parts.pipeline}: {_first_line(error)}") from None
    network = ScoreNetwork(unet, scheduler) if is_variance_exploding(scheduler) else unet
    return DiffusionModel(network.to(device).eval(), scheduler, parts.pipeline, first_stage)


def _load_scheduler(cls: Any, folder: Path) -> Any:
    config = cls.load_config(folder, local_files_only=True)
    limit = {"clip_states": config.pop("clip_states")} if "clip_states" in config else {}  # diffusers would warn of it
    scheduler = cls.from_config(config)
    scheduler.register_to_config(**limit)
    return scheduler


def save_model(model: DiffusionModel, folder: Path) -> None:
    """Write a model as diffusers' ``save_pretrained`` does. Equal models give equal bytes, wherever they came from.

    >>> from bdm_kit_diffusion.built_in import BUILTIN
    >>> save_model(load_model(BUILTIN / "digits-tiny"), Path("copy"))
    >>> sorted(path.name for path in Path("copy").iterdir())
    ['model_index.json', 'scheduler', 'unet']
    """
    index = {
        "_class_name": model.pipeline,
        "_diffusers_version": diffusers.__version__,
        "scheduler": ["diffusers", type(model.scheduler).__name__],
        "unet": ["diffusers", "UNet2DModel"],
    }
    networks: dict[str, nn.Module] = {"unet": published_network(model.unet)}
    if model.first_stage is not None:
        networks[PART] = model.first_stage.network
        index[PART] = ["diffusers", type(model.first_stage.network).__name__]
    for part, network in networks.items():
        write_tensors(folder / part / WEIGHTS, network.state_dict())
        _write_json(folder / part / UNET_CONFIG, _configuration(network))
    _write_json(folder / "scheduler" / SCHEDULER_CONFIG, _configuration(model.scheduler))
    _write_json(folder / INDEX, index)


def seal_model(model: DiffusionModel, folder: Path) -> Model:
    """Save a model and seal the folder; its facts are the image's shape and T, nothing about where it came from.

    A variance-exploding model's facts also say so, and that images are in [0, 1] for its own network. A latent model's
    ``shape`` is that of its latents; ``image_shape`` is beside it.

    >>> from bdm_kit_diffusion.built_in import BUILTIN
    >>> seal_model(load_model(BUILTIN / "digits-tiny"), Path("model")).meta
    {'shape': [1, 8, 8], 'timesteps': 20}
    """
    save_model(model, folder)
    facts: dict[str, Any] = {"shape": list(model.shape), "timesteps": model.timesteps}
    if model.variance_exploding:
        facts |= {"noise": "variance-exploding", "range": [0, 1]}
    if model.first_stage is not None:
        facts["image_shape"] = list(model.image_shape)
    return Model.seal(folder, format=FORMAT, task=TASK, meta=facts)


def open_reference(reference: str | None, folder: Path, cache: Path) -> Model:
    """Bring a model into ``folder``, sealed.

    Args:
        reference: None for ``digits-ddpm``, a built-in name, a local folder, or ``hf:org/name@commit``.
        folder: where to; only configuration and safetensors are written there, in one standard layout.
        cache: where a download may be kept meanwhile.

    Raises:
        ArtifactError: see :func:`load_model`; or the reference is of no known kind.

    >>> open_reference("digits-tiny", Path("model"), Path("cache")).format
    'diffusers'
    """
    return seal_model(load_model(find_model(reference, cache)), folder)


def _configuration(part: Any) -> dict[str, Any]:
    """A part's configuration without private entries such as the path that it was loaded from."""
    public = {key: value for key, value in json.loads(part.to_json_string()).items() if not key.startswith("_")}
    return {"_class_name": type(part).__name__, "_diffusers_version": diffusers.__version__, **public}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
