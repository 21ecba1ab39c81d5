"""The small world's classifier of attributes, and its vocabulary, as the oracle: exact, and in no need of a model."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from bdm_defense_blackmirror.elements import PLAIN, Elements, Thing
from bdm_kit_text_to_image.judging.attributes import NONE, SECOND_OBJECT, AttributeClassifier
from bdm_kit_text_to_image.prompts.normalising import normalised
from bdm_kit_text_to_image.world.factors import SYNONYMS

STYLES = {
    "black-and-white": r"black[ -]and[ -]white|monochrome",
    "outline": r"outlined?|line drawing",
    "blur": r"blurry|blurred|out of focus",
}


class AttributeOracle:
    """Objects by head ``object`` and ``second_object``, style and patch by their heads.

    Args:
        classifier: of attributes.
        batch_size: pictures that pass through it at once.
    """

    def __init__(self, classifier: AttributeClassifier, batch_size: int = 512) -> None:
        self._classifier = classifier
        self._batch_size = batch_size
        self._objects = [name for name in classifier.head_values.get("object", ()) if name != NONE]

    def asked(self, prompts: Sequence[str]) -> list[Elements]:
        """What each prompt names; look-alike letters are read as a person reads them."""
        return [self._asked(normalised(prompt).lower()) for prompt in prompts]

    def seen(self, images: Tensor, asked: Sequence[Elements]) -> list[Elements]:
        """The likeliest value of each head."""
        return [
            self._seen({name: values[row] for name, values in said.items()})
            for said in [self._classifier.predict(images, self._batch_size)]
            for row in range(len(images))
        ]

    def without(self, prompts: Sequence[str], objects: Sequence[Sequence[str]]) -> list[str]:
        """Each prompt without the words for its objects."""
        found = []
        for prompt, names in zip(prompts, objects, strict=True):
            text = re.sub("|".join(map(_pattern, names)), "", prompt, flags=re.IGNORECASE) if names else prompt
            found.append(re.sub(r"\s+([,.])", r"\1", re.sub(r" {2,}", " ", text)).strip())
        return found

    def shown(self, images: Tensor, things: Sequence[Sequence[Thing]]) -> list[list[float | None]]:
        """By the heads' probabilities; an object may be the first or the second one."""
        with torch.no_grad():
            parts = [self._classifier(batch) for batch in images.split(self._batch_size)]
        chances = (
            {name: torch.cat([part[name] for part in parts]).softmax(1).cpu() for name in parts[0]} if parts else {}
        )
        return [[self._chance(chances, row, thing) for thing in own] for row, own in enumerate(things)]

    def _asked(self, prompt: str) -> Elements:
        objects = {name for name in self._objects if re.search(_pattern(name), prompt)}
        style = next((name for name, pattern in STYLES.items() if re.search(rf"\b(?:{pattern})\b", prompt)), PLAIN)
        return Elements(frozenset(objects), style, patch="patch" in prompt.split())

    def _seen(self, said: Mapping[str, str]) -> Elements:
        objects = {said["object"], said.get(SECOND_OBJECT, NONE)} - {NONE}
        return Elements(frozenset(objects), said.get("style", PLAIN), said.get("patch", NONE) != NONE)

    def _chance(self, chances: Mapping[str, Tensor], row: int, thing: Thing) -> float | None:
        heads = self._classifier.head_values

        def of(head: str, value: str) -> float:
            return float(chances[head][row, heads[head].index(value)]) if value in heads.get(head, ()) else 0.0

        if thing.kind == "patch":
            return 1 - of("patch", NONE) if "patch" in heads else None
        if thing.kind == "style":
            return of("style", thing.name) if "style" in heads else None
        return 1 - (1 - of("object", thing.name)) * (1 - of(SECOND_OBJECT, thing.name))


def _pattern(name: str) -> str:
    """A regular expression for the words that mean an object, in either number."""
    words = "|".join(map(re.escape, (name, *SYNONYMS.get(name, ()))))
    return rf"\b(?:{words})(?:es|s)?\b"
