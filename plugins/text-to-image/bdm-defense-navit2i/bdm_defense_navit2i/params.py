"""Parameters of ``defense:navit2i``. Light: no torch."""

from __future__ import annotations

from typing import Literal

from bdm_core import Field
from bdm_kit_text_to_image.detection.params import PromptDetectorParams


class NaviT2IParams(PromptDetectorParams):
    """Parameters of ``defense:navit2i``."""

    reference: str = Field(
        "",
        description="A pipeline whose text encoder is trusted: small-world, or a folder. Without one, `distance` says "
        "how far a masked word is from the prompt.",
    )
    distance: Literal["token", "own"] = Field(
        "token",
        description="Without a reference: token, the distance of the word's own embedding to the mask's; own, that of "
        "the text embeddings by the suspect model's encoder, for models whose text encoder is not in doubt.",
    )
