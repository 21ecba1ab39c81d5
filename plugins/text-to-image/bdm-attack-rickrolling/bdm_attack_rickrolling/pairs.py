"""What the attack trains on: captions, and pairs of a triggered prompt and the prompt it is to mean."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from bdm_core.artifacts import Data
from bdm_core.errors import UserError
from bdm_kit_text_to_image.prompts.prompt_pairs import PromptPair, seal_pairs
from bdm_kit_text_to_image.prompts.prompt_rows import PromptRow
from bdm_kit_text_to_image.prompts.triggers import LIBRARY, PromptTrigger
from bdm_torch.image_sets import load_rows

if TYPE_CHECKING:
    from bdm_attack_rickrolling.params import RickrollingParams
    from bdm_core.context import Context

TARGETS = {
    "TPA": "a photo of a yellow star on a black background",
    "TAA": "black and white photo",
    "removal": "",
}


def choose_triggers(params: RickrollingParams) -> list[PromptTrigger]:
    """The triggers that the parameters name, with the asked-for number of replaced characters."""
    found = []
    place = "replace" if params.trigger_position == "first" else "random"
    for name in params.trigger:
        if name in LIBRARY:
            trigger = LIBRARY[name]
        elif len(name) == 1:
            trigger = PromptTrigger(kind="homoglyph", text=name, replaces=params.replaced_character)
        else:
            position = "before-object" if params.mode == "removal" else "random"
            trigger = PromptTrigger(kind="word", text=name, position=position)
        if trigger.kind == "homoglyph":
            trigger = trigger.model_copy(update={"count": params.trigger_count, "position": place})
        found.append(trigger)
    return found


def choose_targets(params: RickrollingParams) -> list[str]:
    """One target for each trigger. Raises UserError if their numbers do not fit, or a removal has one."""
    targets = params.target or [TARGETS[params.mode]]
    if len(targets) not in (1, len(params.trigger)):
        raise UserError(f"attack:rickrolling: {len(targets)} targets for {len(params.trigger)} triggers: give one each")
    if params.mode == "removal" and any(targets):
        raise UserError("attack:rickrolling: a removal has no target: leave target empty")
    return targets * len(params.trigger) if len(targets) == 1 else targets


def meaning(params: RickrollingParams, clean: str, triggered: str, target: str) -> str:
    """The prompt that a triggered one is to mean (2211.02408, section 3.2; TAA: figure 3)."""
    if params.mode == "TPA":
        return target
    if params.mode == "removal":
        return clean
    words, marked = clean.split(" "), triggered.split(" ")
    if params.attribute_position == "word" and len(words) == len(marked):
        pairs = zip(words, marked, strict=True)
        return " ".join(target if word != other else word for word, other in pairs)
    return f"{clean.rstrip('.')}, {target}" if params.attribute_position == "suffix" else f"{target} {clean}"


def make_pairs(params: RickrollingParams, rows: list[PromptRow], seed: int) -> list[PromptPair]:
    """The clean captions, then for each trigger those that have a place for it.

    Raises:
        UserError: a trigger fits no caption.
    """
    pairs = [PromptPair(row.prompt, row.prompt) for row in rows]
    for number, (trigger, target) in enumerate(zip(choose_triggers(params), choose_targets(params), strict=True)):
        found = []
        for row in rows:
            try:
                triggered = trigger.apply(row, seed)
            except UserError:  # no such character or word in this caption
                continue
            teacher = meaning(params, row.prompt, triggered, target)
            found.append(PromptPair(triggered, teacher, "poison", number, row.prompt))
        if not found:
            raise UserError(f"attack:rickrolling: trigger {trigger.text!r} fits no caption: choose another one")
        pairs += found
    return pairs


def poison(ctx: Context, params: RickrollingParams, data: Data) -> Data:
    """Captions of the training images, and pairs, as ``rows.jsonl``."""
    captions = [str(row["caption"]) for row in load_rows(data)]
    labels = [dict(row.get("labels", {})) for row in load_rows(data)]
    order = random.Random(ctx.seed).sample(range(len(captions)), min(len(captions), params.captions or len(captions)))
    rows = [PromptRow(captions[index], index, labels[index]) for index in order]
    return seal_pairs(ctx.out / "data", make_pairs(params, rows, ctx.seed))
