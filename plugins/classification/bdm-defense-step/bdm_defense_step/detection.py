"""Judge recordings by the two branches, and turn them away."""

from __future__ import annotations

import torch
from torch import Tensor

from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_core.records import Detection, Purified
from bdm_defense_step.params import StepParams
from bdm_defense_step.perturbations import semantic_breaking, semantic_preserving
from bdm_defense_step.profile import Profile, profiled, usual, weights
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.defending.asking import BlackBox, Oracle
from bdm_kit_classification.defending.inputs import judge_inputs, reject_inputs
from bdm_kit_classification.defending.reserve import open_reserve


class Score:
    """Fitted on clean recordings; called with others, it gives their scores (N,).

    Attributes:
        weights: (2,) of the branches, semantic-breaking first.
    """

    def __init__(self, oracle: Oracle, params: StepParams, clean: LabelledSamples) -> None:
        self._oracle = oracle
        self._branches = [semantic_breaking(params), semantic_preserving(params)]
        classes = len(clean.classes)
        found = self._profiles(clean)
        self._detectors = [
            usual(profile, classes, params.pseudo_rows, stability=stability)
            for profile, stability in zip(found, (True, False), strict=True)
        ]
        self.weights = weights(self._surprises(found))

    def __call__(self, samples: LabelledSamples) -> Tensor:
        surprises = torch.stack(self._surprises(self._profiles(samples)))
        return (self.weights[:, None] * surprises).sum(0)

    def _profiles(self, samples: LabelledSamples) -> list[Profile]:
        breaking, preserving = self._branches
        both = profiled(self._oracle, samples, [*breaking, *preserving])
        return [Profile(both.classes, part) for part in both.stable.split([len(breaking), len(preserving)], 1)]

    def _surprises(self, profiles: list[Profile]) -> list[Tensor]:
        return [one.surprise(profile) for one, profile in zip(self._detectors, profiles, strict=True)]


def detect(ctx: Context, params: StepParams, data: Data, suspects: Data) -> Detection:
    """Judge inputs; the threshold comes from held-out clean rows."""
    box = BlackBox(ctx)
    score, held, fitted = _fitted(box, params, data, ctx.seed)
    ctx.figures(breaking_weight=float(score.weights[0]))
    found = judge_inputs(ctx, score, suspects, held, params.false_positive_rate)
    return found.model_copy(update={"network_evaluations": box.asked, "clean_samples": fitted + found.clean_samples})


def reject(ctx: Context, params: StepParams, data: Data, inputs: Data) -> Purified:
    """Turn inputs away."""
    score, held, _ = _fitted(BlackBox(ctx), params, data, ctx.seed)
    return reject_inputs(ctx, score, inputs, held, params.false_positive_rate)


def _fitted(box: BlackBox, params: StepParams, data: Data, seed: int) -> tuple[Score, LabelledSamples, int]:
    kept, held = open_reserve(data, params.held_out, seed)
    return Score(box, params, kept), held, len(kept)
