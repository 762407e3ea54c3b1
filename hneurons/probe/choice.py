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
from hneurons.probe.l1_path import FIT_FACTS
from hneurons.probe.path import ProbePath, neuron_set_mark
from hneurons.stats import wilson

# The two rules, as the column `chosen_by` names them.
BOTH = "held-out accuracy + accuracy with the H-Neurons suppressed"
HELD_OUT = "held-out accuracy"


def compare_C(path: ProbePath, judged: Mapping[str, pd.DataFrame] | None) -> pd.DataFrame:
    """Evaluate every C of the path and choose one by the rule above.

    Args:
        path: the probe at every C, with its accuracy and AUROC on the selection split.
        judged: verdicts on the selection questions by the `neuron_set_mark` of the suppressed set; "" is the untouched
            model. None drops the second accuracy from the sum. Verdicts `error` (the judge failed) are excluded.

    Returns:
        A row per C: both accuracies with their Wilson intervals, their `sum`, the facts of the fit, `chosen` (true in one
        row) and `chosen_by` (the rule that was applied).

    Raises:
        HNeuronsError: no C yields a positive weight.
    """
    rows = []
    for C, classifier in path.classifiers.items():
        facts = path.facts[C]
        # 1. The probe on held-out answers
        score, n = facts["selection_accuracy"], facts["selection_n"]
        low, high = wilson(round(score * n), n)
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
            suppressed = _accuracy(judged[neuron_set_mark(classifier)])
            row |= {f"suppressed_{name}": value for name, value in suppressed.items()}
            row["untouched_accuracy"] = _accuracy(judged[""])["accuracy"]
            score += suppressed["accuracy"]
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


def _accuracy(verdicts: pd.DataFrame) -> dict[str, float]:
    """Share of correct answers with its Wilson interval, over the verdicts that the judge could give."""
    valid = verdicts["verdict"][verdicts["verdict"] != ERROR]
    correct, n = int((valid == CORRECT).sum()), len(valid)
    low, high = wilson(correct, n)
    return {"accuracy": correct / n if n else 0.0, "low": low, "high": high, "n": n}
