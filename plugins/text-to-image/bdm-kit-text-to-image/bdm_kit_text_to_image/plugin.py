"""The plugin ``kit:text-to-image``."""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import Kit, hookimpl
from bdm_kit_text_to_image.params import TextToImageKitParams

if TYPE_CHECKING:
    from bdm_core import Artifact, BuiltIn, Context, Data, Figure, Model, Outputs, Secret


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
        from bdm_kit_text_to_image.prompts.opening import open_reference

        return open_reference(reference, model, ctx.out / "data", ctx.work, params.most_images)

    @hookimpl
    def make_inputs(self, ctx: Context, params: TextToImageKitParams, data: Data) -> Data:
        from bdm_kit_text_to_image import stages

        return stages.make_prompts(ctx, data, params)

    @hookimpl
    def select_rows(self, ctx: Context, sources: list[Data], rows: list[int], blind: bool) -> Data:
        from bdm_kit_text_to_image.prompts.selection import select_rows

        return select_rows(sources, rows, ctx.out / "data", blind=blind)

    @hookimpl
    def trigger_inputs(self, ctx: Context, inputs: Data, secret: Secret) -> Data:
        from bdm_kit_text_to_image.prompts.secret import trigger_prompts

        return trigger_prompts(ctx, inputs, secret)

    @hookimpl(wrapper=True)
    def detect(self, ctx: Context, data: Data | None) -> Generator[None, Any, Any]:
        from bdm_torch.passes import accounted

        return (yield from accounted(ctx, data))

    @hookimpl(wrapper=True)
    def repair(self, ctx: Context, data: Data | None) -> Generator[None, Any, Any]:
        from bdm_torch.passes import accounted

        return (yield from accounted(ctx, data))

    @hookimpl(wrapper=True)
    def purify_inputs(self, ctx: Context, data: Data | None) -> Generator[None, Any, Any]:
        from bdm_torch.passes import accounted

        return (yield from accounted(ctx, data))

    @hookimpl
    def generate(self, ctx: Context, model: Model, inputs: Data) -> Outputs:
        from bdm_kit_text_to_image import stages

        return stages.generate(ctx, model, inputs)

    @hookimpl
    def illustrate(self, ctx: Context, artifact: Artifact) -> list[Figure] | None:
        from bdm_kit_text_to_image.illustration import illustrate

        return illustrate(artifact, ctx.out)

    def models(self) -> list[BuiltIn]:
        """The built-in pipelines."""
        from bdm_kit_text_to_image.catalogue import MODELS

        return list(MODELS)

    def data_sets(self) -> list[BuiltIn]:
        """The built-in captioned images."""
        from bdm_kit_text_to_image.catalogue import DATA_SETS

        return list(DATA_SETS)

    def task_of(self, folder: Path) -> str | None:
        """The task of a folder whose index names a Stable Diffusion pipeline."""
        from bdm_kit_text_to_image import TASK
        from bdm_kit_text_to_image.models.folders import is_pipeline

        return TASK if is_pipeline(folder) else None

    def from_single_file(self, weights: Path, config: Path, folder: Path) -> bool:
        """Write a checkpoint in the names of Stable Diffusion's original code as a pipeline folder."""
        from bdm_kit_text_to_image.models.single_file import convert_single_file

        return convert_single_file(weights, config, folder)

    def tiny_secret(self, folder: Path, model: Model) -> Secret:
        """A secret for the conformance tests of metrics, sealed in ``folder``."""
        from bdm_kit_text_to_image import stages

        return stages.tiny_secret(folder, model)

    def perfect_outputs(self, folder: Path, outputs: Outputs, secret: Secret) -> Outputs:
        """What a perfect attack gives for triggered inputs, as many as ``outputs``, sealed in ``folder``."""
        from bdm_kit_text_to_image import stages

        return stages.perfect_outputs(folder, outputs, secret)
