"""The scores of Table 1, for every method and data set."""

import re
from dataclasses import dataclass, field

from hneurons.probe.classifiers import PROBE, RANDOM_L1, RANDOM_L2, REFIT
from hneurons.stats.calibration import Reliability
from hneurons.stats.estimates import Interval

COMBINED = "combined"
# Names of the methods in tables and figures.
METHODS = {
    PROBE: "H-Neurons: the probe, all its weights",
    COMBINED: "H-Neurons and confidence, combined",
    RANDOM_L1: "random neurons, number of the probe's, L1",
    RANDOM_L2: "random neurons, number of the probe's, L2",
    REFIT: "H-Neurons alone (positive weights), L2",
    "random-refit": "random neurons, number of the H-Neurons, L2",
    "answer-logprob": "log-probability of the answer, mean",
    "answer-logprob-min": "log-probability of the answer, minimum",
    "logprob": "log-probability of the response, mean",
    "length": "response length",
    "bag-of-words": "bag of words of the answer",
    "population": "population of the city",
}
# The methods that use the H-Neurons; all others are baselines that the probe is compared with.
OF_H_NEURONS = (PROBE, REFIT, COMBINED)
# A random set of which fewer neurons keep a weight is not quoted as a control.
MIN_SHARE_USED = 0.9


def lead_shown(interval: Interval | None, rank: int | None, sets: int) -> bool:
    """Whether a lead of the probe is shown: its interval is above 0, and it is ahead of the random sets at 5 %.

    Args:
        interval: of the lead.
        rank: of the probe among itself and the random sets; None without enough of them for a test.
        sets: number of random sets.
    """
    ahead = rank is None or rank <= 0.05 * (sets + 1)
    return interval is not None and interval[0] > 0 and ahead


@dataclass(frozen=True)
class MethodScore:
    """Detection by one method on one data set.

    Attributes:
        method: a key of METHODS.
        seeds: number of classifiers averaged; more than one for random neurons.
        auroc_of_seeds: AUROC of each of them.
        n_hallucinated, n_faithful: number of examples in each class.
        accuracy, accuracy_interval: accuracy at p = 0.5, mean over the seeds.
        auroc, auroc_interval: AUROC, mean over the seeds.
        lead, lead_interval: the probe's AUROC minus this method's, on the same rows; None for the probe. Intervals are over
            gold answers, and over random sets where there are any; None if n is too small for one.
        coverage: how often intervals of AUROC cover the truth at this n in simulations; None where n is large enough.
        neurons_used: number of neurons of the classifier; None for a baseline without neurons.
        share_used: share of these that keep a weight, mean over the seeds.
        rank: the probe's rank by AUROC among itself and the random sets, 1 is the best; None below 19 sets.
    """

    method: str
    seeds: int
    auroc_of_seeds: list[float]
    n_hallucinated: int
    n_faithful: int
    accuracy: float
    accuracy_interval: Interval | None
    auroc: float
    auroc_interval: Interval | None
    lead: float | None = None
    lead_interval: Interval | None = None
    coverage: float | None = None
    neurons_used: int | None = None
    share_used: float | None = None
    rank: int | None = None

    @property
    def difference(self) -> str | None:
        """The interval of the lead in words; None for the probe."""
        if self.lead is None:
            return None
        if self.lead_interval is None:
            return "n too small"
        if self.lead_interval[0] <= 0 <= self.lead_interval[1]:
            return "no difference shown (interval contains 0)"
        if self.lead > 0 and not self.beaten:
            return f"no difference shown (the probe is number {self.rank} among {self.seeds} random sets)"
        return "probe better" if self.lead > 0 else "probe worse"

    @property
    def beaten(self) -> bool:
        """Whether the probe's lead over this method is shown (see lead_shown)."""
        return lead_shown(self.lead_interval, self.rank, self.seeds)

    @property
    def marked(self) -> bool:
        """Whether fewer of the random neurons keep a weight than a control needs."""
        return self.share_used is not None and self.share_used < MIN_SHARE_USED


@dataclass(frozen=True)
class SweepPoint:
    """Random neurons in one number, fitted with an L2 penalty on standardised columns, in folds by gold answer.

    Attributes:
        neurons: the number of neurons, k.
        sets: number of random sets.
        auroc, auroc_interval: mean over the sets, with the variance between them.
        lead, lead_interval: the probe's AUROC minus it, on the same rows.
        rank: the probe's rank among itself and the sets; None below 19 sets.
    """

    neurons: int
    sets: int
    auroc: float
    auroc_interval: Interval | None
    lead: float
    lead_interval: Interval | None
    rank: int | None = None

    @property
    def beaten(self) -> bool:
        """Whether the probe's lead over so many random neurons is shown."""
        return lead_shown(self.lead_interval, self.rank, self.sets)


@dataclass(frozen=True)
class DatasetScores:
    """All methods on the answers of one data set: result of the stages "detection", "folds" and "transfer".

    Attributes:
        model: the model whose probe is scored.
        dataset: the data set whose answers are scored.
        judge, extractor: names of those that gave the verdicts and the answer spans.
        verdicts: count of each verdict and state among all responses.
        faithful_are: description of the faithful answers that the hallucinated ones are paired with.
        methods: one score per method; none if the set has too few examples of a class.
        calibration: reliability of the probe's probabilities; None in folds.
        trained_on: the in-domain set of the probe that is scored, if it is not the study's main one.
        partner, direction: for transfer, the model whose answers are scored, and "backward" or "forward".
        sweep: in folds, random neurons in growing numbers.
        note: why the set has no scores, or empty.
    """

    model: str
    dataset: str
    judge: str
    verdicts: dict[str, int]
    faithful_are: str
    methods: list[MethodScore]
    extractor: str = ""
    trained_on: str = ""
    calibration: Reliability | None = None
    partner: str | None = None
    direction: str | None = None
    sweep: list[SweepPoint] = field(default_factory=list)
    note: str = ""

    def of_method(self, name: str) -> MethodScore:
        """Return the score of a method, by its key in METHODS."""
        return next(score for score in self.methods if score.method == name)

    @property
    def control(self) -> MethodScore:
        """The stronger of the two random controls: the probe's lead is claimed over this one."""
        controls = [score for score in self.methods if score.method in (RANDOM_L1, RANDOM_L2)]
        return max(controls, key=lambda score: score.auroc)

    @property
    def not_beaten(self) -> list[str]:
        """The baselines that the probe is not shown to beat, by their keys in METHODS."""
        return [s.method for s in self.methods if s.method not in OF_H_NEURONS and not s.beaten]

    @property
    def matching_number(self) -> int | None:
        """The smallest number of random neurons over which the probe's lead is not shown; None if it always is."""
        matching = [point.neurons for point in self.sweep if not point.beaten]
        return min(matching, default=None)

    def percent(self, state: str) -> float:
        """Return the share of a verdict or state among all responses, in percent."""
        return 100 * self.verdicts.get(state, 0) / max(1, sum(self.verdicts.values()))


def method_name(classifier: str) -> str:
    """Return the method that a classifier belongs to: random-l1-3 belongs to random-l1."""
    return re.sub(r"-\d+$", "", classifier)
