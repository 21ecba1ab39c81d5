"""Parameters of ``metric:classifier``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class ClassifierParams(Params):
    """Parameters of ``metric:classifier``."""

    model: str | None = Field(
        None,
        description="Image classifier: a folder in transformers' format, or hf:org/name@commit, e.g. of "
        "google/vit-base-patch16-224. There is no default.",
    )
    label_map: str | None = Field(
        None,
        description="JSON file that maps labels of the classifier, by name or number, to a word of captions or a list "
        'of them, e.g. {"tabby, tabby cat": "cat", "281": ["cat", "kitten"]}; null: a label stands for its own '
        "names, which commas separate.",
    )
    top: int = Field(
        1, ge=1, le=100, description="A picture shows a word if one of its labels is among so many likeliest ones."
    )
    batch_size: int = Field(64, ge=1, description="Pictures that pass through the classifier at once.")
