"""Which training rows stand out, and the evidence."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import torch
from torch import Tensor

from bdm_core.artifacts import Data, Evidence
from bdm_core.context import Context
from bdm_core.errors import ArtifactError
from bdm_core.records import Detection
from bdm_defense_spectral_signatures.groups import groups_of
from bdm_defense_spectral_signatures.params import SpectralSignaturesParams
from bdm_kit_diffusion.data.classifiers import feature_space
from bdm_kit_diffusion.inversion.evidence import write_picture
from bdm_torch.image_sets import load_images, load_rows
from bdm_torch.spectral_signatures import Group, relative_scores

THRESHOLD = 1.0
SHOWN = 16


@dataclass(frozen=True, eq=False)
class Judgement:
    """The rows' scores, above 1 if flagged: (N,); their groups, their images (N, C, H, W), the name of the features."""

    scores: Tensor
    groups: list[Group]
    images: Tensor
    features: str


def judge(ctx: Context, params: SpectralSignaturesParams, rows: Data) -> Judgement:
    """Score every row. Raises ArtifactError if an image is not finite."""
    images = load_images(rows)
    if not bool(images.isfinite().all()):
        raise ArtifactError(f"{rows.path} holds NaN or infinity in its images: no row can be judged")
    name, embed = feature_space(tuple(images.shape[1:]), params.features, ctx.device)
    features = embed(images.to(ctx.device)).cpu()
    share = params.surplus * params.poison_rate
    scores, groups = relative_scores(features, groups_of(load_rows(rows), params.groups), share)
    return Judgement(scores, groups, images, name)


def detect(ctx: Context, params: SpectralSignaturesParams, suspects: Data) -> Detection:
    """Score every training row; the evidence is sealed in ``ctx.out / "evidence"``.

    The detection is never conclusive: the rule flags the same share of any data, clean ones too. It says which rows
    to leave out, not whether there is a backdoor.
    """
    found = judge(ctx, params, suspects)
    flagged = int((found.scores > THRESHOLD).sum())
    ctx.figures(flagged=flagged, rows=len(found.scores), features=found.features, groups=len(found.groups))
    return Detection(
        level="data",
        scores=found.scores.tolist(),
        threshold=THRESHOLD,
        conclusive=False,
        note=f"{flagged} of {len(found.scores)} training rows stand out; the rule flags as many of clean data",
        evidence=seal_evidence(ctx, suspects.task, found),
    )


def seal_evidence(ctx: Context, task: str, found: Judgement) -> Evidence:
    """Groups, scores and the rows of the highest ones as pictures; format ``outlier-scores``."""
    folder = ctx.out / "evidence"
    (folder / "highest").mkdir(parents=True)
    order = torch.argsort(found.scores, descending=True, stable=True).tolist()
    for place, row in enumerate(order[:SHOWN]):
        write_picture(folder / "highest" / f"{place:02d}.png", found.images[row])
    record = {
        "features": found.features,
        "groups": [asdict(group) for group in found.groups],
        "highest": [{"row": row, "score": float(found.scores[row])} for row in order[:SHOWN]],
        "scores": found.scores[order].tolist(),
    }
    (folder / "features.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return Evidence.seal(folder, format="outlier-scores", task=task)
