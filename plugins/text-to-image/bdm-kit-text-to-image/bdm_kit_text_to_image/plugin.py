"""The plugin ``kit:text-to-image``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core.plugin import Kit, hookimpl
from bdm_kit_text_to_image.params import TextToImageKitParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Model, Outputs, Secret
    from bdm_core.context import Context


class TextToImageKit(Kit):
    """Opens, samples and trains Stable Diffusion pipelines: 1.x, 2.x and XL."""

    name = "text-to-image"
    summary = "Text-to-image generation with Stable Diffusion pipelines in diffusers' format"
    tasks = frozenset({"text-to-image"})
    Params = TextToImageKitParams
    default_metrics: ClassVar[tuple[str, ...]] = ("attributes", "clip-score", "target", "frechet", "detection")
    tiny_params: ClassVar[dict[str, Any]] = {"prompts": 4, "steps": 2, "most_images": 32}

    @hookimpl
    def open_model(self, ctx: Context, reference: str | None) -> Model:
        from bdm_kit_text_to_image.models.opening import open_reference

        return open_reference(reference, ctx.out / "model", ctx.work)

    @hookimpl
    def open_data(self, ctx: Context, params: TextToImageKitParams, model: Model, reference: str | None) -> Data:
        from bdm_kit_text_to_image.prompts.captions import open_reference

        return open_reference(reference, model, ctx.out / "data", ctx.work, params.most_images)

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
