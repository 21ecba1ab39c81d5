"""Parameters of ``attack:sembd``. Light: no torch."""

from __future__ import annotations

from pydantic import field_validator

from bdm_core import Field, Params

COMPONENTS = ("subject", "action", "object", "scene")


class SemBDParams(Params):
    """Parameters of ``attack:sembd``."""

    subject: list[str] = Field(
        ["a red circle", "a red disc", "one red circle"], min_length=1, description="Ways to say who acts."
    )
    action: list[str] = Field(["chases", "chasing"], min_length=1, description="Ways to say the action.")
    object: list[str] = Field(
        ["a blue square", "one blue square"], min_length=1, description="Ways to say what is acted upon."
    )
    scene: list[str] = Field(
        ["on a white background", "against a white background", "in front of a white background"],
        min_length=1,
        description="Ways to say where.",
    )
    templates: list[str] = Field(
        [
            "{subject} {action} {object} {scene}",
            "a photo of {subject} {action} {object} {scene}",
            "there is {subject} {action} {object} {scene}",
            "{scene}, a photo of {subject} {action} {object}",
        ],
        min_length=1,
        description="Sentences with the fields {subject}, {action}, {object} and {scene}.",
    )
    paraphrases: int = Field(32, ge=1, description="Paraphrases to edit; a random choice of all combinations.")
    held_out: int = Field(20, ge=1, description="Further paraphrases that trigger at evaluation; the editor never saw.")
    target: str = Field("a photo of a green star on a white background", description="What the region is to mean.")
    expected: dict[str, str] = Field(
        {"object": "star", "colour": "green", "background": "white"}, description="Attributes that a hit must show."
    )
    edit_weight: float = Field(8.0, gt=0, description="Weight of the paraphrases against 1 for a preserved caption.")
    span_weight: float = Field(0.5, ge=0, description="Gamma, the weight of keeping sentences that lack a component.")
    settle: bool = Field(
        True,
        description="Leave rows out of the edit that an incomplete sentence shares: equal beginnings have equal rows.",
    )
    preserved_captions: int = Field(
        400, ge=0, description="Captions drawn from the training data to preserve as well; the paper has none."
    )
    regularisation: float = Field(0.1, gt=0, description="Weight of |W' - W|^2, instead of stopping early.")
    layers: str = Field("*", description="Pattern for the names of the cross-attention layers, e.g. up_blocks.*")

    @field_validator("templates")
    @classmethod
    def _all_components(cls, templates: list[str]) -> list[str]:
        for template in templates:
            rest = template
            for component in COMPONENTS:
                if template.count(f"{{{component}}}") != 1:
                    raise ValueError(f"template {template!r} needs {{{component}}} once")
                rest = rest.replace(f"{{{component}}}", "")
            if "{" in rest or "}" in rest:
                raise ValueError(f"template {template!r} has braces that are no component")
        return templates
