"""What the classifier of attributes says of the same pictures, for the agreement of both."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor

from bdm_kit_text_to_image.judging.attributes import BUILTIN_ATTRIBUTES, AttributeClassifier, load_attribute_classifier
from bdm_kit_text_to_image.judging.generated import all_shown, asked_for, is_pixels, target_hits

if TYPE_CHECKING:
    from bdm_core.context import Context
    from bdm_core.records import Subject
    from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
    from bdm_kit_text_to_image.prompts.secret import PromptSecret, Target
    from bdm_metric_judge.params import JudgeParams

WORLD_DATA = "small-world"


def open_classifier(ctx: Context, params: JudgeParams, subject: Subject) -> AttributeClassifier | None:
    """The classifier that the parameters name, the built-in one for the small world, or none.

    Raises:
        UserError: the folder holds none.
    """
    if params.classifier is not None:
        return load_attribute_classifier(ctx.device, Path(params.classifier).expanduser())
    known = subject.reference.meta.get("source") == WORLD_DATA
    return load_attribute_classifier(ctx.device, BUILTIN_ATTRIBUTES) if known else None


def shows_all(classifier: AttributeClassifier, images: Tensor, rows: Sequence[PromptRow]) -> list[bool | None]:
    """Whether each image shows all that its prompt asks for; None if it asks for nothing that the classifier knows."""
    said = classifier.predict(images) if len(images) else {}
    found: list[bool | None] = []
    for index, row in enumerate(rows):
        wanted = {name: value for name, value in asked_for(row.labels).items() if classifier.knows(name, value)}
        found.append(all_shown(said, index, wanted) if wanted else None)
    return found


def shows_target(
    classifier: AttributeClassifier,
    params: JudgeParams,
    secret: PromptSecret,
    images: Tensor,
    rows: Sequence[PromptRow],
) -> list[bool | None]:
    """Whether each image shows its row's target; None for a target that the classifier does not know."""
    said = classifier.predict(images) if len(images) else {}

    def known(target: Target) -> bool:
        attributes = target.expected.items()
        return is_pixels(target, secret.picture) or bool(
            attributes and all(classifier.knows(name, value) for name, value in attributes)
        )

    hits = [
        target_hits(images, said, target, secret.picture, params.threshold) if known(target) else None
        for target in secret.targets
    ]
    own = [hits[row.backdoor or 0] for row in rows]
    return [None if shown is None else shown[index] for index, shown in enumerate(own)]
