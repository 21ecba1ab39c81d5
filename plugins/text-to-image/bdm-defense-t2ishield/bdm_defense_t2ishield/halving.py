"""Which part of a prompt decides what is painted: halving, both halves scored (T2IShield, section 3.4, algorithm 1).

The prompt is cut into the smallest parts that its tokenizer and its characters allow. While one half of what is left
scores above tau, the better half is gone on with; if neither does, the trigger lies across the cut, and parts are taken
off the ends instead, as long as the rest scores above tau.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Generator, Sequence
from itertools import pairwise
from typing import Any

Span = tuple[int, int]
"""Start and end of characters."""
Search = Generator[list[Span], list[float], Span]
"""Asks for the scores of spans, and ends with one."""
Score = Callable[[list[tuple[int, Span]]], list[float]]
"""(number of a search, span) each -> a score each."""
WORD = re.compile(r"\S+")


def parts_of(prompt: str, tokenizer: Any) -> list[Span]:
    """The smallest parts of a prompt: the tokenizer's pieces, with every character that is not ASCII by itself.

    Args:
        prompt: any text; what the tokenizer cuts off at its length is left out.
        tokenizer: of the model; one that does not tell where its pieces come from gives words.

    >>> from bdm_kit_text_to_image.models.tiny import tiny_model
    >>> text = "a ph\\u043eto of a star"
    >>> [text[start:end] for start, end in parts_of(text, tiny_model().tokenizers[0])][:5]
    ['a', 'ph', '\u043e', 't', 'o']
    """
    if getattr(tokenizer, "is_fast", False):
        told = tokenizer(prompt, truncation=True, return_offsets_mapping=True)["offset_mapping"]
        pieces = list(dict.fromkeys((int(start), int(end)) for start, end in told if end > start))
    else:
        pieces = [match.span() for match in WORD.finditer(prompt)]
    found: list[Span] = []
    for start, end in pieces:
        cuts = {start, end}
        for place in range(start, end):
            if not prompt[place].isascii():
                cuts |= {place, place + 1}
        ordered = sorted(cuts)
        found += pairwise(ordered)
    return found


def halve(parts: Sequence[Span], threshold: float) -> Search:
    """The search in one prompt; it yields spans to be scored and is sent their scores.

    Args:
        parts: at least one, in order.
        threshold: tau.

    Returns:
        From the first character of the first part that is left to the last of the last.

    >>> search = halve([(0, 1), (2, 3), (4, 5), (6, 7)], 0.5)
    >>> next(search), search.send([0.1, 0.9])
    ([(0, 3), (4, 7)], [(4, 5), (6, 7)])
    >>> search.send([0.2, 0.3])  # neither: the trigger has two parts, and goes on being both
    [(6, 7), (4, 5)]
    """
    low, high = 0, len(parts)

    def span(first: int, last: int) -> Span:
        return parts[first][0], parts[last - 1][1]

    while high - low > 1:
        middle = (low + high) // 2
        left, right = yield [span(low, middle), span(middle, high)]
        if not max(left, right) > threshold:
            break
        low, high = (low, middle) if left >= right else (middle, high)
    while high - low > 1:
        shorter, earlier = yield [span(low + 1, high), span(low, high - 1)]
        if not max(shorter, earlier) > threshold:
            break
        low, high = (low + 1, high) if shorter >= earlier else (low, high - 1)
    return span(low, high)


def run_together(searches: Sequence[Search], score: Score) -> list[Span]:
    """Run searches side by side, so that all spans that are asked for at a time are scored together.

    >>> lengths = lambda asked: [1.0 if span[0] <= 4 < span[1] else 0.0 for _, span in asked]
    >>> run_together([halve([(0, 2), (3, 5), (6, 8)], 0.5), halve([(3, 5)], 0.5)], lengths)
    [(3, 5), (3, 5)]
    """
    found: dict[int, Span] = {}
    asked: dict[int, list[Span]] = {}

    def go_on(number: int, scores: list[float] | None) -> None:
        try:
            asked[number] = next(searches[number]) if scores is None else searches[number].send(scores)
        except StopIteration as end:
            found[number] = end.value

    for number in range(len(searches)):
        go_on(number, None)
    while asked:
        turn, asked = asked, {}
        pairs = [(number, span) for number, spans in turn.items() for span in spans]
        values = iter(score(pairs))
        for number, spans in turn.items():
            go_on(number, [next(values) for _ in spans])
    return [found[number] for number in range(len(searches))]
