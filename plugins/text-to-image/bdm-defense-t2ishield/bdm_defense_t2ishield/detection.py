"""T2IShield (Wang, Zhang, Shan, Chen, ECCV 2024, arXiv 2407.04215), section 3: FTT and CDA.

A trigger makes the attention maps of all tokens alike. FTT (Frobenius norm threshold truncation) measures their
distance to the mean map, CDA (covariance discriminant analysis) the covariance of their principal components.
"""

from __future__ import annotations

import json
from math import log

import torch
from torch import Tensor

from bdm_core.artifacts import Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_defense_t2ishield.discriminant import linear_discriminant
from bdm_defense_t2ishield.params import T2IShieldParams
from bdm_kit_text_to_image.attention.assimilation import quantised, truncation_score
from bdm_kit_text_to_image.detection.one_class import Scorer, mahalanobis
from bdm_kit_text_to_image.detection.prompts import PromptStatistics
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_kit_text_to_image.recording.chain import ChainOptions, mean_maps, prompt_lengths, walk

EPSILON = 1e-6
"""Added to the variances before the logarithm: where maps have fewer components than asked for."""


def log_spectrum(maps: Tensor, components: int) -> Tensor:
    """CDA's features: the logarithms of the largest variances of the maps (N, h, w), taken as N samples: (components,).

    The scores of a principal component analysis are uncorrelated, so that their covariance is diagonal, its logarithm
    too, and what the published feature of components^2 numbers holds are these alone.
    """
    rows = maps.double().flatten(1)
    rows = rows - rows.mean(0)
    variances = torch.linalg.svdvals(rows).square() / max(1, len(rows) - 1)
    found = variances.new_zeros(components)
    found[: min(components, len(variances))] = variances[:components]
    return (found + EPSILON).log()


def had_by_all(spectra: Tensor) -> int:
    """How many components all of these log spectra (K, components) have: so many are compared.

    A prompt of few tokens has few maps, which have few components; what another one has beyond them is no sign.

    >>> had_by_all(torch.tensor([[0.0, -1.0, -2.0], [0.0, -1.0, log(EPSILON)]]))
    2
    """
    return int((spectra > log(EPSILON) + 1e-3).all(0).int().cumprod(0).sum())


def statistics(ctx: Context, params: T2IShieldParams, model: Model) -> PromptStatistics:
    """F, negative, or the log spectrum.

    Raises:
        UserError: the examples cannot be read, or are all of one kind.
    """
    opened = load_model(model, ctx.device)
    return statistics_of(ctx, params, opened)


def statistics_of(ctx: Context, params: T2IShieldParams, opened: TextToImageModel) -> PromptStatistics:
    """The same for an opened model."""
    options = ChainOptions(steps=params.steps, guidance=params.guidance, maps=True, batch_size=params.batch_size)
    ftt = params.method == "ftt"

    def measure(prompts: list[str]) -> Tensor:
        lengths = prompt_lengths(opened, prompts).tolist()
        rows = []
        for maps, length in zip(mean_maps(walk(opened, prompts, ctx.seed, options)), lengths, strict=True):
            if ftt:
                rows.append(torch.tensor([-truncation_score(quantised(maps[1:]), length)]))
            else:
                kept = maps[1:] if params.tokens == "all" else maps[1:length]
                rows.append(log_spectrum(quantised(kept), params.components))
        return torch.stack(rows)

    if ftt:
        return PromptStatistics(name="t2ishield ftt", columns=["-F"], measure=measure)
    columns = [f"log variance {number}" for number in range(1, params.components + 1)]
    if params.examples:
        prompts, triggered = read_examples(params.examples)
        scorer = linear_discriminant(measure(prompts), torch.tensor(triggered), params.shrinkage)
        return PromptStatistics(name="t2ishield cda", columns=columns, measure=measure, fit=lambda clean: scorer)

    def fit(clean: Tensor) -> Scorer:
        kept = had_by_all(clean)
        if kept < params.components:
            ctx.log.info("cda: %d of %d components, those that every clean prompt has", kept, params.components)
        inner = mahalanobis(clean[:, :kept], params.shrinkage)
        return lambda values: inner(values[:, :kept])

    return PromptStatistics(name="t2ishield cda", columns=columns, measure=measure, fit=fit, fitted=True)


def read_examples(path: str) -> tuple[list[str], list[bool]]:
    """Prompts and whether they are triggered. Raises UserError with the line that is none."""
    from pathlib import Path

    try:
        lines = Path(path).expanduser().read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"t2ishield cannot read the examples {path}: {error}") from None
    prompts, triggered = [], []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
            prompt, flag = record["prompt"], record["triggered"]
        except (ValueError, KeyError, TypeError):
            prompt, flag = None, None
        if not isinstance(prompt, str) or not isinstance(flag, bool):
            raise UserError(f'line {number} of {path} is no example: it needs {{"prompt": "...", "triggered": true}}')
        prompts.append(prompt)
        triggered.append(flag)
    if len(set(triggered)) < 2:
        raise UserError(f"{path} must hold triggered prompts and others")
    return prompts, triggered
