"""Parameters of ``metric:clip-score``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class ClipScoreParams(Params):
    """Parameters of ``metric:clip-score``."""

    model: str | None = Field(
        None,
        description="Contrastive model: a folder with a CLIPModel and its tokenizer in transformers' format, or "
        "hf:org/name@commit; by default the built-in one, which knows pictures of the small world only.",
    )
    batch_size: int = Field(64, ge=1, description="Pairs of picture and text that pass through the model at once.")
