"""What all detectors of triggered prompts are. Light: no torch."""

from __future__ import annotations

from typing import Any

from bdm_core import Defense, UserError

LEAST = 4
"""Clean prompts without which nothing is judged."""


class PromptDetector(Defense):
    """Base of the defenses that are calibrated on captions of the defender's clean data."""

    tasks = frozenset({"text-to-image"})
    level = "input"
    spare_prompts = 0
    """Captions that it needs beside ``clean_prompts``."""

    def check(self, params: Any, clean_rows: int) -> None:
        """Refuse too few captions before anything is trained; of those that are there some may be suspects."""
        needed = params.clean_prompts + self.spare_prompts if self.spare_prompts else LEAST
        if clean_rows < needed:
            beside = f", {params.clean_prompts} of them to calibrate (clean_prompts)" if self.spare_prompts else ""
            raise UserError(
                f"defense:{self.name} needs at least {needed} clean captions{beside}, and the defender has "
                f"{clean_rows}: allow more data (--data-share)"
            )
