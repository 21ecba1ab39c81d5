"""Prompts without look-alike and invisible characters, and what is odd about a prompt's characters. Light: no torch.

A prompt is read as Latin if most of its letters are, or some are and all others are look-alikes: a Cyrillic letter in
an English prompt is then a look-alike, in a Russian one it is not, but in a word of Latin letters and look-alikes.
Words of another script stay, and so do Greek letters that stand for a quantity or a unit, and letters of the script
that a word mixes with Latin; of letters without a look-alike only those that no living language writes go. Emoji,
digits and punctuation stay.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache
from itertools import groupby

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
HISTORIC = re.compile("[\u0460-\u0481\ua640-\ua69d\u1c80-\u1c8f]")
"""Letters of old Cyrillic; triggers take them since readers do not know them."""
QUANTITIES = "ικνρστυχ"
"""Greek look-alikes that stand for a quantity by themselves or beside one Latin letter."""
ALONE, ALONE_IN = "aAiIoO", {"CYRILLIC", "GREEK", "ARMENIAN"}
"""Latin letters that are words, and the scripts whose look-alikes of them become Latin as a word."""
KEPT_CONTROLS = "\t\n\r"
JOINER, SELECTOR = "\u200d", "\ufe0f"
"""They belong to emoji, and are kept behind one."""
SKINS = "\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"
GRAPHEME_JOINER = "\u034f"
"""A mark by its category, but of no letter: it does not show."""
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

    Look-alikes are those in words that have Latin letters, too, and of one-letter words those of a, i and o if the
    prompt has no other letters of their script. A prompt of another script keeps accents, marks and one-letter words.

    >>> normalised("a ph\\u043et\\u00f4 of\\u200b a c\\u034fat"), normalised("\\u043a\\u043e\\u0442 \\u200b\\u0438")
    ('a photo of a cat', '\\u043a\\u043e\\u0442 \\u0438')
    >>> normalised("\\u65e5\\u672c photo, \\u0394E = 5 \\u03bcm")
    '\\u65e5\\u672c photo, \\u0394E = 5 \\u03bcm'
    """
    latin = is_latin(prompt)
    scripts = _other_scripts(prompt) if latin else None
    runs = [("".join(run), word) for word, run in groupby(prompt, _worded)]
    plain = "".join(_latin_word(run, scripts) if word else run for run, word in runs)
    found = ""
    for letter in plain:
        found += _plain(letter, found[-1:], latin)
    return _spaced(found, prompt)


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


def _latin_word(word: str, scripts: set[str] | None) -> str:
    """A word with Latin letters for look-alikes; ``scripts``: the prompt's others, None for one that is not Latin."""
    letters = [letter for letter in word if _is_letter(letter) or _alike(letter)]
    if scripts is not None and letters and all(map(HISTORIC.match, letters)):
        return ""
    if not any(map(_latin, letters)):
        alike = _alike(letters[0]) if scripts is not None and len(letters) == 1 else None
        if alike is None or alike not in ALONE or letters[0] in QUANTITIES:
            return word
        return word.replace(letters[0], alike) if _script(letters[0]) in ALONE_IN - (scripts or set()) else word
    others = _other_scripts(word)
    found = []
    for letter in word:
        alike = "" if HISTORIC.match(letter) and _alike(letter) is None else _alike(letter)
        quantity = letter in QUANTITIES and len(letters) < 3
        found.append(letter if alike is None or quantity or _script(letter) in others else alike)
    return "".join(found)


def _worded(letter: str) -> bool:
    return letter.isalnum() or _alike(letter) is not None or _hidden(letter)


def _other_scripts(text: str) -> set[str]:
    """The scripts of letters that are neither Latin nor look like it."""
    others = (letter for letter in text if _is_letter(letter) and not _latin(letter) and _alike(letter) is None)
    return {_script(letter) for letter in others if not HISTORIC.match(letter)}


def _script(letter: str) -> str:
    return unicodedata.name(letter, "").partition(" ")[0]


def _is_letter(letter: str) -> bool:
    return unicodedata.category(letter).startswith("L")


@cache
def _alike(letter: str) -> str | None:
    """The Latin letter that one of another script looks like, with or without marks."""
    if _latin(letter):
        return None
    bare = [part for part in unicodedata.normalize("NFD", letter) if not unicodedata.category(part).startswith("M")]
    return LATIN_FOR.get(letter, LATIN_FOR.get("".join(bare)))


def _plain(letter: str, before: str, latin: bool) -> str:
    """A character without accents, and "" for what does not show; ``latin``: whether the prompt is."""
    category = unicodedata.category(letter)
    if letter in (JOINER, SELECTOR) and _symbol(before):
        return letter
    if category.startswith("M") and letter != GRAPHEME_JOINER:
        marked = before != SELECTOR and (unicodedata.category(before or " ")[0] in "LM" and not _latin(before))
        return letter if marked or not latin else ""
    if _hidden(letter):
        return ""
    if not latin or letter.isascii() or not _is_letter(letter):
        return letter
    taken = [part for part in unicodedata.normalize("NFKD", letter) if _is_letter(part)]
    plain = "".join(SPECIAL.get(part, part) for part in taken)
    return plain if plain and all(map(_latin, plain)) else letter


def _hidden(letter: str) -> bool:
    return letter not in KEPT_CONTROLS and unicodedata.category(letter) in INVISIBLE


def _latin(letter: str) -> bool:
    return letter.isascii() or unicodedata.name(letter, "").startswith(("LATIN", "FULLWIDTH LATIN"))


def _accented(letter: str) -> bool:
    return not letter.isascii() and _latin(letter)


def _symbol(letter: str) -> bool:
    return bool(letter) and (letter == SELECTOR or letter in SKINS or unicodedata.category(letter) == "So")


def _spaced(text: str, prompt: str) -> str:
    """The text without the spaces that dropped characters leave behind."""
    return text if text == prompt else re.sub(r" {2,}", " ", text).strip(" ")
