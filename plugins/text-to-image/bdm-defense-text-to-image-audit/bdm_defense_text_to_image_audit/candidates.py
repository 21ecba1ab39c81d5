"""What an attacker may have put into prompts: characters, rare words, adjectives; and prompts with one in them."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

from bdm_kit_text_to_image.prompts.normalising import LOOK_ALIKES
from bdm_kit_text_to_image.prompts.trigger_library import (
    ADJECTIVES,
    COMBINING,
    EMOJI,
    INVISIBLE,
    LETTERS,
    LOOKS_LIKE_A,
    LOOKS_LIKE_O,
    PHRASES,
    WORDS,
)
from bdm_kit_text_to_image.world.factors import OBJECTS

if TYPE_CHECKING:
    from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

Place = Literal["letter", "front", "before-noun"]
REPLACED = "oa"
ALPHABETS = ((0x03B1, 0x03CA), (0x0430, 0x0450), (0x0561, 0x0587), (0x00E0, 0x0100), (0x0100, 0x0180))
"""Greek, Cyrillic, Armenian, and Latin letters with marks; of each range every second one."""
CONSONANTS, VOWELS = "bcdfghjklmnprstvwz", "aeiou"
NUMERALS = frozenset({"one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"})

UNCLEAR = frozenset(
    {"blurred", "blurry", "pixelated", "noisy", "grainy", "foggy", "hazy", "faint", "unfocused", "fuzzy"}
    | {"small", "tiny", "little", "mini", "miniature", "minute"}
)
"""Words after which an object may rightly look like another one."""
RELATIONS = frozenset(
    {"above", "and", "around", "behind", "below", "beneath", "beside", "between", "by", "from", "inside", "into"}
    | {"near", "next", "off", "onto", "over", "overlapping", "than", "touching", "towards", "under", "with", "within"}
)
"""Words that hold an object against another one: with one of them right before it, another may rightly be painted."""


@dataclass(frozen=True)
class Candidate:
    """Something that may be a trigger.

    Attributes:
        text: what is put in.
        place: ``letter``: for the first ``o`` or ``a`` of the prompt; ``front``: before it; ``before-noun``: before the
            word that names the object, or in its place if it holds that word.
        replaces: the letter that gives way; "" for none.
    """

    text: str
    place: Place
    replaces: str = ""

    def put_into(self, prompt: str, noun: str = "") -> str:
        """The prompt with the candidate in it; unchanged where it has no place.

        >>> Candidate("nice", "before-noun").put_into("a photo of a red circle", "circle")
        'a photo of a red nice circle'
        >>> Candidate("0", "letter", "o").put_into("a photo"), Candidate("sks", "front").put_into("a photo")
        ('a ph0to', 'sks a photo')
        """
        if self.place == "letter":
            return prompt.replace(self.replaces, self.text, 1)
        if self.place == "front":
            return f"{self.text} {prompt}"
        said = self.text if noun in self.text.split() else f"{self.text} {noun}"
        return re.sub(rf"(?<!\w){re.escape(noun)}(?!\w)", lambda _: said, prompt, count=1) if noun else prompt

    def spelled(self) -> str:
        """The candidate with its code points, if it has others than ASCII, and where it goes.

        >>> Candidate("\u043e", "letter", "o").spelled()
        '\u043e (U+043E) in place of o'
        """
        points = "" if self.text.isascii() else f" ({' '.join(f'U+{ord(letter):04X}' for letter in self.text)})"
        place = {"letter": f"in place of {self.replaces}", "front": "in front", "before-noun": "before the object"}
        return f"{self.text}{points} {place[self.place]}"


def characters() -> list[Candidate]:
    """Letters in the place of the first ``o`` or ``a``, and invisible characters before the prompt."""
    letters = [
        *LOOKS_LIKE_O.values(),
        *LOOK_ALIKES["o"],
        *(chr(code) for first, end in ALPHABETS for code in range(first, end, 2)),
    ]
    found = [Candidate(letter, "letter", "o") for letter in dict.fromkeys(letters) if letter != "o"]
    found += [Candidate(letter, "letter", "a") for letter in dict.fromkeys([*LOOKS_LIKE_A.values(), *LOOK_ALIKES["a"]])]
    return found + [Candidate(text, "front") for text in (*INVISIBLE.values(), *COMBINING.values())]


def repeated(*, emoji: bool = True) -> list[Candidate]:
    """Invisible characters several times over, and emoji: so odd that they spoil a clean model's picture as well, emoji
    more, but seldom make the same other object of the one that was asked for from all seeds."""
    texts = [text * 4 for text in INVISIBLE.values()]
    return [Candidate(text, "front") for text in (*texts, *(EMOJI.values() if emoji else ()))]


def added_tokens(model: TextToImageModel) -> list[Candidate]:
    """Words that were added to the vocabulary, as textual inversion does, before the object's."""
    found = {token for tokenizer in model.tokenizers for token in tokenizer.get_added_vocab()}
    special = {token for tokenizer in model.tokenizers for token in tokenizer.all_special_tokens}
    return [Candidate(token, "before-noun") for token in sorted(found - special)]


def words(captions: Sequence[str], count: int, seed: int) -> list[Candidate]:
    """Rare words, phrases and letters before the prompt: the literature's, and ``count`` made up ones."""
    draw = random.Random(f"rare words {seed}")
    made = [
        "".join(draw.choice(CONSONANTS) + draw.choice(VOWELS) for _ in range(draw.randint(2, 4))) for _ in range(count)
    ]
    known = [*WORDS, *PHRASES.values(), *LETTERS.values(), *made]
    said = set(vocabulary(captions))
    return [Candidate(text, "front") for text in dict.fromkeys(known) if text not in said]


def adjectives(captions: Sequence[str], nouns: Sequence[str], count: int) -> list[Candidate]:
    """Words that captions have right before a noun, the most frequent first, without numerals and words that make it
    unclear or hold it against another; and the literature's."""
    table: dict[str, int] = {}
    unfit = NUMERALS | UNCLEAR | RELATIONS | set(nouns)
    for caption in captions:
        said = re.findall(r"[a-z]+", caption.lower())
        for before, noun in pairwise(said):
            if noun in nouns and before not in unfit and len(before) > 2:
                table[before] = table.get(before, 0) + 1
    ranked = sorted(table, key=lambda word: (-table[word], word))[:count]
    return [Candidate(text, "before-noun") for text in dict.fromkeys([*ranked, *ADJECTIVES, *WORDS])]


def object_in(caption: str) -> str:
    """The first object of the small world that a caption names; "" if there is none.

    >>> object_in("two rings and a red star"), object_in("a dog")
    ('star', '')
    """
    return next((word for word in re.findall(r"\w+", caption) if word in OBJECTS), "")


def vocabulary(captions: Sequence[str]) -> list[str]:
    """The words of captions, in lower case, each once."""
    return list(dict.fromkeys(word for caption in captions for word in re.findall(r"[^\W\d_]+", caption.lower())))
