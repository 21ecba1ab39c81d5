"""Prompts without look-alike and invisible characters, and what is odd about a prompt's characters. Light: no torch.

A prompt is read as Latin if most of its letters are, or some are and all others are look-alikes: a Cyrillic letter in
an English prompt is then a look-alike, in a Russian one it is not, but in a word of Latin letters and look-alikes. What
has no Latin look-alike is dropped from a Latin prompt. Emoji, digits and punctuation stay.
"""

from __future__ import annotations

import re
import unicodedata

LOOK_ALIKES = {
    "a": "аαａɑ⍺",
    "b": "Ьᖯ",
    "c": "сϲ",
    "d": "ԁ",
    "e": "еҽ℮",
    "g": "ɡց",
    "h": "һհ",
    "i": "іιɩӏ",
    "j": "јϳ",
    "k": "κ",
    "l": "ⅼ",
    "m": "ⅿ",
    "n": "ոռ",
    "o": "оοօଠ୦০০൦๐໐೦౦०੦૦௦𐒆ㅇᄋ〇ᴏσ",
    "p": "рρ",
    "q": "ԛզ",
    "r": "гᴦ",
    "s": "ѕꜱ",
    "t": "τ",
    "u": "υսᴜ",
    "v": "νѵ",
    "w": "ԝա",
    "x": "хχ",
    "y": "уү",
    "z": "ᴢ",
    "A": "АΑ",
    "B": "ВΒ",
    "C": "СϹ",
    "E": "ЕΕ",
    "H": "НΗ",
    "I": "ІΙӀ",
    "J": "Ј",
    "K": "КΚ",
    "M": "МΜ",
    "N": "Ν",
    "O": "ОΟՕ",
    "P": "РΡ",
    "S": "ЅՏ",
    "T": "ТΤ",
    "V": "Ѵ",
    "X": "ХΧ",
    "Y": "ҮΥ",
    "Z": "Ζ",
}
"""Latin letter -> characters of other scripts that look like it."""
LATIN_FOR = {other: letter for letter, others in LOOK_ALIKES.items() for other in others}
SPECIAL = {"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "ı": "i", "ð": "d", "þ": "p"}
"""Latin letters that Unicode does not take apart."""
INVISIBLE = {"Cf", "Mn", "Me", "Cc", "Cn", "Co", "Zl", "Zp"}
"""Unicode's categories of characters that show nothing by themselves."""
WORD = re.compile(r"\w+")
KEPT_CONTROLS = "\t\n\r"
JOINER, SELECTOR = "\u200d", "\ufe0f"
"""They belong to emoji, and are kept behind one."""
FLAGS = ("invisible characters", "look-alike letters", "other scripts", "emoji or symbols", "repeated punctuation")


def is_latin(prompt: str) -> bool:
    """Whether most letters of a prompt are Latin, or some and all others look so; a prompt without letters is.

    >>> is_latin("a ph\\u043eto of a cat"), is_latin("\\u043a\\u043e\\u0442"), is_latin("42")
    (True, False, True)
    >>> is_latin("ph\\u043et\\u043e \\u043e\\u0440\\u0435\\u0445")
    True
    """
    letters = [letter for letter in prompt if unicodedata.category(letter).startswith("L")]
    return 2 * sum(_latin(letter) for letter in letters) >= len(letters) or _disguised(prompt)


def normalised(prompt: str) -> str:
    """The prompt with Latin letters for their look-alikes, no accents and nothing invisible.

    A prompt of another script only loses what is invisible and no mark of its letters.

    >>> normalised("a ph\\u043et\\u00f4 of\\u200b a c\\u034fat"), normalised("\\u043a\\u043e\\u0442 \\u200b\\u0438")
    ('a photo of a cat', '\\u043a\\u043e\\u0442 \\u0438')
    """
    if not is_latin(prompt):
        plain = WORD.sub(lambda word: "".join(map(_as_latin, word[0])) if _disguised(word[0]) else word[0], prompt)
        kept = [letter for letter in plain if not _hidden(letter) or unicodedata.category(letter).startswith("M")]
        return _spaced("".join(kept), prompt)
    found: list[str] = []
    for letter in unicodedata.normalize("NFC", prompt):
        found.append(_plain(letter, found[-1] if found else ""))
    return _spaced("".join(found), prompt)


def text_flags(prompt: str) -> list[str]:
    """What is odd about the characters of a prompt, in words of :data:`FLAGS`; none of it proves a trigger.

    >>> text_flags("a ph\\u043eto of a cat...."), text_flags("a photo of a cat")
    (['look-alike letters', 'repeated punctuation'], [])
    """
    found = set()
    latin = is_latin(prompt)
    for place, letter in enumerate(prompt):
        category = unicodedata.category(letter)
        if _hidden(letter) and not (letter in (JOINER, SELECTOR) and place and _symbol(prompt[place - 1])):
            found.add("invisible characters")
        elif latin and (letter in LATIN_FOR or (category.startswith("L") and _accented(letter))):
            found.add("look-alike letters")
        elif latin and category.startswith("L") and not _latin(letter):
            found.add("other scripts")
        elif _symbol(letter):
            found.add("emoji or symbols")
    if any(map(_disguised, WORD.findall(prompt))) or _looks_latin(prompt):
        found.add("look-alike letters")
    if re.search(r"([^\w\s])\s*\1", prompt) or re.search(r"[\[\]<>{}*|#_~^]", prompt):
        found.add("repeated punctuation")
    return [flag for flag in FLAGS if flag in found]


def _as_latin(letter: str) -> str:
    return LATIN_FOR.get(letter, letter)


def _disguised(text: str) -> bool:
    """Whether letters are Latin and look-alikes, both, and no others: a reader takes all of them for Latin."""
    letters = [letter for letter in text if unicodedata.category(letter).startswith("L")]
    alike = [letter in LATIN_FOR and not _latin(letter) for letter in letters]
    return any(alike) and not all(alike) and all(map(_latin, map(_as_latin, letters)))


def _looks_latin(text: str) -> bool:
    """Whether three letters or more are look-alikes, all of them, so that the text reads as Latin."""
    letters = [letter for letter in text if unicodedata.category(letter).startswith("L")]
    return len(letters) > 2 and all(letter in LATIN_FOR and not _latin(letter) for letter in letters)


def _plain(letter: str, before: str) -> str:
    if letter in (JOINER, SELECTOR) and _symbol(before[-1:]):
        return letter
    if _hidden(letter):
        return ""
    if letter in LATIN_FOR:
        return LATIN_FOR[letter]
    if letter.isascii() or not unicodedata.category(letter).startswith("L"):
        return letter
    taken = [part for part in unicodedata.normalize("NFKD", letter) if not unicodedata.category(part).startswith("M")]
    plain = "".join(SPECIAL.get(part, LATIN_FOR.get(part, part)) for part in taken)
    return "".join(part for part in plain if _latin(part))


def _hidden(letter: str) -> bool:
    return letter not in KEPT_CONTROLS and unicodedata.category(letter) in INVISIBLE


def _latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN"))


def _accented(letter: str) -> bool:
    return not letter.isascii() and _latin(letter)


def _symbol(letter: str) -> bool:
    return bool(letter) and (letter == SELECTOR or unicodedata.category(letter) == "So")


def _spaced(text: str, prompt: str) -> str:
    """The text without the spaces that dropped characters leave behind."""
    return text if text == prompt else re.sub(r" {2,}", " ", text).strip(" ")
