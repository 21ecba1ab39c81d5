"""The plugin ``defense:spectral-signatures``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bdm_core import Curves, Defense, Evidence, Pictures, hookimpl
from bdm_defense_spectral_signatures.params import SpectralSignaturesParams

if TYPE_CHECKING:
    from bdm_core import Artifact, Context, Data, Detection, Figure, Model

FORMAT = "outlier-scores"


class SpectralSignatures(Defense):
    """Flags training rows that stand out along the first principal direction of their features, and trains anew."""

    name = "spectral-signatures"
    summary = "Flag training rows by the first singular direction of their features, train without them"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/1811.00636"
    level = "data"
    access = frozenset({"training-data", "training"})
    distributed = True
    Params = SpectralSignaturesParams

    @hookimpl
    def detect(self, ctx: Context, params: SpectralSignaturesParams, suspects: Data) -> Detection:
        from bdm_defense_spectral_signatures.detection import detect

        return detect(ctx, params, suspects)

    @hookimpl
    def repair(
        self,
        ctx: Context,
        params: SpectralSignaturesParams,
        model: Model,
        detection: Detection | None,
        training_data: Data,
    ) -> Model:
        from bdm_defense_spectral_signatures.repair import repair

        return repair(ctx, params, model, detection, training_data)

    @hookimpl
    def illustrate(self, ctx: Context, artifact: Artifact) -> list[Figure] | None:
        if not isinstance(artifact, Evidence) or artifact.format != FORMAT:
            return None
        facts = json.loads(artifact.file("features.json").read_text(encoding="utf-8"))
        highest = facts["highest"]
        return [
            Pictures(
                title="The rows with the highest scores",
                caption="Over 1 a row is flagged.",
                files=[artifact.file(f"highest/{place:02d}.png") for place in range(len(highest))],
                labels=[f"{row['score']:.2f}" for row in highest],
            ),
            Curves(title="Scores", curves={"highest score first": facts["scores"]}, axis="row"),
        ]
