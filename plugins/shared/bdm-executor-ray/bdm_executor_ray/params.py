"""The parameters of the executor."""

from __future__ import annotations

from bdm_core import Field, Params


class RayParams(Params):
    address: str = Field(
        "",
        description='Address of the cluster, e.g. 10.0.0.1:6379 or "auto"; empty: one on this machine, for this sweep.',
    )
    workers: int = Field(0, ge=0, le=10**6, description="Tasks at a time; 0 for as many as the cluster's CPUs.")
    retries: int = Field(3, ge=0, le=100, description="How often a task is tried again when its worker dies.")
    patience: float = Field(
        600.0, ge=0, description="Seconds that the cluster may be gone, e.g. while its head is started again."
    )
    silence: float = Field(
        60.0, ge=5, description="Seconds without a sign of life after which the connection is made anew."
    )
