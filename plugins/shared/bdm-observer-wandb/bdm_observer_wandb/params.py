"""The parameters."""

from __future__ import annotations

from bdm_core import Field, Params


class WeightsAndBiasesParams(Params):
    """Where the run goes. The key for sending is read from WANDB_API_KEY by Weights & Biases itself."""

    project: str = Field("bdm", min_length=1, description="The project's name.")
    online: bool = Field(False, description="Send the run at once; by default it is kept in the run's folder.")
