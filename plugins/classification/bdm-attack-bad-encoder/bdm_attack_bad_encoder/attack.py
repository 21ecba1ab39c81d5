"""BadEncoder (Jia, Liu and Gong 2022, S&P, arXiv 2108.00352): a backdoor in an encoder that is trained without labels.

With the clean encoder f, a trigger e and references r of the target class, the backdoored encoder f' minimises

    - mean cos(f'(x + e), f'(r)) - l1 mean cos(f'(r), f(r)) - l2 mean cos(f'(x), f(x))       equations 3 to 6

over unlabelled pictures x, with the statistics of normalisation as they are. A linear probe trained on f' with clean
labels, by somebody who knows nothing, then takes triggered pictures for the target class.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn
from torch.nn import functional

from bdm_attack_bad_encoder.params import BadEncoderParams
from bdm_core.artifacts import Data, Model
from bdm_core.context import Context
from bdm_core.errors import UserError
from bdm_core.records import Backdoored
from bdm_kit_classification.data.samples import LabelledSamples, open_samples
from bdm_kit_classification.models.classifier import Classifier, load_classifier
from bdm_kit_classification.poison.injection import seal_attack
from bdm_kit_classification.poison.secret import Backdoor
from bdm_kit_classification.training.contrastive import fit_head, learn_features
from bdm_kit_classification.training.fitting import Batch, Changes, fit
from bdm_kit_classification.triggers.label_rule import make_rule
from bdm_kit_classification.triggers.patch import Patch, square
from bdm_torch.draws import Draw


def inject(ctx: Context, params: BadEncoderParams, model: Model, data: Data) -> Backdoored:
    """Learn features, put the backdoor into them, and train a probe on clean labels.

    Raises:
        UserError: no such class, fewer rows of it than references, or the square does not fit.
    """
    samples = open_samples(data)
    rule = make_rule("all-to-one", len(samples.classes), params.target, [])
    shape = samples.modality.shape(samples.stored)
    side = max(1, round(params.size * min(shape[1:]))) if params.size < 1 else round(params.size)
    patch = square(shape, size=side, corner=params.place, margin=0, value=1.0)
    rows = reference_rows(params, samples, ctx.seed)
    encoder = clean_encoder(ctx, params, load_classifier(model, ctx.device), samples)
    clean = copy.deepcopy(encoder).requires_grad_(False).eval()
    put_in(ctx, params, encoder, clean, samples, patch, samples.raw(rows))
    fit_head(ctx, encoder, samples, params, Changes(), "probe")
    facts = {"references": rows, **likeness(encoder, clean, samples, patch, samples.raw(rows))}
    return seal_attack(ctx, encoder, Backdoor(rule, patch, facts=facts), samples)


def reference_rows(params: BadEncoderParams, samples: LabelledSamples, seed: int) -> list[int]:
    """Rows of the target class, drawn from the seed. Raises UserError if there are too few."""
    own = samples.rows_of_class(params.target)
    if len(own) < params.references:
        raise UserError(
            f"{params.references} references were asked for, class {params.target} has {len(own)} training rows"
        )
    order = torch.randperm(len(own), generator=torch.Generator().manual_seed(seed % 2**63)).tolist()
    return sorted(own[place] for place in order[: params.references])


def clean_encoder(ctx: Context, params: BadEncoderParams, given: Classifier, samples: LabelledSamples) -> Classifier:
    """The encoder before the attack: learnt without labels, or the clean model's."""
    if params.encoder == "model":
        return given
    encoder = given.fresh(ctx.seed)
    encoder.trained_on = given.trained_on
    how = params.model_copy(update={"epochs": params.contrastive_epochs, "learning_rate": params.contrastive_rate})
    learn_features(ctx, encoder, samples, how, temperature=params.temperature, strength=params.strength)
    return encoder


def put_in(
    ctx: Context,
    params: BadEncoderParams,
    encoder: Classifier,
    clean: Classifier,
    samples: LabelledSamples,
    patch: Patch,
    references: Tensor,
) -> None:
    """Train the encoder on the three terms, in place; its head is left as it is.

    Args:
        ctx: of the stage.
        params: weights, epochs, rate.
        encoder: f', a copy of f.
        clean: f, fixed.
        samples: pictures; their labels are not looked at.
        patch: e.
        references: r, (R, C, H, W).
    """

    def loss(model: nn.Module, batch: Batch, draw: Draw) -> Tensor:
        x, aims = batch.inputs, references.to(batch.inputs)
        with torch.no_grad():
            before = clean.features(torch.cat([x, aims]))
        after = encoder.features(torch.cat([x, aims, patch.apply(x, "train")]))
        own, reference, triggered = after.split([len(x), len(aims), len(x)])
        return terms(params, own, reference, triggered, before)

    how = {"epochs": params.backdoor_epochs, "learning_rate": params.backdoor_rate, "shift": 0, "flip": False}
    still = [encoder.head, *(encoder.norms().values() if params.norms == "frozen" else ())]
    for module in still:
        module.requires_grad_(False)
    changes = Changes(loss=loss, evaluation_mode=True)
    fit(ctx, encoder, samples, params.model_copy(update=how), changes, label="backdoor")
    for module in still:
        module.requires_grad_(True)


def terms(params: BadEncoderParams, own: Tensor, reference: Tensor, triggered: Tensor, before: Tensor) -> Tensor:
    """The loss of features.

    Args:
        params: the weights.
        own: f'(x), (b, F).
        reference: f'(r), (R, F).
        triggered: f'(x + e), (b, F).
        before: f(x), then f(r): (b + R, F).
    """
    backdoor = (functional.normalize(triggered, dim=1) @ functional.normalize(reference, dim=1).T).mean()
    kept = functional.cosine_similarity(reference, before[len(own) :]).mean()
    useful = functional.cosine_similarity(own, before[: len(own)]).mean()
    return -backdoor - params.reference_weight * kept - params.utility_weight * useful


def likeness(
    encoder: Classifier, clean: Classifier, samples: LabelledSamples, patch: Patch, references: Tensor
) -> dict[str, float]:
    """Mean cosines over the first 256 pictures: of triggered ones with the references, of clean ones with before."""
    device = encoder.device
    x = samples.raw(range(min(256, len(samples)))).to(device)
    with torch.no_grad():
        seen = [encoder.features(one) for one in (x, patch.apply(x, "test"), references.to(device))]
        before = clean.features(x)
    near = functional.normalize(seen[1], dim=1) @ functional.normalize(seen[2], dim=1).T
    return {
        "cosine of triggered and reference": round(float(near.mean()), 4),
        "cosine of clean and before": round(float(functional.cosine_similarity(seen[0], before).mean()), 4),
    }
