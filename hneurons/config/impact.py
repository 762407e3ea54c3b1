"""Settings of the α sweep: benchmarks, neuron sets, and the cost of scaling.

Imported by the Snakefile, so nothing heavy may be imported here.
"""

import math
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import Field, field_validator

from hneurons.config.base import Settings, Slug
from hneurons.config.behaviours import BenchmarkSettings, check_behaviour

# Neuron sets in file names; random ones end in their seed. "untouched" is the unscaled model.
H_NEURONS, NEGATIVE, RANDOM, UNTOUCHED = "hneurons", "negative", "random", "untouched"
UNTOUCHED_ALPHA = 1.0


def is_untouched(alpha: float) -> bool:
    """Whether scaling by this α leaves the model unchanged (eq. 5)."""
    return alpha == UNTOUCHED_ALPHA


def sweep(sets: Sequence[str], alphas: Sequence[float]) -> list[tuple[str, float]]:
    """List the runs of a sweep.

    Args:
        sets: names of the neuron sets.
        alphas: the scaling factors.

    Returns:
        Every (set, α) once; the untouched model first, and only once because it is the same for all sets.
    """
    scaled = [alpha for alpha in dict.fromkeys(alphas) if not is_untouched(alpha)]
    return [(UNTOUCHED, UNTOUCHED_ALPHA), *((name, alpha) for name in sets for alpha in scaled)]


def format_alpha(alpha: float) -> str:
    """Format an α for file names, such as 0, 0.5 or 1."""
    return f"{alpha:g}"


def named_alpha(alpha: float) -> float:
    """Return the α that a file name states: 0.3 for 0.1 + 0.2.

    Raises:
        ValueError: if the name of this α would be that of another: for more than six digits, or a value below 0.0001.
    """
    name = format_alpha(alpha)
    # NumPy's ranges end in digits of rounding, which no one means.
    if not re.fullmatch(r"\d+(\.\d+)?", name) or not math.isclose(float(name), alpha, rel_tol=1e-9):
        raise ValueError(f"alpha {alpha} cannot be a file name: use at most six digits and no value below 0.0001")
    return float(name)


class UtilitySettings(Settings):
    """Measures of what scaling costs, at every α and for every neuron set."""

    questions: int = Field(200, ge=0, description="maximum number of in-domain test questions at every α; 0 skips them")
    text: str | None = Field(
        "python-reference",
        description="text whose perplexity is measured: python-reference (part of Python), wikitext-2, a file, or null",
    )
    tokens: int = Field(8192, ge=256, description="number of tokens of the text")
    responses: int = Field(64, ge=0, description="test responses on which CETT(α) is compared with CETT(1); 0 skips this")


class ImpactSettings(Settings):
    """The α sweep (Figure 3). α = 1 is the untouched model and always runs, once for all neuron sets."""

    benchmarks: dict[Slug, BenchmarkSettings] = Field(min_length=1)
    alphas: list[Annotated[float, Field(ge=0)]] = Field([0, 0.5, 1, 1.5, 2, 2.5, 3], min_length=2)
    random_seeds: int = Field(5, ge=1, description="sets of random neurons, each with the layer counts of the H-Neurons")
    negative: bool = Field(False, description="also scale the neurons with a negative weight, as a separate set")
    alphas_per_job: int = Field(6, ge=1, description="α that a job runs; it loads its model once")
    sets_per_job: int = Field(1, ge=1, description="sets of neurons that a job runs at each of its α")
    utility: UtilitySettings = UtilitySettings()

    @field_validator("benchmarks")
    @classmethod
    def _described(cls, benchmarks: dict[Slug, BenchmarkSettings]) -> dict[Slug, BenchmarkSettings]:
        for name, settings in benchmarks.items():
            check_behaviour(name, settings)
        return benchmarks

    @field_validator("alphas")
    @classmethod
    def _distinct(cls, alphas: list[float]) -> list[float]:
        named = [named_alpha(alpha) for alpha in alphas]
        if len(set(named)) < len(named):
            raise ValueError("each alpha may occur only once")
        return sorted(named)
