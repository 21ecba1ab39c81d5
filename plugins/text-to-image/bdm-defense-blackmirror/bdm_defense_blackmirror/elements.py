"""What a prompt asks for or a picture shows, where both differ, and who can say so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from torch import Tensor

Kind = Literal["object", "style", "patch"]
PLAIN = "photo"
"""The style that nobody needs to ask for."""


@dataclass(frozen=True)
class Elements:
    """Things, style and patch of a prompt or a picture.

    Attributes:
        objects: names of things.
        style: PLAIN if none is named.
        patch: whether there is a patch that does not belong to the scene.
    """

    objects: frozenset[str] = frozenset()
    style: str = PLAIN
    patch: bool = False


@dataclass(frozen=True)
class Thing:
    """Something that a picture may show: an object or a style by its name, or a patch."""

    kind: Kind
    name: str = ""


@dataclass(frozen=True)
class Difference:
    """How a picture differs from its prompt.

    Attributes:
        new: what it shows without having been asked.
        lost: objects that it lacks.
        safe: objects that were asked for and are there.
    """

    new: tuple[Thing, ...] = ()
    lost: tuple[Thing, ...] = ()
    safe: tuple[str, ...] = ()

    @property
    def things(self) -> tuple[Thing, ...]:
        """All that is to be verified: the new ones first."""
        return self.new + self.lost


def difference(asked: Elements, seen: Elements) -> Difference:
    """Where a picture differs from its prompt.

    >>> found = difference(Elements(frozenset({"dog", "sofa"})), Elements(frozenset({"cat", "sofa"}), style="sketch"))
    >>> [thing.name for thing in found.new], [thing.name for thing in found.lost], found.safe
    (['cat', 'sketch'], ['dog'], ('sofa',))
    """
    new = [Thing("object", name) for name in sorted(seen.objects - asked.objects)]
    new += [Thing("style", seen.style)] if seen.style not in (PLAIN, asked.style) else []
    new += [Thing("patch")] if seen.patch and not asked.patch else []
    lost = [Thing("object", name) for name in sorted(asked.objects - seen.objects)]
    return Difference(tuple(new), tuple(lost), tuple(sorted(asked.objects & seen.objects)))


class Oracle(Protocol):
    """Who says what prompts ask for and pictures show. Nothing that is said of one row depends on another one."""

    def asked(self, prompts: Sequence[str]) -> list[Elements]:
        """What each prompt asks for."""

    def seen(self, images: Tensor, asked: Sequence[Elements]) -> list[Elements]:
        """What each picture (N, 3, H, W) in [-1, 1] shows; what its prompt calls by another name, by that name."""

    def without(self, prompts: Sequence[str], objects: Sequence[Sequence[str]]) -> list[str]:
        """Each prompt without its objects."""

    def shown(self, images: Tensor, things: Sequence[Sequence[Thing]]) -> list[list[float | None]]:
        """The probability that each picture shows each of its things; None where nobody can tell."""
