"""MNTD (Xu et al., IEEE S&P 2021, arXiv 1910.03137): meta neural Trojan detection.

Clean and backdoored shadow models are trained on the defender's few rows. A meta classifier learns to tell them apart
by their answers to queries, which are learnt with it. The model is asked the same queries.
"""

from __future__ import annotations

import torch

from bdm_core.artifacts import Data, Evidence, Model
from bdm_core.context import Context
from bdm_core.records import Detection
from bdm_defense_mntd.meta import MetaClassifier, learn, new_meta, query_shape, read_meta, write_meta
from bdm_defense_mntd.params import MntdParams
from bdm_defense_mntd.shadows import train_shadow
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_torch.calibration import conformal, require_finite

EVIDENCE = "meta-classifier"


def detect(ctx: Context, params: MntdParams, model: Model, data: Data) -> Detection:
    """Judge a model.

    Raises:
        UserError: the named meta classifier cannot be read, or is for other models.
    """
    judged, clean = load_classifier(model, ctx.device), open_samples(data)
    meta, known = prepared(ctx, params, judged, clean)
    with torch.no_grad():
        score = float(meta(judged))
    require_finite([score])
    verdict = conformal(score, known, params.false_positive_rate)
    write_meta(meta, known, ctx.out / "evidence")
    evidence = Evidence.seal(ctx.out / "evidence", format=EVIDENCE, task=judged.task)  # type: ignore[arg-type]
    return Detection(
        level="model",
        scores=[score],
        threshold=verdict.threshold,
        p_value=verdict.p_value,
        note=f"against {len(known)} clean shadow models that the judge never saw{verdict.resolution}",
        evidence=evidence,
        network_evaluations=len(meta.queries),
        clean_samples=len(clean),
    )


def prepared(
    ctx: Context, params: MntdParams, judged: Classifier, clean: LabelledSamples
) -> tuple[MetaClassifier, list[float]]:
    """The meta classifier, and its scores of clean shadow models that it never saw.

    Either that of an earlier detection, or one from new shadow models: as many trainings as there are of these.
    """
    shape, classes = query_shape(judged, clean), len(judged.classes)
    if params.meta_classifier:
        return read_meta(params.meta_classifier, shape, classes)
    kinds = [False] * params.clean_shadows + [True] * params.backdoored_shadows + [False] * params.calibration_shadows
    models = []
    for number, backdoored in enumerate(kinds):
        models.append((train_shadow(ctx, judged, clean, params, number, backdoored), backdoored))
        ctx.progress("shadow models", number + 1, len(kinds))
    learnt_from = params.clean_shadows + params.backdoored_shadows
    meta = new_meta(shape, classes, params, ctx.seed)
    losses = learn(
        meta,
        models[:learnt_from],
        params,
        ctx.seed,
        lambda done, total, loss: ctx.progress("meta classifier", done, total, loss),
    )
    ctx.curve("meta classifier loss", losses)
    with torch.no_grad():
        known = [float(meta(shadow)) for shadow, _ in models[learnt_from:]]
    ctx.figures(shadow_models=len(kinds), rows_trained_on=len(kinds) * len(clean) * params.epochs)
    return meta, known
