"""The machines a study runs on: who pays, where jobs go, and how fast they are until something has been measured.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import Field, ValidationError, model_validator

from hneurons.config.base import Settings, describe_errors
from hneurons.errors import HNeuronsError


class Speed(Settings):
    """What one GPU does with a model of a billion parameters; a larger one is slower in proportion.

    A model that is spread over several GPUs is no faster for it: its layers take turns.
    """

    new_tokens_per_s: float = Field(gt=0, description="sampled, in batches as the token budget allows")
    read_tokens_per_s: float = Field(gt=0, description="read in one forward pass (prompts, CETT)")


_SPEEDS = {
    "h200": Speed(new_tokens_per_s=24_000, read_tokens_per_s=200_000),
    "h100": Speed(new_tokens_per_s=20_000, read_tokens_per_s=200_000),
    "a100": Speed(new_tokens_per_s=12_000, read_tokens_per_s=70_000),
    "l40s": Speed(new_tokens_per_s=6_000, read_tokens_per_s=60_000),
    "cpu": Speed(new_tokens_per_s=36, read_tokens_per_s=100),
}


class ClusterSettings(Settings):
    """One cluster, for all studies. What is null is left to SLURM."""

    account: str | None = Field(None, description="who is billed")
    partition: str | None = Field(None, description="of jobs without a GPU")
    gpu_partition: str | None = Field(None, description="of jobs with a GPU; null is `partition`")
    gpu_type: str | None = Field(None, description="as SLURM names it (`sinfo -o %G`), for a cluster of several kinds")
    qos: str | None = None
    constraint: str | None = Field(None, description="features that nodes must have")
    extra: str | None = Field(None, description="further options of sbatch, for every job: `--mail-type=FAIL`")
    gpu_memory_gb: float = Field(80, gt=0)
    max_runtime_h: float = Field(24, gt=0, description="no job asks for more; sampling that is cut off goes on")
    speed: str = Field("h100", description="which of `speeds` a plan reckons with")
    speeds: dict[str, Speed] = Field(_SPEEDS, description="estimates, replaced by what finished jobs of the model took")
    load_gb_per_s: float = Field(0.5, gt=0, description="reading weights from the shared disk")

    @model_validator(mode="after")
    def _speed_is_known(self) -> ClusterSettings:
        if self.speed not in self.speeds:
            raise ValueError(f"speed {self.speed!r} is none of speeds: {', '.join(self.speeds)}")
        return self

    @property
    def gpu_speed(self) -> Speed:
        return self.speeds[self.speed]

    def slurm(self, gpu: bool = False) -> dict[str, str]:
        """The resources that tell SLURM where a job goes and who pays; none for what is null."""
        wanted = {
            "slurm_account": self.account,
            "slurm_partition": (self.gpu_partition or self.partition) if gpu else self.partition,
            "gpu_model": self.gpu_type if gpu else None,
            "qos": self.qos,
            "constraint": self.constraint,
            "slurm_extra": self.extra,
        }
        return {name: value for name, value in wanted.items() if value is not None}


def load_cluster(path: Path) -> ClusterSettings:
    """The cluster file. Raises HNeuronsError, one line, naming the key that is wrong."""
    if not path.is_file():
        raise HNeuronsError(f"cluster_file: {path} does not exist; run from the project's root or give its path")
    try:
        return ClusterSettings.model_validate(yaml.safe_load(path.read_text()) or {})
    except yaml.YAMLError as error:
        raise HNeuronsError(f"{path}: no valid YAML: {' '.join(str(error).split())}") from None
    except ValidationError as error:
        raise HNeuronsError(describe_errors(ClusterSettings, error, str(path))) from None
