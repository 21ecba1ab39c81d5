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
from bdm_diffusers.pipeline_files import INDEX, PICKLES, SCHEDULERS, read_json
from bdm_diffusers.score_network import SCHEDULER as VE_SCHEDULER
from bdm_diffusers.score_network import ScoreNetwork, is_variance_exploding, published_network
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.latent import FIRST_STAGES, PART, FirstStage, open_first_stage
from bdm_torch.references import fetch_snapshot, parse_hub_reference, suggest
from bdm_torch.tensors import write_tensors

FORMAT = "diffusers"
DEFAULT_MODEL, TINY_MODEL = "digits-ddpm", "digits-tiny"
VE_MODEL, SHAPES_MODEL, LATENT_MODEL = "digits-ve", "shapes-ddpm", "shapes-ldm"
BUILTIN_MODELS = {n: n for n in (DEFAULT_MODEL, TINY_MODEL, VE_MODEL, SHAPES_MODEL, LATENT_MODEL)}
BUILTIN_MODELS["tiny"] = TINY_MODEL
"""Names of built-in models and their folders; ``tiny`` is what the conformance tests ask every kit for."""
UNET_CONFIG = "config.json"
SCHEDULER_CONFIG = "scheduler_config.json"
WEIGHTS = "diffusion_pytorch_model.safetensors"
PIPELINES: dict[str, dict[str, frozenset[str]]] = {
    name: {"unet": frozenset({"UNet2DModel"}), "scheduler": SCHEDULERS}
    for name in ("DDPMPipeline", "DDIMPipeline", "PNDMPipeline")
} | {
    "ScoreSdeVePipeline": {"unet": frozenset({"UNet2DModel"}), "scheduler": frozenset({VE_SCHEDULER})},
    "LDMPipeline": {"unet": frozenset({"UNet2DModel"}), "scheduler": SCHEDULERS, PART: FIRST_STAGES},
}
"""The pipelines that can be opened: their parts, and the classes each part may have."""


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
    """Write a model as diffusers' ``save_pretrained`` does. Equal models give equal bytes, wherever they came from."""
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
    """
    save_model(model, folder)
    facts: dict[str, Any] = {"shape": list(model.shape), "timesteps": model.timesteps}
    if model.variance_exploding:
        facts |= {"noise": "variance-exploding", "range": [0, 1]}
    if model.first_stage is not None:
        facts["image_shape"] = list(model.image_shape)
    return Model.seal(folder, format=FORMAT, task=TASK, meta=facts)


def shape_of(model: Model) -> tuple[int, int, int]:
    """(C, H, W) of the noise that a sealed model takes, without opening it: that of an image, or of latents."""
    shape: Any = model.meta.get("shape")
    if not isinstance(shape, list) or len(shape) != 3:
        return load_model(model).shape
    return shape[0], shape[1], shape[2]


def image_shape_of(model: Model) -> tuple[int, int, int]:
    """(C, H, W) of the images of a sealed model, without opening it."""
    shape: Any = model.meta.get("image_shape")
    return shape_of(model) if shape is None else (shape[0], shape[1], shape[2])


def open_reference(reference: str | None, folder: Path, cache: Path) -> Model:
    """Bring a model into ``folder``, sealed.

    Args:
        reference: None for ``digits-ddpm``, a built-in name, a local folder, or ``hf:org/name@commit``.
        folder: where to; only configuration and safetensors are written there, in one standard layout.
        cache: where a download may be kept meanwhile.

    Raises:
        ArtifactError: see :func:`load_model`; or the reference is of no known kind.
    """
    name = reference or DEFAULT_MODEL
    if name in BUILTIN_MODELS:
        source = BUILTIN / BUILTIN_MODELS[name]
    elif (hub := parse_hub_reference(name)) is not None:
        source = fetch_snapshot(hub, cache, ["*.json", "*.safetensors"])
    else:
        source = Path(name).expanduser()
        if not source.is_dir():
            raise ArtifactError(f"no model {name!r}: {suggest(name, list(BUILTIN_MODELS)[:-1])}")
    return seal_model(load_model(source), folder)


@dataclass(frozen=True)
class Parts:
    """Where the parts of a pipeline folder are: sub-folders, or, in old repositories, the folder itself."""

    pipeline: str
    unet: Path
    scheduler: Path
    scheduler_class: str
    first_stage: tuple[Path, str, dict[str, Any]] | None = None
    """Folder, class and configuration of a latent model's autoencoder."""


def find_parts(folder: Path) -> Parts:
    """Look at a pipeline folder without loading any weights. Raises ArtifactError as :func:`load_model` does."""
    index = read_json(folder / INDEX, f"{folder} is no diffusers pipeline folder")
    pipeline = str(index.get("_class_name"))
    if pipeline not in PIPELINES:
        raise ArtifactError(f"{folder / INDEX} names the pipeline {pipeline!r}; supported are {', '.join(PIPELINES)}")
    found: dict[str, tuple[Path, str]] = {}
    configs: dict[str, dict[str, Any]] = {}
    for part in PIPELINES[pipeline]:
        file = SCHEDULER_CONFIG if part == "scheduler" else UNET_CONFIG
        entry = index.get(part)
        name = entry[1] if isinstance(entry, list) and len(entry) == 2 and entry[0] == "diffusers" else None
        if not isinstance(name, str) or name not in PIPELINES[pipeline][part]:
            raise ArtifactError(f"{folder / INDEX} names {entry!r} as {part}: not an allowed diffusers class")
        place = folder / part if (folder / part).is_dir() else folder
        configs[part] = read_json(place / file, f"{folder} has no {part}")
        stated = configs[part].get("_class_name", name)
        if stated not in PIPELINES[pipeline][part]:
            raise ArtifactError(f"{place / file} names the class {stated!r}: not an allowed diffusers class")
        found[part] = place, name
    for place in (found[part][0] for part in ("unet", PART) if part in found):
        if not list(place.glob("*.safetensors")):
            pickles = sorted(path.name for path in place.iterdir() if path.suffix in PICKLES)
            hint = f"pickled weights ({pickles[0]}): convert them with `bdm import {folder}`" if pickles else ""
            raise ArtifactError(f"{place} has {hint or 'no ' + WEIGHTS}")
    first_stage = (*found[PART], configs[PART]) if PART in found else None
    return Parts(pipeline, found["unet"][0], *found["scheduler"], first_stage)


def _configuration(part: Any) -> dict[str, Any]:
    """A part's configuration without private entries such as the path that it was loaded from."""
    public = {key: value for key, value in json.loads(part.to_json_string()).items() if not key.startswith("_")}
    return {"_class_name": type(part).__name__, "_diffusers_version": diffusers.__version__, **public}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
