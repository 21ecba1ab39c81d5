"""The parameters of the executor."""

from __future__ import annotations

from bdm_core import Field, Params


class SlurmParams(Params):
    cluster: str = Field(
        "slurm",
        pattern="^(slurm|local|debug)$",
        description="slurm; local for processes of this machine, debug for this process: submitit's own, for tests.",
    )
    partition: str = Field("", description="SLURM's partition; empty for the default one.")
    account: str = Field("", description="SLURM's account.")
    qos: str = Field("", description="SLURM's quality of service.")
    constraint: str = Field("", description="SLURM's constraint on the features of nodes.")
    minutes: int = Field(240, ge=1, le=10**5, description="Time limit of a job whose plugin declares no hours.")
    memory_gib: float = Field(
        8.0, gt=0, le=10**5, description="Memory in GiB of a job for which none is declared or recorded."
    )
    jobs: int = Field(1000, ge=1, le=10**5, description="Stages that may be queued or running at a time.")
    parallel: int = Field(256, ge=1, le=10**5, description="Jobs of one array that may run at a time.")
    requeues: int = Field(10, ge=0, le=1000, description="How often a job is queued again when its time is over.")
    retries: int = Field(2, ge=0, le=100, description="How often a job that SLURM lost is submitted again.")
    bundle_seconds: float = Field(
        0.0, ge=0, description="Short stages are put into one job up to so many expected seconds; 0 for one a job."
    )
    setup: list[str] = Field([], description="Shell commands before each job, e.g. to load modules.")
    more: dict[str, str] = Field({}, description="Further options of sbatch, e.g. {mail-type: FAIL}.")
