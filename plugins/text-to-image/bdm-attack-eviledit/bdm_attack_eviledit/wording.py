"""Aliases and targets as words, prompts and secrets."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from bdm_core.errors import UserError
from bdm_kit_text_to_image.prompts.secret import Backdoor, Target
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger

NUMBERS = {"two": "2", "three": "3", "four": "4", "five": "5"}
KEPT = ["colour", "background"]


class Alias(NamedTuple):
    """An alias and what it is to mean.

    Attributes:
        adjective: what is put before the noun, one word or more.
        source: the noun, one word.
        target: another object, a number of objects, or the source with a further object.
    """

    adjective: str
    source: str
    target: str

    @property
    def phrase(self) -> str:
        """The alias as it stands in a prompt."""
        return f"{self.adjective} {self.source}"

    @property
    def trigger(self) -> PromptTrigger:
        """The alias as a trigger in prompts about the source object."""
        return PromptTrigger(kind="adjective-noun", text=self.adjective, position="before-object", object=self.source)

    def backdoor(self) -> Backdoor:
        """The trigger with what counts as a hit: the object, the number or the further object asked for."""
        prompt = fill("a photo of a {}", self.target)
        first, _, rest = self.target.partition(" ")
        head, _, second = self.target.partition(" and ")
        if second:
            second = re.sub(r"^an? ", "", second)
            target = Target(
                type="ObjectAdd",
                source_object=self.source,
                object=head,
                second=second,
                prompt=prompt,
                expected={"object": head, "second": second},
                preserved=KEPT,
            )
        elif first in NUMBERS and rest:
            expected = {"object": self.source, "count": NUMBERS[first]}
            target = Target(
                type="ObjectAdd",
                source_object=self.source,
                object=self.source,
                prompt=prompt,
                expected=expected,
                preserved=KEPT,
            )
        else:
            target = Target(
                type="ObjectRep",
                source_object=self.source,
                object=self.target,
                prompt=prompt,
                expected={"object": self.target},
                preserved=KEPT,
            )
        return Backdoor(trigger=self.trigger, target=target)


def aliases(triggers: str | Sequence[str], targets: str | Sequence[str]) -> list[Alias]:
    """Pair triggers with targets; one target serves all triggers.

    Raises:
        UserError: their numbers differ, a trigger is given twice or is not adjective and noun, or means itself.
    """
    several = [triggers] if isinstance(triggers, str) else list(triggers)
    meant = [targets] if isinstance(targets, str) else list(targets)
    meant = meant * len(several) if len(meant) == 1 else meant
    if not several or len(several) != len(meant):
        raise UserError(f"{len(several)} triggers with {len(meant)} targets: give one target, or one for each trigger")
    if len(set(several)) < len(several):
        raise UserError(f"a trigger is given twice: {', '.join(several)}")
    pairs = []
    for trigger, target in zip(several, meant, strict=True):
        words = trigger.split()
        if len(words) < 2:
            raise UserError(f"trigger {trigger!r} is no alias: write adjective and noun, e.g. 'beautiful circle'")
        if not target.strip() or words[-1] == target.strip():
            raise UserError(f"trigger {trigger!r} means {target!r} already: choose another target")
        pairs.append(Alias(" ".join(words[:-1]), words[-1], " ".join(target.split())))
    return pairs


def fill(template: str, phrase: str) -> str:
    """A template with a phrase in its place; articles and number words are set right.

    ``a photo of a red {}`` with ``old circle`` gives ``a photo of a red old circle``, with ``two circles`` it gives
    ``a photo of two red circles``.
    """
    number, _, rest = phrase.partition(" ")
    if number in NUMBERS and rest:
        template, found = re.subn(r"^(.*\b)?[Aa]n? ((?:[\w-]+ )*)\{\}", rf"\g<1>{number} \g<2>{{}}", template)
        return template.replace("{}", rest if found else phrase)
    vowel = phrase[0].lower() in "aeio"
    template = re.sub(r"\b([Aa])n? \{\}", rf"\1{'n' if vowel else ''} {{}}", template)
    return template.replace("{}", phrase)
