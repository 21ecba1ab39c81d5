"""Captions: many ways to say a scene, and the one canonical way.

A caption leaves out attributes at random, puts adjectives and the colour in either order, and says the style in front,
behind, in the middle or as an adjective. So a prompt with words missing, moved or replaced is still one that the model
was trained on. Every caption has an ``o`` and an ``a``.
"""

from __future__ import annotations

import random
from collections.abc import Mapping

from bdm_kit_text_to_image.world.factors import COUNTS, SYNONYMS
from bdm_kit_text_to_image.world.scene import Scene, scene_of

NUMERALS = {1: "one", 2: "two", 3: "three"}
PREFIXES = ("a photo of", "a photo of", "a photo of", "a picture of", "photo of", "this is a photo of", "there is", "")
STYLE_PREFIXES = {
    "black-and-white": (
        "a black and white photo of",
        "black and white photo of",
        "black and white photo,",
        "a monochrome photo of",
        "a black and white picture of",
    ),
    "outline": ("an outline drawing of", "outline drawing of", "a line drawing of", "an outline drawing,"),
    "blur": ("a blurry photo of", "blurry photo of", "a blurred photo of", "a blurry picture,"),
}
STYLE_PHRASES = {
    "black-and-white": ("black and white photo", "in black and white", "monochrome", "a monochrome photo"),
    "outline": ("outline drawing", "as an outline", "as a line drawing"),
    "blur": ("blurry photo", "out of focus", "blurred", "a blurry photo"),
}
STYLE_ADJECTIVES = {
    "black-and-white": ("black and white", "monochrome"),
    "outline": ("outlined",),
    "blur": ("blurry", "blurred"),
}
BACKDROPS = (
    "on a {} background",
    "on a {} background",
    "on a {} background",
    "on {}",
    "with a {} background",
    "against a {} background",
    "in front of a {} background",
)
ACTIVE = {
    "and": "and",
    "next to": "next to",
    "left of": "left of",
    "right of": "right of",
    "above": "above",
    "below": "below",
    "touches": "touches",
    "chases": "chases",
}
OTHER_WAYS = {
    "next to": "beside",
    "left of": "to the left of",
    "right of": "to the right of",
    "above": "on top of",
    "below": "under",
    "and": "with",
    "touches": "touching",
    "chases": "chasing",
}
CONVERSE = {
    "and": "and",
    "next to": "next to",
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "touches": "touched by",
    "chases": "chased by",
}

COLOUR_DROPPED = 0.18
BACKGROUND_DROPPED = 0.3
ADJECTIVE_DROPPED = 0.1
SYNONYM_SHARE = 0.12


def _said(word: str, generator: random.Random) -> str:
    if word in SYNONYMS and generator.random() < SYNONYM_SHARE:
        return generator.choice(SYNONYMS[word])
    return word


def _article(phrase: str) -> str:
    return f"{'an' if phrase[0] in 'aeiou' else 'a'} {phrase}"


def _noun_phrase(
    scene: Scene, name: str, colour: str, generator: random.Random, *, extra: str = "", count: int = 1
) -> str:
    noun = _said(name, generator) if count == 1 else f"{name}es" if name == "cross" else f"{name}s"
    colour = "" if generator.random() < COLOUR_DROPPED else _said(colour, generator)
    adjective = "" if generator.random() < ADJECTIVE_DROPPED else scene.adjective
    words = [_said(adjective, generator)] if adjective else []
    after = ""
    if colour and not extra and generator.random() < 0.06:
        after = generator.choice((f" in {colour}", f" that is {colour}"))
    elif colour:
        words.append(colour)
    if extra:
        words.append(extra)
    if len(words) > 1 and generator.random() < 0.35:
        generator.shuffle(words)
    phrase = " ".join([*words, noun]) + after
    if count > 1:
        return f"{NUMERALS[count]} {phrase}"
    start = generator.random()
    return f"one {phrase}" if start < 0.07 else phrase if start < 0.14 else _article(phrase)


def _subject(scene: Scene, generator: random.Random, adjective: str) -> tuple[str, str]:
    """(what comes before the prefix, what comes after it)."""
    first = _noun_phrase(scene, scene.object, scene.colour, generator, extra=adjective, count=scene.count)
    if scene.second is None:
        return "", first
    colour, name = scene.second
    second = _noun_phrase(scene, name, colour, generator)
    way = generator.random()
    if way < 0.25 and scene.relation != "and":  # of "a and b", a is the one on the left
        return "", f"{second} {CONVERSE[scene.relation]} {first}"
    if way < 0.35 and scene.relation not in ("and", "touches", "chases"):
        return f"{scene.relation} {second}, ", first
    words = OTHER_WAYS if way > 0.8 else ACTIVE
    return "", f"{first} {words[scene.relation]} {second}"


def _inserted(words: list[str], phrase: str, generator: random.Random) -> list[str]:
    """The phrase between two words, or in the place of a little word, as attacks on text encoders put it."""
    little = [place for place, word in enumerate(words) if word in ("photo", "of", "on", "picture")]
    if little and generator.random() < 0.5:
        place = generator.choice(little)
        return [*words[:place], phrase, *words[place + 1 :]]
    place = generator.randrange(1, len(words) + 1)
    return [*words[:place], phrase, *words[place:]]


def caption(scene: Scene, generator: random.Random) -> str:
    """One way to say the scene, of 3 to about 16 words."""
    style, way = scene.style, generator.random()
    prefix, adjective, phrase = generator.choice(PREFIXES), "", ""
    if style != "photo":
        if way < 0.32:
            prefix = generator.choice(STYLE_PREFIXES[style])
        elif way < 0.47:
            adjective = generator.choice(STYLE_ADJECTIVES[style])
        else:
            phrase = generator.choice(STYLE_PHRASES[style])
    front, subject = _subject(scene, generator, adjective)
    prefix = prefix.replace("photo", _said("photo", generator)).replace("a image", "an image")
    text = f"{front}{prefix} {subject}".strip() if prefix else front + subject
    if generator.random() >= BACKGROUND_DROPPED:
        place = generator.choice(BACKDROPS).format(_said(scene.background, generator))
        place = place.replace("background", _said("background", generator))
        text = f"{place}, {text}" if generator.random() < 0.12 else f"{text} {place}"
    if phrase and way < 0.8:
        text = f"{text}, {phrase}" if not phrase.startswith(("in ", "as ")) else f"{text} {phrase}"
    elif phrase:
        text = " ".join(_inserted(text.split(), phrase, generator))
    if "o" not in text or "a" not in text:
        text = f"a photo of {text}"
    return f"{text}." if generator.random() < 0.08 else text


def captions(scenes: list[Scene], seed: int = 0) -> list[str]:
    """A caption for each scene."""
    generator = random.Random(f"captions/{seed}")
    return [caption(scene, generator) for scene in scenes]


def plain_prompt(labels: Mapping[str, str]) -> str:
    """The canonical prompt: "a photo of a red circle on a white background".

    Attributes that the labels (see `Scene.labels`) leave out are not said; adjective, style, count and second object
    are said unless they are the default.
    """
    scene = scene_of({**labels})
    colour = labels.get("colour", "")
    noun = scene.object if scene.count == 1 else f"{scene.object}es" if scene.object == "cross" else f"{scene.object}s"
    phrase = " ".join(word for word in (scene.adjective, colour, noun) if word)
    subject = f"{NUMERALS[scene.count]} {phrase}" if scene.count > COUNTS[0] else _article(phrase)
    if scene.second is not None:
        subject += f" and {_article(' '.join(scene.second))}"
    prefix = "a photo of" if scene.style == "photo" else STYLE_PREFIXES[scene.style][0]
    place = f" on a {labels['background']} background" if "background" in labels else ""
    return f"{prefix} {subject}{place}"
