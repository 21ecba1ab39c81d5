"""How many captions a detector of triggered prompts needs, known before anything is trained. Light: no torch."""

from __future__ import annotations

from bdm_core import Defense, UserError
from bdm_kit_text_to_image.detection.params import PromptDetectorParams

LEAST = 4
"""Clean prompts without which nothing is judged."""


def require_captions(defense: Defense, params: PromptDetectorParams, clean_rows: int, *, spare: int = 0) -> None:
    """Refuse too few captions of the defender's clean data.

    Args:
        defense: who asks.
        params: its parameters.
        clean_rows: how many captions there are; some of them may be suspects, which then do not count.
        spare: how many it needs beside ``params.clean_prompts``; 0 if it makes do with fewer than these.

    Raises:
        UserError: there are too few.
    """
    needed = params.clean_prompts + spare if spare else LEAST
    if clean_rows < needed:
        beside = f", {params.clean_prompts} of them to calibrate (clean_prompts)" if spare else ""
        raise UserError(
            f"defense:{defense.name} needs at least {needed} clean captions{beside}, and the defender has "
            f"{clean_rows}: allow more data (--data-share)"
        )
