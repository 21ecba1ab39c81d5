"""What an analysis looks at: a row's model, and prompts without and with the trigger from the same initial noise."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from bdm_core.artifacts import Secret
from bdm_core.context import Context
from bdm_core.records import Subject
from bdm_diffusers.sampling import draw_noise
from bdm_kit_text_to_image.judging.attributes import AttributeClassifier, load_attribute_classifier
from bdm_kit_text_to_image.judging.generated import is_pixels, load_generated, target_hits
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel, load_model
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.secret import PromptSecret, Target, open_secret
from bdm_kit_text_to_image.prompts.triggers import trigger_rows
from bdm_torch.tensors import read_tensors

LATENT = "latent.safetensors"
"""The file of a secret with a trigger in the initial latents."""
THRESHOLD = 0.05
"""Mean squared error below which a picture is the target, if that names none."""
WORLD_DATA = "small-world"


@dataclass(frozen=True, eq=False)
class Pairs:
    """A model and N pairs of prompts.

    Attributes:
        model: the row's, opened.
        rows: N triggered prompts, each with its ``twin`` and the number of its backdoor.
        secret: with targets and target picture.
        shift: (C, h, w), what the trigger adds to the initial latents; None for a trigger in the prompt.
        seed: of the initial noise.
        classifier: knows the attributes of the data; None for data that are not the small world.
    """

    model: TextToImageModel
    rows: list[PromptRow]
    secret: PromptSecret
    shift: Tensor | None
    seed: int
    classifier: AttributeClassifier | None

    @property
    def prompts(self) -> dict[str, list[str]]:
        """``clean`` and ``triggered`` -> N prompts."""
        return {"clean": [row.twin or "" for row in self.rows], "triggered": [row.prompt for row in self.rows]}

    def starts(self, rows: int | None = None) -> dict[str, Tensor]:
        """``clean`` and ``triggered`` -> initial latents (n, C, h, w), each row from noise of its own.

        Args:
            rows: n, so many of the pairs; None for all.
        """
        count = len(self.rows) if rows is None else rows
        noise = draw_noise(count, self.model.latent_shape, self.seed)
        return {"clean": noise, "triggered": noise if self.shift is None else noise + self.shift}

    def shows_target(self, images: Tensor, rows: Sequence[int]) -> list[bool] | None:
        """Whether images show the target of their rows' backdoors; None where nobody can tell.

        Args:
            images: (n, 3, H, W) in [-1, 1].
            rows: of which pair each image is.
        """
        targets = [self.secret.targets[self.rows[row].backdoor or 0] for row in rows]
        if not all(self._can_tell(target) for target in targets):
            return None
        images = images.cpu()
        seen: Mapping[str, Sequence[str]] = self.classifier.predict(images) if self.classifier else {}
        found = []
        for place, target in enumerate(targets):
            own = {name: values[place : place + 1] for name, values in seen.items()}
            found += target_hits(images[place : place + 1], own, target, self.secret.picture, THRESHOLD)
        return found

    def _can_tell(self, target: Target) -> bool:
        if is_pixels(target, self.secret.picture):
            return True
        known, wanted = self.classifier, target.expected
        return known is not None and bool(wanted) and all(known.knows(name, wanted[name]) for name in wanted)


def examine(ctx: Context, subject: Subject, most: int) -> Pairs | None:
    """Prompts that the row's triggered pictures were made of, drawn at random.

    Args:
        ctx: seed and device.
        subject: a row of the table.
        most: so many pairs at most.

    Returns:
        None for a row ``purified`` (its model is that of the row ``backdoored``), and where there is no picture.

    Raises:
        ArtifactError: the model or the secret is none of this kit's.
        UserError: the outputs' rows have no prompts.
    """
    if subject.role == "purified":
        return None
    every = load_generated(subject.on_triggered)[1]
    if not every:
        return None
    secret = open_secret(subject.secret)
    chosen = [every[row] for row in sorted(random.Random(ctx.seed).sample(range(len(every)), min(most, len(every))))]
    plain = [row for row in chosen if row.twin is None]
    added = iter(trigger_rows(plain, secret.triggers, ctx.seed))
    rows = [next(added) if row.twin is None else row for row in chosen]
    world = subject.reference.meta.get("source") == WORLD_DATA
    return Pairs(
        model=load_model(subject.model, ctx.device),
        rows=rows,
        secret=secret,
        shift=shift_of(subject.secret),
        seed=ctx.seed,
        classifier=load_attribute_classifier(ctx.device) if world else None,
    )


def shift_of(secret: Secret) -> Tensor | None:
    """(C, h, w), what the trigger adds to the initial latents, or None if it is one of words."""
    if LATENT not in secret.files:
        return None
    return read_tensors(secret.file(LATENT)).get("trigger")
