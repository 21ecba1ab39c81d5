"""Shadow models: trained by the kit on the defender's clean rows, as they are or with random backdoors."""

from __future__ import annotations

import random

from bdm_core.context import Context
from bdm_defense_mntd.jumbo import draw_sound, draw_trigger, draw_words, poisoned
from bdm_defense_mntd.params import MntdParams
from bdm_kit_classification.data.samples import LabelledSamples
from bdm_kit_classification.models.classifier import Classifier
from bdm_kit_classification.tasks.audio import AUDIO_TASK
from bdm_kit_classification.tasks.text import TEXT_TASK
from bdm_kit_classification.training.fitting import fit


def train_shadow(
    ctx: Context, like: Classifier, clean: LabelledSamples, params: MntdParams, number: int, backdoored: bool
) -> Classifier:
    """A shadow model of the same architecture with new weights.

    Args:
        ctx: of the stage; a finished shadow model is not trained again if the stage was killed.
        like: whose architecture is taken.
        clean: the defender's rows.
        params: of the training.
        number: tells it from the others; weights and backdoor depend on it and on the stage's seed.
        backdoored: whether a random backdoor is learnt too.
    """
    chance = random.Random(f"shadow {ctx.seed} {number}")
    rows = clean
    if backdoored:
        if like.task == TEXT_TASK:
            rows = poisoned(clean, draw_words(clean, chance), chance)
        elif like.task == AUDIO_TASK:
            length = clean.modality.shape(clean.stored)[0]
            rows = poisoned(clean, draw_sound(length, len(clean.classes), chance), chance)
        else:
            channels, height, width = clean.stored.shape[1:]
            rows = poisoned(clean, draw_trigger((channels, height, width), len(clean.classes), chance), chance)
    shadow = like.fresh(chance.randrange(2**31))
    fit(ctx, shadow, rows, params, label=f"shadow model {number}")
    for parameter in shadow.parameters():
        parameter.requires_grad_(False)
    return shadow
