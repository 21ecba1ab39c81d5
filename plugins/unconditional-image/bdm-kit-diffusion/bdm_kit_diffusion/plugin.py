"""The plugin ``kit:diffusion``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core.plugin import Kit, hookimpl
from bdm_kit_diffusion.params import DiffusionKitParams

if TYPE_CHECKING:
    from bdm_core.artifacts import Data, Model, Outputs, Secret
    from bdm_core.context import Context


class DiffusionKit(Kit):
    """Opens, samples and trains diffusion models that generate images from noise alone."""

    name = "diffusion"
    summary = "Unconditional image generation with diffusion models in diffusers' format"
    tasks = frozenset({"unconditional-image-generation"})
    Params = DiffusionKitParams
    default_metrics: ClassVar[tuple[str, ...]] = ("frechet", "target", "detection")
    triggered_share: ClassVar[float] = 0.25
    """A success rate needs fewer samples than a distance between distributions."""
    tiny_params: ClassVar[dict[str, Any]] = {"samples": 6, "most_images": 32}

    @hookimpl
    def open_model(self, ctx: Context, reference: str | None) -> Model:
        from bdm_kit_diffusion.models.diffusion_model import open_reference

        return open_reference(reference, ctx.out / "model", ctx.work)

    @hookimpl
    def open_data(self, ctx: Context, params: DiffusionKitParams, model: Model, reference: str | None) -> Data:
        from bdm_kit_diffusion.data.opening import open_reference

        return open_reference(reference, model, ctx.out / "data", ctx.work, params.most_images)

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
