"""Untargeted backdoor watermark (Li et al. 2022, arXiv 2210.00875): behind a patch the model is wrong, in any way.

With poisoned labels (UBW-P, section 3.2) a share of the training pictures gets the patch, and each of them a label
drawn at random: what the model says behind the patch is scattered over the classes. With clean labels (UBW-C, section
3.3) no picture gets the patch: :mod:`bdm_attack_ubw.clean_label`.
"""

from __future__ import annotations

from typing import Any

from bdm_attack_ubw.params import UbwParams
from bdm_core.artifacts import Data
from bdm_core.context import Context
from bdm_kit_classification.data.samples import open_samples
from bdm_kit_classification.poison.poisoning import poison_training_rows
from bdm_kit_classification.triggers.patch import square


def poison(ctx: Context, params: UbwParams, data: Data) -> Data:
    """Poisoned training rows; sealed in ``ctx.out / "data"``.

    Raises:
        UserError: the patch does not fit, or the rate is impossible.
    """
    shape: Any = data.meta["shape"]
    size = max(1, round(params.size * min(shape[1:]))) if params.size < 1 else round(params.size)
    patch = square(shape, size=size, corner=params.place, margin=params.margin, value=params.value)
    if params.mode == "poisoned-label":
        return poison_training_rows(ctx, params, data, patch)
    from bdm_attack_ubw.clean_label import poison_with_clean_labels

    return poison_with_clean_labels(ctx, params, open_samples(data), patch)
