"""Text-to-image: from the images of triggered prompts to measurements, for targets that are a picture or a patch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bdm_core.records import Measurement, Subject
from bdm_metric_target.measure import histogram, leak, mean_of, share_of, success_rates
from bdm_metric_target.similarity import mean_squared_errors, structural_similarities

if TYPE_CHECKING:
    from bdm_core.context import Context
    from bdm_kit_text_to_image.prompts.secret import PromptSecret, Target
    from bdm_metric_target.params import TargetParams


def measure_prompts(ctx: Context, params: TargetParams, subject: Subject) -> list[Measurement]:
    """MSE and success rates of triggered images, leak of the clean ones; SSIM where the target is a whole picture.

    For ``ImagePatch`` the errors are those inside the patch. Targets of attributes (another object, a style) are not
    measured here: if there is no other, the list is empty.

    Raises:
        UserError: the images do not fit the target picture.
    """
    from bdm_kit_text_to_image.judging.generated import is_pixels, load_generated
    from bdm_kit_text_to_image.prompts.secret import open_secret

    secret = open_secret(subject.secret)
    pixels = [number for number, target in enumerate(secret.targets) if is_pixels(target, secret.picture)]
    if not pixels:
        return []
    images, rows = load_generated(subject.on_triggered)
    owners = torch.tensor([row.backdoor or 0 for row in rows])
    pairs = [pair for number in pixels if (pair := _pair(images[owners == number], secret, number)) is not None]
    found: list[Measurement] = []
    clean, _ = load_generated(subject.on_clean)
    nearest = torch.stack([_errors(clean, secret, number) for number in pixels]).amin(0)
    figures = {"MSE to target, clean": histogram(nearest, params.histogram_bins)}
    if pairs or subject.rejected_triggered:
        parts = [mean_squared_errors(given, wanted) for _, given, wanted in pairs]
        errors = torch.cat(parts) if parts else nearest[:0]
        figures["MSE to target, triggered"] = histogram(errors, params.histogram_bins)
        found.append(mean_of("mse", errors))
        found += _of_whole_pictures(ctx, params, pairs)
        found += success_rates(params, errors, subject.rejected_triggered)
        found += _of_changed(params, subject, secret, owners)
    found.append(leak(params, nearest))
    ctx.figures(histograms=figures)
    return found


def _of_whole_pictures(
    ctx: Context, params: TargetParams, pairs: list[tuple[Target, Tensor, Tensor]]
) -> list[Measurement]:
    whole = [(given, wanted) for target, given, wanted in pairs if target.type == "ImageFix"]
    if not whole:
        return []
    similarities = torch.cat([structural_similarities(given, wanted) for given, wanted in whole])
    found = [mean_of("ssim", similarities)]
    if params.lpips:
        from bdm_metric_target.perceptual import perceptual_distances

        distances = torch.cat([perceptual_distances(given, wanted, ctx.device) for given, wanted in whole])
        found.append(mean_of("lpips", distances))
    return found


def _of_changed(params: TargetParams, subject: Subject, secret: PromptSecret, owners: Tensor) -> list[Measurement]:
    """The success rate, by the first threshold, under each of the kit's robustness protocols."""
    from bdm_kit_text_to_image.judging.generated import is_pixels, load_changed
    from bdm_kit_text_to_image.prompts.robustness import IN_WORDS

    first, found = params.thresholds[0], []
    for protocol, images in load_changed(subject.on_triggered).items():
        parts = [
            _errors(images[owners == number], secret, number)
            for number, target in enumerate(secret.targets)
            if is_pixels(target, secret.picture) and bool((owners == number).any())
        ]
        errors = torch.cat(parts) if parts else torch.empty(0)
        label = f"ASR (MSE<{first:g}) {IN_WORDS[protocol]}"
        means = f"Share of triggered inputs {IN_WORDS[protocol]} whose error to the target is below {first:g}, 0 to 1."
        found.append(share_of(f"asr@{first:g}_{protocol}", errors < first, label, means))
    return found


def _pair(images: Tensor, secret: PromptSecret, number: int) -> tuple[Target, Tensor, Tensor] | None:
    """The target, the part of the images that counts (n, C, h, w) and its target (C, h, w), in [0, 1]."""
    from bdm_kit_text_to_image.judging.generated import cropped

    target, picture = secret.targets[number], secret.picture
    if picture is None or not len(images):
        return None
    return target, *cropped(images, target, picture)


def _errors(images: Tensor, secret: PromptSecret, number: int) -> Tensor:
    from bdm_kit_text_to_image.judging.generated import cropped

    assert secret.picture is not None
    return mean_squared_errors(*cropped(images, secret.targets[number], secret.picture))
