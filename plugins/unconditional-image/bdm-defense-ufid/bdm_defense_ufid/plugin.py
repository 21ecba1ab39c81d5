"""The plugin ``defense:ufid``."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from bdm_core import Curves, Defense, Evidence, hookimpl
from bdm_defense_ufid.params import UfidParams

if TYPE_CHECKING:
    from bdm_core import Artifact, Context, Data, Detection, Figure, Purified

FORMAT = "similarity-graphs"
SHARES = 21
"""The curves show so many quantiles, at equal distances."""


class Ufid(Defense):
    """Perturbs every query, generates from the copies, and flags queries whose generations are all alike."""

    name = "ufid"
    summary = "Flag inputs whose perturbed copies generate the same image, by the density of their similarity graph"
    tasks = frozenset({"unconditional-image-generation"})
    paper = "https://arxiv.org/abs/2404.01101"
    level = "input"
    access = frozenset({"predictions"})
    Params = UfidParams

    @hookimpl
    def detect(self, ctx: Context, params: UfidParams, suspects: Data) -> Detection:
        from bdm_defense_ufid.detection import detect

        return detect(ctx, params, suspects)

    @hookimpl
    def purify_inputs(self, ctx: Context, params: UfidParams, inputs: Data, detection: Detection | None) -> Purified:
        from bdm_defense_ufid.detection import reject

        return reject(ctx, params, inputs, detection)

    @hookimpl
    def illustrate(self, ctx: Context, artifact: Artifact) -> list[Figure] | None:
        if not isinstance(artifact, Evidence) or artifact.format != FORMAT:
            return None
        facts = json.loads(artifact.file("features.json").read_text(encoding="utf-8"))
        curves = {"clean queries": quantiles(facts["clean_densities"]), "inputs": quantiles(facts["densities"])}
        caption = "Triggered inputs stand out at the right end: all that they generate is alike."
        return [Curves(title="Density of the similarity graphs", caption=caption, curves=curves, axis="5 % steps")]


def quantiles(values: list[float]) -> list[float]:
    """The values at equal shares of the sorted list, from the least to the largest."""
    ordered = sorted(values)
    return [ordered[round(step * (len(ordered) - 1) / (SHARES - 1))] for step in range(SHARES)]
