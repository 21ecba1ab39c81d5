"""Detection of a backdoored model."""

from __future__ import annotations

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_terd.decision import CALIBRATED, decide
from bdm_defense_terd.params import TerdParams
from bdm_kit_diffusion.inversion.baselines import start_features
from bdm_kit_diffusion.inversion.estimate_evidence import not_identifiable, note, paint, seal_evidence, start_facts
from bdm_kit_diffusion.inversion.pair_search import chosen_starts, search
from bdm_kit_diffusion.models.coverage import out_of_reach
from bdm_kit_diffusion.models.diffusion_model import load_model

SAMPLERS = ("ddpm", "ddim")
"""The baseline tries one sampler of either class."""


def detect(ctx: Context, params: TerdParams, model: Model) -> Detection:
    """Judge a model by (M_r, V_r); the evidence is sealed in ``ctx.out / "evidence"``."""
    known = CALIBRATED.read(params.calibration)
    opened = load_model(model, ctx.device)
    result = search(opened, params, ctx.seed, ctx.progress)
    for label, curve in result.curves.items():
        ctx.curve(f"{label} objective", curve)
    verdict = decide(result.chosen.features, known, params.false_positive_rate)
    baseline, spent = start_features(
        opened,
        chosen_starts(params, opened, ctx.seed),
        SAMPLERS,
        samples=params.samples,
        seed=ctx.seed,
        device=ctx.device,
        on_step=lambda done, total: ctx.progress("start only", done, total),
    )
    images, more = paint(opened, result.chosen, params.samples, ctx)
    evaluations = result.network_evaluations + spent + more
    record = {
        "decision": {"rule": "one class on (M_r, V_r)", **verdict.model_dump()},
        "calibration": {"sha256": known.fingerprint(), "recipe": known.recipe, "clean": known.clean()},
        "baselines": {
            "zero trigger": {"score": 0.0, "M_r": 0.0, "V_r": 0.0},
            "start point only": [start_facts(item) for item in baseline],
        },
    }
    evidence = seal_evidence(ctx.out / "evidence", model.task, result, images, record)
    ctx.figures(
        M_r=result.chosen.features[0],
        V_r=result.chosen.features[1],
        start=result.chosen.name,
        start_only=max(item.score for item in baseline),
        network_evaluations=evaluations,
        clean_samples=0,
    )
    outside = out_of_reach("terd", opened, known, ctx.device) or CALIBRATED.other_settings(params, known)
    doubt = outside or not_identifiable(result.chosen) or verdict.doubt
    return Detection(
        level="model",
        scores=[verdict.score],
        threshold=verdict.threshold,
        p_value=None if outside else verdict.p_value,
        conclusive=not doubt,
        note=doubt or note(result.chosen, verdict),
        evidence=evidence,
        network_evaluations=evaluations,
        clean_samples=0,
    )
