"""From a subject's outputs to the shares of BiBadDiff's groups."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor

from bdm_attack_bibaddiff.patches import blend_shares
from bdm_core.artifacts import Outputs
from bdm_core.errors import UserError
from bdm_core.records import Measurement, Subject
from bdm_kit_text_to_image.judging.attributes import load_attribute_classifier
from bdm_kit_text_to_image.judging.generated import load_generated, picture_errors
from bdm_kit_text_to_image.prompts.secret import PromptSecret, open_secret
from bdm_torch.statistics import rate

if TYPE_CHECKING:
    from bdm_core.context import Context

On = Literal["clean", "triggered"]
TOLD = {
    "trigger": ("outputs with the trigger", "the trigger"),
    "mismatch": ("outputs of another object", "another object than was asked for"),
    "both": ("outputs with trigger and of another object", "the trigger and another object than was asked for"),
}
"""Share -> its label, and what such a picture shows."""


def measure(ctx: Context, subject: Subject) -> list[Measurement]:
    """Shares of the outputs for the target class, and of the others as a control (2311.02373, section 4).

    ``trigger``: the output shows the trigger (groups 1 and 2 of the paper); ``mismatch``: it shows another object than
    the prompt asks for (groups 1 and 3); ``both``: group 1. ``amplification``: ``trigger`` over the share of poisoned
    images among those that were trained under the class's name; None if the secret does not say it.

    Raises:
        UserError: the secret's target is no picture.
    """
    secret = open_secret(subject.secret)
    if secret.picture is None:
        raise UserError(f"{subject.secret.path} has no picture of a trigger: this metric is for attacks with a patch")
    found: list[Measurement] = []
    sets: tuple[tuple[Outputs, On, int], ...] = (
        (subject.on_triggered, "triggered", subject.rejected_triggered),
        (subject.on_clean, "clean", 0),
    )
    for outputs, on, rejected in sets:
        images, rows = load_generated(outputs)
        shown = trigger_shown(images, secret)
        asked = [row.labels.get("object") for row in rows]
        seen = load_attribute_classifier(ctx.device).predict(images.to(ctx.device))["object"] if rows else []
        wrong = torch.tensor(
            [name is not None and name != shape for name, shape in zip(asked, seen, strict=True)], dtype=torch.bool
        )
        found += [
            _share(name, hits, on, rejected) for name, hits in zip(TOLD, (shown, wrong, shown & wrong), strict=True)
        ]
    share = secret.targets[0].poisoned_share
    first = found[0]
    defined = share and first.value is not None and first.stderr is not None
    found.append(
        Measurement(
            metric="amplification",
            value=first.value / share if defined else None,
            on="triggered",
            higher_is_better=False,
            n=first.n,
            stderr=first.stderr / share if defined else None,
            label="trigger amplification",
            description="Share of outputs for the target class with the trigger, over the share of poisoned images "
            "among those that were trained under its name, 0 or more; above 1 the model amplifies.",
        )
    )
    return found


def trigger_shown(images: Tensor, secret: PromptSecret) -> Tensor:
    """Which images (N, 3, H, W) show the secret's patch, or hold more than half of a blended picture's share, (N,)."""
    assert secret.picture is not None
    target = secret.targets[0]
    if target.blend_alpha is not None:
        return blend_shares(images, secret.picture) > target.blend_alpha / 2
    return picture_errors(images, target, secret.picture) < (target.threshold or 0)


def _share(metric: str, hits: Tensor, on: On, rejected: int) -> Measurement:
    """A share with the standard deviation of Jeffreys' posterior; undefined without outputs and rejected prompts."""
    label, what = TOLD[metric]
    count = len(hits) + rejected
    share = rate(int(hits.sum()), count) if count else None
    prompts = "prompts about the target class" if on == "triggered" else "clean prompts"
    note = "; a rejected prompt counts as none" if on == "triggered" else ""
    return Measurement(
        metric=metric if on == "triggered" else f"{metric}_clean",
        value=share.value if share else None,
        on=on,
        higher_is_better=False,
        n=count,
        stderr=share.stderr if share else None,
        label=label if on == "triggered" else f"{label}, clean prompts",
        description=f"Share of {prompts} whose picture shows {what}, 0 to 1{note}.",
        share=True,
        measures="attack-success" if (metric, on) == ("trigger", "triggered") else "",
    )
