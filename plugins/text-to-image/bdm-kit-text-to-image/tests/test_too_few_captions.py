"""Detectors of prompts refuse too few captions before anything is trained."""

from __future__ import annotations

import pytest

from bdm_core import Defense, UserError
from bdm_kit_text_to_image.detection.fewest_captions import LEAST, require_captions
from bdm_kit_text_to_image.detection.params import PromptDetectorParams


class Mine(Defense):
    name = "mine"


def test_too_few_captions_are_refused() -> None:
    params = PromptDetectorParams(clean_prompts=10)
    require_captions(Mine(), params, LEAST)
    with pytest.raises(UserError, match=r"defense:mine needs at least 4 clean captions, and the defender has 3: allow"):
        require_captions(Mine(), params, LEAST - 1)
    require_captions(Mine(), params, 13, spare=3)
    with pytest.raises(UserError, match=r"needs at least 13 clean captions, 10 of them to calibrate \(clean_prompts\)"):
        require_captions(Mine(), params, 12, spare=3)
