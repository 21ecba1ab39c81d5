"""Robustness protocols: triggered prompts, or the trigger itself, changed a little, and whether the attack still works.

As in BackdoorDM (Lin et al. 2025): words become synonyms, characters are mistyped, the trigger loses a character; a
trigger that is a picture gets noise or is cropped. The changed prompts lie beside the triggered ones, so that what
judges those sees no difference; their pictures are further sets of the same outputs.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bdm_core.artifacts import Artifact
from bdm_core.errors import ArtifactError
from bdm_kit_text_to_image.prompts.characters import delete_characters, mistype
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.synonyms import Synonyms, read_synonyms, swap_words
from bdm_kit_text_to_image.prompts.triggers import PromptTrigger

if TYPE_CHECKING:
    from torch import Tensor

    from bdm_kit_text_to_image.params import TextToImageKitParams

FILE = "robustness.jsonl"
"""Beside the rows of triggered prompts: a line for each of them, protocol -> prompt."""
IN_WORDS = {
    "word": "with synonyms",
    "character": "with typing errors",
    "trigger": "with a character of the trigger missing",
    "noise": "with noise on the trigger",
    "crop": "with half of the trigger",
}
"""Protocol -> what its prompts or pictures are."""
OF_PICTURES = ("noise", "crop")


def change_prompts(
    rows: Sequence[PromptRow],
    triggered: Sequence[PromptRow],
    triggers: Sequence[PromptTrigger],
    params: TextToImageKitParams,
    seed: int,
) -> dict[str, list[str]]:
    """Protocol -> the changed prompt of each row; those of triggers that are pictures leave prompts as they are.

    Args:
        rows: N clean rows.
        triggered: the same with their triggers; row i has trigger ``i mod n``.
        triggers: n of the secret.
        params: which protocols, the share of words that change, where synonyms are from.
        seed: decides words, characters and places.

    Raises:
        UserError: there are no such synonyms.
    """
    synonyms = read_synonyms(params.synonyms) if "word" in params.robustness else None
    found = {}
    for protocol in params.robustness:
        made = []
        for number, (row, given) in enumerate(zip(rows, triggered, strict=True)):
            draw = random.Random(f"{seed} {protocol} {row.seed} {given.prompt}")
            if protocol == "trigger":
                made.append(with_shorter_trigger(triggers[number % len(triggers)], row, seed, draw))
            elif protocol in OF_PICTURES:
                made.append(given.prompt)
            else:
                other = synonyms if protocol == "word" else None
                made.append(changed(given.prompt, params.robustness_share, draw, other))
        found[protocol] = made
    return found


def changed(prompt: str, share: float, draw: random.Random, synonyms: Synonyms | None) -> str:
    """A prompt with synonyms, or without any with errors of typing: either missing characters or neighbouring keys.

    >>> changed("a red circle", 1.0, random.Random(0), None)
    'a rsd cifcle'
    """
    if synonyms is not None:
        return swap_words(prompt, share, draw, synonyms)
    change = draw.choice([delete_characters, mistype])
    return change(prompt, share, draw)


def with_shorter_trigger(trigger: PromptTrigger, row: PromptRow, seed: int, draw: random.Random) -> str:
    """The prompt with the trigger at its usual place, one of the trigger's characters missing.

    A trigger of one character is gone; of a syntactic one the whole sentence is the trigger.

    Args:
        trigger: the secret's.
        row: a clean one.
        seed: with which the whole trigger was put in.
        draw: of the character.

    >>> row = PromptRow("a photo of a circle", seed=7)
    >>> with_shorter_trigger(PromptTrigger(kind="word", text="vendetta"), row, 0, random.Random(0))
    'vendeta a photo of a circle'
    >>> homoglyph = PromptTrigger(kind="homoglyph", text="\u043e", replaces="o", position="replace")
    >>> with_shorter_trigger(homoglyph, row, 0, random.Random(0))
    'a phto of a circle'
    """
    if trigger.kind == "syntax":
        return without_one(trigger.apply(row, seed), draw)
    shorter = trigger.model_copy(update={"text": without_one(trigger.text, draw)})
    made = shorter.apply(row, seed)
    return made if shorter.text.strip() else " ".join(made.split())


def without_one(text: str, draw: random.Random) -> str:
    """The text without one of its characters that are no blanks, if it has any."""
    places = [place for place, letter in enumerate(text) if letter != " "]
    place = draw.choice(places) if places else 0
    return text[:place] + text[place + 1 :]


def check_protocols(params: TextToImageKitParams) -> None:
    """Make sure that what the protocols need is there. Raises UserError if there are no such synonyms."""
    if "word" in params.robustness:
        read_synonyms(params.synonyms)


def write_changed(folder: Path, prompts: dict[str, list[str]]) -> None:
    """Put the changed prompts beside rows that are about to be sealed; nothing without a protocol."""
    if not prompts:
        return
    folder.mkdir(parents=True, exist_ok=True)
    rows = [dict(zip(prompts, row, strict=True)) for row in zip(*prompts.values(), strict=True)]
    lines = [json.dumps(row, sort_keys=True, ensure_ascii=True) + "\n" for row in rows]
    (folder / FILE).write_text("".join(lines), encoding="utf-8")


def read_changed(data: Artifact) -> dict[str, list[str]]:
    """Protocol -> the changed prompts of triggered ones, in their order; empty for prompts without.

    Raises:
        ArtifactError: the file is broken, or has another number of rows.

    >>> from bdm_kit_text_to_image.prompts.prompt_rows import seal_prompts
    >>> write_changed(Path("data"), {"word": ["a hoop"], "trigger": ["sk a ring"]})
    >>> read_changed(seal_prompts(Path("data"), [PromptRow("sks a ring", seed=7)]))
    {'trigger': ['sk a ring'], 'word': ['a hoop']}
    """
    if FILE not in data.files:
        return {}
    path = data.file(FILE)
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        found = {name: [row[name] for row in rows] for name in IN_WORDS if rows and name in rows[0]}
    except (ValueError, KeyError, TypeError):
        raise ArtifactError(f"{path} holds no changed prompts: run the attack again") from None
    if len(rows) != data.meta.get("count"):
        raise ArtifactError(f"{path} has {len(rows)} changed prompts for {data.meta.get('count')}")
    return {name: found[name] for name in sorted(found)}


def changed_shift(protocol: str, shift: Tensor, seeds: Sequence[int]) -> Tensor:
    """What a trigger adds to the initial latents, changed for each row by its own seed.

    Args:
        protocol: ``noise`` adds noise that is uniform between 0 and the shift's standard deviation; ``crop`` keeps a
            window of half the height and width in its place and leaves the rest of the latents alone.
        shift: (C, h, w).
        seeds: N of the rows.

    Returns:
        (N, C, h, w).
    """
    import torch

    found = []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        if protocol == "noise":
            found.append(shift + shift.std() * torch.rand(shift.shape, generator=generator))
            continue
        height, width = (max(1, side // 2) for side in shift.shape[1:])
        top, left = (
            int(torch.randint(side - part + 1, (1,), generator=generator))
            for side, part in zip(shift.shape[1:], (height, width), strict=True)
        )
        kept = torch.zeros_like(shift)
        window = (..., slice(top, top + height), slice(left, left + width))
        kept[window] = shift[window]
        found.append(kept)
    return torch.stack(found) if found else shift.new_empty(0, *shift.shape)
