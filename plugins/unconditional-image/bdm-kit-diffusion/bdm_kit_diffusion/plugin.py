"""The plugin ``kit:diffusion``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bdm_core.plugin import Field, Params, Plugin, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Model, Outputs, Secret
    from bdm_core.context import Context


class DiffusionKitParams(Params):
    """Parameters of ``kit:diffusion``."""

    sampler: str | None = Field(
        default=None,
        description="Sampler: ddpm, ddim, pndm, deis, heun, lms, euler, euler-ancestral, unipc, dpm-solver-2, "
        "dpm-solver++-2 and others; sde-ve, ode-ve for variance-exploding models; by default the model's own.",
        json_schema_extra={"stages": ["generate"]},
    )
    steps: int | None = Field(
        default=None,
        ge=1,
        description="Sampling steps; by default all timesteps for ddpm, 20 for ODE solvers.",
        json_schema_extra={"stages": ["generate"]},
    )
    eta: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Stochasticity of ddim: 0 is deterministic, 1 is ancestral.",
        json_schema_extra={"stages": ["generate"]},
    )
    clip_sample: bool = Field(
        default=False,
        description="Clip the estimates of the clean image to [-1, 1] while sampling. It changes a backdoor's effect.",
        json_schema_extra={"stages": ["generate"]},
    )
    corrector_steps: int | None = Field(
        default=None,
        ge=0,
        description="Langevin corrections at each level of sde-ve; 0: none; null: as the model's scheduler says.",
        json_schema_extra={"stages": ["generate"]},
    )
    corrector_snr: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Signal-to-noise ratio of these corrections; null: as the model's scheduler says.",
        json_schema_extra={"stages": ["generate"]},
    )
    batch_size: int = Field(
        default=256, ge=1, description="Images sampled at once.", json_schema_extra={"stages": ["generate"]}
    )
    samples: int = Field(
        default=640,
        ge=2,
        description="Images to generate from clean noise, for the metrics; a share of the noise also gets the trigger.",
        json_schema_extra={"stages": ["make-inputs"]},
    )
    most_images: int | None = Field(
        default=None,
        ge=1,
        description="Use at most so many training images; by default all.",
        json_schema_extra={"stages": ["open-data"]},
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        default="no",
        description="Precision of the training of attacks and defenses: no is float32.",
        json_schema_extra={"stages": ["inject-backdoor", "repair"]},
    )


class DiffusionKit(Plugin):
    """Opens, samples and trains diffusion models that generate images from noise alone."""

    kind, name = "kit", "diffusion"
    summary = "Unconditional image generation with diffusion models in diffusers' format"
    tasks = frozenset({"unconditional-image-generation"})
    Params = DiffusionKitParams
    default_metrics: ClassVar[tuple[str, ...]] = ("frechet", "target", "detection")
    triggered_share: ClassVar[float] = 0.25
    """A success rate needs fewer samples than a distance between distributions."""
    tiny_params: ClassVar[dict[str, Any]] = {"samples": 6, "most_images": 32}

    @hookimpl
    def open_model(self, ctx: Context, reference: str | None) -> Model:
        from bdm_kit_diffusion import models

        return models.open_reference(reference, ctx.out / "model", ctx.work)

    @hookimpl
    def open_data(self, ctx: Context, params: DiffusionKitParams, model: Model, reference: str | None) -> Data:
        from bdm_kit_diffusion import data

        return data.open_reference(reference, model, ctx.out / "data", ctx.work, params.most_images)

    @hookimpl
    def share_data(self, ctx: Context, data: Data, share: float) -> Data:
        from bdm_kit_diffusion import stages

        return stages.share_images(ctx, data, share)

    @hookimpl
    def make_inputs(self, ctx: Context, params: DiffusionKitParams, model: Model) -> Data:
        from bdm_kit_diffusion import stages

        return stages.make_noise(ctx, model, params.samples)

    @hookimpl
    def mix_inputs(self, ctx: Context, clean: Data, triggered: Data, order: list[int]) -> Data:
        from bdm_kit_diffusion import stages

        return stages.mix_noise(ctx, clean, triggered, order)

    @hookimpl(trylast=True)
    def generate(self, ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs:
        from bdm_kit_diffusion import stages

        return stages.generate(ctx, model, inputs, secret)

    def tiny_secret(self, folder: Path, model: Model) -> Secret:
        """A secret for the conformance tests of metrics, sealed in ``folder``."""
        from bdm_kit_diffusion import stages

        return stages.tiny_secret(folder, model)

    def perfect_outputs(self, folder: Path, outputs: Outputs, secret: Secret) -> Outputs:
        """What a perfect attack gives for triggered inputs, as many as ``outputs``, sealed in ``folder``."""
        from bdm_kit_diffusion import stages

        return stages.perfect_outputs(folder, outputs, secret)
