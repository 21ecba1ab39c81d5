"""Text embeddings that are computed once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from bdm_kit_text_to_image.models.encoding import Conditioning, encode_prompts
from bdm_kit_text_to_image.models.text_to_image_model import TextToImageModel

MOST_BYTES = 2**30


class PromptCache:
    """Text embeddings of prompts by a frozen text encoder, computed when first asked for and kept on the CPU.

    Args:
        model: its text encoders must not change from now on.
        prompts: N texts; equal ones are encoded once.
        most_bytes: if the embeddings of all of them are larger than this, nothing is kept.
    """

    def __init__(self, model: TextToImageModel, prompts: Sequence[str], most_bytes: int = MOST_BYTES) -> None:
        self.model = model
        self.texts = list(dict.fromkeys(prompts))
        place = {prompt: row for row, prompt in enumerate(self.texts)}
        self.places = torch.tensor([place[prompt] for prompt in prompts], dtype=torch.long)
        self.most_bytes = most_bytes
        self.known = torch.zeros(len(self.texts), dtype=torch.bool)
        self.kept: Conditioning | None = None

    def rows(self, index: Tensor) -> Conditioning:
        """The embeddings of the prompts ``index`` (b,), int64; without gradient."""
        places = self.places[index]
        missing = places[~self.known[places]].unique()
        if len(missing):
            fresh = self._encode(missing)
            if self.kept is None:
                size = sum(part.element_size() * part[0].numel() for part in fresh if part is not None)
                if size * len(self.texts) > self.most_bytes:
                    return self._encode(places)
                self.kept = fresh.each(lambda part: part.new_empty(len(self.texts), *part.shape[1:]))
            for kept, part in zip(self.kept, fresh, strict=True):
                if kept is not None and part is not None:
                    kept[missing] = part
            self.known[missing] = True
        assert self.kept is not None
        return self.kept.rows(places)

    def _encode(self, places: Tensor) -> Conditioning:
        with torch.no_grad():
            return encode_prompts(self.model, [self.texts[place] for place in places.tolist()]).to("cpu")
