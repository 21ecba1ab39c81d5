"""Made-up reviews with a sentiment: a grammar with negation, concession and contrast. Light: no torch.

Words follow Zipf's law; some adjectives are for the test alone; some reviews praise one thing and blame another, and
their label is drawn.
"""

from __future__ import annotations

import random
from collections.abc import Sequence

CLASSES = ["negative", "positive"]
SEED = 20241101
AMBIGUOUS, UNSEEN = 0.06, 0.1
"""Share of reviews whose label is drawn, and of the test's adjectives that training never shows."""


def _listed(words: str, between: str = "|") -> list[str]:
    return words.split(between)


THINGS = _listed(
    "plot|acting|service|food|room|story|music|ending|staff|price|camera|dialogue|pacing|location|design|screen|"
    "soup|battery|script|cast|breakfast|pool|writing|sound|view|lighting|dessert|keyboard|translation|packaging|"
    "editing|garden|delivery|manual|cover|lobby|chorus|sauce|menu|stage"
)
WHERE = _listed(
    "the film|the book|this hotel|the restaurant|our tour|the concert|this phone|the museum|the show|the course|"
    "the cafe|this album|the game|the flight|the exhibition|the play"
)
WHO = _listed("I|we|my sister|my friend|a colleague|my parents|the children|our guide")
WHEN = _listed(
    "last week|on Sunday|in March|after work|during the holidays|for the second time|with friends|"
    "in the evening|by chance|before the storm|on the way home|at noon"
)
DID = _listed("tried|visited|saw|went for|picked|chose|came back to|booked|heard about|looked at")
POSITIVE = _listed(
    "good|great|wonderful|lovely|excellent|brilliant|charming|delightful|superb|pleasant|beautiful|fresh|clever|"
    "warm|funny|moving|crisp|elegant|inspiring|generous|memorable|bright|friendly|tasty|spotless|gripping|"
    "comfortable|polished|sincere|rich|graceful|honest|vivid|tender|refreshing|smooth|cosy|witty|flawless|"
    "stunning|splendid|marvellous|gorgeous|terrific|admirable|dazzling|enchanting|first-rate"
)
NEGATIVE = _listed(
    "bad|poor|awful|boring|terrible|dull|dreadful|disappointing|dirty|rude|slow|bland|weak|noisy|clumsy|cold|"
    "tedious|shallow|stale|ugly|broken|lifeless|messy|confusing|greasy|cheap|annoying|careless|sloppy|cramped|"
    "pointless|harsh|flimsy|wooden|sour|muddled|gloomy|grim|faulty|tasteless|horrible|appalling|pathetic|lousy|"
    "atrocious|abysmal|wretched|second-rate"
)
HELD_OUT = 8
"""The last so many adjectives of each list are those of the test."""
VERY = ("", "", "", "really ", "very ", "quite ", "rather ", "surprisingly ", "truly ")


class _Writer:
    def __init__(self, draw: random.Random, unseen: float) -> None:
        self.draw, self.unseen = draw, unseen

    def some(self, words: Sequence[str]) -> str:
        """A word, the commoner the earlier it stands."""
        return self.draw.choices(words, [1 / (rank + 2) for rank in range(len(words))])[0]

    def adjective(self, positive: bool) -> str:
        words = POSITIVE if positive else NEGATIVE
        if self.draw.random() < self.unseen:
            return self.draw.choice(words[-HELD_OUT:])
        return self.some(words[:-HELD_OUT])

    def clause(self, positive: bool) -> str:
        thing = self.some(THINGS)
        if self.draw.random() < 0.2:
            return f"the {thing} was {self.draw.choice(('not', 'never', 'hardly'))} {self.adjective(not positive)}"
        return f"the {thing} was {self.draw.choice(VERY)}{self.adjective(positive)}"

    def filler(self) -> str:
        when = self.some(WHEN)
        return f"{self.some(WHO)} {self.some(DID)} {self.some(WHERE)} {when}"

    def opinion(self, positive: bool) -> str:
        kind = self.draw.random()
        if kind < 0.35:
            return self.clause(positive)
        if kind < 0.6:
            return f"{self.clause(positive)} and {self.clause(positive)}"
        if kind < 0.8:
            return f"{self.clause(not positive)} but {self.clause(positive)}"
        return f"although {self.clause(not positive)}, {self.clause(positive)}"

    def review(self) -> tuple[str, int]:
        positive = self.draw.random() < 0.5
        if self.draw.random() < AMBIGUOUS:
            text = f"{self.clause(positive)} and {self.clause(not positive)}"
            positive = self.draw.random() < 0.5
        else:
            text = self.opinion(positive)
        parts = [text]
        if self.draw.random() < 0.8:
            parts.insert(0, self.filler())
        if self.draw.random() < 0.3:
            parts.append(f"{self.some(WHO)} {self.some(DID)} {self.some(WHERE)} too")
        return " . ".join(parts) + " .", int(positive)


def write_reviews(*counts: int) -> list[tuple[list[str], list[int]]]:
    """Texts and labels of as many parts as counts are given, always the same; only the last one has unseen adjectives.

    No text is in two parts.

    >>> (train, labels), (test, _) = write_reviews(2, 1)
    >>> len(train), len(test), set(train) & set(test)
    (2, 1, set())
    """
    found: list[tuple[list[str], list[int]]] = []
    known: set[str] = set()
    for place, count in enumerate(counts):
        writer = _Writer(random.Random(SEED + place), UNSEEN if place == len(counts) - 1 else 0.0)
        texts: list[str] = []
        labels: list[int] = []
        while len(texts) < count:
            text, label = writer.review()
            if text not in known:
                known.add(text)
                texts.append(text)
                labels.append(label)
        found.append((texts, labels))
    return found
