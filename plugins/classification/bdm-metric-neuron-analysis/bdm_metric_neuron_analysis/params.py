"""Parameters of ``metric:neuron-analysis``. Light: no torch."""

from __future__ import annotations

from bdm_core import Field, Params


class NeuronAnalysisParams(Params):
    """Parameters of ``metric:neuron-analysis``."""

    samples: int = Field(200, ge=2, le=100_000, description="So many test rows are used at most, drawn at random.")
    shown: int = Field(
        12, ge=1, le=100, description="Units in the table: those of each layer that the trigger changes most."
    )
    pictures: int = Field(4, ge=0, le=16, description="Samples whose feature maps are shown.")
    steps: int = Field(
        64,
        ge=0,
        le=10_000,
        description="Steps of gradient ascent to the picture that a unit answers to most; 0 leaves it out.",
    )
