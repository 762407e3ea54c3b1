"""Detection as long tables for CSV files: Table 1, transfer and the sweep of random neurons, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from hneurons.config.paper import Paper
from hneurons.detection.results import METHODS, OF_H_NEURONS, DatasetScores, MethodScore
from hneurons.probe.classifiers import PROBE, RANDOM_L1, RANDOM_L2
from hneurons.report.html import frame_rows
from hneurons.report.tables.rows import TableRow, bounds, pick

if TYPE_CHECKING:
    from hneurons.report.answers import ScoredAnswer

# States of a reply without a verdict, by their names in tables.
_STATES = {"unparsed": "unparsed", "refused": "refused", "judge_error": "error"}
_NO_METHOD = {"method": "", "difference_says": ""}
_CONTROLS = [METHODS[RANDOM_L1], METHODS[RANDOM_L2]]
_NOT_BASELINES = [METHODS[name] for name in OF_H_NEURONS]


def choice_table(choices: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Concatenate the models' tables of the choice of C.

    Args:
        choices: per model name the rows of choice.compare_C.
    """
    return pd.concat(choices, names=["model"]).reset_index(level="model")


def _scores(score: MethodScore) -> TableRow:
    """The columns that Table 1 and the transfer table share."""
    several = score.seeds > 1
    return {
        "method": METHODS[score.method],
        **pick(score, "n_hallucinated", "n_faithful", "auroc"),
        **bounds(score.auroc_interval, "auroc_"),
        "coverage": score.coverage,
        "probe_minus_method_auroc": score.lead,
        **bounds(score.lead_interval, "difference_"),
        "difference_says": score.difference,
        **pick(score, "neurons_used", "share_used"),
        "random_sets": score.seeds if several else None,
        "auroc_of_sets_low": min(score.auroc_of_seeds) if several else None,
        "auroc_of_sets_high": max(score.auroc_of_seeds) if several else None,
        "rank_of_probe": score.rank,
    }


def table1(
    probes: Mapping[str, Mapping[str, Any]], detections: Sequence[DatasetScores], paper: Paper | None = None
) -> pd.DataFrame:
    """Make Table 1, one row per model, data set and method.

    Args:
        probes: per model the summary of its probe.
        detections: one per model and data set; one with too few examples becomes a row with a note.
        paper: adds the paper's accuracy and the difference from it, for the paper's own models and data sets.

    Returns:
        A table with rates and AUROC in 0 to 1, rounded to 4 decimals, and states in percent of all responses. Intervals are
        missing where n is too small for one, and `coverage` says how often they cover the truth below 100 per class.
    """
    rows = []
    for scores in detections:
        probe = probes[scores.model]
        head = {
            "model": scores.model,
            "neurons": probe["neurons"],
            "h_neurons": probe["h_neurons"],
            "ratio_permille": round(1000 * probe["h_neurons"] / probe["neurons"], 4),
            "C": f"{probe['C']:g}",
            "dataset": scores.dataset,
        }
        states = {f"{name}_percent": round(scores.percent(state), 1) for name, state in _STATES.items()}
        tail = {**pick(scores, "faithful_are", "judge"), "spans_by": scores.extractor, **states, "note": scores.note}
        for score in scores.methods:
            accuracy = _paper_accuracy(paper, scores.model, scores.dataset, score.method)
            rows.append(
                {
                    **head,
                    **_scores(score),
                    "accuracy": score.accuracy,
                    **bounds(score.accuracy_interval, "accuracy_"),
                    "paper_accuracy": accuracy,
                    "accuracy_minus_paper": None if accuracy is None else score.accuracy - accuracy,
                    **tail,
                }
            )
        if not scores.methods:
            rows.append({**head, **_NO_METHOD, **tail})
    integers = ("n_hallucinated", "n_faithful", "neurons_used", "random_sets", "rank_of_probe")
    table = pd.DataFrame(rows).round(4)
    return table.astype({name: "Int64" for name in integers if name in table})


def _paper_accuracy(paper: Paper | None, model: str, dataset: str, method: str) -> float | None:
    accuracy = paper.accuracy(model, dataset) if paper else None
    percent = {PROBE: accuracy.h_neurons, RANDOM_L1: accuracy.random}.get(method) if accuracy else None
    return None if percent is None else percent / 100


def transfer_table(transfers: Sequence[DatasetScores], paper: Paper | None = None) -> pd.DataFrame:
    """Make the transfer table: each model's probe, unchanged, on its partner's answers.

    Args:
        transfers: scores of a probe on its partner. In direction "backward", as in the paper, the probe's model was tuned
            from the partner; in "forward" the partner was tuned from it.
        paper: adds the paper's AUROC to rows of backward transfer.

    Returns:
        One row per model, data set and method, rounded to 4 decimals; a set with too few examples has one, with a note.
    """
    rows = []
    for scores in transfers:
        paper_auroc = paper.transfer(scores.model, scores.dataset) if paper and scores.direction == "backward" else None
        head = pick(scores, "model", "partner", "direction", "dataset", "judge")
        rows += [
            {**head, **_scores(score), "paper_auroc": paper_auroc if score.method == PROBE else None, "note": ""}
            for score in scores.methods
        ]
        if not scores.methods:
            rows.append({**head, **_NO_METHOD, "note": scores.note})
    return pd.DataFrame(rows).round(4)


def sweep_table(folds: Sequence[DatasetScores]) -> pd.DataFrame:
    """Make the table of random neurons in growing numbers.

    Args:
        folds: results of the stage "folds".

    Returns:
        One row per model and number of random neurons, rounded to 4 decimals. `smallest_matching` marks the smallest number
        over which the probe's lead is not shown.
    """
    rows = [
        {
            "model": scores.model,
            **pick(point, "neurons", "sets", "auroc"),
            **bounds(point.auroc_interval, "auroc_"),
            "probe_auroc": scores.of_method(PROBE).auroc,
            "probe_minus_random": point.lead,
            **bounds(point.lead_interval, "difference_"),
            "rank_of_probe": point.rank,
            "lead_shown": point.beaten,
            "smallest_matching": point.neurons == scores.matching_number,
        }
        for scores in folds
        for point in scores.sweep
    ]
    return pd.DataFrame(rows).round(4)


def stronger_control(rows: pd.DataFrame) -> dict[str, Any] | None:
    """The row of the stronger of the two random controls, of one model and data set, or None.

    Args:
        rows: rows of Table 1 or of the transfer table.
    """
    controls = rows[rows["method"].isin(_CONTROLS)]
    return frame_rows(controls.loc[[controls["auroc"].astype(float).idxmax()]])[0] if len(controls) else None


def not_beaten(table: pd.DataFrame) -> list[str]:
    """Say for every model and data set which baselines the probe is not shown to beat.

    Args:
        table: Table 1 or the transfer table.

    Returns:
        One sentence per model and data set.
    """
    sentences = []
    for (model, dataset), rows in (
        table[table["method"] != ""].dropna(subset="method").groupby(["model", "dataset"], sort=False)
    ):
        open_ = rows[(rows["difference_says"] != "probe better") & ~rows["method"].isin(_NOT_BASELINES)]
        names = "; ".join(open_["method"]) or "none"
        sentences.append(f"{model}, {dataset}: baselines that the probe is not shown to beat: {names}.")
    return sentences


def answers_table(answers: Sequence[ScoredAnswer]) -> pd.DataFrame:
    """Make a table of test answers, a row each: labelled pairs, as `hneurons fit` reads them, with the probe's score.

    Args:
        answers: of all data sets.

    Returns:
        question (as the model received it), response, answer, label (1 hallucinated), group (the gold answer), domain (the
        data set), id, and probability by the probe.
    """
    rows = [
        {
            "id": f"{a.dataset}/{a.question_id}",
            "question": a.prompt,
            "response": a.response,
            "answer": a.answer,
            "label": int(a.wrong),
            "group": a.gold,
            "domain": a.dataset,
            "probability": round(a.probability, 4),
        }
        for a in answers
    ]
    return pd.DataFrame(rows)
