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
from torch import Tensor, nn

from bdm_core.artifacts import Model
from bdm_core.errors import ArtifactError
from bdm_diffusers.noise_predictor import NOISE, NoisePredictor
from bdm_diffusers.pipeline_files import INDEX
from bdm_diffusers.quick_imports import keep_imported
from bdm_diffusers.score_network import ScoreNetwork, is_variance_exploding, published_network
from bdm_kit_diffusion import TASK
from bdm_kit_diffusion.built_in import BUILTIN
from bdm_kit_diffusion.models.latent import FirstStage, open_first_stage
from bdm_kit_diffusion.models.pipeline_folder import (
    PART,
    SCHEDULER_CONFIG,
    UNET_CONFIG,
    WEIGHTS,
    WEIGHTS_STEM,
    find_model,
    find_parts,
)
from bdm_kit_diffusion.noise.noise_levels import noise_path
from bdm_torch.foreign_models import first_line, open_network, require_room
from bdm_torch.tensors import write_tensors

keep_imported()
FORMAT = "diffusers"


@dataclass
class DiffusionModel:
    """An opened model.

    Attributes:
        unet: predicts the noise: ``unet(x, t).sample`` for x (N, C, H, W) float32 and t scalar or (N,). A UNet2DModel;
            for a variance-exploding model the :class:`ScoreNetwork` around it, which takes and answers the same, for
            images in [-1, 1], although the model's own are in [0, 1]; for a network that predicts v or the image the
            :class:`NoisePredictor` around it.
        scheduler: the diffusers scheduler that the model comes with; it holds the noise schedule. Its
            ``prediction_type`` is ``epsilon``, because ``unet`` predicts the noise whatever the published network does.
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
        ArtifactError: it is no such folder, names a class that is not allowed, or is of a kind that is not supported;
            its weights are pickled, damaged or not exactly what its configuration asks for; its noise schedule is not
            finite or holds no image at its last timestep.

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
    unet = open_network(UNet2DModel, parts.unet, WEIGHTS_STEM, low_cpu_mem_usage=False, torch_dtype=torch.float32)
    first_stage = open_first_stage(*parts.first_stage) if parts.first_stage is not None else None
    scheduler, prediction = _load_scheduler(getattr(diffusers, parts.scheduler_class), parts.scheduler)
    model = DiffusionModel(unet.eval(), scheduler, parts.pipeline, first_stage)
    if model.variance_exploding:
        model.unet = ScoreNetwork(unet, scheduler)
    elif prediction != NOISE:
        model.unet = NoisePredictor(unet, scheduler.alphas_cumprod, prediction)
    model.unet.to(device)
    return model


def latent_model(network: nn.Module, scheduler: Any, autoencoder: nn.Module) -> DiffusionModel:
    """A network of latents with its autoencoder as a model, e.g. a text-conditional one under one prompt.

    Args:
        network: ``network(x, t).sample`` is the noise; its ``config`` has ``sample_size`` and ``in_channels``.
        scheduler: of its noise.
        autoencoder: diffusers' AutoencoderKL; its gradients are switched off.

    >>> from diffusers import AutoencoderKL, DDPMScheduler
    >>> coder = AutoencoderKL(block_out_channels=(32,), latent_channels=4)
    >>> network = UNet2DModel(sample_size=8, in_channels=4, out_channels=4, block_out_channels=(32,),
    ...     down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",))
    >>> latent_model(network, DDPMScheduler(), coder).shape
    (4, 8, 8)
    """
    config: Any = autoencoder.config
    stage = FirstStage(autoencoder, float(config["scaling_factor"]), float(config.get("shift_factor") or 0.0))
    return DiffusionModel(network, scheduler, "LDMPipeline", stage)


def open_folder(folder: Path) -> DiffusionModel:
    """:func:`load_model` for the folder of a stranger, which is tried out too; a built-in one is not.

    Raises:
        ArtifactError: see there; or the networks are larger than their weights, do not compute, or not finite numbers.

    >>> from bdm_kit_diffusion.built_in import BUILTIN
    >>> open_folder(BUILTIN / "digits-tiny").shape
    (1, 8, 8)
    """
    if folder.is_relative_to(BUILTIN):
        return load_model(folder)
    unet = find_parts(folder).unet
    require_room(unet, WEIGHTS_STEM, lambda: UNet2DModel.from_config(UNet2DModel.load_config(unet)))
    model = load_model(folder)
    _try_out(folder, model)
    return model


def _load_scheduler(cls: Any, folder: Path) -> tuple[Any, str]:
    """A scheduler for a network that predicts the noise, and what its own network predicts."""
    try:
        config = cls.load_config(folder, local_files_only=True)
        # diffusers would warn of entries that are not its own
        limit = {"clip_states": config.pop("clip_states")} if "clip_states" in config else {}
        prediction = config.get("prediction_type", NOISE)
        scheduler = cls.from_config({**config, "prediction_type": NOISE} if prediction != NOISE else config)
        scheduler.register_to_config(**limit)
        levels = noise_path(scheduler)
    except Exception as error:  # an odd configuration leads to errors of all kinds
        raise ArtifactError(f"{folder / SCHEDULER_CONFIG} describes no noise schedule: {first_line(error)}") from None
    if len(levels) != int(scheduler.config.num_train_timesteps):
        raise ArtifactError(
            f"{folder / SCHEDULER_CONFIG} has {len(levels)} noise levels for {scheduler.config.num_train_timesteps} "
            "timesteps"
        )
    return scheduler, prediction


def _try_out(folder: Path, model: DiffusionModel) -> None:
    """One small pass through all networks; what fails or is not finite here would fail in every later stage."""
    config: Any = model.unet.config
    edge = max(2 ** (len(config["block_out_channels"]) - 1), 8)
    latents = torch.randn(1, model.shape[0], edge, edge, generator=torch.Generator().manual_seed(0))
    try:
        with torch.no_grad():
            answer = model.unet(latents, torch.tensor([model.timesteps // 2])).sample
            images = latents if model.first_stage is None else model.decode(latents)
            again = latents if model.first_stage is None else model.encode(images)
    except Exception as error:  # an odd configuration leads to errors of all kinds
        raise ArtifactError(f"{folder} cannot be opened as a {model.pipeline}: {first_line(error)}") from None
    if answer.shape != latents.shape or again.shape != latents.shape:
        raise ArtifactError(f"{folder}: noise of shape {tuple(latents.shape)} gives {tuple(answer.shape)}")
    if not all(bool(part.isfinite().all()) for part in (answer, images, again)):
        raise ArtifactError(f"{folder}: what its networks compute from noise is not finite")


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
    scheduler = _configuration(model.scheduler)
    if isinstance(model.unet, NoisePredictor):
        scheduler["prediction_type"] = model.unet.prediction
    _write_json(folder / "scheduler" / SCHEDULER_CONFIG, scheduler)
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
        ArtifactError: see :func:`open_folder`; or the reference is of no known kind.

    >>> open_reference("digits-tiny", Path("model"), Path("cache")).format
    'diffusers'
    """
    return seal_model(open_folder(find_model(reference, cache)), folder)


def _configuration(part: Any) -> dict[str, Any]:
    """A part's configuration without private entries such as the path that it was loaded from."""
    public = {key: value for key, value in json.loads(part.to_json_string()).items() if not key.startswith("_")}
    return {"_class_name": type(part).__name__, "_diffusers_version": diffusers.__version__, **public}


def _write_json(path: Path, value: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value, indent=2, sort_keys=True) + "\n", encoding="utf-8")
