"""The plugin ``kit:text-to-image``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from bdm_core.plugin import Field, Params, Plugin, hookimpl

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Model, Outputs, Secret
    from bdm_core.context import Context


class TextToImageKitParams(Params):
    """Parameters of ``kit:text-to-image``."""

    sampler: str | None = Field(
        default=None,
        description="Sampler: ddim, ddpm, pndm, deis, heun, lms, euler, euler-ancestral, unipc, dpm-solver++-2 and "
        "others; by default ddim.",
        json_schema_extra={"stages": ["generate"]},
    )
    steps: int = Field(default=20, ge=1, description="Sampling steps.", json_schema_extra={"stages": ["generate"]})
    guidance: float = Field(
        default=3.0,
        ge=0,
        description="Scale of classifier-free guidance; 1 is without.",
        json_schema_extra={"stages": ["generate"]},
    )
    eta: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="Stochasticity of ddim: 0 is deterministic, 1 is ancestral.",
        json_schema_extra={"stages": ["generate"]},
    )
    batch_size: int = Field(
        default=64, ge=1, description="Images sampled at once.", json_schema_extra={"stages": ["generate"]}
    )
    prompts: int = Field(
        default=100,
        ge=2,
        description="Prompts to run clean and again with the trigger, for the metrics.",
        json_schema_extra={"stages": ["make-inputs"]},
    )
    split: Literal["test", "validation"] = Field(
        default="test",
        description="Which half of the small world's prompts: choose settings on validation, report on test.",
        json_schema_extra={"stages": ["make-inputs"]},
    )
    most_images: int | None = Field(
        default=None,
        ge=1,
        description="Use at most so many training images; by default all, of the small world 4096.",
        json_schema_extra={"stages": ["open-data"]},
    )
    mixed_precision: Literal["no", "bf16", "fp16"] = Field(
        default="no",
        description="Precision of the training of attacks and defenses: no is float32.",
        json_schema_extra={"stages": ["inject-backdoor", "repair"]},
    )


class TextToImageKit(Plugin):
    """Opens, samples and trains Stable Diffusion pipelines: 1.x, 2.x and XL."""

    kind, name = "kit", "text-to-image"
    summary = "Text-to-image generation with Stable Diffusion pipelines in diffusers' format"
    tasks = frozenset({"text-to-image"})
    Params = TextToImageKitParams
    default_metrics: ClassVar[tuple[str, ...]] = ("attributes", "clip-score", "target", "frechet", "detection")
    tiny_params: ClassVar[dict[str, Any]] = {"prompts": 4, "steps": 2, "most_images": 32}

    @hookimpl
    def open_model(self, ctx: Context, reference: str | None) -> Model:
        from bdm_kit_text_to_image import models

        return models.open_reference(reference, ctx.out / "model", ctx.work)

    @hookimpl
    def open_data(self, ctx: Context, params: TextToImageKitParams, model: Model, reference: str | None) -> Data:
        from bdm_kit_text_to_image import captions

        return captions.open_reference(reference, model, ctx.out / "data", ctx.work, params.most_images)

    @hookimpl
    def share_data(self, ctx: Context, data: Data, share: float) -> Data:
        from bdm_kit_text_to_image import stages

        return stages.share_images(ctx, data, share)

    @hookimpl
    def make_inputs(self, ctx: Context, params: TextToImageKitParams, data: Data) -> Data:
        from bdm_kit_text_to_image import stages

        return stages.make_prompts(ctx, data, params.prompts, params.split)

    @hookimpl
    def mix_inputs(self, ctx: Context, clean: Data, triggered: Data, order: list[int]) -> Data:
        from bdm_kit_text_to_image import stages

        return stages.mix_prompts(ctx, clean, triggered, order)

    @hookimpl(trylast=True)
    def generate(self, ctx: Context, model: Model, inputs: Data) -> Outputs:
        from bdm_kit_text_to_image import stages

        return stages.generate(ctx, model, inputs)

    def tiny_secret(self, folder: Path, model: Model) -> Secret:
        """A secret for the conformance tests of metrics, sealed in ``folder``."""
        from bdm_kit_text_to_image import stages

        return stages.tiny_secret(folder, model)

    def perfect_outputs(self, folder: Path, outputs: Outputs, secret: Secret) -> Outputs:
        """What a perfect attack gives for triggered inputs, as many as ``outputs``, sealed in ``folder``."""
        from bdm_kit_text_to_image import stages

        return stages.perfect_outputs(folder, outputs, secret)
