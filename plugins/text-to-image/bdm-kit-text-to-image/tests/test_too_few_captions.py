"""Detectors of prompts refuse too few captions before anything is trained."""

from __future__ import annotations

import pytest

from bdm_core import UserError, hookimpl
from bdm_kit_text_to_image.detection.detector import LEAST, PromptDetector
from bdm_kit_text_to_image.detection.params import PromptDetectorParams


class Detector(PromptDetector):
    name = "mine"
    Params = PromptDetectorParams

    @hookimpl
    def detect(self) -> None: ...


class Spare(Detector):
    spare_prompts = 3


def test_too_few_captions_are_refused() -> None:
    params = PromptDetectorParams(clean_prompts=10)
    Detector().check(params, LEAST)
    with pytest.raises(UserError, match=r"defense:mine needs at least 4 clean captions, and the defender has 3: allow"):
        Detector().check(params, LEAST - 1)
    Spare().check(params, 13)
    with pytest.raises(UserError, match=r"needs at least 13 clean captions, 10 of them to calibrate \(clean_prompts\)"):
        Spare().check(params, 12)
