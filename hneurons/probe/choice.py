"""How C is chosen. This is the file that decides it; the positive weights at the chosen C are the H-Neurons.

The rule is the paper's: of all C in `probe.C`, take the one with the largest sum of two accuracies.

1. The probe's accuracy on held-out answers (the selection split): does it tell hallucinated from faithful answers?
2. The model's accuracy on held-out selection questions while the H-Neurons of that C are suppressed (α = 0): does the model
   still answer? A set whose suppression removes knowledge is a worse set.

Ties go to the higher AUROC on the held-out answers, then to the smaller C. A C without a positive weight has no H-Neurons
and is never chosen. With `probe.suppressed_questions: 0` the first accuracy decides alone (docs/probe.md).
"""

from collections.abc import Mapping

import pandas as pd

from hneurons.errors import HNeuronsError
from hneurons.judges.states import CORRECT, ERROR
from hneurons.probe.path import FIT_FACTS, ProbePath, neuron_set_mark
from hneurons.stats.coverage import covered
from hneurons.stats.estimates import Estimate, Groups, Interval, mean_estimate

# The rules, as the column `chosen_by` names them.
BOTH = "held-out accuracy + accuracy with the H-Neurons suppressed"
HELD_OUT = "held-out accuracy"
IN_FOLDS = "accuracy + AUROC in folds"
GIVEN = "the user"


def compare_C(
    path: ProbePath, judged: Mapping[str, pd.DataFrame] | None, gold_of: Mapping[str, str] | None = None
) -> pd.DataFrame:
    """Evaluate every C of the path and choose one by the rule above.

    Args:
        path: the probe at every C, with its accuracy and AUROC on the selection split.
        judged: verdicts on the selection questions by the `neuron_set_mark` of the suppressed set; "" is the untouched
            model. None drops the second accuracy from the sum. Verdicts `error` (the judge failed) are excluded.
        gold_of: connected set of accepted answers by question id, the unit of the intervals; needed with `judged`.

    Returns:
        A row per C: both accuracies with their intervals, the paired difference of the suppressed from the untouched model,
        their `sum`, the facts of the fit, `chosen` (true in one
        row) and `chosen_by` (the rule that was applied).

    Raises:
        HNeuronsError: no C yields a positive weight.
    """
    rows = []
    for C, classifier in path.classifiers.items():
        facts = path.facts[C]
        # 1. The probe on held-out answers
        score, n = facts["selection_accuracy"], facts["selection_n"]
        low, high = facts["selection_interval"] or (None, None)
        row = {
            "C": C,
            "non_zero": len(classifier.weights),
            "h_neurons": int((classifier.weights > 0).sum()),
            "selection_accuracy": score,
            "selection_low": low,
            "selection_high": high,
            "selection_n": n,
            "selection_auroc": facts["selection_auroc"],
        }
        # 2. The model with the H-Neurons of this C suppressed
        if judged is not None:
            suppressed = _suppressed(judged[neuron_set_mark(classifier)], judged[""], gold_of or {})
            row |= suppressed
            score += suppressed["suppressed_accuracy"]
        row |= {"sum": score, **{name: facts[name] for name in FIT_FACTS}}
        rows.append(row)
    # 3. The largest sum among the C that have H-Neurons
    usable = [row for row in rows if row["h_neurons"] > 0]
    if not usable:
        tried = [row["C"] for row in rows]
        raise HNeuronsError(f"probe.C: no C of {tried} leaves a positive weight, which H-Neurons need; add larger values")
    best = max(usable, key=lambda row: (row["sum"], row["selection_auroc"], -row["C"]))
    frame = pd.DataFrame(rows)
    frame.insert(1, "chosen", frame["C"] == best["C"])
    frame["chosen_by"] = HELD_OUT if judged is None else BOTH
    return frame


def chosen_C(choice: pd.DataFrame) -> float:
    """The C that compare_C chose."""
    return float(choice["C"][choice["chosen"]].iloc[0])


def _suppressed(suppressed: pd.DataFrame, untouched: pd.DataFrame, gold_of: Mapping[str, str]) -> dict[str, float | None]:
    """Shares of correct answers with intervals over gold answers, and their paired difference.

    A question without a verdict (the judge failed) at either counts in neither.
    """
    judged_twice = suppressed.merge(untouched, on="question_id", suffixes=("", "_untouched"))
    failed = (judged_twice["verdict"] == ERROR) | (judged_twice["verdict_untouched"] == ERROR)
    judged_twice = judged_twice[~failed]
    n, groups = len(judged_twice), Groups.from_names([gold_of[question] for question in judged_twice["question_id"]])
    if not n:
        return {"suppressed_accuracy": 0.0, "suppressed_n": 0, "untouched_accuracy": 0.0}
    per_answer = n / groups.count
    correct, before = (
        mean_estimate((judged_twice[name] == CORRECT).to_numpy(float), groups) for name in ("verdict", "verdict_untouched")
    )
    lost = correct - before

    def bounds(name: str, kind: str, estimate: Estimate, interval: Interval | None) -> dict[str, float | None]:
        low, high = covered(kind, interval, n, per_answer, estimate.value).interval or (None, None)
        return {f"{name}_low": low, f"{name}_high": high}

    return {
        "suppressed_accuracy": correct.value,
        **bounds("suppressed", "rate", correct, correct.share_interval()),
        "suppressed_n": n,
        "untouched_accuracy": before.value,
        "suppressed_minus_untouched": lost.value,
        **bounds("difference", "slope", lost, lost.interval()),
    }
