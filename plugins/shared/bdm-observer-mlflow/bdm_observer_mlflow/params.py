"""The parameters."""

from __future__ import annotations

from bdm_core import Field, Params


class MLflowParams(Params):
    """Which MLflow the run goes to. Credentials are MLflow's matter: it reads them from its environment variables."""

    tracking_uri: str = Field(
        "",
        description="A server or database; by default what MLFLOW_TRACKING_URI says, else `mlflow.db` beside the runs.",
    )
    experiment: str = Field("bdm", min_length=1, description="The experiment's name.")
