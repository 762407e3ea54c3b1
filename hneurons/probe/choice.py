"""The paper's choice of C: accuracy on held-out answers, and that of the model with the found neurons suppressed.

The first term asks whether the probe tells hallucinated from faithful answers; the second that the model without its
H-Neurons (α = 0) still answers: a set that takes knowledge away is a worse one (METHOD.md §1).
"""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from hneurons.errors import HNeuronsError
from hneurons.judges.states import CORRECT, ERROR
from hneurons.probe.path import ProbePath, neuron_set_mark
from hneurons.stats import wilson

BOTH = "held-out accuracy + accuracy with the H-Neurons suppressed"
HELD_OUT = "held-out accuracy"


def compare_C(path: ProbePath, judged: Mapping[str, pd.DataFrame] | None) -> pd.DataFrame:
    """A row per C with both terms, their intervals, and which one was chosen.

    judged: the verdicts on the selection questions by set_mark, "" being the untouched model; without it C is chosen by the
    first term alone. Answers that the judge could not be asked about (error) count in neither direction. Of equal sums the
    better AUROC wins, then the smaller C. Raises HNeuronsError if no C yields a positive weight.
    """
    rows = []
    for C, classifier in path.classifiers.items():
        facts = path.facts[C]
        right = round(facts["selection_accuracy"] * facts["selection_n"])
        low, high = wilson(right, facts["selection_n"])
        row = {
            "C": C,
            "non_zero": len(classifier.weights),
            "h_neurons": int((classifier.weights > 0).sum()),
            "selection_accuracy": facts["selection_accuracy"],
            "selection_low": low,
            "selection_high": high,
            "selection_n": facts["selection_n"],
            "selection_auroc": facts["selection_auroc"],
        }
        score = facts["selection_accuracy"]
        if judged is not None:
            suppressed = _accuracy(judged[neuron_set_mark(classifier)])
            untouched = _accuracy(judged[""])
            row |= {f"suppressed_{name}": value for name, value in suppressed.items()}
            row |= {"untouched_accuracy": untouched["accuracy"]}
            score += suppressed["accuracy"]
        row |= {"sum": score, **{name: facts[name] for name in ("objective", "gap", "violation", "converged", "passes")}}
        rows.append(row)
    usable = [row for row in rows if row["h_neurons"] > 0]
    if not usable:
        raise HNeuronsError(
            f"probe.C: no C of {[row['C'] for row in rows]} leaves a positive weight, so there are no H-Neurons; "
            "add larger values"
        )
    best = max(usable, key=lambda row: (row["sum"], row["selection_auroc"], -row["C"]))
    frame = pd.DataFrame(rows)
    frame.insert(1, "chosen", frame["C"] == best["C"])
    frame["chosen_by"] = HELD_OUT if judged is None else BOTH
    return frame


def chosen_C(choice: pd.DataFrame) -> float:
    return float(choice["C"][choice["chosen"]].iloc[0])


def _accuracy(verdicts: pd.DataFrame) -> dict[str, float]:
    told = verdicts["verdict"][verdicts["verdict"] != ERROR]
    right, n = int((told == CORRECT).sum()), len(told)
    low, high = wilson(right, n)
    return {"accuracy": right / n if n else 0.0, "low": low, "high": high, "n": n}
