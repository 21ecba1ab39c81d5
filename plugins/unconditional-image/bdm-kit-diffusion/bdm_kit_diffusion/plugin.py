"""The plugin ``kit:diffusion``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import BuiltIn, Kit, hookimpl
from bdm_kit_diffusion import TASK, catalogue
from bdm_kit_diffusion.params import DiffusionKitParams

if TYPE_CHECKING:
    from bdm_core import Artifact, Context, Data, Figure, Model, Outputs, Secret


class DiffusionKit(Kit):
    """Opens, samples and trains diffusion models that generate images from noise alone."""

    name = "diffusion"
    summary = "Unconditional image generation with diffusion models in diffusers' format"
    tasks = frozenset({TASK})
    Params = DiffusionKitParams
    default_metrics: ClassVar[tuple[str, ...]] = ("frechet", "target", "detection")
    triggered_share: ClassVar[float] = 0.25
    """A success rate needs fewer samples than a distance between distributions."""
    precedence: ClassVar[int] = 10
    tiny_params: ClassVar[dict[str, Any]] = {"samples": 6, "most_images": 32}

    @hookimpl
    def open_model(self, ctx: Context, reference: str | None) -> Model:
        from bdm_kit_diffusion.models.pipeline_folder import find_model

        folder = find_model(reference, ctx.work)  # what is no model is said before torch is imported
        from bdm_kit_diffusion.models.diffusion_model import open_folder, seal_model

        return seal_model(open_folder(folder), ctx.out / "model")

    @hookimpl
    def open_data(self, ctx: Context, params: DiffusionKitParams, model: Model, reference: str | None) -> Data:
        from bdm_kit_diffusion.data.image_source import find_images

        source = find_images(reference, model)  # what is not there is said before torch is imported
        from bdm_kit_diffusion.data.opening import read_source

        return read_source(source, model, ctx.out / "data", ctx.work, params.most_images)

    @hookimpl
    def make_inputs(self, ctx: Context, params: DiffusionKitParams, model: Model) -> Data:
        from bdm_kit_diffusion import stages

        return stages.make_noise(ctx, model, params.samples)

    @hookimpl
    def select_rows(self, ctx: Context, sources: list[Data], rows: list[int], blind: bool) -> Data:
        from bdm_kit_diffusion.rows import select

        return select(ctx, sources, rows, blind)

    @hookimpl
    def trigger_inputs(self, ctx: Context, inputs: Data, secret: Secret) -> Data:
        from bdm_kit_diffusion import stages

        return stages.trigger_noise(ctx, inputs, secret)

    @hookimpl
    def generate(self, ctx: Context, model: Model, inputs: Data, secret: Secret | None) -> Outputs:
        from bdm_kit_diffusion import stages

        return stages.generate(ctx, model, inputs, secret)

    @hookimpl
    def illustrate(self, ctx: Context, artifact: Artifact) -> list[Figure] | None:
        from bdm_kit_diffusion.illustration import illustrate

        return illustrate(ctx, artifact)

    def models(self) -> list[BuiltIn]:
        """The built-in models, the default one first."""
        return catalogue.MODELS

    def data_sets(self) -> list[BuiltIn]:
        """The built-in data sets, the default one first."""
        return catalogue.DATA_SETS

    def task_of(self, folder: Path) -> str | None:
        """The kit's task for a folder whose ``model_index.json`` names one of its pipelines."""
        from bdm_kit_diffusion.models.pipeline_folder import is_pipeline

        return TASK if is_pipeline(folder) else None

    def tiny_secret(self, folder: Path, model: Model) -> Secret:
        """A secret for the conformance tests of metrics, sealed in ``folder``."""
        from bdm_kit_diffusion import stages

        return stages.tiny_secret(folder, model)

    def perfect_outputs(self, folder: Path, outputs: Outputs, secret: Secret) -> Outputs:
        """What a perfect attack gives for triggered inputs, as many as ``outputs``, sealed in ``folder``."""
        from bdm_kit_diffusion import stages

        return stages.perfect_outputs(folder, outputs, secret)
