"""The tokenizer of the small world: byte-level byte-pair encoding, in CLIP's format."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

from tokenizers.pre_tokenizers import ByteLevel
from transformers import CLIPTokenizer

from bdm_kit_text_to_image.models.tiny import END, START
from bdm_kit_text_to_image.world.factors import PERSONAL, RARE_WORDS

MAX_LENGTH = 32
"""Token positions of a prompt; captions take at most 27, the rest is for triggers of many tokens."""

Word = tuple[str, ...]


def learn_merges(words: Counter[str], most: int = 1000) -> list[tuple[str, str]]:
    """Byte-pair merges in order, until every word is one token or there are ``most``.

    A word is its characters, the last one with ``</w>``; the most frequent neighbours are merged first, and among
    equally frequent ones the first in alphabetical order. Source: Sennrich et al., Neural Machine Translation of Rare
    Words with Subword Units, 2016, algorithm 1.
    """
    pieces: dict[str, Word] = {word: (*word[:-1], f"{word[-1]}</w>") for word in words}
    merges: list[tuple[str, str]] = []
    while len(merges) < most:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, symbols in pieces.items():
            for pair in pairwise(symbols):
                pairs[pair] += words[word]
        if not pairs:
            break
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        pieces = {word: _merged(symbols, best) for word, symbols in pieces.items()}
    return merges


def _merged(symbols: Word, pair: tuple[str, str]) -> Word:
    found: list[str] = []
    for symbol in symbols:
        if found and (found[-1], symbol) == pair:
            found[-1] += symbol
        else:
            found.append(symbol)
    return tuple(found)


def build_tokenizer(captions: Sequence[str]) -> CLIPTokenizer:
    """A CLIPTokenizer: all 256 bytes (so every text has tokens), every word of the captions, and the rare words.

    The personal concept's name and RARE_WORDS are single tokens that no caption has. Padding is the end token, as in
    Stable Diffusion 1.x.
    """
    words = Counter(word for caption in captions for word in caption.replace(",", " ").replace(".", " ").split())
    words.update((PERSONAL, *RARE_WORDS))
    alphabet = sorted(ByteLevel.alphabet())
    merges = learn_merges(words)
    tokens = [*alphabet, *(f"{symbol}</w>" for symbol in alphabet)]
    tokens += [*dict.fromkeys(left + right for left, right in merges), START, END]
    return CLIPTokenizer(
        vocab={token: number for number, token in enumerate(tokens)},
        merges=merges,
        pad_token=END,
        model_max_length=MAX_LENGTH,
    )
