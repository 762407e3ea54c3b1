"""The scores of Table 1, for every method and data set."""

import re
from dataclasses import dataclass

from hneurons.probe.classifiers import PROBE, REFIT
from hneurons.stats import Interval, Reliability

# Names of the methods in tables and figures.
METHODS = {
    PROBE: "H-Neurons: the probe, all its weights",
    "random": "random neurons, same number as in the probe",
    REFIT: "H-Neurons alone (positive weights, refit)",
    "random-refit": "random neurons, same number as H-Neurons",
    "length": "response length",
    "logprob": "mean log-probability",
    "bag-of-words": "bag of words of the answer",
    "population": "population of the city",
}


@dataclass(frozen=True)
class MethodScore:
    """One row of Table 1: the scores of a method on the answers of a data set.

    Attributes:
        method: a key of METHODS.
        seeds: number of classifiers averaged; more than one for random neurons.
        auroc_of_seeds: AUROC of each of them.
        n_hallucinated, n_faithful: number of examples in each class.
        accuracy, accuracy_interval: accuracy at p = 0.5, mean over the seeds.
        auroc, auroc_interval: AUROC, mean over the seeds.
        lead, lead_interval: the probe's AUROC minus this method's, on the same rows; None for the probe.
        neurons_used: number of weights in the classifier; None for a baseline without neurons.
    """

    method: str
    seeds: int
    auroc_of_seeds: list[float]
    n_hallucinated: int
    n_faithful: int
    accuracy: float
    accuracy_interval: Interval
    auroc: float
    auroc_interval: Interval
    lead: float | None = None
    lead_interval: Interval | None = None
    neurons_used: int | None = None

    @property
    def difference(self) -> str | None:
        """The interval of the lead in words; None for the probe."""
        if self.lead is None or self.lead_interval is None:
            return None
        if self.lead_interval[0] <= 0 <= self.lead_interval[1]:
            return "no difference shown (interval contains 0)"
        return "probe better" if self.lead > 0 else "probe worse"


@dataclass(frozen=True)
class DatasetScores:
    """All methods on the answers of one data set: result of the stages "detection", "folds" and "transfer".

    Attributes:
        model: the model whose probe is scored.
        dataset: the data set whose answers are scored.
        judge, extractor: names of those that gave the verdicts and the answer spans.
        verdicts: count of each verdict and state among all responses.
        faithful_are: description of the faithful answers that the hallucinated ones are paired with.
        methods: one score per method.
        calibration: reliability of the probe's probabilities; None in folds.
        partner, direction: for transfer, the model whose answers are scored, and "backward" or "forward".
    """

    model: str
    dataset: str
    judge: str
    verdicts: dict[str, int]
    faithful_are: str
    methods: list[MethodScore]
    extractor: str = ""
    calibration: Reliability | None = None
    partner: str | None = None
    direction: str | None = None

    def of_method(self, name: str) -> MethodScore:
        """Return the score of a method, by its key in METHODS."""
        return next(score for score in self.methods if score.method == name)

    def percent(self, state: str) -> float:
        """Return the share of a verdict or state among all responses, in percent."""
        return 100 * self.verdicts.get(state, 0) / sum(self.verdicts.values())


def method_name(classifier: str) -> str:
    """Return the method that a classifier belongs to: random-3 belongs to random."""
    return re.sub(r"-\d+$", "", classifier)
