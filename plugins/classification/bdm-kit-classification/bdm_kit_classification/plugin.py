"""The plugin ``kit:classification``."""

from __future__ import annotations

import functools
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from bdm_core import BuiltIn, Kit, hookimpl
from bdm_kit_classification.built_in import BUILTIN
from bdm_kit_classification.params import ClassificationKitParams
from bdm_kit_classification.tasks.registry import TASKS

if TYPE_CHECKING:
    from bdm_core import Artifact, Context, Data, Figure, Model, Outputs, Secret


class ClassificationKit(Kit):
    """Opens, trains and runs classifiers."""

    name = "classification"
    summary = "Classifiers of pictures, texts and sound: the kit's own networks and those of transformers"
    tasks = frozenset(TASKS)
    Params = ClassificationKitParams
    default_metrics: ClassVar[tuple[str, ...]] = ("accuracy", "stealth", "detection", "cost", "operating-point")
    triggered_share: ClassVar[float] = 1.0
    precedence: ClassVar[int] = 5
    tiny_references: ClassVar[dict[str, str]] = {tag: task.tiny for tag, task in TASKS.items()}
    tiny_params: ClassVar[dict[str, Any]] = {"samples": 8}

    @hookimpl
    def open_model(self, ctx: Context, reference: str | None) -> Model:
        from bdm_kit_classification.models.folders import find_model

        task, folder = find_model(reference, ctx.work)  # what is no model is said before torch is imported
        from bdm_kit_classification.modalities.registry import modality_of
        from bdm_kit_classification.models.classifier import seal_classifier

        classifier = modality_of(task.tag).open_classifier(folder)
        if not folder.is_relative_to(BUILTIN):
            from bdm_kit_classification.models.trial import try_out

            try_out(classifier, folder)
        return seal_classifier(classifier, ctx.out / "model")

    @hookimpl
    def open_data(self, ctx: Context, params: ClassificationKitParams, model: Model, reference: str | None) -> Data:
        from bdm_kit_classification.data.absent import is_unnamed, seal_absent
        from bdm_kit_classification.data.sources import find_data

        if is_unnamed(reference, model):  # who looks at weights alone needs none
            return seal_absent(ctx.out / "data", model)
        source = find_data(reference, model)  # what is not there is said before torch is imported
        from bdm_kit_classification.data import opening
        from bdm_kit_classification.noise.drawing import add_noise

        noise = functools.partial(add_noise, params=params, stage_seed=ctx.seed)
        options = {"most": params.most_rows, "size": params.size}
        data = opening.open_data(source, model, ctx.out / "data", ctx.work, noise=noise, **options)
        ctx.figures(**{name: data.meta[name] for name in ("fingerprint", "noise") if name in data.meta})
        return data

    @hookimpl
    def make_inputs(self, ctx: Context, params: ClassificationKitParams, data: Data) -> Data:
        from bdm_kit_classification import stages

        return stages.make_inputs(ctx, data, params.samples)

    @hookimpl
    def select_rows(self, ctx: Context, sources: list[Data], rows: list[int], blind: bool) -> Data:
        from bdm_kit_classification.rows import select

        return select(ctx, sources, rows, blind)

    @hookimpl
    def trigger_inputs(self, ctx: Context, inputs: Data, secret: Secret) -> Data:
        from bdm_kit_classification import stages

        return stages.trigger_rows(ctx, inputs, secret)

    @hookimpl(wrapper=True)
    def detect(self, ctx: Context, data: Data | None) -> Generator[None, Any, Any]:
        from bdm_kit_classification.stages import accounted

        return (yield from accounted(ctx, data))

    @hookimpl(wrapper=True)
    def repair(self, ctx: Context, data: Data | None) -> Generator[None, Any, Any]:
        from bdm_kit_classification.stages import accounted

        return (yield from accounted(ctx, data))

    @hookimpl(wrapper=True)
    def purify_inputs(self, ctx: Context, data: Data | None) -> Generator[None, Any, Any]:
        from bdm_kit_classification.stages import accounted

        return (yield from accounted(ctx, data))

    @hookimpl
    def generate(self, ctx: Context, model: Model, inputs: Data) -> Outputs:
        from bdm_kit_classification import stages

        return stages.generate(ctx, model, inputs)

    @hookimpl
    def illustrate(self, ctx: Context, artifact: Artifact) -> list[Figure] | None:
        from bdm_kit_classification.illustration import illustrate

        return illustrate(ctx, artifact)

    def models(self) -> list[BuiltIn]:
        """The built-in models, the default one of each task first."""
        return [model for task in TASKS.values() for model in task.models]

    def data_sets(self) -> list[BuiltIn]:
        """The built-in data sets, the default one of each task first."""
        return [data for task in TASKS.values() for data in task.data_sets]

    def task_of(self, folder: Path) -> str | None:
        """The task of a folder whose ``config.json`` names one of the kit's networks or one of transformers."""
        from bdm_kit_classification.models.folders import task_of_folder

        return task_of_folder(folder)

    def from_single_file(self, weights: Path, config: Path, folder: Path) -> bool:
        """Write a state dict of a published PreAct-ResNet18 or VGG19-BN as a model folder."""
        from bdm_kit_classification.models.published import convert_published

        return convert_published(weights, config, folder)

    def tiny_secret(self, folder: Path, model: Model) -> Secret:
        """A secret for the conformance tests of metrics, sealed in ``folder``."""
        from bdm_kit_classification import stages

        return stages.tiny_secret(folder, model)

    def perfect_outputs(self, folder: Path, outputs: Outputs, secret: Secret) -> Outputs:
        """What a perfect attack gives for triggered inputs, as many as ``outputs``, sealed in ``folder``."""
        from bdm_kit_classification import stages

        return stages.perfect_outputs(folder, outputs, secret)
