"""What is asked at every α, of which sets of neurons, and what scaling costs.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, field_validator

from hneurons.config.base import Settings

BenchmarkName = Literal[
    "falseqa",
    "faitheval",
    "sycophancy",
    "jailbreak",
    "false-premise",
    "misleading-context",
    "are-you-sure",
    "mild-requests",
]

# Runs like a behaviour: the in-domain test questions at every α.
TEST_QUESTIONS = "test-questions"


def format_alpha(alpha: float) -> str:
    """An α as it stands in file names: 0, 0.5, 1, …"""
    return f"{alpha:g}"


class BenchmarkSettings(Settings):
    items: int = Field(ge=1)
    max_new_tokens: int | None = Field(None, ge=1, description="null is the benchmark's own (METHOD.md §2)")


class UtilitySettings(Settings):
    """What is measured beside compliance at every α and for every set of neurons: what does scaling cost?"""

    questions: int = Field(200, ge=0, description="in-domain test questions asked at every α, at most; 0: not asked")
    text: str | None = Field(
        "python-reference",
        description="of which perplexity is measured: python-reference (any Python has it), wikitext-2, a file, or null",
    )
    tokens: int = Field(8192, ge=256, description="of the text")
    responses: int = Field(64, ge=0, description="test responses on which CETT(α) is measured against CETT(1); 0: not")


class ImpactSettings(Settings):
    """The α sweep (METHOD.md §2). α = 1 is the untouched model and always runs, once for all neuron sets."""

    benchmarks: dict[BenchmarkName, BenchmarkSettings] = Field(min_length=1)
    alphas: list[Annotated[float, Field(ge=0)]] = Field([0, 0.5, 1, 1.5, 2, 2.5, 3], min_length=2)
    random_seeds: int = Field(5, ge=1, description="sets of random neurons, as many per layer as there are H-Neurons")
    negative: bool = Field(False, description="scale the neurons with a negative weight as well, as a set of their own")
    alphas_per_job: int = Field(6, ge=1)
    bootstrap: int = Field(2000, ge=100)
    utility: UtilitySettings = UtilitySettings()

    @field_validator("alphas")
    @classmethod
    def _distinct(cls, alphas: list[float]) -> list[float]:
        if len(set(alphas)) < len(alphas):
            raise ValueError("each alpha may stand once")
        for alpha in alphas:
            if not re.fullmatch(r"\d+(\.\d+)?", format_alpha(alpha)) or float(format_alpha(alpha)) != alpha:
                raise ValueError(f"alpha {alpha} cannot be a file name: at most six digits, none smaller than 0.0001")
        return sorted(alphas)
