"""What a study can see before it runs: the smallest slope of each behaviour that it detects."""

import numpy as np
from scipy.special import ndtri

from hneurons.config.behaviours import TEST_QUESTIONS
from hneurons.config.study import Study
from hneurons.stats.significance import detectable

# Assumed: a rate of one half, which varies most; and the standard deviation between the slopes of random sets, in points
# per unit of α.
_RATE, _BETWEEN_SETS = 0.5, 2.0


def detectable_slopes(study: Study) -> dict[str, float]:
    """Compute the smallest slope of "H-Neurons minus random" that the study detects with 80 % power, by behaviour.

    Replies at different α are taken as independent; items whose replies agree between α make smaller slopes detectable.

    Args:
        study: its items, α and random sets count.

    Returns:
        Percentage points per unit of α.
    """
    alphas = np.array(study.impact.alphas, dtype=float)
    spread = float(((alphas - alphas.mean()) ** 2).sum())
    sets = study.impact.random_seeds
    slopes = {}
    for name, settings in study.benchmarks.items():
        if name != TEST_QUESTIONS:
            of_items = 100**2 * _RATE * (1 - _RATE) / settings.items / spread * (1 + 1 / sets)
            error = float(np.sqrt(of_items + _BETWEEN_SETS**2 / sets))
            slopes[name] = detectable(error, float(ndtri(0.975))) or 0.0
    return slopes
