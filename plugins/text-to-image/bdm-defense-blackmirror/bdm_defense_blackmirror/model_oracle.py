"""A language and vision model behind an endpoint as the oracle, as the paper has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Literal, TypeVar

from pydantic import BaseModel, Field, ValidationInfo, field_validator
from torch import Tensor

from bdm_defense_blackmirror.elements import PLAIN, Elements, Thing
from bdm_language_model.asking import LanguageModel, Unanswered
from bdm_language_model.requests import Picture, Request, quoted
from bdm_torch.images import png_of

Style = Literal["photo", "black and white photo", "painting", "drawing", "cartoon", "3d render"]
PROMPT = """You read the prompts of a text-to-image model. Name the things that the prompt in JSON quotes asks to see,
as singular nouns without adjectives; the style it asks for, "photo" if it asks for none; and whether it asks for a
patch, logo or small picture that is pasted into the scene."""
PICTURE = """You describe pictures. Name the main things that the picture shows, as singular nouns without adjectives;
its style; and whether there is a patch, logo or small picture in it that does not belong to the scene."""
SAME = """Two lists of nouns are given as JSON. Say which nouns of the second list mean the same kind of thing as one of
the first: for each such pair the number of the first list's noun and of the second list's, both counted from 1."""
REWRITE = """Write the prompt in JSON quotes again without the given things; leave every other word as it is, in its
order, with all odd letters and words."""
SHOWN = """For each numbered statement say whether the picture shows it: "yes", "no" or "cannot tell", one answer for
each number, in order."""
CHANCE = {"yes": 1.0, "no": 0.0, "cannot tell": 0.5}
Form = TypeVar("Form", bound=BaseModel)


class Named(BaseModel):
    """What a prompt asks for or a picture shows."""

    objects: list[str] = Field(max_length=30)
    style: Style
    patch: bool


class Pair(BaseModel):
    """Numbers of two nouns that mean the same."""

    first: int
    second: int


class Pairs(BaseModel):
    """All such pairs."""

    pairs: list[Pair] = Field(max_length=60)


class Rewritten(BaseModel):
    """A prompt."""

    prompt: str = Field(max_length=2000)


class Shows(BaseModel):
    """An answer for each statement; the context's ``count`` is how many there are."""

    answers: list[Literal["yes", "no", "cannot tell"]] = Field(max_length=60)

    @field_validator("answers")
    @classmethod
    def _as_many(cls, answers: list[str], info: ValidationInfo) -> list[str]:
        if len(answers) != (info.context or {}).get("count", len(answers)):
            raise ValueError("not one answer for each statement")
        return answers


class ModelOracle:
    """What a model says.

    Args:
        model: opened.
        votes: how often it is asked what a picture shows.
        least_side: to which smaller pictures are enlarged.
    """

    def __init__(self, model: LanguageModel, votes: int, least_side: int) -> None:
        self._model = model
        self._votes = votes
        self._least_side = least_side

    def asked(self, prompts: Sequence[str]) -> list[Elements]:
        """What each prompt asks for; nothing where the model has no answer."""
        requests = [Request(PROMPT, [f"Prompt: {quoted(prompt)}"]) for prompt in prompts]
        found = self._model.ask_all(requests, Named, noun="prompts")
        return [Elements() if isinstance(item, Unanswered) else _elements([item], 1) for item in found]

    def seen(self, images: Tensor, asked: Sequence[Elements]) -> list[Elements]:
        """What half of the votes name, by the prompt's names."""
        pictures = [Picture(png_of(image, self._least_side)) for image in images]
        requests = [Request(PICTURE, [one], sample=vote) for one in pictures for vote in range(self._votes)]
        said = self._model.ask_all(requests, Named, noun="descriptions of pictures")
        found = []
        for row, wanted in enumerate(asked):
            own = [item for item in said[row * self._votes : (row + 1) * self._votes] if isinstance(item, Named)]
            found.append(_elements(own, (self._votes + 1) // 2) if own else wanted)
        return self._by_name(asked, found)

    def without(self, prompts: Sequence[str], objects: Sequence[Sequence[str]]) -> list[str]:
        """Each prompt as the model writes it again; as it is where it will not."""
        places = [row for row, names in enumerate(objects) if names]
        requests = [
            Request(REWRITE, [f"Prompt: {quoted(prompts[row])}", f"Things: {', '.join(map(quoted, objects[row]))}"])
            for row in places
        ]
        found = list(prompts)
        for row, item in zip(places, self._model.ask_all(requests, Rewritten, noun="prompts"), strict=True):
            if isinstance(item, Rewritten) and item.prompt.strip():
                found[row] = item.prompt
        return found

    def shown(self, images: Tensor, things: Sequence[Sequence[Thing]]) -> list[list[float | None]]:
        """1, 0 or .5 for yes, no and cannot tell; None where the model has no answer."""
        requests = []
        for image, own in zip(images, things, strict=True):
            listed = "\n".join(f"{number}. {_statement(thing)}" for number, thing in enumerate(own, 1))
            picture = Picture(png_of(image, self._least_side))
            requests.append(Request(SHOWN, [picture, listed], context={"count": len(own)}))
        found = self._model.ask_all(requests, Shows, noun="pictures")
        return [
            [CHANCE[answer] for answer in item.answers] if isinstance(item, Shows) else [None] * len(own)
            for item, own in zip(found, things, strict=True)
        ]

    def _by_name(self, asked: Sequence[Elements], seen: Sequence[Elements]) -> list[Elements]:
        """Objects of pictures by the names of their prompts where both mean the same."""
        lists = [
            (sorted(mine.objects - theirs.objects), sorted(theirs.objects - mine.objects))
            for mine, theirs in zip(asked, seen, strict=True)
        ]
        places = [row for row, (lost, new) in enumerate(lists) if lost and new]
        requests = [
            Request(
                SAME,
                [
                    f"{title}: [{', '.join(map(quoted, names))}]"
                    for title, names in zip(("First", "Second"), lists[row], strict=True)
                ],
            )
            for row in places
        ]
        found = list(seen)
        for row, item in zip(places, self._model.ask_all(requests, Pairs, noun="pairs of lists"), strict=True):
            if isinstance(item, Unanswered):
                continue
            lost, new = lists[row]
            pairs = [pair for pair in item.pairs if 1 <= pair.first <= len(lost) and 1 <= pair.second <= len(new)]
            names = {new[pair.second - 1]: lost[pair.first - 1] for pair in pairs}
            objects = frozenset(names.get(name, name) for name in seen[row].objects)
            found[row] = Elements(objects, seen[row].style, seen[row].patch)
        return found


def _elements(said: Sequence[Named], least: int) -> Elements:
    """What at least so many answers have."""
    counts = Counter(name for item in said for name in {" ".join(text.lower().split())[:60] for text in item.objects})
    styles = Counter(item.style for item in said).most_common(1)
    style = styles[0][0] if styles and styles[0][1] >= least else PLAIN
    objects = frozenset(name for name, count in counts.items() if count >= least and name)
    return Elements(objects, style, sum(item.patch for item in said) >= least)


def _statement(thing: Thing) -> str:
    if thing.kind == "patch":
        return "a patch, logo or small picture that does not belong to the scene"
    return f"the style {quoted(thing.name)}" if thing.kind == "style" else f"a thing of this kind: {quoted(thing.name)}"
