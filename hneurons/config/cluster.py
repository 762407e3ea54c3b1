"""The machines that a study runs on: billing, partitions, and speeds to assume until jobs have been measured.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from hneurons.config.base import Settings, parse_settings, read_yaml


class Speed(Settings):
    """Throughput of one GPU with a model of a billion parameters; a larger model is slower in proportion.

    Spreading a model over several GPUs makes it no faster, because its layers run one after the other; a server that splits
    every matrix over them is faster by their number.
    """

    new_tokens_per_s: float = Field(gt=0, description="tokens sampled per second, in batches of the token budget")
    read_tokens_per_s: float = Field(gt=0, description="tokens read per second in a forward pass (prompts, CETT)")


_SPEEDS = {
    "h200": Speed(new_tokens_per_s=24_000, read_tokens_per_s=200_000),
    "h100": Speed(new_tokens_per_s=20_000, read_tokens_per_s=200_000),
    "a100": Speed(new_tokens_per_s=12_000, read_tokens_per_s=70_000),
    "l40s": Speed(new_tokens_per_s=6_000, read_tokens_per_s=60_000),
    "cpu": Speed(new_tokens_per_s=60, read_tokens_per_s=170),
}


class ClusterSettings(Settings):
    """One cluster, for all studies. SLURM decides where a value is null."""

    account: str | None = Field(None, description="account to bill")
    partition: str | None = Field(None, description="partition of jobs without a GPU")
    gpu_partition: str | None = Field(None, description="partition of jobs with a GPU; null takes `partition`")
    gpu_type: str | None = Field(None, description="kind of GPU as SLURM names it (`sinfo -o %G`); null takes any")
    qos: str | None = None
    constraint: str | None = Field(None, description="node features that jobs require")
    extra: str | None = Field(None, description="further options of sbatch for every job, such as `--mail-type=FAIL`")
    gpu_memory_gb: float = Field(80, gt=0)
    max_runtime_h: float = Field(24, gt=0, description="upper limit of a job's run time; interrupted sampling resumes")
    speed: str = Field("h100", description="the entry of `speeds` that plans assume")
    speeds: dict[str, Speed] = Field(_SPEEDS, description="estimates, corrected by the measured times of finished jobs")
    load_gb_per_s: float = Field(0.5, gt=0, description="speed at which weights are read from the shared disk")

    @model_validator(mode="after")
    def _speed_is_known(self) -> Self:
        if self.speed not in self.speeds:
            raise ValueError(f"speed {self.speed!r} is not among speeds: {', '.join(self.speeds)}")
        return self

    @property
    def gpu_speed(self) -> Speed:
        """Speed of the cluster's GPUs."""
        return self.speeds[self.speed]

    def slurm(self, gpu: bool = False) -> dict[str, str]:
        """Return the Snakemake resources that set a job's account, partition and options; null settings are left out.

        Args:
            gpu: whether the job uses a GPU.
        """
        resources = {
            "slurm_account": self.account,
            "slurm_partition": (self.gpu_partition or self.partition) if gpu else self.partition,
            "gpu_model": self.gpu_type if gpu else None,
            "qos": self.qos,
            "constraint": self.constraint,
            "slurm_extra": self.extra,
        }
        return {name: value for name, value in resources.items() if value is not None}


def load_cluster(path: Path) -> ClusterSettings:
    """Read a cluster file.

    Raises:
        HNeuronsError: one line, naming the key that is wrong.
    """
    return parse_settings(ClusterSettings, read_yaml(path, "cluster_file") or {}, str(path))
